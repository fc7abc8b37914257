//! A bundle: a trained recommender that leaves the machine.
//!
//! A folder that holds everything a row needs to recommend: the catalogue, what users did (without their names, unless
//! asked for), the trained models, the item vectors and the language model. It needs neither the log nor the run. Opening
//! it checks every file, and that known histories still get their known answers.
mod adapter;
mod answer;
mod batch;
mod canary;
mod export;
mod files;
mod score;
mod start;
mod table;
mod turn;

pub use adapter::export_adapter;
pub use answer::{Answer, Explanation, Fallback, Named, Past, PastEntry, Request, Similar};
pub use batch::{BatchConfig, BatchSummary};
pub use export::{ExportConfig, export};
pub use files::{BundleLm, BundleManifest, BundleRow, VectorPart};
pub use turn::Rotation;

pub(crate) use answer::at_least_one;
pub(crate) use export::told;
pub(crate) use export::{Draft, beside, check_place};
pub(crate) use files::{KIND, MANIFEST, UPDATE};
pub(crate) use start::Start;

use crate::names::Names;
use crate::recipe::Recipe;
use crate::stages::{FrozenText, IdModels, ItemVectors, Saved, load};
use crate::store::RunFolder;
use anyhow::{Context, Result, bail};
use burn::tensor::{Tensor, TensorData};
use ra_core::{Catalog, Dataset, Device, ItemId, UserId};
use ra_data::DataConfig;
use ra_idmodels::{IdMethod, Popularity};
use score::{Parts, Scorer};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use turn::Turns;

/// An open bundle, ready to answer. It never changes: [`with_items`](Self::with_items) returns another one.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    manifest: BundleManifest,
    recipe: Recipe,
    dataset: Dataset,
    text: Option<Arc<FrozenText>>,
    device: Device,
    /// A group of each item, such as its category; empty without groups.
    groups: Vec<String>,
    /// The items by their scores of the method `pop`, the most popular first.
    popular: Vec<ItemId>,
    /// The number of training interactions of each item, with padding first.
    popularity: Vec<u32>,
    /// The score of each item of the method `pop`, with padding first.
    pop_scores: Vec<f32>,
    names: Names,
    /// The users whose names it holds.
    users: HashMap<String, UserId>,
    /// The rows that can answer, in the order of the manifest.
    scorers: Vec<Scorer>,
    /// What turns the vectors of the first row before they leave the bundle.
    turns: Turns,
    /// The largest difference of a canary's score when it was opened, relative to the spread of its answer.
    drift: f32,
}

impl Bundle {
    /// Opens the bundle in a folder on `device`, after a check of every file and of the canaries. `lm` is the file or folder
    /// of the language model of a bundle that was exported without it. If an export was killed as it put its bundle in this
    /// place, that is finished first.
    ///
    /// # Errors
    /// If an export is putting its bundle in this place, or cannot be finished. Otherwise names the file that is missing,
    /// damaged or of another bundle, or the canary that is answered differently.
    pub fn open(path: &Path, lm: Option<&Path>, device: &Device) -> Result<Self> {
        export::finish(path)?;
        let manifest = BundleManifest::checked(path)?;
        let (dataset, groups) = table::read(path, &manifest)?;
        let text = open_text(path, &manifest, lm, device)?;
        let bundle =
            Self::assemble(path, manifest, Held { dataset, groups, text, vectors: ItemVectors::default() }, device)?;
        Ok(Self { drift: bundle.check_canaries()?, ..bundle })
    }

    /// Loads the rows of a bundle in the folder `path` over what it holds.
    fn assemble(path: &Path, manifest: BundleManifest, held: Held, device: &Device) -> Result<Self> {
        let Held { dataset, groups, text, vectors } = held;
        let (folder, mut recipe) = (RunFolder::within(&path.join(files::MODEL))?, manifest.recipe()?);
        let made_of = manifest.made_of(&recipe);
        let methods: Vec<&str> = recipe.methods_of(&made_of).map(|id| id.kind()).collect();
        for id in recipe.ids.iter_mut().filter(|id| methods.contains(&id.kind())) {
            for own in id.method.paths_mut() {
                let name = own.to_string_lossy().into_owned();
                if !manifest.files.is_empty() && !manifest.files.contains_key(&name) {
                    bail!("{}: reads {name}, which it does not list; export it again", path.display());
                }
                *own = path.join(&*own);
            }
        }
        let (known, vectors) = (manifest.items, &vectors);
        let saved = Saved { recipe: &recipe, folder: &folder, dataset: &dataset, known, vectors, device };
        let ids = IdModels::load(saved, &made_of, text.as_deref())?;
        let aligned = load(saved, &made_of, &ids, text.as_deref())?;
        let mut parts = Parts::new();
        let scorer = |row: &BundleRow| Scorer::new(row, saved, &ids, &aligned, &mut parts);
        let scorers = manifest.rows.iter().map(scorer).collect::<Result<_>>()?;
        let turns = Turns::read(path, &manifest)?;
        let popularity = dataset.popularity();
        let mut popular: Vec<ItemId> = dataset.catalog.all().collect();
        let pop_scores = Popularity::scores(&popularity, known);
        popular.sort_by(|a, b| {
            let order = pop_scores[b.index()].total_cmp(&pop_scores[a.index()]);
            order.then(popularity[b.index()].cmp(&popularity[a.index()]))
        });
        let users = UserId::all(dataset.users.len()).zip(&dataset.users).filter(|(_, name)| !name.is_empty());
        let users = users.map(|(user, name)| (name.clone(), user)).collect();
        let (names, device, path) = (Names::new(&dataset.catalog), device.clone(), path.to_path_buf());
        Ok(Self {
            path,
            manifest,
            recipe,
            dataset,
            text,
            device,
            groups,
            popular,
            popularity,
            pop_scores,
            names,
            users,
            scorers,
            turns,
            drift: 0.0,
        })
    }

