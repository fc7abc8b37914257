//! Export: a bundle of a row of a finished run.
use super::files::{self, BundleLm, BundleManifest, BundleRow, VectorPart};
use super::{Bundle, Held, KIND, Rotation, table};
use crate::context::Output;
use crate::fetch::{HubName, parts_of};
use crate::recipe::Recipe;
use crate::recommend::{chosen_row, knows_users_only};
use crate::stages::{FrozenText, ItemVectors, located, read};
use crate::store::{RunFolder, lock};
use crate::terminal::{argument, program};
use anyhow::{Context, Result, bail};
use ra_core::{AtomicFile, Catalog, Device, ItemId, OutputFolder, Sequences, host_numbers, write_json};
use ra_data::{Column, DataConfig};
use ra_eval::Report;
use ra_idmodels::IdMethod;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of a language model's folder that belong to it.
const LM_FILES: [&str; 5] = ["json", "txt", "safetensors", "gguf", "model"];

/// The number of terms of an item in `items.parquet`.
const TERMS: usize = 50;

/// The number of items that are written at a time.
const BLOCK: usize = 1 << 15;

/// What to export, and how.
#[derive(Debug, Clone, Default)]
pub struct ExportConfig {
    /// The row, by kind or name; by default the one that the report recommends.
    pub row: Option<String>,
    /// Further rows that answer if they are asked for by name. The rows that a blend is made of are always among them, and
    /// popularity if the run has it.
    pub also: Vec<String>,
    /// Whether the files of the language model stay outside.
    pub without_lm: bool,
    /// Whether the names of users go into the bundle, so that it answers for a user by name.
    pub names_users: bool,
    /// A column of the file of items with a group of each item, such as its category.
    pub group: Option<String>,
    /// Whether an earlier bundle in the folder is replaced.
    pub replace: bool,
}

/// Writes the bundle of a finished run to the folder `to`. Data and models are under `root`.
///
/// # Errors
/// If the run is not finished or its inputs have changed, if a row cannot answer for histories, or if `to` holds anything
/// else.
pub fn export(
    run: &Path,
    to: &Path,
    config: &ExportConfig,
    root: &Path,
    device: &Device,
    output: &dyn Output,
) -> Result<BundleManifest> {
    Draft::new(run, to, config, None, root, device, output)?.place()
}

/// A bundle that is complete and not yet in its place.
#[derive(Debug)]
pub(crate) struct Draft {
    target: Target,
    manifest: BundleManifest,
    /// The bundle itself, ready to answer.
    pub(crate) bundle: Bundle,
    /// How its vectors were rotated into the space of an older bundle.
    pub(crate) turned: Vec<Rotation>,
}

