//! The run-time choice of a method: one tagged enum, one match.
use crate::{Pop, SasRecConfig, TrainConfig, Validate, train};
use burn::tensor::Device;
use ra_core::{Curve, Dataset, LedgerRow, Progress, Recommender, Result, ledger, load_module, save_module};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One `[[id]]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum IdConfig {
    /// Popularity.
    Pop,
    /// SASRec.
    Sasrec(SasRecConfig),
}

impl IdConfig {
    /// Name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pop => "pop",
            Self::Sasrec(_) => "sasrec",
        }
    }

    /// How it is trained, if it is.
    pub fn train(&self) -> Option<&TrainConfig> {
        match self {
            Self::Pop => None,
            Self::Sasrec(config) => Some(&config.train),
        }
    }
}

/// A trained ID method.
#[derive(Debug)]
pub struct Trained {
    /// The frozen model.
    pub model: Box<dyn Recommender>,
    /// How training went.
    pub curve: Curve,
    /// What was trained.
    pub ledger: Vec<LedgerRow>,
    checkpoint: Option<crate::SasRec>,
}

impl Trained {
    /// Writes the trained parameters; a method without any writes nothing.
    ///
    /// # Errors
    /// As [`save_module`].
    pub fn save(&self, path: &Path) -> Result<()> {
        self.checkpoint.as_ref().map_or(Ok(()), |module| save_module(module, path))
    }
}

/// Trains a method on `dataset.train`, choosing by `validate`.
///
/// # Errors
/// As [`train`].
pub fn fit(
    config: &IdConfig,
    dataset: &Dataset,
    device: &Device,
    seed: u64,
    validate: Validate<'_>,
    progress: &dyn Progress,
) -> Result<Trained> {
    match config {
        IdConfig::Pop => Ok(pop(dataset, device)),
        IdConfig::Sasrec(config) => {
            let fresh = config.init(dataset.catalog.len(), seed, &device.clone().autodiff());
            let data = (dataset, config.max_length);
            let (model, curve) = train("train sasrec", fresh, data, &config.train, seed, device, validate, progress)?;
            Ok(sasrec(ra_core::IdModel::fitted(&model), curve))
        }
    }
}

/// Loads what [`Trained::save`] wrote.
///
/// # Errors
/// As [`load_module`].
pub fn load(config: &IdConfig, dataset: &Dataset, path: &Path, device: &Device) -> Result<Trained> {
    match config {
        IdConfig::Pop => Ok(pop(dataset, device)),
        IdConfig::Sasrec(config) => {
            Ok(sasrec(load_module(config.init(dataset.catalog.len(), 0, device), path)?, Curve::default()))
        }
    }
}

fn pop(dataset: &Dataset, device: &Device) -> Trained {
    Trained {
        model: Box::new(Pop::new(dataset, device)),
        curve: Curve::default(),
        ledger: Vec::new(),
        checkpoint: None,
    }
}

fn sasrec(model: crate::SasRec, curve: Curve) -> Trained {
    Trained { ledger: ledger(&model), model: Box::new(model.clone()), curve, checkpoint: Some(model) }
}