    /// Returns the bundle with more items, each an id and a title: whatever reads titles finds them at once, and grounded ID
    /// vectors follow from them. A row that knows items by their ids alone never recommends them. Their ids must be new, and
    /// they belong to no group. The models are read from the folder again, and
    /// only the new titles pass through a language model.
    ///
    /// # Errors
    /// Names the item whose id is known already, or whose id or title is empty; if the folder holds another bundle by now, or
    /// if a row reads imported vectors.
    pub fn with_items(&self, more: &[(String, String)]) -> Result<Self> {
        let made_of = self.manifest.made_of(&self.recipe);
        if self.recipe.methods_of(&made_of).any(|id| id.kind() == "import") {
            bail!("{}: items cannot be added, because their vectors are imported", self.path.display());
        }
        if BundleManifest::checked(&self.path)? != self.manifest {
            bail!("{}: holds another bundle by now; load it before items are added", self.path.display());
        }
        for (at, (id, title)) in more.iter().enumerate() {
            if id.trim().is_empty() || title.trim().is_empty() {
                bail!("item {id:?}: needs an id and a title, and its title is {title:?}");
            }
            if id.trim() != id || id.contains(char::is_control) {
                bail!("item {id:?}: has a blank at an end or a control character; no log would name it so");
            }
            if self.names.id(id).is_some() || more[..at].iter().any(|(other, _)| other == id) {
                bail!("item {id:?}: is in the catalogue already");
            }
        }
        let catalog = self.dataset.catalog.extended(more);
        let mut added = catalog.all().skip(self.dataset.catalog.len());
        if let (Some(item), Some(template)) = (added.find(|item| !catalog.has_text(*item)), catalog.template()) {
            bail!(
                "item {:?}: has a title alone, and the texts of items are \"{template}\", which lacks it",
                catalog.id(item)
            );
        }
        let text = self.text.as_ref().map(|text| self.text_of(text, more)).transpose()?;
        let dataset = Dataset { catalog, ..self.dataset.clone() };
        let mut groups = self.groups.clone();
        if !groups.is_empty() {
            groups.resize(dataset.catalog.len(), String::new());
        }
        let held = Held { dataset, groups, text, vectors: self.vectors() };
        let grown = Self::assemble(&self.path, self.manifest.clone(), held, &self.device)?;
        Ok(Self { drift: self.drift, ..grown })
    }

    /// Returns the item vectors of its rows with towers.
    fn vectors(&self) -> ItemVectors {
        let has_towers = |row: &str| self.recipe.variants().iter().any(|own| own.name == row && own.has_towers());
        // Rows share parts.
        let all: HashMap<&str, &[f32]> = self.scorers.iter().flat_map(Scorer::vectors).collect();
        let all = all.into_iter().filter(|(row, _)| has_towers(row));
        let tensor = |rows: &[f32]| {
            let shape = [self.items() + 1, rows.len() / (self.items() + 1)];
            Tensor::from_data(TensorData::new(rows.to_vec(), shape), &self.device)
        };
        ItemVectors::new(all.map(|(row, rows)| (row.to_owned(), tensor(rows))).collect())
    }

    /// Returns the language model for a catalogue with more items. Only their titles are encoded.
    fn text_of(&self, text: &Arc<FrozenText>, more: &[(String, String)]) -> Result<Arc<FrozenText>> {
        if !self.manifest.files.contains_key(files::TITLES) {
            return Ok(text.clone());
        }
        let (ids, titles): (Vec<String>, Vec<String>) = more.iter().cloned().unzip();
        let mut catalog = Catalog::new(ids, titles);
        if let Some(template) = self.dataset.catalog.template() {
            let nothing = vec![vec![String::new(); more.len()]; template.fields().len()];
            catalog = catalog.with_texts(template.clone(), nothing);
        }
        let added = text.encode(&catalog)?;
        let [rows, width] = added.dims();
        let known = text.features(&self.dataset.catalog)?.clone();
        let features = Tensor::cat(vec![known, added.slice([1..rows, 0..width])], 0);
        Ok(Arc::new(text.with_features(features)))
    }

