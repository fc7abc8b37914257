//! The run folder: what a run leaves behind, and what it may be resumed from.
use crate::manifest::Manifest;
use crate::recipe::Recipe;
use crate::text::Text;
use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use ra_align::{AlignConfig, IdScale, Layerwise, Towers};
use ra_core::{
    Curve, Dataset, Recommender, is_unfinished, load_module, read_bytes, read_json, save_module, write_atomic,
    write_json,
};
use ra_data::Column;
use ra_eval::Evaluation;
use ra_idmodels::{IdConfig, Trained};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a finished run tells.
const REPORTS: [&str; 3] = ["report.json", "report.md", "report.html"];

/// Beside an ID model's checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IdMark {
    pub(crate) curve: Curve,
    pub(crate) seconds: f64,
    /// Epochs that were asked for; a run resumed with more goes on from its training state.
    pub(crate) epochs: Option<usize>,
    /// The language model whose vectors it reads, if it reads any.
    #[serde(default)]
    pub(crate) lm: Option<String>,
}

/// Beside the towers' checkpoint: what they were trained against.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TowersMark {
    pub(crate) scale: IdScale,
    pub(crate) curve: Curve,
    pub(crate) seconds: f64,
    pub(crate) samples: usize,
    /// Fingerprint of the language model's weights.
    pub(crate) lm: String,
    /// Fingerprint of the ID method's vectors.
    pub(crate) ids: String,
}

/// A run folder that belongs to one recipe and data set.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Held while a run writes; the system lets go of it however the process ends.
    _lock: Option<File>,
}

impl RunFolder {
    /// Opens `path` for a run. Without `resume` an earlier run's stages are removed; with it, the manifest must agree.
    pub(crate) fn open(path: &Path, recipe: &Recipe, dataset: &Dataset, resume: bool) -> Result<Self> {
        let folder = Self { path: path.into(), _lock: Some(lock(path)?) };
        let manifest = Manifest::of(recipe, dataset)?;
        let file = folder.file("manifest.json");
        if resume && file.exists() {
            let found = Manifest::read(&file)?;
            found.may_become(&manifest, &file)?;
            if found.recipe != manifest.recipe {
                folder.remove(&REPORTS)?;
            }
            folder.sweep()?;
            folder.write(&manifest)?;
            return Ok(folder);
        }
        if path.exists()
            && !file.exists()
            && path.read_dir().is_ok_and(|mut d| d.any(|e| e.is_ok_and(|e| !is_leftover(&e))))
        {
            bail!("{}: holds files but no run; name an empty folder by --out", path.display());
        }
        let parts = ["checkpoints", "metrics", "tensorboard", "vectors"].map(|name| folder.file(name));
        for part in parts.iter().filter(|part| part.exists()) {
            std::fs::remove_dir_all(part).with_context(|| not_removed(part))?;
        }
        folder.remove(&REPORTS)?;
        folder.remove(&["log.jsonl"])?;
        folder.write(&manifest)?;
        Ok(folder)
    }

    /// Removes what a killed run was about to write: files that were never given their name.
    fn sweep(&self) -> Result<()> {
        for part in ["", "checkpoints", "metrics", "vectors"].map(|name| self.file(name)) {
            for entry in part.read_dir().into_iter().flatten().flatten() {
                if is_leftover(&entry) && entry.file_name() != LOCK {
                    std::fs::remove_file(entry.path()).with_context(|| not_removed(&entry.path()))?;
                }
            }
        }
        Ok(())
    }

    fn remove(&self, names: &[&str]) -> Result<()> {
        for part in names.iter().map(|name| self.file(name)).filter(|part| part.exists()) {
            std::fs::remove_file(&part).with_context(|| not_removed(&part))?;
        }
        Ok(())
    }

    fn write(&self, manifest: &Manifest) -> Result<()> {
        write_json(&self.file("manifest.json"), manifest)?;
        Ok(write_atomic(&self.file("recipe.toml"), manifest.recipe.as_bytes())?)
    }