impl Draft {
    /// Makes the bundle of a finished run next to the folder `to`, with vectors rotated into the space of an `older` one.
    ///
    /// # Errors
    /// As [`export`].
    pub(crate) fn new(
        run: &Path,
        to: &Path,
        config: &ExportConfig,
        older: Option<&Bundle>,
        root: &Path,
        device: &Device,
        output: &dyn Output,
    ) -> Result<Self> {
        let (folder, manifest) = RunFolder::finished(run)?;
        let recipe = manifest.recipe()?;
        let report = Report::read(run)?;
        let rows = rows(&recipe, &report, config).with_context(|| run.display().to_string())?;
        let dataset = read(&recipe, root)?.dataset;
        manifest.check(&dataset)?;
        let fingerprint = dataset.fingerprint().to_string();
        let groups = groups(&recipe, &dataset.catalog, config, root)?;
        let made_of: Vec<String> = rows.iter().flat_map(|row| recipe.made_of(&row.name)).collect();
        let model = language_model(&recipe, &made_of, config, root, device)?;
        if let Some(model) = &model {
            manifest.check_lm(&model.text.identity())?;
        }
        let mut target = Target::open(to, config)?;
        let files = &mut target.files;
        let work = files.path().to_path_buf();
        let methods: Vec<&str> = recipe.methods_of(&made_of).map(|id| id.kind()).collect();
        output.start("copy models", 0);
        for name in folder.files_of(&made_of, &methods) {
            copy(&folder.file(&name), files, &format!("{}/{name}", files::MODEL))?;
        }
        if let Some(Model { path, own, .. }) = model.as_ref().filter(|model| model.own.inside) {
            copy_model(path, files, &own.name)?;
        }
        if let Some(adapter) = recipe.lm.adapter.as_ref().filter(|_| model.is_some()) {
            for name in ra_llm::ADAPTER_FILES {
                copy(&adapter.join(name), files, &format!("{}/{name}", files::ADAPTER))?;
            }
        }
        output.finish();
        let recipe = portable(&recipe, &methods, files)?;
        let mut own = BundleManifest {
            format: files::FORMAT,
            made_by: format!("ra-rec {}", env!("CARGO_PKG_VERSION")),
            commit: report.commit.clone(),
            recipe_name: report.recipe.clone(),
            recipe: recipe.to_toml()?,
            protocol: report.protocol.fingerprint.to_string(),
            dataset: fingerprint,
            name: dataset.name.clone(),
            items: dataset.catalog.len(),
            users: dataset.users.len(),
            names_users: config.names_users,
            rows,
            lm: model.as_ref().map(|model| model.own.clone()),
            files: BTreeMap::new(),
        };
        let text = model.map(|model| model.text);
        if let Some(text) = text.as_ref().filter(|_| recipe.rows_read_features(&made_of)) {
            output.start("encode titles", 0);
            let titles = text.features(&dataset.catalog)?;
            let [rows, width] = titles.dims();
            files.claim(&[files::TITLES])?;
            let blocks = blocks(rows, BLOCK).map(|block| host_numbers(titles.clone().slice([block, 0..width])));
            table::write_npy(&work.join(files::TITLES), blocks, [rows, width])?;
            output.finish();
        }
        files.claim(&[files::ITEMS, files::ITEMS_NPY, files::HISTORIES, files::CANARY, files::MANIFEST])?;
        table::write_histories(&work.join(files::HISTORIES), &dataset, config.names_users)?;
        output.start("compute vectors", 0);
        let held = Held { dataset, groups, text: text.map(Arc::new), vectors: ItemVectors::default() };
        let mut bundle = Bundle::assemble(&work, own.clone(), held, device)?;
        let turned = older.map(|older| bundle.turn_onto(older, device)).transpose()?.unwrap_or_default();
        own.rows[0].vector = bundle.write_items(&work)?;
        for (name, turn) in bundle.turns() {
            let width = turn.len().isqrt();
            files.claim(&[&name])?;
            table::write_npy(&work.join(name), [turn], [width, width])?;
        }
        bundle.manifest.rows.clone_from(&own.rows);
        bundle.write_canaries(&work.join(files::CANARY))?;
        output.finish();
        Ok(Self { target, manifest: own, bundle, turned })
    }

    /// Adds a file in JSON.
    pub(crate) fn add(&mut self, name: &str, content: &impl Serialize) -> Result<()> {
        let files = &mut self.target.files;
        files.claim(&[name])?;
        Ok(write_json(&files.path().join(name), content)?)
    }

    /// Makes the bundle say that logs are read as `data` says, if the run read something else. Paths are left out.
    pub(crate) fn reads_as(&mut self, data: &DataConfig) -> Result<()> {
        let mut recipe = Recipe::resolved(&self.manifest.recipe)?;
        // Texts are those of the run, which has made none if no item has a field.
        let text = recipe.data.text.take();
        recipe.data = DataConfig { interactions: None, items: None, test: None, text, ..data.clone() };
        self.manifest.recipe = recipe.to_toml()?;
        Ok(())
    }

    /// Removes what has been written.
    pub(crate) fn discard(self) -> Result<()> {
        let Self { target: Target { mut files, old, .. }, bundle, .. } = self;
        drop(bundle);
        files.remove(|_| true)?;
        lock::leave(files.path());
        if old.files().next().is_none() {
            lock::leave(old.path());
        }
        Ok(())
    }

    /// Moves the bundle into its place.
    ///
    /// # Errors
    /// If a file cannot be read or moved.
    pub(crate) fn place(self) -> Result<BundleManifest> {
        let Self { target, mut manifest, bundle, .. } = self;
        drop(bundle);
        manifest.files = files::sums(&target.files)?;
        write_json(&target.files.path().join(files::MANIFEST), &manifest)?;
        target.place()?;
        Ok(manifest)
    }
}

