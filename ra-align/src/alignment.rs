//! The way in: four parts, and a recommender comes out.
use crate::config::{AlignConfig, AlignTrain};
use crate::method::{PromptConfig, TextTower};
use crate::train::{FitResult, Job, fit};
use ra_core::{Check, Dataset, LanguageModel, NoProgress, Progress, Recommender, Result, Sample, Tokenizer, Validate};
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

/// An alignment of an ID method to a language model, which [`fit`](Alignment::fit) carries out.
///
/// All but its four parts has a default: [`AlignConfig::recommended`], [`AlignTrain::recommended`], every training
/// sample of the data set, no validation, seed 1. Trainings that are to share their texts are [`Job`]s over one
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
    validate: Option<Validate<'a>>,
    progress: &'a dyn Progress,
    seed: u64,
}

impl<'a, I: Recommender, L: LanguageModel> Alignment<'a, I, L> {
    /// Of `ids`, trained on the training part of `dataset`, to `lm`, which reads what `tokenizer` makes of its titles.
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
            validate: None,
            progress: &NoProgress,
            seed: 1,
        }
    }

    /// What is aligned with what.
    #[must_use]
    pub fn config(self, config: AlignConfig) -> Self {
        Self { config, ..self }
    }

    /// How the towers are trained.
    #[must_use]
    pub fn train(self, train: AlignTrain) -> Self {
        Self { train, ..self }
    }

    /// What the language model is told.
    #[must_use]
    pub fn prompt(self, prompt: PromptConfig) -> Self {
        Self { prompt, ..self }
    }

    /// The samples to learn from, such as those of [`crate::coverage`].
    #[must_use]
    pub fn samples(self, samples: Vec<Sample>) -> Self {
        Self { samples: Some(samples), ..self }
    }

    /// What the best of the training is found by.
    #[must_use]
    pub fn validate(self, validate: Validate<'a>) -> Self {
        Self { validate: Some(validate), ..self }
    }

    /// Who is told how far it is.
    #[must_use]
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }

    /// Decides initial weights, order, negatives and noise.
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
    /// When a sample points outside the data set.
    pub fn fit(self) -> Result<FitResult<I, L>> {
        let Self { ids, lm, tokenizer, dataset, prompt, config, train, samples, validate, progress, seed } = self;
        train.check()?;
        let text = TextTower::of_titles(lm, tokenizer, &dataset.catalog, &prompt, &config, ids.interests())?;
        let (text, samples) = (Arc::new(text), samples.unwrap_or_else(|| dataset.samples()));
        let job = Job { seed, ..Job::new(ids, &text, dataset, &samples, &config, &train) };
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
