//! The run folder: what a run leaves behind, and what it can resume from.
use super::lock;
use super::manifest::{Chosen, Manifest};
use super::shared::Shared;
use super::tensorboard;
use crate::terminal::program;
use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use ra_align::{BlendWeights, IdNormalizer, Layerwise, Towers};
use ra_core::{
    Curve, Dataset, ItemId, OutputFolder, Recommender, UserId, fingerprint, fingerprint_file, host_numbers, read_bytes,
    read_json, save_module, write_atomic, write_json,
};
use ra_data::Column;
use ra_eval::{Evaluation, Metric};
use ra_idmodels::{GroundConfig, IdConfig, IdMethod, Trained};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The kind of a run folder in its marker.
pub(crate) const KIND: &str = "run";

/// The reports of a finished run.
const REPORTS: [&str; 3] = ["report.json", "report.md", "report.html"];

/// The other files that every run writes.
const FILES: [&str; 4] = ["manifest.json", "recipe.toml", "log.jsonl", "costs.json"];

/// The metadata key in a file of item vectors that names what they were computed with.
const MADE_BY: &str = "made_by";

/// The file next to an ID model's checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IdManifest {
    pub(crate) curve: Curve,
    pub(crate) seconds: f64,
    /// The number of epochs requested. A run that is resumed with more continues from its training state.
    pub(crate) epochs: Option<usize>,
    /// The language model whose vectors it reads, if any: `FrozenText::identity`.
    #[serde(default)]
    pub(crate) lm: Option<String>,
    /// The fingerprint of the checkpoint next to it; a method that only counts has none.
    #[serde(default)]
    pub(crate) checkpoint: Option<String>,
}

/// The file next to the towers' checkpoint, which names what they were trained with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TowersManifest {
    pub(crate) scale: IdNormalizer,
    pub(crate) curve: Curve,
    pub(crate) seconds: f64,
    pub(crate) samples: usize,
    /// The language model, `FrozenText::identity`.
    pub(crate) lm: String,
    /// The ID method, [`id_fingerprint`].
    pub(crate) ids: String,
}

/// The numbers of a grounding, as chosen or as set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroundManifest {
    pub(crate) k: f32,
    pub(crate) scale: f32,
    /// The configuration that they were chosen under.
    pub(crate) config: GroundConfig,
    /// The ID method that is grounded, [`id_fingerprint`].
    pub(crate) ids: String,
}

/// The weights of a blend, and how they were found. The rows that it blends are those of the run folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BlendManifest {
    /// The names of the rows.
    pub(crate) parts: Vec<String>,
    /// The weight of each row's score.
    pub(crate) weights: Vec<f32>,
    /// The validation of the blend, on this many users, and of each row alone if it can be rated.
    pub(crate) validation: f64,
    pub(crate) users: usize,
    pub(crate) alone: Vec<Option<f64>>,
    /// The number of blends that were tried.
    pub(crate) trials: usize,
    /// The weights of the blends without each row, if they were asked for.
    #[serde(default)]
    pub(crate) without: Vec<Vec<f32>>,
    pub(crate) seconds: f64,
}

impl BlendManifest {
    pub(crate) fn new(
        parts: &[String],
        found: &BlendWeights,
        without: &[BlendWeights],
        users: usize,
        seconds: f64,
    ) -> Self {
        let BlendWeights { weights, alone, validation, trials, .. } = found.clone();
        let without = without.iter().map(|found| found.weights.clone()).collect();
        let alone = alone.into_iter().map(|alone| Some(alone).filter(|alone| alone.is_finite())).collect();
        Self { parts: parts.to_vec(), weights, validation, users, alone, trials, without, seconds }
    }

    /// Returns the weights in words, relative to the largest.
    pub(crate) fn told(&self) -> String {
        let part = |(name, weight): (&String, &f32)| (*weight > 0.0).then(|| format!("{weight:.3} {name}"));
        let sum: Vec<String> = self.parts.iter().zip(&self.weights).filter_map(part).collect();
        let (sum, users) = (sum.join(" + "), self.users);
        format!("score: {sum}; weights chosen on {users} validation users out of {} tried", self.trials)
    }
}

/// The treatment of an earlier run in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Earlier {
    /// An identical run is repeated, and any other finished run is an error.
    #[default]
    Kept,
    /// The run is resumed.
    Resumed,
    /// The run is replaced, whatever it is.
    Replaced,
}