    /// Opens a finished run for use, with its resolved recipe.
    pub(crate) fn finished(path: &Path) -> Result<(Self, Manifest)> {
        let folder = Self { path: path.into(), _lock: None };
        let manifest = Manifest::read(&folder.file("manifest.json"))
            .with_context(|| format!("{}: not a run folder; make one with `cargo xtask run RECIPE`", path.display()))?;
        if !folder.file("report.json").exists() {
            bail!("{}: the run is not finished; finish it with `cargo xtask run RECIPE --resume`", path.display());
        }
        Ok((folder, manifest))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn id_checkpoint(&self, name: &str) -> PathBuf {
        self.file(&format!("checkpoints/id-{name}.safetensors"))
    }

    /// Where the training of an ID method is written down while it runs.
    pub(crate) fn id_state(&self, name: &str) -> PathBuf {
        self.file(&format!("checkpoints/id-{name}.state.safetensors"))
    }

    fn id_mark_file(&self, name: &str) -> PathBuf {
        self.file(&format!("checkpoints/id-{name}.json"))
    }

    /// The mark of a finished ID stage, written after its checkpoint.
    pub(crate) fn id_mark(&self, name: &str, config: &IdConfig) -> Result<Option<IdMark>> {
        let file = self.id_mark_file(name);
        let mark: Option<IdMark> = if file.exists() { Some(read_json(&file)?) } else { None };
        Ok(mark.filter(|mark| mark.epochs == config.train().map(|train| train.epochs)))
    }

    pub(crate) fn save_id(&self, name: &str, trained: &Trained, mark: &IdMark) -> Result<()> {
        trained.save(&self.id_checkpoint(name))?;
        Ok(write_json(&self.id_mark_file(name), mark)?)
    }

    /// Takes over a finished ID method that another run of the suite put into `shared`.
    pub(crate) fn take_id(&self, name: &str, config: &IdConfig, shared: &Path) -> Result<()> {
        if self.id_mark(name, config)?.is_some() || !shared.join("mark.json").exists() {
            return Ok(());
        }
        copy(&shared.join("model.safetensors"), &self.id_checkpoint(name))?;
        copy(&shared.join("mark.json"), &self.id_mark_file(name))
    }

    /// Puts a finished ID method where other runs of the suite find it.
    pub(crate) fn give_id(&self, name: &str, shared: &Path) -> Result<()> {
        copy(&self.id_checkpoint(name), &shared.join("model.safetensors"))?;
        copy(&self.id_mark_file(name), &shared.join("mark.json"))
    }

    /// Removes what was aligned to ID vectors that are no more.
    pub(crate) fn forget_towers(&self) -> Result<()> {
        for entry in self.file("checkpoints").read_dir().into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("towers") {
                std::fs::remove_file(entry.path()).with_context(|| not_removed(&entry.path()))?;
            }
        }
        Ok(())
    }

    /// `towers` for RA-Rec, `towers-prefix-only` for a rival.
    fn towers_file(&self, row: &str, ending: &str) -> PathBuf {
        let name = if row == "ra-rec" { "towers".into() } else { format!("towers-{row}") };
        self.file(&format!("checkpoints/{name}.{ending}"))
    }

    /// Where an alignment is written down while it runs.
    pub(crate) fn towers_state(&self, row: &str) -> PathBuf {
        self.towers_file(row, "state.safetensors")
    }

    /// The mark of a finished alignment, written after its checkpoint.
    pub(crate) fn towers_mark(&self, row: &str) -> Result<Option<TowersMark>> {
        let file = self.towers_file(row, "json");
        Ok(if file.exists() { Some(read_json(&file)?) } else { None })
    }

    pub(crate) fn save_towers(&self, row: &str, towers: &Towers<Layerwise>, mark: &TowersMark) -> Result<()> {
        save_module(towers, &self.towers_file(row, "safetensors"))?;
        Ok(write_json(&self.towers_file(row, "json"), mark)?)
    }

    /// Loads the towers of a row that were made by `align`.
    ///
    /// # Errors
    /// When they were trained against other ID vectors or another language model.
    pub(crate) fn load_towers(
        &self,
        row: &str,
        mark: &TowersMark,
        align: &AlignConfig,
        (backbone, dataset): (&Trained, &Dataset),
        text: &Text,
    ) -> Result<Towers<Layerwise>> {
        let path = self.towers_file(row, "safetensors");
        if mark.lm != text.fingerprint() {
            bail!(
                "{}: aligned to another language model; set lm.path to the one of the run, or run again",
                path.display()
            );
        }
        if mark.ids != id_fingerprint(&*backbone.model, dataset) {
            bail!(
                "{}: aligned to other ID vectors; bring checkpoints/ back as the run left it, or run again",
                path.display()
            );
        }
        let fresh = align.towers(backbone.model.dim(), text.lm(), 0, &text.lm().device());
        Ok(load_module(fresh, &path)?)
    }

