//! The entry point: makes a recommender of four parts.
use crate::config::{AlignConfig, AlignTrain};
use crate::method::{PromptConfig, TextTower};
use crate::train::{FitResult, Job, fit};
use ra_core::{Check, Dataset, LanguageModel, NoProgress, Progress, Recommender, Result, Sample, Tokenizer, Validate};
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

/// A builder that aligns an ID method to a language model; [`fit`](Alignment::fit) trains it.
///
/// Everything except its four parts has a default: [`AlignConfig::recommended`], [`AlignTrain::recommended`], all
/// training samples of the data set, no validation, seed 1. To share texts between trainings, use [`Job`]s over one
/// [`TextTower`].
pub struct Alignment<'a, I, L> {
    ids: I,
    lm: L,
    tokenizer: &'a dyn Tokenizer,
    dataset: &'a Dataset,
    prompt: PromptConfig,
    config: AlignConfig,
    train: AlignTrain,
    samples: Option<Vec<Sample>>,
    teacher: Option<&'a dyn Recommender>,
    validate: Option<Validate<'a>>,
    progress: &'a dyn Progress,
    seed: u64,
}

impl<'a, I: Recommender, L: LanguageModel> Alignment<'a, I, L> {
    /// Aligns `ids`, trained on the training part of `dataset`, to `lm`, which reads titles as cut by `tokenizer`.
    pub fn new(ids: I, lm: L, tokenizer: &'a dyn Tokenizer, dataset: &'a Dataset) -> Self {
        Self {
            ids,
            lm,
            tokenizer,
            dataset,
            prompt: PromptConfig::default(),
            config: AlignConfig::recommended(),
            train: AlignTrain::recommended(),
            samples: None,
            teacher: None,
            validate: None,
            progress: &NoProgress,
            seed: 1,
        }
    }

    /// Sets the alignment.
    #[must_use]
    pub fn config(self, config: AlignConfig) -> Self {
        Self { config, ..self }
    }

    /// Sets the training of the towers.
    #[must_use]
    pub fn train(self, train: AlignTrain) -> Self {
        Self { train, ..self }
    }

    /// Sets the prompts of the language model.
    #[must_use]
    pub fn prompt(self, prompt: PromptConfig) -> Self {
        Self { prompt, ..self }
    }

    /// Sets the samples to learn from, such as those of [`crate::coverage`].
    #[must_use]
    pub fn samples(self, samples: Vec<Sample>) -> Self {
        Self { samples: Some(samples), ..self }
    }

    /// Sets the model whose scores [`distill`](crate::DepartureConfig::distill) reproduces instead of those of the ID
    /// method, such as a [`crate::Blend`].
    #[must_use]
    pub fn teacher(self, teacher: &'a dyn Recommender) -> Self {
        Self { teacher: Some(teacher), ..self }
    }

    /// Sets the metric that selects the best point of the training.
    #[must_use]
    pub fn validate(self, validate: Validate<'a>) -> Self {
        Self { validate: Some(validate), ..self }
    }

    /// Sets the receiver of progress reports.
    #[must_use]
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }

    /// Sets the seed of initial weights, order, negatives and noise.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Trains the towers.
    ///
    /// # Errors
    /// As [`fit()`] and [`TextTower::of_titles`].
    ///
    /// # Panics
    /// If a sample points outside the data set.
    pub fn fit(self) -> Result<FitResult<I, L>> {
        let Self { ids, lm, tokenizer, dataset, prompt, config, train, samples, teacher, validate, progress, seed } =
            self;
        train.check()?;
        let text = TextTower::of_titles(lm, tokenizer, &dataset.catalog, &prompt, &config, ids.interests())?;
        let (text, samples) = (Arc::new(text), samples.unwrap_or_else(|| dataset.samples()));
        let job = Job { seed, teacher, ..Job::new(ids, &text, dataset, &samples, &config, &train) };
        fit(job, validate, progress)
    }
}

impl<I: Debug, L: Debug> Debug for Alignment<'_, I, L> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { ids, lm, config, train, seed, .. } = self;
        let mut shown = f.debug_struct("Alignment");
        shown.field("ids", ids).field("lm", lm).field("config", config).field("train", train).field("seed", seed);
        shown.finish_non_exhaustive()
    }
}
