//! Popularity: the same ranking for every user, by training count.
use crate::{IdMethod, Job, Trained};
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{Check, Dataset, History, ItemId, Problem, Recommender, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Configures [`Popularity`]: it has no settings, and an unknown key is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PopularityConfig {}

impl Check for PopularityConfig {
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
}

impl IdMethod for PopularityConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        Ok(Trained::counted(Popularity::of_job(job)))
    }

    fn load(&self, job: &Job<'_>, _: &Path) -> Result<Trained> {
        self.fit(job)
    }
}

/// Scores an item by how often it occurs in the training data: `ln(1 + count)`. The softmax of these scores is the
/// share of each item in all interactions, one more counted for each. So they are a prior in a blend, which adds logits.
/// Above a million, counts next to each other have the same score, for want of digits.
///
/// An item without a training interaction has the count that Turing's estimate gives it (Good, "The Population
/// Frequencies of Species and the Estimation of Population Parameters", Biometrika 1953): the number of items with one
/// interaction, divided by that of items with none. It is at most the median count of the items that have any. A new item
/// is often more popular than the rarest old one, and in a blend a count of 0 would speak against it.
#[derive(Debug, Clone)]
pub struct Popularity {
    scores: Vec<f32>,
    device: Device,
}

impl Popularity {
    /// Counts the training interactions.
    pub fn new(dataset: &Dataset, device: &Device) -> Self {
        Self::of_scores(Self::scores(&dataset.popularity(), dataset.catalog.len()), device)
    }

    /// Counts the training interactions of a job, whose catalogue may have items that were added later.
    pub(super) fn of_job(job: &Job<'_>) -> Self {
        let known = job.known_items.unwrap_or(job.dataset.catalog.len());
        Self::of_scores(Self::scores(&job.dataset.popularity(), known), job.device)
    }

    /// Returns the score of each item by its number of training interactions; index 0 is padding. Only the first `known`
    /// items say what to expect of one without an interaction: those after them were added later.
    pub fn scores(counts: &[u32], known: usize) -> Vec<f32> {
        let unseen = unseen_count(counts.get(1..=known).unwrap_or_default());
        let score = |(at, &count): (usize, &u32)| if at > 0 && count == 0 { unseen } else { count as f32 }.ln_1p();
        counts.iter().enumerate().map(score).collect()
    }

    /// Takes the score of each item; index 0 is padding.
    pub(super) fn of_scores(scores: Vec<f32>, device: &Device) -> Self {
        Self { scores, device: device.clone() }
    }
}

/// Returns Turing's estimate of the count of an item that was not counted, at most the median of those that were.
fn unseen_count(counts: &[u32]) -> f32 {
    let mut seen: Vec<u32> = counts.iter().copied().filter(|&count| count > 0).collect();
    let (none, once) = (counts.len() - seen.len(), seen.iter().filter(|&&count| count == 1).count());
    if none == 0 || seen.is_empty() {
        return 0.0;
    }
    let middle = seen.len() / 2;
    (once as f32 / none as f32).min(*seen.select_nth_unstable(middle).1 as f32)
}

impl Recommender for Popularity {
    fn dim(&self) -> usize {
        1
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        Tensor::ones([histories.len(), 1], &self.device)
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        let scores: Vec<f32> = items.iter().map(|item| self.scores[item.index()]).collect();
        Tensor::from_data(TensorData::new(scores, [items.len(), 1]), &self.device)
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}