impl Earlier {
    /// Returns what the flags `--resume` and `--force` ask for.
    pub(crate) fn of_flags(resume: bool, force: bool) -> Self {
        match (resume, force) {
            (true, _) => Self::Resumed,
            (_, true) => Self::Replaced,
            _ => Self::Kept,
        }
    }
}

/// A run folder that belongs to one recipe and data set.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// The files that belong to us. A file is claimed before it is written; all others stay untouched.
    files: RefCell<OutputFolder>,
    /// The lock that is held while a run writes.
    _lock: Option<File>,
}

impl RunFolder {
    /// Opens `path` for the run of `manifest`. Removes or replaces only our own files.
    ///
    /// # Errors
    /// If the folder holds files but no run of ours, or another run, or if another process runs in it.
    pub(crate) fn open(path: &Path, manifest: &Manifest, earlier: Earlier) -> Result<Self> {
        let (files, lock) = lock::take(path, KIND)?;
        let folder = Self { path: path.into(), files: RefCell::new(files), _lock: Some(lock) };
        let found = if earlier == Earlier::Replaced { None } else { folder.found()? };
        folder.files.borrow().sweep()?;
        let finished = found.is_some() && folder.file(REPORTS[0]).exists();
        let goes_on = found.is_some() && earlier == Earlier::Resumed;
        match &found {
            Some(found) if goes_on => found.may_become(manifest, &folder.file("manifest.json"))?,
            Some(found) if finished => found.may_be_replaced(manifest, path)?,
            Some(found) if found.is(manifest) => {
                tracing::warn!("an unfinished run of this recipe is restarted; --resume would have continued it");
            }
            Some(found) => {
                let told = found.difference(manifest)?;
                tracing::warn!("another unfinished run is replaced: {told}");
            }
            None => {}
        }
        // The reports of a finished run stay until there are new ones; a kill before that loses none of them.
        let aligned = found.filter(|_| goes_on).and_then(|found| found.aligned);
        let manifest = manifest.clone().under_way(finished).aligning(aligned);
        let write = || write_json(&folder.file("manifest.json"), &manifest);
        if finished {
            write()?;
        }
        if !goes_on {
            let stays = |name: &str| name == "manifest.json" || REPORTS.contains(&name) || name.starts_with("metrics/");
            folder.remove(|name| !finished || !stays(name))?;
        }
        folder.files.borrow_mut().claim(&[&FILES[..], &REPORTS[..]].concat())?;
        write()?;
        write_atomic(&folder.file("recipe.toml"), manifest.recipe.as_bytes())?;
        Ok(folder)
    }

    /// Records that the reports in the folder are those of the current run.
    pub(crate) fn finish(&self) -> Result<()> {
        let file = self.file("manifest.json");
        let manifest = Manifest::read(&file)?;
        if manifest.is_under_way() {
            write_json(&file, &manifest.under_way(false))?;
        }
        Ok(())
    }

    /// Returns the choice of the ID method that is aligned, if an earlier part of the run has made it.
    pub(crate) fn aligned(&self) -> Result<Option<Chosen>> {
        Ok(Manifest::read(&self.file("manifest.json"))?.aligned)
    }

    /// Records which ID method is aligned.
    pub(crate) fn save_aligned(&self, aligned: Option<Chosen>) -> Result<()> {
        let file = self.file("manifest.json");
        Ok(write_json(&file, &Manifest::read(&file)?.aligning(aligned))?)
    }

    /// Returns the manifest of the run in the folder, if there is one.
    fn found(&self) -> Result<Option<Manifest>> {
        let file = self.file("manifest.json");
        if !self.files.borrow().owns("manifest.json") || !file.exists() {
            return Ok(None);
        }
        let remedy = || "cannot read which run this is; name another folder by --out, or replace it by --force";
        Manifest::read(&file).with_context(remedy).map(Some)
    }

    fn remove(&self, unwanted: impl Fn(&str) -> bool) -> Result<()> {
        Ok(self.files.borrow_mut().remove(unwanted)?)
    }

    /// Returns the path of a file that is about to be written, and claims it.
    fn claimed(&self, name: &str) -> Result<PathBuf> {
        self.files.borrow_mut().claim(&[name])?;
        Ok(self.file(name))
    }

    /// Returns a new file for learning curves.
    pub(crate) fn curves(&self) -> Result<PathBuf> {
        let name = |number| format!("tensorboard/{}", tensorboard::file_name(number));
        let free = (1..).map(name).find(|name| !self.file(name).exists());
        self.claimed(&free.context("no number is left for a file of curves")?)
    }

