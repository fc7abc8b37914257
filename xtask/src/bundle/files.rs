//! The files of a bundle, and the manifest that vouches for them.
use crate::fetch::sha256;
use crate::recipe::Recipe;
use anyhow::{Context, Result, bail};
use ra_core::{OutputFolder, read_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path};
use utoipa::ToSchema;

/// The kind of the folder in its marker.
pub(crate) const KIND: &str = "bundle";

/// The version of the format that this program writes and reads. In format 1, `pop` and `markov` had other
/// scores, and in format 2 `pop` those of items without an interaction.
pub(super) const FORMAT: u32 = 3;

pub(crate) const MANIFEST: &str = "manifest.json";
pub(super) const ITEMS: &str = "items.parquet";
pub(super) const ITEMS_NPY: &str = "items.npy";
pub(super) const HISTORIES: &str = "histories.parquet";
pub(super) const CANARY: &str = "canary.json";
/// Vectors of the titles, for methods that read them.
pub(super) const TITLES: &str = "model/titles.npy";
/// The folder of the trained models, laid out as in a run.
pub(super) const MODEL: &str = "model";
/// What an update compared before it wrote the bundle.
pub(crate) const UPDATE: &str = "update.json";
/// The folder of the language model.
pub(super) const LM: &str = "lm";
/// The folder of an adapter of the language model.
pub(super) const ADAPTER: &str = "lm-adapter";

/// Returns the name of the file with the matrix that turns the vectors of a part.
pub(super) fn turn_name(part: &str) -> String {
    format!("{MODEL}/turn-{part}.npy")
}

/// The identity of a bundle. It is the last file to be written: a folder without it is not a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BundleManifest {
    /// The version of the format.
    pub format: u32,
    /// The program and its version.
    pub made_by: String,
    /// The commit of the code that the run was made with, empty if unknown.
    pub commit: String,
    /// The name of the recipe.
    pub recipe_name: String,
    /// The resolved recipe of the run.
    pub recipe: String,
    /// The fingerprint of the protocol under which the rows were measured.
    pub protocol: String,
    /// The fingerprint of the data set that the models were trained on.
    pub dataset: String,
    /// The name of the data set.
    pub name: String,
    /// The number of items.
    pub items: usize,
    /// The number of users.
    pub users: usize,
    /// Whether it holds the names of users, so that it answers for them by name.
    pub names_users: bool,
    /// The rows that answer; the first one by default.
    pub rows: Vec<BundleRow>,
    /// The language model, if a row or the vectors of new items need one.
    pub lm: Option<BundleLm>,
    /// The sha256 of every other file in hexadecimal digits, by path within the folder.
    pub files: BTreeMap<String, String>,
}

/// A row of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BundleRow {
    /// The name by which a recipe refers to it, such as `sasrec`, `ra-rec` or that of a variant.
    pub name: String,
    /// The name in the report.
    pub label: String,
    /// The report's metrics on the test part, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Of the first row: the parts of the vectors in `items.parquet`, in order. Other rows have none there.
    pub vector: Vec<VectorPart>,
}

/// A part of a row's vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct VectorPart {
    /// The row that it belongs to.
    pub row: String,
    /// The number of columns.
    pub width: usize,
}

/// The language model of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BundleLm {
    /// Its name, and that of its file or folder within `lm/`.
    pub name: String,
    /// The key of everything that its vectors depend on.
    pub identity: String,
    /// Whether its files are in the bundle.
    pub inside: bool,
}

impl BundleManifest {
    /// Reads the manifest of a bundle and checks its format and every file that it lists.
    ///
    /// # Errors
    /// Names the file that is missing or was changed.
    pub fn checked(folder: &Path) -> Result<Self> {
        let own = Self::read(folder)?;
        own.check(folder, own.files.keys().map(String::as_str))?;
        Ok(own)
    }

    /// Checks files of the bundle in `folder` that it lists.
    ///
    /// # Errors
    /// Names the file that is missing or was changed.
    pub(super) fn check<'a>(&self, folder: &Path, mut names: impl Iterator<Item = &'a str>) -> Result<()> {
        names.try_for_each(|name| {
            let path = folder.join(name);
            if !path.is_file() {
                bail!("{}: is missing; copy the bundle again", path.display());
            }
            if self.files.get(name) != Some(&sha256(&path)?) {
                bail!("{}: is not the file that was exported; copy the bundle again", path.display());
            }
            Ok(())
        })
    }

    /// Reads the manifest of a bundle, and checks nothing but its format.
    ///
    /// # Errors
    /// If the folder is not a bundle, or one of another format.
    pub fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(MANIFEST);
        if !file.is_file() {
            bail!("{}: is not a bundle (there is no {MANIFEST}); make one by export", folder.display());
        }
        let found: serde_json::Value = read_json(&file)?;
        let format = found.get("format").and_then(serde_json::Value::as_u64);
        if format.is_none() && folder.join("report.json").is_file() {
            bail!("{}: is a run, not a bundle; make a bundle of it by export", folder.display());
        }
        if format != Some(FORMAT.into()) {
            let told = format.map_or_else(|| "no format".into(), |format| format!("format {format}"));
            bail!("{}: has {told}, and this program reads format {FORMAT}; export it again", file.display());
        }
        let own: Self = serde_json::from_value(found).with_context(|| format!("{}: is damaged", file.display()))?;
        let is_inside = |name: &String| {
            !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
        };
        let lm = own.lm.iter().map(|lm| &lm.name);
        if let Some(name) = own.files.keys().chain(lm).find(|name| !is_inside(name)) {
            bail!("{}: lists {name:?}, which is not within the bundle", file.display());
        }
        for name in [ITEMS, HISTORIES, CANARY] {
            if !own.files.contains_key(name) {
                bail!("{}: does not list {name}; export it again", file.display());
            }
        }
        if own.rows.is_empty() {
            bail!("{}: has no row; export it again", file.display());
        }
        Ok(own)
    }

    /// Returns the names of the rows that its rows are made of.
    pub(super) fn made_of(&self, recipe: &Recipe) -> Vec<String> {
        self.rows.iter().flat_map(|row| recipe.made_of(&row.name)).collect()
    }

    /// Returns the recipe of the run. What is kept of texts in memory is bounded for a service.
    pub(super) fn recipe(&self) -> Result<Recipe> {
        Recipe::resolved(&self.recipe)?.with(&[format!("align.cache_mib={CACHE_MIB}")])
    }
}

/// The memory for what is computed of texts, in MiB per tower.
const CACHE_MIB: usize = 64;

/// Returns the sha256 of all files that belong to the folder.
pub(super) fn sums(files: &OutputFolder) -> Result<BTreeMap<String, String>> {
    let listed = files.files().filter(|name| *name != MANIFEST);
    listed.map(|name| Ok((name.to_owned(), sha256(&files.path().join(name))?))).collect()
}
