//! The run-time choice of a method: one tagged enum, one match.
use crate::{Job, Pop, PopConfig, SasRec, SasRecConfig, TrainConfig, train};
use burn::tensor::Device;
use ra_core::{Curve, Dataset, IdModel, LedgerRow, Recommender, Result, ledger, load_module, save_module};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One `[[id]]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum IdConfig {
    /// Popularity.
    Pop(PopConfig),
    /// SASRec.
    Sasrec(SasRecConfig),
}

impl IdConfig {
    /// Name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pop(_) => "pop",
            Self::Sasrec(_) => "sasrec",
        }
    }

    /// What does not make sense, in words a person can act on.
    ///
    /// # Errors
    /// The key, its value and what is allowed.
    pub fn check(&self) -> std::result::Result<(), String> {
        match self {
            Self::Pop(_) => Ok(()),
            Self::Sasrec(config) => config.check(),
        }
    }

    /// How it is trained, if it is.
    pub fn train(&self) -> Option<&TrainConfig> {
        match self {
            Self::Pop(_) => None,
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
    checkpoint: Option<SasRec>,
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

/// Trains a method on the training part of the data set.
///
/// # Errors
/// As [`train`].
pub fn fit(config: &IdConfig, job: &Job<'_>) -> Result<Trained> {
    match config {
        IdConfig::Pop(_) => Ok(pop(job.dataset, job.device)),
        IdConfig::Sasrec(config) => {
            let fresh = config.init(job.dataset.catalog.len(), job.seed, &job.device.clone().autodiff());
            let (model, curve) = train(fresh, config.max_length, &config.train, job)?;
            Ok(sasrec(IdModel::fitted(&model), curve))
        }
    }
}

/// Loads what [`Trained::save`] wrote.
///
/// # Errors
/// As [`load_module`].
pub fn load(config: &IdConfig, dataset: &Dataset, path: &Path, device: &Device) -> Result<Trained> {
    match config {
        IdConfig::Pop(_) => Ok(pop(dataset, device)),
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

fn sasrec(model: SasRec, curve: Curve) -> Trained {
    Trained { ledger: ledger(&model), model: Box::new(model.clone()), curve, checkpoint: Some(model) }
}