    /// Accuracy of every evaluated user, for paired tests.
    pub(crate) fn save_users(&self, row: &str, dataset: &Dataset, evaluation: &Evaluation) -> Result<()> {
        let users = evaluation.users.iter().map(|&u| dataset.users[u as usize].clone()).collect();
        let mut columns = vec![("user", Column::Text(users))];
        columns.extend(evaluation.per_user.iter().map(|(k, v)| (k.as_str(), Column::Numbers(v.clone()))));
        Ok(ra_data::write_columns(&users_file(&self.path, row), &columns)?)
    }

    /// `items` for RA-Rec, `items-prefix-only` for a rival.
    fn items_file(&self, row: &str) -> PathBuf {
        let name = if row == "ra-rec" { "items".into() } else { format!("items-{row}") };
        self.file(&format!("vectors/{name}.safetensors"))
    }

    /// Keeps the item vectors of an aligned row: a recommendation needs one pass for the user and none for the items.
    pub(crate) fn save_items(&self, row: &str, items: Tensor<2>) -> Result<()> {
        let shape = items.dims().to_vec();
        let bytes: Vec<u8> = items.into_data().iter::<f32>().flat_map(f32::to_le_bytes).collect();
        let view = TensorView::new(Dtype::F32, shape, &bytes)?;
        Ok(write_atomic(&self.items_file(row), &safetensors::serialize([("items", view)], None)?)?)
    }

    /// `[items + 1, dim]`, row 0 padding, as the model of a row and the catalogue of the run have them; nothing where the
    /// row keeps none.
    pub(crate) fn items(&self, row: &str, [rows, dim]: [usize; 2], device: &Device) -> Result<Option<Tensor<2>>> {
        let path = self.items_file(row);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_bytes(&path)?;
        let damaged = || format!("{}: not whole, or of another run; make the run again", path.display());
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

/// Whether the run in `path` is finished and was made by this very recipe from this data.
pub(crate) fn is_finished(path: &Path, recipe: &Recipe, dataset: &Dataset) -> Result<bool> {
    let manifest = path.join("manifest.json");
    let whole = path.join("report.json").exists() && manifest.exists();
    Ok(whole && Manifest::read(&manifest)? == Manifest::of(recipe, dataset)?)
}

/// Takes away the report of an earlier run in `path`, if there is one.
pub(crate) fn forget_report(path: &Path) -> Result<()> {
    let folder = RunFolder { path: path.into(), _lock: None };
    if folder.file("manifest.json").exists() { folder.remove(&REPORTS) } else { Ok(()) }
}

/// Where a run keeps the accuracy of every user under a row.
fn users_file(run: &Path, row: &str) -> PathBuf {
    let name: String = row.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    run.join(format!("metrics/{}.parquet", name.trim_end_matches('_')))
}

/// The users of a row by their own ids, and their accuracy, as a run wrote them down; nothing where it did not.
pub(crate) fn read_users(run: &Path, row: &str) -> Result<Option<(Vec<String>, Evaluation)>> {
    let file = users_file(run, row);
    if !file.exists() {
        return Ok(None);
    }
    let (users, per_user) = ra_data::read_columns(&file, "user")?;
    let evaluation = Evaluation { users: (0..users.len() as u32).collect(), per_user, ..Evaluation::default() };
    Ok(Some((users, evaluation)))
}

/// A file that a killed write never gave its name, or the lock.
fn is_leftover(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    name == LOCK || is_unfinished(&name)
}

const LOCK: &str = ".lock";

/// Takes the folder for this process.
fn lock(path: &Path) -> Result<File> {
    let place = path.join(LOCK);
    let cannot = || format!("{}: cannot be written (is the disk full or the folder read-only?)", place.display());
    std::fs::create_dir_all(path).with_context(cannot)?;
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(&place).with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).with_context(cannot)?;
            write!(file, "{}", std::process::id()).with_context(cannot)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let owner = std::fs::read_to_string(&place).unwrap_or_default();
            bail!("{}: process {owner} is running here; wait for it, or name another folder by --out", path.display())
        }
        // A file system without locks: as it was before there were any.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

fn not_removed(part: &Path) -> String {
    format!("{}: cannot be removed", part.display())
}

/// Copies a file, if there is one: a method that only counts has no checkpoint.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.exists() {
        write_atomic(to, &read_bytes(from)?)?;
    }
    Ok(())
}

/// Fingerprint of what an ID method says of every item: towers fit these vectors and no others.
pub(crate) fn id_fingerprint(model: &dyn Recommender, dataset: &Dataset) -> String {
    let items: Vec<u32> = dataset.catalog.all().collect();
    let bytes: Vec<u8> = model.items(&items).into_data().iter::<f32>().flat_map(f32::to_le_bytes).collect();
    ra_core::fingerprint([bytes.as_slice()]).to_string()
}
