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

/// Trains `model` (on an autodiff device) and returns its frozen form of the best validation.
///
/// # Errors
/// As [`ra_core::fit`].
pub fn train<M: IdModel>(
    stage: &str,
    model: M,
    (dataset, max_length): (&Dataset, usize),
    config: &TrainConfig,
    seed: u64,
    device: &Device,
    validate: Validate<'_>,
    progress: &dyn Progress,
) -> Result<(M, Curve)> {
    let mut plan = BatchPlan::new(dataset, config.batch, seed);
    let every = if validate.is_some() { plan.steps() * config.validate_every } else { 0 };
    let fit_config = FitConfig {
        steps: plan.steps() * config.epochs,
        lr: config.lr,
        weight_decay: config.weight_decay,
        betas: [0.9, 0.98],
        validate_every: every,
        patience: config.patience,
        ..FitConfig::default()
    };
    let loss = |model: &M, step: usize| {
        let seed = splitmix64(seed ^ splitmix64(step as u64));
        model.loss(&next_item_batch(dataset, plan.users(step), max_length, seed, device))
    };
    let mut metric = |model: &M| validate.map_or(0.0, |v| v(&model.fitted()));
    fit(stage, &fit_config, model, loss, Some(&mut metric), progress)
}
