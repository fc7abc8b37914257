//! Training of ID methods.
use crate::Batches;
use burn::tensor::{Device, Tensor};
use ra_core::{
    Check, Curve, Dataset, Error, Fit, FitConfig, IdModel, ItemId, NoProgress, OptimConfig, Problem, Progress,
    Renumbering, Result, Validate, fingerprint, fingerprint_file, flat_config,
};
use serde::Serialize;
use std::cell::RefCell;
use std::path::Path;

/// A training goes by rows if its first batch reads at most one in so many items of the catalogue.
const FEW: usize = 4;

/// A training that `max_steps` ends is validated at least so many times, if at all.
const FEWEST: usize = 4;

/// How an ID method is trained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainConfig {
    /// The number of users per batch, or of pairs for methods that learn from pairs.
    pub batch: usize,
    /// The highest number of epochs.
    pub epochs: usize,
    /// The highest number of training steps, so that a larger log takes fewer epochs instead of more time; 0 sets no
    /// limit. A training that it ends is validated at least four times, if `validate_every` is not 0.
    pub max_steps: usize,
    /// The number of epochs between two validations.
    pub validate_every: usize,
    /// The number of validations without improvement after which training stops; 0 turns early stopping off.
    pub patience: usize,
    /// The optimizer and its learning-rate schedule; its keys are in the same table as those above.
    #[serde(flatten)]
    pub optim: OptimConfig,
}

flat_config!(TrainConfig { batch, epochs, max_steps, validate_every, patience }, optim: OptimConfig);

impl Start<'_> {
    /// Returns the key of the parameters, for the state of a training.
    fn fingerprint(&self) -> Result<String> {
        let items: Vec<u8> = self.items.iter().flat_map(|item| item.map_or(0, |item| item.0).to_le_bytes()).collect();
        let items = fingerprint([items.as_slice()]);
        Ok(format!(", start {} {} {items}", fingerprint_file(self.checkpoint)?, self.known))
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch: 128,
            epochs: 200,
            max_steps: 0,
            validate_every: 5,
            patience: 4,
            optim: OptimConfig { betas: [0.9, 0.98], ..OptimConfig::default() },
        }
    }
}

impl TrainConfig {
    /// Returns the number of steps of a training whose epochs have so many.
    pub fn steps(&self, per_epoch: usize) -> usize {
        let all = per_epoch.saturating_mul(self.epochs);
        if self.max_steps == 0 { all } else { all.min(self.max_steps) }
    }
}

impl Check for TrainConfig {
    fn problems(&self) -> Vec<Problem> {
        Problem::if_below("batch", self.batch, 1).into_iter().chain(self.optim.problems()).collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        if self.epochs == 0 {
            return vec![Problem::new("epochs", "is 0: the model is untrained and keeps its initial weights")];
        }
        Problem::if_impatient(self.patience, self.validate_every).into_iter().collect()
    }
}

/// The data, device and options for fitting a method.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Job<'a> {
    /// The data set.
    pub dataset: &'a Dataset,
    /// The plain device, without autodiff.
    pub device: &'a Device,
    /// Determines initial weights, order, negatives and dropout.
    pub seed: u64,
    /// The metric that selects the best model; without it, the last one is kept.
    pub validate: Option<Validate<'a>>,
    /// Receives progress reports.
    pub progress: &'a dyn Progress,
    /// Given item vectors, `[items + 1, width]` with padding in row 0, for methods that map them; see
    /// [`IdMethod::reads_features`](crate::IdMethod::reads_features).
    pub features: Option<&'a Tensor<2>>,
    /// The file that training saves its state to and resumes from; see [`ra_core::Fit::state`].
    pub state: Option<&'a Path>,
    /// What is trained, in words; see [`method`](Self::method).
    pub method: &'a str,
    /// The number of items that a checkpoint knows, if the data set has more at its end: those get zeros.
    pub known_items: Option<usize>,
    /// The trained parameters that training starts from, in place of random ones.
    pub start: Option<Start<'a>>,
}

/// Trained parameters of an earlier catalogue, which a training continues.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// What [`Trained::save`](crate::Trained::save) wrote.
    pub checkpoint: &'a Path,
    /// The number of items of that catalogue.
    pub known: usize,
    /// The number of each item of the data set in that catalogue; a new item starts at random.
    pub items: &'a [Option<ItemId>],
}

impl<'a> Job<'a> {
    /// Creates a job with seed 1 and no options.
    pub fn new(dataset: &'a Dataset, device: &'a Device) -> Self {
        let (seed, validate, features, state, method, start) = (1, None, None, None, "", None);
        let progress = &NoProgress;
        Self { dataset, device, seed, validate, progress, features, state, method, known_items: None, start }
    }

