//! Training any ID method.
use crate::Batches;
use burn::tensor::{Device, Tensor};
use ra_core::{Curve, Dataset, FitConfig, IdModel, Problem, Progress, Recommender, Result, fit};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A validation metric of a frozen model, higher is better.
pub type Validate<'a> = Option<&'a dyn Fn(&dyn Recommender) -> f64>;

/// How an ID method is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Users a batch; of methods that learn from pairs, pairs.
    pub batch: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// Epochs between two validations.
    pub validate_every: usize,
    /// Validations without improvement before training stops; 0 is never.
    pub patience: usize,
    /// Learning rate.
    pub lr: f64,
    /// AdamW's decay rates of the two moments.
    pub betas: [f32; 2],
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch: 128,
            epochs: 200,
            validate_every: 5,
            patience: 4,
            lr: 1e-3,
            betas: [0.9, 0.98],
            weight_decay: 0.0,
        }
    }
}

impl TrainConfig {
    /// What cannot work, by key.
    pub fn problems(&self) -> Vec<Problem> {
        let numbers = [
            Problem::if_below("batch", self.batch, 1),
            Problem::unless_positive("lr", self.lr),
            Problem::if_negative("weight_decay", self.weight_decay),
        ];
        let rates = self.betas.iter().filter_map(|&beta| Problem::unless_share("betas", beta));
        numbers.into_iter().flatten().chain(rates).collect()
    }

    /// What works and is hardly what anybody wants, by key: a reader of the figures must know of it.
    pub fn oddities(&self) -> Vec<Problem> {
        if self.epochs == 0 {
            return vec![Problem::new("epochs", "is 0: the model is untrained, as it was drawn")];
        }
        let early = (self.patience == 1 && self.validate_every > 0)
            .then(|| Problem::new("patience", "is 1: training stops at the first validation that is no better"));
        early.into_iter().collect()
    }
}

/// What every ID method is trained on, and how it is watched.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The data set.
    pub dataset: &'a Dataset,
    /// The plain device.
    pub device: &'a Device,
    /// Decides initial weights, order, negatives and dropout.
    pub seed: u64,
    /// Chooses the model that is kept; without it, the last one is.
    pub validate: Validate<'a>,
    /// Hears how far training is.
    pub progress: &'a dyn Progress,
    /// Given item vectors, `[items + 1, width]` with padding in row 0, for methods that map them; see
    /// [`crate::IdConfig::reads_features`].
    pub features: Option<&'a Tensor<2>>,
    /// Where a training is written down while it runs, to go on from there; see [`ra_core::fit`].
    pub state: Option<&'a Path>,
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("dataset", &self.dataset.name).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Trains `model` (on an autodiff device) on `batches` and returns it as it was at the best validation.
///
/// # Errors
/// As [`ra_core::fit`].
pub fn train<M: IdModel>(
    model: M,
    batches: &mut dyn Batches,
    config: &TrainConfig,
    job: &Job<'_>,
) -> Result<(M, Curve)> {
    let fit_config = FitConfig {
        steps: batches.steps() * config.epochs,
        lr: config.lr,
        weight_decay: config.weight_decay,
        betas: config.betas,
        validate_every: batches.steps() * config.validate_every,
        patience: config.patience,
        ..FitConfig::default()
    };
    let loss = |model: &M, step: usize| model.loss(&batches.batch(step));
    let mut metric = job.validate.map(|validate| move |model: &M| validate(&model.fitted()));
    let metric = metric.as_mut().map(|m| m as ra_core::Validation<'_, M>);
    fit("train id model", &fit_config, model, loss, metric, job.progress, job.state)
}