    /// Opens a folder of checkpoints and vectors laid out as in a run, such as that of a bundle, for reading.
    pub(crate) fn within(path: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), files: RefCell::new(OutputFolder::open(path, KIND)?), _lock: None })
    }

    /// Returns the names of the files that the rows `wanted` are loaded from, besides the language model: those that exist.
    pub(crate) fn files_of(&self, wanted: &[String], methods: &[&str]) -> Vec<String> {
        let endings = ["safetensors", "json", "ground.json"];
        let ids = methods.iter().flat_map(|name| endings.map(|ending| id_name(name, ending)));
        let endings = ["safetensors", "json", "blend.json"];
        let towers = wanted.iter().flat_map(|row| endings.map(|ending| towers_name(row, ending)));
        let all = ids.chain(towers).chain(wanted.iter().map(|row| items_name(row)));
        all.filter(|name| self.file(name).exists()).collect()
    }

    /// Opens a finished run for use, with its resolved recipe.
    pub(crate) fn finished(path: &Path) -> Result<(Self, Manifest)> {
        let files = RefCell::new(OutputFolder::open(path, KIND)?);
        let folder = Self { path: path.into(), files, _lock: None };
        let manifest = Manifest::read(&folder.file("manifest.json")).with_context(|| {
            format!("{}: not a run folder; make one with `{} run RECIPE`", path.display(), program())
        })?;
        if manifest.is_under_way() || !folder.file(REPORTS[0]).exists() {
            bail!("{}: the run is not finished; finish it with `{} run RECIPE --resume`", path.display(), program());
        }
        Ok((folder, manifest))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file that tells how something was made, if it was.
    fn mark<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let file = self.file(name);
        Ok(if file.exists() { Some(read_json(&file)?) } else { None })
    }

    /// Returns the path of an ID method's checkpoint.
    pub(crate) fn id_checkpoint(&self, name: &str) -> PathBuf {
        self.file(&id_name(name, "safetensors"))
    }

    /// Returns the file that saves the state of a running training of an ID method.
    pub(crate) fn id_state(&self, name: &str) -> Result<PathBuf> {
        self.claimed(&id_name(name, "state.safetensors"))
    }

    /// Reads the mark of a finished ID stage, which is written after its checkpoint.
    ///
    /// # Errors
    /// If the checkpoint is not the one that was written with the mark.
    pub(crate) fn id_manifest(&self, name: &str, config: &IdConfig) -> Result<Option<IdManifest>> {
        let mark: Option<IdManifest> = self.mark(&id_name(name, "json"))?;
        let mark = mark.filter(|mark| mark.epochs == config.train().map(|train| train.epochs));
        if let Some(known) = mark.as_ref().and_then(|mark| mark.checkpoint.as_ref()) {
            let checkpoint = self.id_checkpoint(name);
            if *known != fingerprint_file(&checkpoint)?.to_string() {
                let told = "not the checkpoint that this run trained; restore it, or run again";
                bail!("{}: {told}", checkpoint.display());
            }
        }
        Ok(mark)
    }

    pub(crate) fn save_id(&self, name: &str, trained: &Trained, mark: &IdManifest) -> Result<()> {
        let checkpoint = self.claimed(&id_name(name, "safetensors"))?;
        trained.save(&checkpoint)?;
        let own = checkpoint.exists().then(|| fingerprint_file(&checkpoint)).transpose()?;
        let mark = IdManifest { checkpoint: own.map(|own| own.to_string()), ..mark.clone() };
        Ok(write_json(&self.claimed(&id_name(name, "json"))?, &mark)?)
    }

    /// Reads the numbers of a method's grounding, if they were chosen for this very method.
    pub(crate) fn ground_manifest(
        &self,
        name: &str,
        config: &GroundConfig,
        ids: &str,
    ) -> Result<Option<GroundManifest>> {
        let mark: Option<GroundManifest> = self.mark(&id_name(name, "ground.json"))?;
        Ok(mark.filter(|mark| mark.config == *config && mark.ids == ids))
    }

    pub(crate) fn save_ground(&self, name: &str, mark: &GroundManifest) -> Result<()> {
        Ok(write_json(&self.claimed(&id_name(name, "ground.json"))?, mark)?)
    }

    /// Imports a finished ID method that another run of the suite shares.
    pub(crate) fn import_id(&self, name: &str, config: &IdConfig, shared: &Shared) -> Result<()> {
        if self.id_manifest(name, config)?.is_some() {
            return Ok(());
        }
        let [Some(model), Some(mark)] = [shared.found("model.safetensors")?, shared.found("mark.json")?] else {
            return Ok(());
        };
        if mark.exists() {
            // Towers and blends of an earlier model of this name do not fit the one that comes.
            self.forget_towers()?;
            copy(&model, &self.claimed(&id_name(name, "safetensors"))?)?;
            copy(&mark, &self.claimed(&id_name(name, "json"))?)?;
        }
        Ok(())
    }

    /// Publishes a finished ID method for other runs of the suite.
    pub(crate) fn publish_id(&self, name: &str, shared: &Shared) -> Result<()> {
        copy(&self.id_checkpoint(name), &shared.claimed("model.safetensors")?)?;
        copy(&self.file(&id_name(name, "json")), &shared.claimed("mark.json")?)
    }

    /// Removes the towers that were aligned to ID vectors that no longer exist.
    pub(crate) fn forget_towers(&self) -> Result<()> {
        self.save_aligned(None)?;
        self.remove(|name| name.starts_with("checkpoints/towers"))
    }

    /// Returns the path of the checkpoint of a row's towers.
    pub(crate) fn towers_checkpoint(&self, row: &str) -> PathBuf {
        self.file(&towers_name(row, "safetensors"))
    }

    /// Returns the file that saves the state of a running alignment.
    pub(crate) fn towers_state(&self, row: &str) -> Result<PathBuf> {
        self.claimed(&towers_name(row, "state.safetensors"))
    }

    /// Reads the mark of a finished alignment, which is written after its checkpoint.
    pub(crate) fn towers_manifest(&self, row: &str) -> Result<Option<TowersManifest>> {
        self.mark(&towers_name(row, "json"))
    }

    pub(crate) fn save_towers(&self, row: &str, towers: &Towers<Layerwise>, mark: &TowersManifest) -> Result<()> {
        save_module(towers, &self.claimed(&towers_name(row, "safetensors"))?)?;
        Ok(write_json(&self.claimed(&towers_name(row, "json"))?, mark)?)
    }

    /// Reads the weights of a blend, if they have been chosen.
    pub(crate) fn blend_manifest(&self, row: &str) -> Result<Option<BlendManifest>> {
        self.mark(&towers_name(row, "blend.json"))
    }

    pub(crate) fn save_blend(&self, row: &str, mark: &BlendManifest) -> Result<()> {
        Ok(write_json(&self.claimed(&towers_name(row, "blend.json"))?, mark)?)
    }

    /// Returns the checkpoint of the towers of a row.
    ///
    /// # Errors
    /// If they were trained with other ID vectors than `ids`, or another language model than `lm`.
    pub(crate) fn towers(&self, row: &str, mark: &TowersManifest, ids: &str, lm: &str) -> Result<PathBuf> {
        let path = self.towers_checkpoint(row);
        if mark.lm != lm {
            bail!(
                "{}: aligned to another language model; set lm.path to the one of the run, or run again",
                path.display()
            );
        }
        if mark.ids != ids {
            bail!(
                "{}: aligned to other ID vectors; restore checkpoints/ as the run left it, or run again",
                path.display()
            );
        }
        Ok(path)
    }

    /// Saves the accuracy of every evaluated user, for paired tests.
    pub(crate) fn save_users(&self, row: &str, dataset: &Dataset, evaluation: &Evaluation) -> Result<()> {
        let users = evaluation.users.iter().map(|user| dataset.users[user.index()].clone()).collect();
        let mut columns = vec![("user", Column::Text(users))];
        let metrics: Vec<String> = evaluation.per_user.keys().map(Metric::to_string).collect();
        let numbers = evaluation.per_user.values().map(|values| Column::Numbers(values.clone()));
        columns.extend(metrics.iter().map(String::as_str).zip(numbers));
        Ok(ra_data::write_columns(&self.claimed(&users_name(row))?, &columns)?)
    }

    /// Saves the item vectors of an aligned row, so that a recommendation needs one pass for the user and none for the
    /// items.
    pub(crate) fn save_items(&self, row: &str, items: Tensor<2>) -> Result<()> {
        let shape = items.dims().to_vec();
        let bytes: Vec<u8> = host_numbers(items).into_iter().flat_map(f32::to_le_bytes).collect();
        let view = TensorView::new(Dtype::F32, shape, &bytes)?;
        let notes = HashMap::from([(MADE_BY.to_owned(), self.made_by(row)?)]);
        let file = safetensors::serialize([("items", view)], Some(notes))?;
        Ok(write_atomic(&self.claimed(&items_name(row))?, &file)?)
    }

    /// Returns the key of what the item vectors of a row depend on that may change within a run: its towers, and what
    /// they were aligned to.
    fn made_by(&self, row: &str) -> Result<String> {
        let mark =
            self.towers_manifest(row)?.with_context(|| format!("{}: no {row} was trained", self.path.display()))?;
        let towers = read_bytes(&self.towers_checkpoint(row))?;
        Ok(fingerprint([towers.as_slice(), mark.lm.as_bytes(), mark.ids.as_bytes()]).to_string())
    }

    /// Returns the item vectors, `[items + 1, dim]` with padding in row 0, that match the model of a row and the
    /// catalogue of the run; nothing if none were saved.
    pub(crate) fn items(&self, row: &str, [rows, dim]: [usize; 2], device: &Device) -> Result<Option<Tensor<2>>> {
        let path = self.file(&items_name(row));
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_bytes(&path)?;
        let damaged = || format!("{}: incomplete or from another run; run again", path.display());
        let (_, header) = SafeTensors::read_metadata(&bytes).with_context(damaged)?;
        if header.metadata().as_ref().and_then(|notes| notes.get(MADE_BY)) != Some(&self.made_by(row)?) {
            bail!("{}: made with other towers than those of the run; resume the run by --resume", path.display());
        }
        let file = SafeTensors::deserialize(&bytes).with_context(damaged)?;
        let view = file.tensor("items").with_context(damaged)?;
        if view.dtype() != Dtype::F32 || view.shape() != [rows, dim] {
            bail!("{}: {} {:?} instead of F32 {:?}", damaged(), view.dtype(), view.shape(), [rows, dim]);
        }
        let values: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(Some(Tensor::from_data(TensorData::new(values, [rows, dim]), device)))
    }
}

