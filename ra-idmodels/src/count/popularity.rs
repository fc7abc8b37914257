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
        Ok(Trained::counted(Popularity::new(job.dataset, job.device)))
    }

    fn load(&self, job: &Job<'_>, _: &Path) -> Result<Trained> {
        self.fit(job)
    }
}

/// Scores an item by how often it occurs in the training data: `ln(1 + count)`. The softmax of these scores is the
/// share of each item in all interactions, one more counted for each. So they are a prior in a blend, which adds logits.
/// Above a million, counts next to each other have the same score, for want of digits.
#[derive(Debug, Clone)]
pub struct Popularity {
    scores: Vec<f32>,
    device: Device,
}

impl Popularity {
    /// Counts the training interactions.
    pub fn new(dataset: &Dataset, device: &Device) -> Self {
        Self::of_scores(dataset.popularity().into_iter().map(Self::score).collect(), device)
    }

    /// Returns the score of an item with so many training interactions.
    pub fn score(count: u32) -> f32 {
        (count as f32).ln_1p()
    }

    /// Takes the score of each item; index 0 is padding.
    pub(super) fn of_scores(scores: Vec<f32>, device: &Device) -> Self {
        Self { scores, device: device.clone() }
    }
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