/// Returns the rows of the bundle: the one that is exported, those asked for, and those that they are made of.
fn rows(recipe: &Recipe, report: &Report, config: &ExportConfig) -> Result<Vec<BundleRow>> {
    let row = |asked: Option<&str>, option: &str| -> Result<BundleRow> {
        let (name, label) = chosen_row(report, recipe, asked, option)?;
        if let Some(kind) = knows_users_only(recipe, &name) {
            bail!(
                "{label}: {kind} knows only the users it was trained on, and a bundle answers for histories; name another \
                 row by {option}"
            );
        }
        let own = report.rows.iter().find(|row| row.name == label);
        let metrics = own.map(|row| row.metrics.iter().map(|(metric, value)| (metric.to_string(), *value)).collect());
        Ok(BundleRow { name, label, metrics: metrics.unwrap_or_default(), vector: Vec::new() })
    };
    let mut all = vec![row(config.row.as_deref(), "--row")?];
    for asked in &config.also {
        all.push(row(Some(asked), "--also")?);
    }
    let mut more: Vec<String> = all.iter().flat_map(|own| recipe.made_of(&own.name)).collect();
    more.extend(recipe.id_rows().into_iter().filter(|name| name == "pop"));
    for name in more {
        // A part of a blend need not be a row of the report.
        if let Ok(part) = row(Some(&name), "--row") {
            all.push(part);
        }
    }
    let mut known = HashSet::new();
    all.retain(|own| known.insert(own.name.clone()));
    Ok(all)
}

/// Returns the group of each item in the order of the catalogue; nothing if none was asked for.
fn groups(recipe: &Recipe, catalog: &Catalog, config: &ExportConfig, root: &Path) -> Result<Vec<String>> {
    let Some(column) = &config.group else { return Ok(Vec::new()) };
    let ids: Vec<String> = catalog.all().map(|item| catalog.id(item).to_owned()).collect();
    ra_data::attribute(&located(recipe, root)?, column, &ids).with_context(|| format!("--group {column}"))
}

/// The language model of the run.
struct Model {
    text: FrozenText,
    path: PathBuf,
    own: BundleLm,
}

/// Opens the language model that the rows read.
fn language_model(
    recipe: &Recipe,
    made_of: &[String],
    config: &ExportConfig,
    root: &Path,
    device: &Device,
) -> Result<Option<Model>> {
    if !recipe.rows_read_text(made_of) {
        return Ok(None);
    }
    let path = FrozenText::kept_path(recipe, root)?;
    // The run has kept its texts: a million of them take longer to read again than all else, and more memory.
    let text = FrozenText::load_kept(recipe, device, root)?;
    // In the cache of a hub, the folder of a model is called like its commit.
    let is_folder = recipe.lm.path.is_none() && path.is_dir();
    let of_hub = HubName::of(&recipe.lm.name).and_then(Result::ok).filter(|_| is_folder);
    let of_path = || path.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
    let name = of_hub.map_or_else(of_path, |name| name.short().to_owned());
    let own = BundleLm { name, identity: text.identity(), inside: !config.without_lm };
    Ok(Some(Model { text, path, own }))
}

/// The folder of a bundle under construction, and the place where it will stand.
#[derive(Debug)]
struct Target {
    files: OutputFolder,
    /// The files of ours in that place.
    old: OutputFolder,
    _locks: [File; 2],
}

impl Target {
    /// Takes the place `to`, and a folder next to it for the new bundle. An earlier bundle stays until the new one is whole.
    fn open(to: &Path, config: &ExportConfig) -> Result<Self> {
        // Otherwise the one whole bundle would be what is removed below.
        finish(to)?;
        let (old, lock) = lock::take(to, KIND)?;
        old.sweep()?;
        refuse_standing(&old, config.replace)?;
        let work = beside(to, ".", ".new")?;
        let (mut files, own) = lock::take(&work, KIND)?;
        files.sweep()?;
        files.remove(|_| true)?;
        Ok(Self { files, old, _locks: [lock, own] })
    }

    /// Moves the bundle into its place, its manifest last. Files of others that are there stay. What a kill leaves
    /// undone, the same steps do when they are repeated.
    fn place(self) -> Result<()> {
        let Self { mut files, mut old, .. } = self;
        let names: Vec<String> = files.files().map(str::to_owned).collect();
        let (to, work) = (old.path().to_path_buf(), files.path().to_path_buf());
        let cannot = |name: &str| format!("{}: cannot be put in its place", to.join(name).display());
        let claimed: Vec<&str> = names.iter().map(String::as_str).collect();
        old.check(&claimed)?;
        // From here to the last file the place holds no bundle.
        old.remove(|name| name == files::MANIFEST)?;
        old.remove(|name| !claimed.contains(&name))?;
        old.claim(&claimed)?;
        let (last, others): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| *name == files::MANIFEST);
        for name in others.into_iter().chain(last).filter(|name| work.join(name).exists()) {
            let file = to.join(name);
            let parent = file.parent().unwrap_or(&to);
            std::fs::create_dir_all(parent).with_context(|| cannot(name))?;
            std::fs::rename(work.join(name), &file).with_context(|| cannot(name))?;
            ra_core::point(format_args!("placed {name}"));
        }
        files.remove(|_| true)?;
        lock::leave(&work);
        Ok(())
    }
}