/// Returns whether the run in `path` is finished and is the run of this manifest.
pub(crate) fn is_finished(path: &Path, asked: &Manifest) -> Result<bool> {
    let files = OutputFolder::open(path, KIND)?;
    let whole = ["manifest.json", REPORTS[0]].iter().all(|name| files.owns(name) && path.join(name).exists());
    if !whole {
        return Ok(false);
    }
    let found = Manifest::read(&path.join("manifest.json"))?;
    Ok(!found.is_under_way() && found.is(asked))
}

fn id_name(name: &str, ending: &str) -> String {
    format!("checkpoints/id-{name}.{ending}")
}

/// Returns `towers` for RA-Rec, `towers-prefix-only` for a rival.
fn towers_name(row: &str, ending: &str) -> String {
    let name = if row == "ra-rec" { "towers".into() } else { format!("towers-{row}") };
    format!("checkpoints/{name}.{ending}")
}

fn items_name(row: &str) -> String {
    if row == "ra-rec" { "vectors/items.safetensors".into() } else { format!("vectors/items-{row}.safetensors") }
}

/// Returns the file that holds the accuracy of every user under a row.
fn users_name(row: &str) -> String {
    let name: String = row.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    format!("metrics/{}.parquet", name.trim_end_matches('_'))
}

/// Reads the users of a row, by their own ids, and their accuracy as a run saved them; nothing if it did not.
pub(crate) fn read_users(run: &Path, row: &str) -> Result<Option<(Vec<String>, Evaluation)>> {
    let file = run.join(users_name(row));
    if !file.exists() {
        return Ok(None);
    }
    let (users, per_user) = ra_data::read_columns(&file, "user")?;
    let metric = |(name, values): (String, Vec<f64>)| Ok((name.parse::<Metric>()?, values));
    let per_user = per_user.into_iter().map(metric).collect::<Result<_>>()?;
    let evaluation = Evaluation::of_users(UserId::all(users.len()).collect(), per_user);
    Ok(Some((users, evaluation)))
}

/// Copies a file if it exists: a method that only counts has no checkpoint.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.exists() {
        write_atomic(to, &read_bytes(from)?)?;
    }
    Ok(())
}

/// Returns the fingerprint of an ID method, which identifies what towers are aligned to: that of its checkpoint, or, if
/// it has none, that of its vectors of every item.
pub(crate) fn id_fingerprint(model: &dyn Recommender, items: usize, checkpoint: &Path) -> Result<String> {
    if checkpoint.exists() {
        return Ok(fingerprint_file(checkpoint)?.to_string());
    }
    let items: Vec<ItemId> = ItemId::all(items).collect();
    let bytes: Vec<u8> = host_numbers(model.items(&items)).into_iter().flat_map(f32::to_le_bytes).collect();
    Ok(fingerprint([bytes.as_slice()]).to_string())
}
