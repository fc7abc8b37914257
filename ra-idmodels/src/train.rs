//! Training any ID method.
use crate::{BatchPlan, next_item_batch};
use burn::tensor::Device;
use ra_core::{Curve, Dataset, FitConfig, IdModel, Progress, Recommender, Result, fit, splitmix64};
use serde::{Deserialize, Serialize};

/// A validation metric of a frozen model, higher is better.
pub type Validate<'a> = Option<&'a dyn Fn(&dyn Recommender) -> f64>;

/// How an ID method is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Users a batch.
    pub batch: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// Epochs between two validations.
    pub validate_every: usize,
    /// Validations without improvement before training stops; 0 is never.
    pub patience: usize,
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self { batch: 128, epochs: 200, validate_every: 5, patience: 4, lr: 1e-3, weight_decay: 0.0 }
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
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("dataset", &self.dataset.name).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Trains `model` (on an autodiff device) on the last `max_length` items of every user and returns it as it was at the
/// best validation.
///
/// # Errors
/// As [`ra_core::fit`].
pub fn train<M: IdModel>(model: M, max_length: usize, config: &TrainConfig, job: &Job<'_>) -> Result<(M, Curve)> {
    let mut plan = BatchPlan::new(job.dataset, config.batch, job.seed);
    let fit_config = FitConfig {
        steps: plan.steps() * config.epochs,
        lr: config.lr,
        weight_decay: config.weight_decay,
        betas: [0.9, 0.98],
        validate_every: plan.steps() * config.validate_every,
        patience: config.patience,
        ..FitConfig::default()
    };
    let loss = |model: &M, step: usize| {
        let seed = splitmix64(job.seed ^ splitmix64(step as u64));
        model.loss(&next_item_batch(job.dataset, plan.users(step), max_length, seed, job.device))
    };
    let mut metric = job.validate.map(|validate| move |model: &M| validate(&model.fitted()));
    let metric = metric.as_mut().map(|m| m as ra_core::Validation<'_, M>);
    fit("train id model", &fit_config, model, loss, metric, job.progress)
}
