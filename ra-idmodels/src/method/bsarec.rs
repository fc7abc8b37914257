//! BSARec (Shin, Choi, Wi & Park, "An Attentive Inductive Bias for Sequential Recommendation beyond the
//! Self-Attention", AAAI 2024).
use super::sequence::{chosen, histories, last_places, linear_of, noise, normed, own_item_table};
use crate::checks::{MOST, of_attention, of_train};
use crate::loss::ItemLoss;
use crate::{Batches, EachPrefix, Job, LearnedMethod, Loss, TrainConfig};
use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::kernels::{attention, gelu};
use ra_core::{Check, History, IdModel, OptimConfig, Problem, Recommender, Result, TrainBatch, indices, normal, rng};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::sync::Arc;

/// Configures [`BsaRec`]. It is trained for each prefix of a sequence by itself; the paper's loss is the cross-entropy over
/// all items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BsaRecConfig {
    /// The width of item and user vectors.
    pub dim: usize,
    /// The number of blocks.
    pub blocks: usize,
    /// The number of attention heads per block.
    pub heads: usize,
    /// The number of newest items that are read, which is also the period of the filter.
    pub max_length: usize,
    /// The dropout rate.
    pub dropout: f64,
    /// The weight of the filter; that of self-attention is what is left to 1.
    pub alpha: f64,
    /// The `c` of the original code: the mean over positions and the `c / 2` (rounded down) longest waves are low
    /// frequencies.
    pub c: usize,
    /// The training loss.
    pub loss: Loss,
    /// The number of negatives per prefix or per batch, for losses that use negatives.
    pub negatives: usize,
    /// The calibration `t` of gBCE, from 0 to 1.
    pub calibration: f64,
    /// The training settings; a batch is a number of prefixes.
    pub train: TrainConfig,
}

impl Default for BsaRecConfig {
    fn default() -> Self {
        let optim = OptimConfig::default();
        Self {
            dim: 64,
            blocks: 2,
            heads: 1,
            max_length: 50,
            dropout: 0.5,
            alpha: 0.7,
            c: 5,
            loss: Loss::Softmax,
            negatives: 1,
            calibration: 0.75,
            train: TrainConfig { batch: 256, optim, ..TrainConfig::default() },
        }
    }
}

#[derive(Module, Debug)]
struct Block {
    /// `[dim]`; its square is the weight of high frequencies.
    beta: Param<Tensor<1>>,
    filter_norm: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    inner_norm: LayerNorm,
}

/// BSARec; a user is the state at the last position of the history.
///
/// The filter reads the whole history at every position, so the state at an earlier position is not that of the shorter
/// history.
///
/// The original code pads a history on the left to `max_length` and computes states of the padding, from positions
/// alone, which the filter mixes into those of items. Here padding is zero to the filter and costs nothing.
#[derive(Module, Debug)]
pub struct BsaRec {
    /// `[items + 1, dim]`; row 0 is padding, which is never read.
    items: Param<Tensor<2>>,
    positions: Param<Tensor<2>>,
    norm: LayerNorm,
    blocks: Vec<Block>,
    #[module(skip)]
    config: BsaRecConfig,
}

const EPSILON: f32 = 1e-12;

impl BsaRecConfig {
    fn item_loss(&self) -> ItemLoss {
        ItemLoss { loss: self.loss, negatives: self.negatives, calibration: self.calibration }
    }

    /// Creates a new model for a catalogue of `items` items.
    pub fn init(&self, items: usize, seed: u64, device: &Device) -> BsaRec {
        let (dim, random) = (self.dim, &mut rng(seed, "bsarec", 0));
        let norm = || LayerNormConfig::new(dim).with_epsilon(f64::from(EPSILON)).init(device);
        let mut weight = |from: usize, to: usize| normal([from, to], 0.02, random, device);
        let config = Self { loss: self.loss.for_catalogue(items), ..self.clone() };
        let (items, positions) = (weight(items + 1, dim), weight(self.max_length, dim));
        let mut linear = |from: usize, to: usize| linear_of(weight(from, to));
        let blocks: Vec<Block> = (0..self.blocks)
            .map(|block| Block {
                beta: normal([dim], 1.0, &mut rng(seed, "bsarec beta", block as u64), device),
                filter_norm: norm(),
                query: linear(dim, dim),
                key: linear(dim, dim),
                value: linear(dim, dim),
                output: linear(dim, dim),
                attention_norm: norm(),
                up: linear(dim, 4 * dim),
                down: linear(4 * dim, dim),
                inner_norm: norm(),
            })
            .collect();
        BsaRec { items, positions, norm: norm(), blocks, config }
    }
}

