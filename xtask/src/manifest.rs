//! What a run was made from: a stage's file is used again only under the same manifest.
use crate::recipe::Recipe;
use anyhow::{Result, bail};
use ra_core::{Dataset, read_json};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The resolved recipe.
    pub(crate) recipe: String,
    /// The data set after filter and split.
    dataset: String,
    /// Version of this program.
    version: String,
}

impl Manifest {
    pub(crate) fn of(recipe: &Recipe, dataset: &Dataset) -> Result<Self> {
        let (recipe, dataset) = (recipe.to_toml()?, dataset.fingerprint().to_string());
        Ok(Self { recipe, dataset, version: env!("CARGO_PKG_VERSION").into() })
    }

    /// Reads a manifest. Keys of a recipe that came after it was written have their defaults, as the run had them.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let found: Self = read_json(file)?;
        let today = Recipe::resolved(&found.recipe).and_then(|recipe| recipe.to_toml());
        Ok(Self { recipe: today.unwrap_or(found.recipe), ..found })
    }

    /// The recipe that the run was made by.
    pub(crate) fn recipe(&self) -> Result<Recipe> {
        Recipe::resolved(&self.recipe)
    }

    /// Refuses to go on with the run of `self`, whose manifest is `file`, as that of `asked`.
    pub(crate) fn may_become(&self, asked: &Self, file: &Path) -> Result<()> {
        if self.dataset != asked.dataset {
            bail!("{}: the run was made from other data; start it again without --resume", file.display());
        }
        if self.version != asked.version || without_epochs(&self.recipe)? != without_epochs(&asked.recipe)? {
            bail!("{}: the run was made by another recipe; start it again without --resume", file.display());
        }
        Ok(())
    }

    /// Refuses a data set that is not the one the run was made from.
    pub(crate) fn check(&self, dataset: &Dataset) -> Result<()> {
        if self.dataset != dataset.fingerprint().to_string() {
            bail!(
                "the data set {} is not the one this run was made from; bring the old files back or run again",
                dataset.name
            );
        }
        Ok(())
    }
}

/// A resolved recipe but for the number of epochs of its ID methods: a training may be made longer.
fn without_epochs(recipe: &str) -> Result<toml::Table> {
    let mut table: toml::Table = recipe.parse()?;
    for id in table.get_mut("id").and_then(toml::Value::as_array_mut).into_iter().flatten() {
        if let Some(train) = id.get_mut("train").and_then(toml::Value::as_table_mut) {
            train.remove("epochs");
        }
    }
    Ok(table)
}
