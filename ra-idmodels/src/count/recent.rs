//! Popularity among the newest items of each user: a floor for data whose fashion changes.
use crate::{IdMethod, Job, Trained};
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{Check, Dataset, History, ItemId, Problem, Recommender, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Configures [`Recent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecentConfig {
    /// The number of each user's newest training interactions that count. A split data set keeps the order of a user's
    /// interactions but no time, so this is no window of days: what is newest for a user who left long ago still
    /// counts.
    pub window: usize,
}

impl Default for RecentConfig {
    fn default() -> Self {
        Self { window: 1 }
    }
}

impl Check for RecentConfig {
    fn problems(&self) -> Vec<Problem> {
        Problem::if_below("window", self.window, 1).into_iter().collect()
    }
}

impl IdMethod for RecentConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        Ok(Trained::counted(Recent::new(job.dataset, *self, job.device)))
    }

    fn load(&self, job: &Job<'_>, _: &Path) -> Result<Trained> {
        self.fit(job)
    }
}

/// Scores an item by how often it is among the newest training items of a user; popularity in the whole training part
/// breaks ties and ranks the other items.
#[derive(Debug, Clone)]
pub struct Recent {
    /// The score of each item; index 0 is padding.
    scores: Vec<f32>,
    device: Device,
}

impl Recent {
    /// Counts the newest training interactions of each user.
    pub fn new(dataset: &Dataset, config: RecentConfig, device: &Device) -> Self {
        let all = dataset.popularity();
        // Larger than any popularity, so that one recent interaction outweighs it.
        let step = all.iter().max().map_or(1.0, |&most| most as f32 + 1.0);
        let mut scores: Vec<f32> = all.into_iter().map(|count| count as f32).collect();
        for row in dataset.train.rows() {
            row.iter().rev().take(config.window).for_each(|item| scores[item.index()] += step);
        }
        Self { scores, device: device.clone() }
    }
}

impl Recommender for Recent {
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
