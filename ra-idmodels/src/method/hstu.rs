//! HSTU (Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
//! Recommendations", ICML 2024), over items alone.
use super::sequence::{Grid, chosen, histories, linear_of, linear_without_bias, noise, normed, own_item_table};
use crate::checks::{MOST, of_attention, of_train};
use crate::loss::whole_catalogue;
use crate::{Batches, Job, LearnedMethod, NextItem, TrainConfig};
use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::{Activation, activate};
use ra_core::{Check, History, IdModel, Problem, Recommender, Result, TrainBatch, indices, normal, rng, xavier_normal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configures [`Hstu`]. It is trained by the cross-entropy over all items at every position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HstuConfig {
    /// The width of item and user vectors.
    pub dim: usize,
    /// The number of blocks.
    pub blocks: usize,
    /// The number of attention heads per block.
    pub heads: usize,
    /// The number of newest items that are read.
    pub max_length: usize,
    /// The dropout rate.
    pub dropout: f64,
    /// The training settings.
    pub train: TrainConfig,
}

impl Default for HstuConfig {
    fn default() -> Self {
        Self { dim: 64, blocks: 2, heads: 1, max_length: 50, dropout: 0.3, train: TrainConfig::default() }
    }
}

#[derive(Module, Debug)]
struct Block {
    norm: LayerNorm,
    /// `[dim, 4 dim]`: U, V, Q and K, in this order (eq. 1).
    mix: Linear,
    /// `[max_length, 1]`: the bias of an attention weight by how many positions the key is before the query.
    distances: Param<Tensor<2>>,
    attended_norm: LayerNorm,
    output: Linear,
}

/// HSTU; a user is the state at the last position of the history.
///
/// Its order is that of the relative positions. Unlike the original code it has no bias for the time between two
/// interactions, which a split data set does not keep, and no absolute positions. A state then depends on how far away
/// the items before it are, and a sequence trained at every position trains each of its prefixes. Two more things are
/// those of our SASRec: layer norms have a scale and a shift, and one follows the last block in place of a division by
/// the length of the vector.
#[derive(Module, Debug)]
pub struct Hstu {
    /// `[items + 1, dim]`; row 0 is padding, which is never read.
    items: Param<Tensor<2>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    #[module(skip)]
    config: HstuConfig,
}

const EPSILON: f32 = 1e-6;

impl HstuConfig {
    /// Creates a new model for a catalogue of `items` items.
    pub fn init(&self, items: usize, seed: u64, device: &Device) -> Hstu {
        let (dim, random) = (self.dim, &mut rng(seed, "hstu", 0));
        let norm = || LayerNormConfig::new(dim).with_epsilon(f64::from(EPSILON)).init(device);
        let blocks: Vec<Block> = (0..self.blocks)
            .map(|_| Block {
                norm: norm(),
                // Xavier's standard deviation for one part: four parts side by side are not one wide layer.
                mix: linear_without_bias(normal([dim, 4 * dim], (1.0 / dim as f32).sqrt(), random, device)),
                distances: normal([self.max_length, 1], 0.02, random, device),
                attended_norm: norm(),
                output: linear_of(xavier_normal([dim, dim], random, device)),
            })
            .collect();
        Hstu { items: normal([items + 1, dim], 0.02, random, device), blocks, norm: norm(), config: self.clone() }
    }
}

impl Check for HstuConfig {
    fn problems(&self) -> Vec<Problem> {
        let blocks = Problem::unless_within("blocks", self.blocks, MOST);
        let found = of_attention([self.dim, self.heads, self.max_length], blocks, self.dropout);
        found.chain(of_train(self.train.problems())).collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        of_train(self.train.oddities()).collect()
    }
}

impl LearnedMethod for HstuConfig {
    type Model = Hstu;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<Hstu> {
        Ok(self.init(job.dataset.catalog.len(), seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        Box::new(NextItem::new(job.dataset, self.train.batch, self.max_length, 0, job.seed, job.device))
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

/// Attention without a softmax (eq. 2): `silu(q k^T + bias) v / period` over the items up to each, within each sequence
/// and head.
struct PointwiseAttention {
    grid: Grid,
    /// `[longest * longest]`: how many positions a key is before a query.
    gaps: Tensor<1, Int>,
    /// `[longest, longest]`: `1 / period` for the items up to each, 0 for later ones.
    share: Tensor<2>,
}

impl PointwiseAttention {
    fn new(lengths: &[usize], period: usize, device: &Device) -> Self {
        let grid = Grid::new(lengths, device);
        let [_, longest] = grid.dims();
        let pairs = (0..longest).flat_map(|query| (0..longest).map(move |key| query.saturating_sub(key) as u32));
        let share = Tensor::<2>::ones([longest, longest], device).tril(0) / period as f32;
        Self { gaps: indices(pairs.collect::<Vec<u32>>(), device), grid, share }
    }

    /// `q`, `k`, `v` and the result are `[rows, width]`; `distances` is `[period, 1]`.
    fn of(&self, [q, k, v]: [Tensor<2>; 3], distances: Tensor<2>, heads: usize) -> Tensor<2> {
        let ([batch, longest], [_, width]) = (self.grid.dims(), q.dims());
        let split = |x: Tensor<2>| self.grid.pad(x).reshape([batch, longest, heads, width / heads]).swap_dims(1, 2);
        let bias = distances.select(0, self.gaps.clone()).reshape([1, 1, longest, longest]);
        let weights = silu(split(q).matmul(split(k).swap_dims(2, 3)) + bias);
        let weights = weights * self.share.clone().reshape([1, 1, longest, longest]);
        self.grid.rows(weights.matmul(split(v)).swap_dims(1, 2).reshape([batch, longest, width]))
    }
}

impl Hstu {
    /// Returns the item table, `[items + 1, dim]`; row 0 is padding.
    pub fn table(&self) -> Tensor<2> {
        self.items.val()
    }

    /// Returns the states `[rows, dim]` of concatenated histories, each at most `max_length` long.
    pub fn states(&self, items: Tensor<1, Int>, lengths: &Arc<[usize]>, seed: Option<u64>) -> Tensor<2> {
        self.wanted(items, lengths, None, seed)
    }

    /// Returns [`states`](Self::states); if `wanted` names rows, only theirs.
    fn wanted(
        &self,
        items: Tensor<1, Int>,
        lengths: &Arc<[usize]>,
        wanted: Option<&Tensor<1, Int>>,
        seed: Option<u64>,
    ) -> Tensor<2> {
        let config = &self.config;
        let noise = noise(config.dropout, seed);
        let attention = PointwiseAttention::new(lengths, config.max_length, &items.device());
        let mut x = noise(self.items.val().select(0, items) * (config.dim as f32).sqrt(), 0);
        for (index, block) in self.blocks.iter().enumerate() {
            let read = normed(&block.norm, x.clone(), EPSILON);
            let mixed = activate(block.mix.forward(read), Activation::Silu);
            let [rows, _] = mixed.dims();
            let part = |at: usize| mixed.clone().slice([0..rows, at * config.dim..(at + 1) * config.dim]);
            let attended = attention.of([part(2), part(3), part(1)], block.distances.val(), config.heads);
            let wanted = wanted.filter(|_| index + 1 == self.blocks.len());
            let [read, gate, attended] = [x, part(0), attended].map(|x| chosen(x, wanted));
            // eq. 3
            let gated = normed(&block.attended_norm, attended, EPSILON) * gate;
            x = read + block.output.forward(noise(gated, index as u64 + 1));
        }
        normed(&self.norm, x, EPSILON)
    }
}

impl IdModel for Hstu {
    type Fitted = Self;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let states = self.wanted(batch.items.clone(), &batch.lengths, batch.rows.as_ref(), batch.dropout);
        whole_catalogue(states, self.table(), batch)
    }

    fn fitted(&self) -> Self {
        self.valid()
    }
}

impl Recommender for Hstu {
    fn dim(&self) -> usize {
        self.config.dim
    }
    fn interests(&self) -> usize {
        1
    }

    fn users(&self, all: &[History<'_>]) -> Tensor<2> {
        let read = histories(all, self.config.max_length, &self.items.device());
        read.last(self.states(read.items.clone(), &read.lengths, None))
    }

    own_item_table!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_is_the_sum_that_the_paper_writes() {
        let (device, lengths, heads, width, period) = (Device::flex(), [3, 1, 5], 2, 4, 6);
        let random = |seed, shape| normal(shape, 1.0, &mut rng(seed, "x", 0), &device).val();
        let inputs = [1, 2, 3].map(|seed| random(seed, [9, width]));
        let distances = random(4, [period, 1]);
        let numbers = |x: &Tensor<2>| x.to_data().iter::<f64>().collect::<Vec<f64>>();
        let ([q, k, v], bias) = (inputs.each_ref().map(numbers), numbers(&distances));
        let found = numbers(&PointwiseAttention::new(&lengths, period, &device).of(inputs, distances, heads));
        let (silu, head) = (|x: f64| x / (1.0 + (-x).exp()), width / heads);
        let mut start = 0;
        for length in lengths {
            for (query, column) in (0..length).flat_map(|query| (0..width).map(move |column| (query, column))) {
                let from = column / head * head;
                let weight = |key: usize| {
                    let product = |c| q[(start + query) * width + c] * k[(start + key) * width + c];
                    silu((from..from + head).map(product).sum::<f64>() + bias[query - key]) / period as f64
                };
                let expected: f64 = (0..=query).map(|key| weight(key) * v[(start + key) * width + column]).sum();
                let found = found[(start + query) * width + column];
                assert!((found - expected).abs() < 1e-5, "{query} {column}: {found}, not {expected}");
            }
            start += length;
        }
    }
}
