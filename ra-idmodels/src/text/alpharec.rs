//! AlphaRec (Sheng et al., "Language Representations Can be What Recommenders Need", ICLR 2025), without its graph:
//! items are mapped from a language model's vectors, a user is the mean of their items.
use super::features::{MappedFeatures, on_sphere};
use crate::checks::{LONGEST, WIDEST, of_train};
use crate::loss::whole_catalogue;
use crate::method::sequence::{histories, item_rows};
use crate::{Batches, FeatureMap, Job, LearnedMethod, NextItem, TrainConfig};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ra_core::kernels::attention;
use ra_core::{Check, History, IdModel, ItemId, Problem, Recommender, Result, TrainBatch, rng};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configures [`AlphaRec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlphaRecConfig {
    /// The width of item and user vectors.
    pub dim: usize,
    /// The map from a language model's vector to an item vector.
    pub map: FeatureMap,
    /// The number of newest items that are read.
    pub max_length: usize,
    /// The temperature of the softmax over cosine similarities.
    pub temperature: f32,
    /// The training settings.
    pub train: TrainConfig,
}

impl Default for AlphaRecConfig {
    fn default() -> Self {
        Self { dim: 64, map: FeatureMap::Mlp, max_length: 50, temperature: 0.1, train: TrainConfig::default() }
    }
}

/// Items mapped from frozen vectors; a user is the mean of the mapped items. In use it becomes a [`FittedAlphaRec`].
#[derive(Module, Debug)]
pub struct AlphaRec {
    items: MappedFeatures,
    #[module(skip)]
    config: AlphaRecConfig,
}

impl AlphaRecConfig {
    /// Creates a new model over the vectors `features`, `[items + 1, width]`.
    pub fn init(&self, features: &Tensor<2>, seed: u64, device: &Device) -> AlphaRec {
        let random = &mut rng(seed, "alpharec", 0);
        AlphaRec { items: MappedFeatures::init(self.map, self.dim, features, random, device), config: self.clone() }
    }
}

impl Check for AlphaRecConfig {
    fn problems(&self) -> Vec<Problem> {
        let found = [
            Problem::unless_within("dim", self.dim, WIDEST),
            Problem::unless_within("max_length", self.max_length, LONGEST),
            Problem::unless_positive("temperature", self.temperature),
        ];
        found.into_iter().flatten().chain(of_train(self.train.problems())).collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        of_train(self.train.oddities()).collect()
    }
}

impl LearnedMethod for AlphaRecConfig {
    type Model = AlphaRec;
    const READS_FEATURES: bool = true;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<AlphaRec> {
        Ok(self.init(job.given_features()?, seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        Box::new(NextItem::new(job.dataset, self.train.batch, self.max_length, 0, job.seed, job.device))
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

/// Returns, after each item of each history, the mean of the items so far: attention with uniform weights.
fn means(items: Tensor<2>, lengths: &Arc<[usize]>) -> Tensor<2> {
    let even = items.zeros_like().detach();
    attention(even.clone(), even, items, lengths, 1, true)
}

impl AlphaRec {
    fn table(&self) -> Tensor<2> {
        on_sphere(self.items.table(), self.config.temperature)
    }
}

impl IdModel for AlphaRec {
    type Fitted = FittedAlphaRec;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let table = self.table();
        let means = means(table.clone().select(0, batch.items.clone()), &batch.lengths);
        let states = on_sphere(batch.with_target(means), self.config.temperature);
        whole_catalogue(states, table, batch)
    }

    fn fitted(&self) -> FittedAlphaRec {
        FittedAlphaRec { table: self.valid().table(), config: self.config.clone() }
    }
}

/// [`AlphaRec`] with all items mapped once; keeps neither the map nor its input.
#[derive(Debug, Clone)]
pub struct FittedAlphaRec {
    /// `[items + 1, dim]`; row 0 is padding.
    table: Tensor<2>,
    config: AlphaRecConfig,
}

impl Recommender for FittedAlphaRec {
    fn dim(&self) -> usize {
        self.table.dims()[1]
    }
    fn interests(&self) -> usize {
        1
    }

    fn users(&self, all: &[History<'_>]) -> Tensor<2> {
        let read = histories(all, self.config.max_length, &self.table.device());
        let means = means(self.table.clone().select(0, read.items.clone()), &read.lengths);
        read.last(on_sphere(means, self.config.temperature))
    }

    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        item_rows(&self.table, items)
    }

    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}
