//! Training any ID method.
use crate::Batches;
use burn::tensor::{Device, Tensor};
use ra_core::{
    Check, Curve, Dataset, Error, Fit, FitConfig, IdModel, NoProgress, OptimConfig, Problem, Progress, Result,
    Validate, flat_config,
};
use serde::Serialize;
use std::path::Path;

/// How an ID method is trained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainConfig {
    /// Users a batch; of methods that learn from pairs, pairs.
    pub batch: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// Epochs between two validations.
    pub validate_every: usize,
    /// Validations without improvement before training stops; 0 is never.
    pub patience: usize,
    /// The optimizer and the schedule of its rate; its keys stand beside those above.
    #[serde(flatten)]
    pub optim: OptimConfig,
}

flat_config!(TrainConfig { batch, epochs, validate_every, patience }, optim: OptimConfig);

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch: 128,
            epochs: 200,
            validate_every: 5,
            patience: 4,
            optim: OptimConfig { betas: [0.9, 0.98], ..OptimConfig::default() },
        }
    }
}

impl Check for TrainConfig {
    fn problems(&self) -> Vec<Problem> {
        Problem::if_below("batch", self.batch, 1).into_iter().chain(self.optim.problems()).collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        if self.epochs == 0 {
            return vec![Problem::new("epochs", "is 0: the model is untrained, as it was drawn")];
        }
        Problem::if_impatient(self.patience, self.validate_every).into_iter().collect()
    }
}

/// What a method is fitted to, and how its training is watched.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Job<'a> {
    /// The data set.
    pub dataset: &'a Dataset,
    /// The plain device.
    pub device: &'a Device,
    /// Decides initial weights, order, negatives and dropout.
    pub seed: u64,
    /// Chooses the model that is kept; without it, the last one is.
    pub validate: Option<Validate<'a>>,
    /// Hears how far training is.
    pub progress: &'a dyn Progress,
    /// Given item vectors, `[items + 1, width]` with padding in row 0, for methods that map them; see
    /// [`IdMethod::reads_features`](crate::IdMethod::reads_features).
    pub features: Option<&'a Tensor<2>>,
    /// Where a training is written down while it runs, to go on from there; see [`ra_core::Fit::state`].
    pub state: Option<&'a Path>,
}

impl<'a> Job<'a> {
    /// A job with seed 1 and nothing else.
    pub fn new(dataset: &'a Dataset, device: &'a Device) -> Self {
        Self { dataset, device, seed: 1, validate: None, progress: &NoProgress, features: None, state: None }
    }

    /// With this [`seed`](Self::seed).
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// With this metric to choose the model by, higher is better.
    #[must_use]
    pub fn validate(self, validate: Validate<'a>) -> Self {
        Self { validate: Some(validate), ..self }
    }

    /// Told to `progress`.
    #[must_use]
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }

    /// With given item vectors, `[items + 1, width]`, padding in row 0.
    #[must_use]
    pub fn features(self, features: &'a Tensor<2>) -> Self {
        Self { features: Some(features), ..self }
    }

    /// Written down at `path` while it runs, and gone on with from there. A state of another seed, data set, batch or
    /// optimizer is an error, and so is one whose parameters have other shapes.
    #[must_use]
    pub fn state(self, path: &'a Path) -> Self {
        Self { state: Some(path), ..self }
    }

    /// The device that a model is trained on: the plain one with gradients.
    pub fn training_device(&self) -> Device {
        self.device.clone().autodiff()
    }

    /// [`features`](Self::features) for a method that cannot do without.
    ///
    /// # Errors
    /// [`Error::Missing`] when there are none.
    pub fn given_features(&self) -> Result<&'a Tensor<2>> {
        let (what, remedy) =
            ("a vector an item".into(), "give features, such as a language model's vectors of titles".into());
        self.features.ok_or(Error::Missing { what, remedy })
    }
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("dataset", &self.dataset.name).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Trains `model` (on an autodiff device) on `batches` and returns it as it was at the best validation.
///
/// # Errors
/// As [`ra_core::Fit::run`].
pub fn train<M: IdModel>(
    model: M,
    batches: &mut dyn Batches,
    config: &TrainConfig,
    job: &Job<'_>,
) -> Result<(M, Curve)> {
    if batches.steps() == 0 {
        let remedy = "give somebody two training interactions, or hold less out";
        return Err(Error::Missing { what: "a training sample".into(), remedy: remedy.into() });
    }
    let fit_config = FitConfig {
        steps: batches.steps() * config.epochs,
        optim: config.optim,
        validate_every: batches.steps() * config.validate_every,
        patience: config.patience,
        ..FitConfig::default()
    };
    let mut fit = Fit::new("train id model", &fit_config).progress(job.progress).state(job.state);
    if job.state.is_some() {
        fit = fit.of(format!("seed {}, data {}, batch {}", job.seed, job.dataset.fingerprint(), config.batch));
    }
    if let Some(validate) = job.validate {
        fit = fit.validate(move |model: &M| validate(&model.fitted()));
    }
    fit.run(model, |model, step| model.loss(&batches.batch(step)))
}