impl Check for BsaRecConfig {
    fn problems(&self) -> Vec<Problem> {
        let outside = !(0.0..=1.0).contains(&self.alpha);
        let alpha = outside.then(|| Problem::new("alpha", format!("is {}, it must be from 0 to 1", self.alpha)));
        let blocks = Problem::unless_within("blocks", self.blocks, MOST);
        let found = of_attention([self.dim, self.heads, self.max_length], blocks, self.dropout);
        found.chain(alpha).chain(self.item_loss().problems()).chain(of_train(self.train.problems())).collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        let all = (self.c / 2 >= self.max_length / 2 && self.max_length > 1).then(|| {
            Problem::new("c", format!("is {}: no frequency of {} positions is high", self.c, self.max_length))
        });
        let found = all.into_iter().chain(self.item_loss().oddities());
        found.chain(of_train(self.train.oddities())).collect()
    }
}

impl LearnedMethod for BsaRecConfig {
    type Model = BsaRec;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<BsaRec> {
        Ok(self.init(job.dataset.catalog.len(), seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        let (loss, batch) = (self.item_loss(), self.train.batch);
        let batches = EachPrefix::new(job.dataset, batch, self.max_length, loss.wanted(), job.seed, job.device);
        loss.batches(batches, job)
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

/// The low frequencies of sequences over a period of positions: the discrete Fourier
/// transform, its lowest components, and back. That is one circulant matrix, the same for every sequence and column.
struct LowPass {
    /// The row at each position of each sequence, positions first: a position is one row of the product below.
    cells: Tensor<1, Int>,
    /// `[positions * sequences, 1]`: 0 after the end of a sequence.
    mask: Tensor<2>,
    /// The cell of each row.
    places: Tensor<1, Int>,
    /// `[positions, positions]`
    matrix: Tensor<2>,
}

impl LowPass {
    /// Keeps the mean and `waves` waves over `period` positions, of sequences that are at most as long.
    fn new(lengths: &[usize], waves: usize, period: usize, device: &Device) -> Self {
        let (batch, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let (mut cells, mut mask) = (vec![0u32; longest * batch], vec![0.0f32; longest * batch]);
        let mut places = Vec::with_capacity(lengths.iter().sum());
        for (sequence, &length) in lengths.iter().enumerate() {
            for at in 0..length {
                (cells[at * batch + sequence], mask[at * batch + sequence]) = (places.len() as u32, 1.0);
                places.push((at * batch + sequence) as u32);
            }
        }
        // A wave and its conjugate are two components, except for the shortest of an even period.
        let weight = |wave: usize| if 2 * wave == period { 1.0 } else { 2.0 };
        let wave = |gap: usize, wave: usize| weight(wave) * (TAU * (wave * gap) as f64 / period as f64).cos();
        let at = |gap: usize| (1.0 + (1..=waves.min(period / 2)).map(|k| wave(gap, k)).sum::<f64>()) / period as f64;
        let by_gap: Vec<f32> = (0..longest).map(|gap| at(gap) as f32).collect();
        let matrix = (0..longest).flat_map(|i| (0..longest).map(move |j| i.abs_diff(j))).map(|gap| by_gap[gap]);
        let matrix = TensorData::new(matrix.collect::<Vec<f32>>(), [longest, longest]);
        Self {
            cells: indices(cells, device),
            mask: Tensor::from_data(TensorData::new(mask, [longest * batch, 1]), device),
            places: indices(places, device),
            matrix: Tensor::from_data(matrix, device),
        }
    }

    /// Returns the low frequencies of `x`; both are `[rows, width]`.
    fn of(&self, x: Tensor<2>) -> Tensor<2> {
        let ([_, width], [longest, _], [cells, _]) = (x.dims(), self.matrix.dims(), self.mask.dims());
        let grid = x.select(0, self.cells.clone()) * self.mask.clone();
        let grid = grid.reshape([longest, cells / longest.max(1) * width]);
        self.matrix.clone().matmul(grid).reshape([cells, width]).select(0, self.places.clone())
    }
}

impl BsaRec {
    /// Returns the item table, `[items + 1, dim]`; row 0 is padding.
    pub fn table(&self) -> Tensor<2> {
        self.items.val()
    }

    /// Returns the states `[rows, dim]` of concatenated histories, each at most `max_length` long; if `wanted` names
    /// rows, only theirs.
    fn states(
        &self,
        items: Tensor<1, Int>,
        lengths: &Arc<[usize]>,
        wanted: Option<&Tensor<1, Int>>,
        seed: Option<u64>,
    ) -> Tensor<2> {
        let (config, device) = (&self.config, items.device());
        let noise = noise(config.dropout, seed);
        let low_pass = LowPass::new(lengths, config.c / 2, config.max_length, &device);
        let places = last_places(lengths, config.max_length, &device);
        let read = self.items.val().select(0, items) + self.positions.val().select(0, places);
        let mut x = noise(normed(&self.norm, read, EPSILON), 0);
        for (index, block) in self.blocks.iter().enumerate() {
            let site = 3 * index as u64 + 1;
            let [q, k, v] = [&block.query, &block.key, &block.value].map(|layer| layer.forward(x.clone()));
            let attended = attention(q, k, v, lengths, config.heads, true);
            let low = low_pass.of(x.clone());
            // After these two no row reads another.
            let wanted = wanted.filter(|_| index + 1 == self.blocks.len());
            let [read, low, attended] = [x, low, attended].map(|x| chosen(x, wanted));
            // The frequency rescaler: high frequencies count beta^2 times.
            let filtered = low.clone() + (read.clone() - low) * block.beta.val().square().unsqueeze();
            let filtered = normed(&block.filter_norm, noise(filtered, site) + read.clone(), EPSILON);
            let attended = noise(block.output.forward(attended), site + 1);
            let attended = normed(&block.attention_norm, attended + read, EPSILON);
            let mixed = filtered * config.alpha as f32 + attended * (1.0 - config.alpha) as f32;
            let inner = block.down.forward(gelu(block.up.forward(mixed.clone())));
            x = normed(&block.inner_norm, noise(inner, site + 2) + mixed, EPSILON);
        }
        x
    }
}

impl IdModel for BsaRec {
    type Fitted = Self;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let states = self.states(batch.items.clone(), &batch.lengths, batch.rows.as_ref(), batch.dropout);
        self.config.item_loss().of(states, self.table(), batch)
    }

    fn item_rows(&mut self) -> Option<&mut Param<Tensor<2>>> {
        self.config.item_loss().reads_rows().then_some(&mut self.items)
    }

    fn fitted(&self) -> Self {
        self.valid()
    }
}

impl Recommender for BsaRec {
    fn dim(&self) -> usize {
        self.config.dim
    }
    fn interests(&self) -> usize {
        1
    }

    fn users(&self, all: &[History<'_>]) -> Tensor<2> {
        let read = histories(all, self.config.max_length, &self.items.device());
        read.last(self.states(read.items.clone(), &read.lengths, None, None))
    }

    own_item_table!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;

    /// The Fourier transform of `x` over `period` positions, zeros after its end, without all but the lowest
    /// components, back again.
    fn transformed(x: &[f64], waves: usize, period: usize) -> Vec<f64> {
        let component = |k: usize| {
            x.iter().enumerate().fold((0.0, 0.0), |(re, im), (at, x)| {
                let angle = TAU * (k * at) as f64 / period as f64;
                (re + x * angle.cos(), im - x * angle.sin())
            })
        };
        let kept: Vec<usize> = (0..period).filter(|&k| k.min(period - k) <= waves).collect();
        let back = |at: usize| {
            let real = |&k: &usize| {
                let ((re, im), angle) = (component(k), TAU * (k * at) as f64 / period as f64);
                re * angle.cos() - im * angle.sin()
            };
            kept.iter().map(real).sum::<f64>() / period as f64
        };
        (0..x.len()).map(back).collect()
    }

    #[test]
    fn low_frequencies_are_those_of_the_fourier_transform() {
        let device = Device::flex();
        for (lengths, waves, period) in [(vec![3, 1, 8], 2, 8), (vec![5, 7], 3, 9), (vec![4, 2], 4, 8), (vec![6], 0, 6)]
        {
            let (rows, width) = (lengths.iter().sum::<usize>(), 3);
            let x = normal([rows, width], 1.0, &mut rng(2, "x", 0), &device).val();
            let values: Vec<f64> = x.to_data().iter::<f64>().collect();
            let found: Vec<f64> =
                LowPass::new(&lengths, waves, period, &device).of(x).into_data().iter::<f64>().collect();
            let mut start = 0;
            for length in lengths {
                for column in 0..width {
                    let at = |values: &[f64]| -> Vec<f64> {
                        (start..start + length).map(|row| values[row * width + column]).collect()
                    };
                    let (found, expected) = (at(&found), transformed(&at(&values), waves, period));
                    let error = found.iter().zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max);
                    assert!(error < 1e-6, "{waves} of {period}: {found:?}, not {expected:?}");
                }
                start += length;
            }
        }
    }

    #[test]
    fn states_of_a_batch_are_those_of_each_history_alone() {
        let device = Device::flex();
        let model = BsaRecConfig { dim: 8, max_length: 6, ..BsaRecConfig::default() }.init(9, 4, &device);
        let rows: [&[u32]; 4] = [&[3], &[1, 5, 9, 2], &[7, 7, 4, 4, 1, 2], &[8, 1]];
        let states = |rows: &[&[u32]], wanted: Option<Vec<u32>>| {
            let lengths: Arc<[usize]> = rows.iter().map(|row| row.len()).collect();
            let wanted = wanted.map(|wanted| indices(wanted, &device));
            model.states(indices(rows.concat(), &device), &lengths, wanted.as_ref(), None)
        };
        let (together, tolerance) = (states(&rows, None).into_data(), Tolerance::<f32>::absolute(1e-5));
        let alone = Tensor::cat(rows.map(|row| states(&[row], None)).to_vec(), 0);
        together.assert_approx_eq(&alone.clone().into_data(), tolerance);
        let ends = alone.select(0, indices([0u32, 4, 10, 12], &device));
        states(&rows, Some(vec![0, 4, 10, 12])).into_data().assert_approx_eq(&ends.into_data(), tolerance);
    }
}
