//! Popularity: the same ranking for everybody, by training count.
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{Dataset, History, Recommender};
use serde::{Deserialize, Serialize};

/// Configures [`Popularity`]: nothing to choose, and a key that is not there is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PopularityConfig {}

/// Scores an item by how often it occurs in the training data.
#[derive(Debug, Clone)]
pub struct Popularity {
    counts: Vec<f32>,
    device: Device,
}

impl Popularity {
    /// Counts the training interactions.
    pub fn new(dataset: &Dataset, device: &Device) -> Self {
        Self { counts: dataset.popularity().iter().map(|&c| c as f32).collect(), device: device.clone() }
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
    fn items(&self, items: &[u32]) -> Tensor<2> {
        let counts: Vec<f32> = items.iter().map(|&i| self.counts[i as usize]).collect();
        Tensor::from_data(TensorData::new(counts, [items.len(), 1]), &self.device)
    }
    fn additions(&self, _: &History<'_>) -> Vec<(u32, f32)> {
        Vec::new()
    }
}