    /// Sets the [`seed`](Self::seed).
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets the metric that selects the best model; higher is better.
    #[must_use]
    pub fn validate(self, validate: Validate<'a>) -> Self {
        Self { validate: Some(validate), ..self }
    }

    /// Sets the receiver of progress reports.
    #[must_use]
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }

    /// Loads checkpoints from when the catalogue had only this many items.
    #[must_use]
    pub fn known_items(self, known: usize) -> Self {
        Self { known_items: Some(known).filter(|known| *known < self.dataset.catalog.len()), ..self }
    }

    /// Continues the training of an earlier catalogue. A method that learns a vector for each user separately starts anew.
    /// The best validation counts from the start on.
    #[must_use]
    pub fn start(self, start: Start<'a>) -> Self {
        Self { start: Some(start), ..self }
    }

    /// Sets the given item vectors, `[items + 1, width]` with padding in row 0.
    #[must_use]
    pub fn features(self, features: &'a Tensor<2>) -> Self {
        Self { features: Some(features), ..self }
    }

    /// Saves the training state to `path` while it runs, and resumes from there. A state of another
    /// [`method`](Self::method), seed, data set, batch size or optimizer, or with parameters of other shapes, is an error.
    /// Given [`features`](Self::features) must be the same; they are not compared.
    #[must_use]
    pub fn state(self, path: &'a Path) -> Self {
        Self { state: Some(path), ..self }
    }

    /// States what is trained, such as the settings of a method: a training state of anything else is not resumed. A
    /// [`LearnedMethod`](crate::LearnedMethod) sets it itself.
    #[must_use]
    pub fn method(self, method: &'a str) -> Self {
        Self { method, ..self }
    }

    /// Returns the device to train on: the plain one with autodiff.
    pub fn training_device(&self) -> Device {
        self.device.clone().autodiff()
    }

    /// Returns [`features`](Self::features) for a method that requires them.
    ///
    /// # Errors
    /// [`Error::Missing`] if there are none.
    pub fn given_features(&self) -> Result<&'a Tensor<2>> {
        let (what, remedy) =
            ("a vector for each item".into(), "give features, such as a language model's vectors of titles".into());
        self.features.ok_or(Error::Missing { what, remedy })
    }
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("dataset", &self.dataset.name).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Trains `model` (on an autodiff device) on `batches` and returns the version with the best validation.
///
/// A model with [`item_rows`](IdModel::item_rows) whose batches read a small part of a large catalogue is trained by rows
/// ([`Fit::run_by_rows`]): a step then takes as long as with a small catalogue.
///
/// # Errors
/// Those of [`ra_core::Fit::run`].
pub fn train<M: IdModel>(
    mut model: M,
    batches: &mut dyn Batches,
    config: &TrainConfig,
    job: &Job<'_>,
) -> Result<(M, Curve)> {
    if batches.steps() == 0 {
        let remedy = "give somebody two training interactions, or hold less out";
        return Err(Error::Missing { what: "a training sample".into(), remedy: remedy.into() });
    }
    let steps = config.steps(batches.steps());
    // With few and long epochs there is still a choice of models.
    let longest =
        if steps < batches.steps().saturating_mul(config.epochs) { steps.div_ceil(FEWEST) } else { usize::MAX };
    let fit_config = FitConfig {
        steps,
        optim: config.optim,
        validate_every: batches.steps().saturating_mul(config.validate_every).min(longest),
        patience: config.patience,
        ..FitConfig::default()
    };
    let fit = Fit::new("train id model", &fit_config).progress(job.progress).state(job.state);
    let mut fit = fit.rates_start(job.start.is_some());
    if job.state.is_some() {
        let Job { seed, method, .. } = job;
        let start = job.start.map(|start| start.fingerprint()).transpose()?.unwrap_or_default();
        let data = job.dataset.fingerprint();
        fit = fit.of(format!("{method} seed {seed}, data {data}, batch {}{start}", config.batch));
    }
    if let Some(validate) = job.validate {
        fit = fit.validate(move |model: &M| validate(&model.fitted()));
    }
    let (batches, mut numbering) = (RefCell::new(batches), Renumbering::new(job.dataset.catalog.len()));
    let next = |step| batches.borrow_mut().batch(step);
    // A step that touches most of the table is faster on all of it.
    if model.item_rows().is_none() || numbering.renumber(next(0)).1.len() * FEW > job.dataset.catalog.len() {
        return fit.run(model, |model, step| model.loss(&next(step)));
    }
    fit.run_by_rows(
        model,
        M::item_rows,
        |step| numbering.renumber(next(step)),
        |model, batch| model.loss(batch),
        |model, step| model.loss(&next(step)),
    )
}