/// Finishes what a kill has left of an export that was moving its bundle into the place `to`. Does nothing if a bundle
/// stands there, or none is complete.
pub(super) fn finish(to: &Path) -> Result<()> {
    let is_complete = |folder: &Path| folder.join(files::MANIFEST).is_file();
    let is_left = |work: &Path| is_complete(work) && !is_complete(to);
    let Some(work) = beside(to, ".", ".new").ok().filter(|work| is_left(work)) else { return Ok(()) };
    let busy = || format!("{}: its bundle is being put in its place", to.display());
    let take = |folder: &Path| lock::take(folder, KIND).with_context(busy);
    let ((old, lock), (files, own)) = (take(to)?, take(&work)?);
    // Whoever held the locks before may have finished, or begun another bundle.
    if !is_left(&work) {
        if files.files().next().is_none() {
            lock::leave(&work);
        }
        return Ok(());
    }
    tracing::warn!("{}: an export was stopped as it put its bundle in its place; it is finished now", to.display());
    Target { files, old, _locks: [lock, own] }.place()
}

/// Refuses to replace a bundle unless asked.
fn refuse_standing(old: &OutputFolder, replace: bool) -> Result<()> {
    if old.owns(files::MANIFEST) && old.path().join(files::MANIFEST).exists() && !replace {
        bail!("{}: holds a bundle; name another folder by --to, or replace it by --force", old.path().display());
    }
    Ok(())
}

/// Returns the folder next to `to` whose name is that of `to` between two texts.
pub(crate) fn beside(to: &Path, before: &str, after: &str) -> Result<PathBuf> {
    let place = to.canonicalize().or_else(|_| std::path::absolute(to))?;
    let name = place.file_name().with_context(|| format!("--to {}: is not a folder with a name", to.display()))?;
    Ok(place.with_file_name(format!("{before}{}{after}", name.to_string_lossy())))
}

/// Checks that a bundle may be written to `to`, before anything is computed. Creates nothing.
pub(crate) fn check_place(to: &Path, replace: bool) -> Result<()> {
    lock::check(to, KIND)?;
    lock::check(&beside(to, ".", ".new")?, KIND)?;
    if to.is_symlink() && !to.exists() {
        bail!("--to {}: is a link to nothing; name another folder", to.display());
    }
    refuse_standing(&OutputFolder::open(to, KIND)?, replace)
}

fn copy(from: &Path, files: &mut OutputFolder, name: &str) -> Result<()> {
    files.claim(&[name])?;
    let to = files.path().join(name);
    let cannot = || format!("{}: cannot be copied to {}", from.display(), to.display());
    let mut copy = AtomicFile::create(&to)?;
    std::io::copy(&mut File::open(from).with_context(cannot)?, &mut copy).with_context(cannot)?;
    copy.finish().with_context(cannot)
}

/// Copies the files of a language model: a file with its other parts, or a folder with the folders in it.
fn copy_model(from: &Path, files: &mut OutputFolder, name: &str) -> Result<()> {
    if from.is_file() {
        let part = |part: String| copy(&from.with_file_name(&part), files, &format!("{}/{part}", files::LM));
        return parts_of(name).into_iter().try_for_each(part);
    }
    let cannot = || format!("{}: cannot be read", from.display());
    for entry in from.read_dir().with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if own.starts_with('.') {
            continue;
        }
        let is_ours = path.extension().is_some_and(|end| LM_FILES.iter().any(|own| end == *own));
        let name = format!("{name}/{own}");
        if path.is_dir() {
            copy_model(&path, files, &name)?;
        } else if is_ours && path.is_file() {
            copy(&path, files, &format!("{}/{name}", files::LM))?;
        }
    }
    Ok(())
}

/// Returns the recipe without paths of this machine. Vectors that `methods` import are copied into the bundle.
fn portable(recipe: &Recipe, methods: &[&str], files: &mut OutputFolder) -> Result<Recipe> {
    let mut own = recipe.clone();
    (own.data.interactions, own.data.items, own.data.test) = (None, None, None);
    // A recipe that names its model by path pools as the model asks: it must not become one by name.
    own.lm.path = own.lm.path.map(|_| files::LM.into());
    own.start_from = None;
    own.lm.adapter = own.lm.adapter.map(|_| files::ADAPTER.into());
    for id in &mut own.ids {
        let is_read = methods.contains(&id.kind());
        for path in id.method.paths_mut() {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // That of a bundle has it already.
            let name = format!("{}/import-{}", files::MODEL, name.strip_prefix("import-").unwrap_or(&name));
            if files.owns(&name) {
                bail!("{}: two imported files have this name; rename one and run again", path.display());
            }
            if is_read {
                copy(path, files, &name)?;
            }
            *path = name.into();
        }
    }
    Ok(own)
}

