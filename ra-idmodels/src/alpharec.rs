//! AlphaRec (Sheng et al., "Language Representations Can be What Recommenders Need", ICLR 2025), without its graph: items
//! are mapped from a language model's vectors, a user is the mean of their items.
use crate::config::WIDEST;
use crate::features::{MappedFeatures, on_sphere};
use crate::loss::whole_catalogue;
use crate::sequence::{histories, item_rows};
use crate::{FeatureMap, NextItem, TrainConfig};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ra_core::fused::attention;
use ra_core::{History, IdModel, Problem, Recommender, TrainBatch, rng};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configures [`AlphaRec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlphaRecConfig {
    /// Width of item and user vectors.
    pub dim: usize,
    /// How a language model's vector becomes an item's.
    pub map: FeatureMap,
    /// Items read at most, the newest ones.
    pub max_length: usize,
    /// Temperature of the softmax over cosines.
    pub temperature: f32,
    /// How it is trained.
    pub train: TrainConfig,
}

impl Default for AlphaRecConfig {
    fn default() -> Self {
        Self { dim: 64, map: FeatureMap::Mlp, max_length: 50, temperature: 0.1, train: TrainConfig::default() }
    }
}

/// Items mapped from frozen vectors; a user is the mean of the mapped items.
#[derive(Module, Debug)]
pub struct AlphaRec {
    items: MappedFeatures,
    #[module(skip)]
    config: AlphaRecConfig,
}

impl AlphaRecConfig {
    /// What cannot work, by key.
    pub fn problems(&self) -> Vec<Problem> {
        let found = [
            Problem::unless_within("dim", self.dim, WIDEST),
            Problem::if_below("max_length", self.max_length, 1),
            Problem::unless_positive("temperature", self.temperature),
        ];
        found.into_iter().flatten().collect()
    }

    /// A fresh model over the vectors `features`, `[items + 1, width]`.
    pub fn init(&self, features: &Tensor<2>, seed: u64, device: &Device) -> AlphaRec {
        let random = &mut rng(seed, "alpharec", 0);
        AlphaRec { items: MappedFeatures::init(self.map, self.dim, features, random, device), config: self.clone() }
    }

    /// Its batches.
    pub fn batches<'a>(&self, job: &crate::Job<'a>) -> NextItem<'a> {
        NextItem::new(job.dataset, self.train.batch, self.max_length, 0, job.seed, job.device)
    }
}

impl AlphaRec {
    /// After each item of each history the mean of it and those before: attention without preference.
    fn means(&self, items: Tensor<2>, lengths: &Arc<[usize]>) -> Tensor<2> {
        let even = items.zeros_like().detach();
        attention(even.clone(), even, items, lengths, 1, true)
    }

    fn table(&self) -> Tensor<2> {
        on_sphere(self.items.table(), self.config.temperature)
    }
}

impl IdModel for AlphaRec {
    type Fitted = Self;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let table = self.table();
        let means = self.means(table.clone().select(0, batch.items.clone()), &batch.lengths);
        let states = on_sphere(batch.with_target(means), self.config.temperature);
        whole_catalogue(states, table, batch)
    }

    fn fitted(&self) -> Self {
        self.valid()
    }
}

impl Recommender for AlphaRec {
    fn dim(&self) -> usize {
        self.config.dim
    }

    fn users(&self, all: &[History<'_>]) -> Tensor<2> {
        let table = self.table();
        let read = histories(all, self.config.max_length, &table.device());
        let means = self.means(table.select(0, read.items.clone()), &read.lengths);
        read.last(on_sphere(means, self.config.temperature))
    }

    fn items(&self, items: &[u32]) -> Tensor<2> {
        item_rows(&self.table(), items)
    }
}