    /// Returns the folder that the bundle was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what the bundle holds, as exported.
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// Returns the largest difference of a canary's score when the bundle was opened, relative to the spread of its answer.
    pub fn drift(&self) -> f32 {
        self.drift
    }

    /// Returns whether an item with this id is in the catalogue.
    pub fn knows(&self, id: &str) -> bool {
        self.names.exact(id).is_some()
    }

    /// Returns the number of training interactions of an item; 0 if it is unknown.
    pub(crate) fn popularity_of(&self, id: &str) -> u32 {
        self.names.exact(id).map_or(0, |item| self.popularity[item.index()])
    }

    /// Returns what every user of an opened bundle did, oldest first, by the ids of items; the names of users are empty if the bundle does not
    /// hold them.
    pub(crate) fn histories(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let Dataset { users, catalog, train, test, .. } = &self.dataset;
        let rows = train.rows().zip(test.rows());
        let ids = |(train, later): (&[ItemId], &[ItemId])| {
            train.iter().chain(later).map(|item| catalog.id(*item)).collect::<Vec<_>>()
        };
        users.iter().map(String::as_str).zip(rows.map(ids))
    }

    /// Returns what a field of texts holds of an item; empty for an unknown id or field.
    pub(crate) fn field_of(&self, id: &str, name: &str) -> &str {
        let mut fields = self.dataset.catalog.fields();
        let texts = fields.find(|(own, _)| *own == name).map(|(_, texts)| texts);
        let place = self.names.exact(id).map(|item| item.index() - 1);
        place.zip(texts).and_then(|(place, texts)| texts.get(place)).map_or("", String::as_str)
    }

    /// Returns the title of an item, and its group, which is empty without groups; nothing for an unknown id.
    pub(crate) fn title_and_group(&self, id: &str) -> Option<(&str, &str)> {
        let item = self.names.exact(id)?;
        Some((self.dataset.catalog.title(item), self.groups.get(item.index() - 1).map_or("", String::as_str)))
    }

    /// Returns the ids of all items, in their order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.dataset.catalog.all().map(|item| self.dataset.catalog.id(item))
    }

    /// Returns how the log of the run was read.
    pub(crate) fn data_config(&self) -> &DataConfig {
        &self.recipe.data
    }

    /// Returns the file or folder of its language model, if it has one: its own, or the one that is given.
    pub(crate) fn lm_path(&self, given: Option<&Path>) -> Option<PathBuf> {
        let own = self.manifest.lm.as_ref()?;
        match own.inside {
            true => Some(self.path.join(files::LM).join(&own.name)),
            false => given.map(Path::to_path_buf),
        }
    }

    /// Returns the folder of the adapter of its language model, if it has one.
    pub(crate) fn adapter_path(&self) -> Option<PathBuf> {
        Some(self.path.join(self.recipe.lm.adapter.as_ref()?))
    }

    /// Returns whether items have groups.
    pub(crate) fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Returns the items that were added since the export.
    pub(crate) fn added(&self) -> impl Iterator<Item = ItemId> + use<> {
        (self.manifest.items as u32 + 1..self.items() as u32 + 1).map(ItemId)
    }

    /// Returns the number of items, added ones included.
    pub fn items(&self) -> usize {
        self.dataset.catalog.len()
    }
}

/// What a bundle holds besides its models.
struct Held {
    /// It may have more items than the manifest says, at its end.
    dataset: Dataset,
    groups: Vec<String>,
    text: Option<Arc<FrozenText>>,
    /// The item vectors of rows with towers that need not be read or computed.
    vectors: ItemVectors,
}

/// Opens the language model of a bundle, if it has one.
fn open_text(
    path: &Path,
    manifest: &BundleManifest,
    lm: Option<&Path>,
    device: &Device,
) -> Result<Option<Arc<FrozenText>>> {
    let Some(own) = &manifest.lm else {
        return match lm {
            Some(lm) => bail!("--lm {}: {} needs no language model; leave it out", lm.display(), path.display()),
            None => Ok(None),
        };
    };
    let mut recipe = manifest.recipe()?;
    recipe.lm.adapter = recipe.lm.adapter.map(|own| path.join(own));
    let inside = path.join(files::LM).join(&own.name);
    let at = match lm {
        _ if own.inside => inside,
        Some(lm) => lm.to_path_buf(),
        None => {
            bail!("{}: was exported without its language model, {}; give it by --lm", path.display(), own.name)
        }
    };
    let text = FrozenText::in_memory(&recipe, &at, device).with_context(|| at.display().to_string())?;
    if text.identity() != own.identity {
        bail!("{}: is not the language model {} that the bundle was made with", at.display(), own.name);
    }
    Ok(Some(Arc::new(match manifest.files.contains_key(files::TITLES) {
        true => text.with_features(table::titles(path, manifest.items, device)?),
        false => text,
    })))
}