impl Bundle {
    /// Writes the items as tables for other programs, `items.parquet` and `items.npy`, and returns the parts of the first
    /// row's vectors. Of these one block is copied at a time: those of a million items are gigabytes.
    fn write_items(&self, to: &Path) -> Result<Vec<VectorPart>> {
        let (items, parts) = (self.dataset.catalog.len(), self.scorers[0].vector_parts());
        let blocks = || blocks(items, BLOCK);
        let fields: Vec<String> = self.dataset.catalog.fields().map(|(name, _)| table::field_column(name)).collect();
        ra_data::write_parts(&to.join(files::ITEMS), blocks().map(|block| Ok(self.item_columns(block, &fields))))?;
        let width = parts.iter().map(|part| part.width).sum();
        let rows = blocks().flat_map(|block| self.vectors_of(items_of(block)));
        table::write_npy(&to.join(files::ITEMS_NPY), rows, [items, width])?;
        Ok(parts)
    }

    /// Returns the columns of `items.parquet` for the items at these places of the catalogue; `fields` are the names of
    /// the columns with texts.
    fn item_columns<'a>(&self, block: Range<usize>, fields: &'a [String]) -> Vec<(&'a str, Column)> {
        let (catalog, items) = (&self.dataset.catalog, || items_of(block.clone()));
        let text = |texts: &[String]| Column::Text(texts[block.clone()].to_vec());
        let mut columns = vec![
            ("item", Column::Text(items().map(|item| catalog.id(item).to_owned()).collect())),
            ("title", text(catalog.titles())),
            ("item_index", Column::Ids(items().map(|item| item.0).collect())),
            ("popularity", Column::Ids(items().map(|item| self.popularity[item.index()]).collect())),
        ];
        if !self.groups.is_empty() {
            columns.push(("group", text(&self.groups)));
        }
        columns.extend(fields.iter().zip(catalog.fields()).map(|(name, (_, texts))| (name.as_str(), text(texts))));
        let terms: Vec<_> = items().map(|item| self.scorers[0].terms(item, TERMS)).collect();
        let ids = terms.iter().map(|terms| terms.iter().map(|(item, _)| *item).collect::<Vec<_>>());
        columns.push(("vector", Column::Vectors(self.vectors_of(items()))));
        columns.push(("terms", Column::Lists(Sequences::from_rows(ids))));
        let scores = terms.iter().map(|terms| terms.iter().map(|(_, score)| *score).collect()).collect();
        columns.push(("term_scores", Column::Vectors(scores)));
        columns
    }
}

/// Cuts the places of a catalogue into blocks. An empty one has one block, without places, which says what the columns are.
fn blocks(items: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..items.max(1)).step_by(size).map(move |from| from..(from + size).min(items))
}

/// Returns the items at these places of a catalogue.
fn items_of(places: Range<usize>) -> impl Iterator<Item = ItemId> {
    places.map(|place| ItemId(place as u32 + 1))
}

/// Says what is in a bundle.
pub(crate) fn told(manifest: &BundleManifest, to: &Path) -> Vec<String> {
    let rows: Vec<&str> = manifest.rows.iter().map(|row| row.name.as_str()).collect();
    let lm = match &manifest.lm {
        Some(lm) if lm.inside => format!("with the language model {}", lm.name),
        Some(lm) => format!("without the files of its language model, {}", lm.name),
        None => "without a language model".into(),
    };
    let users = if manifest.names_users { "names of users inside" } else { "no names of users" };
    let more = if manifest.lm.as_ref().is_some_and(|lm| !lm.inside) { " --lm PATH" } else { "" };
    vec![
        format!("{}: {} items, rows {}; {lm}; {users}", to.display(), manifest.items, rows.join(", ")),
        format!("next: {} serve --bundle {}{more}", program(), argument(to)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_every_item_once_and_in_order() {
        assert_eq!(blocks(5, 2).collect::<Vec<_>>(), [0..2, 2..4, 4..5]);
        assert_eq!(blocks(0, 2).collect::<Vec<_>>(), [0..0]);
        let items: Vec<u32> = blocks(5, 2).flat_map(items_of).map(|item| item.0).collect();
        assert_eq!(items, [1, 2, 3, 4, 5]);
    }
}
