//! GRU4Rec (Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016), scored with its
//! input item table.
use super::parameters::{Parameter, linear};
use super::sequence::{histories, linear_of, noise, own_item_table};
use crate::checks::{LONGEST, MOST, WIDEST, of_train};
use crate::loss::ItemLoss;
use crate::{Batches, Job, LearnedMethod, Loss, NextItem, TrainConfig};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Int, Tensor};
use ra_core::{Check, History, IdModel, Problem, Recommender, Result, TrainBatch, indices, normal, rng, xavier_normal};
use serde::{Deserialize, Serialize};

/// Configures [`Gru4Rec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gru4RecConfig {
    /// The width of item and user vectors.
    pub dim: usize,
    /// The width of the recurrent state.
    pub hidden: usize,
    /// The number of recurrent layers.
    pub layers: usize,
    /// The number of newest items that are read.
    pub max_length: usize,
    /// The dropout rate, applied to the input of the first layer and the output of each layer.
    pub dropout: f64,
    /// The training loss.
    pub loss: Loss,
    /// The number of negatives per position, for losses that use negatives.
    pub negatives: usize,
    /// The calibration `t` of gBCE, from 0 to 1.
    pub calibration: f64,
    /// The training settings.
    pub train: TrainConfig,
}

impl Default for Gru4RecConfig {
    fn default() -> Self {
        Self {
            dim: 64,
            hidden: 128,
            layers: 1,
            max_length: 50,
            dropout: 0.2,
            loss: Loss::Softmax,
            negatives: 1,
            calibration: 0.75,
            train: TrainConfig::default(),
        }
    }
}

/// A recurrent layer; in both matrices the gates are in the order reset, update, candidate.
#[derive(Module, Debug)]
struct Layer {
    /// `[in, 3 hidden]`
    input: Linear,
    /// `[hidden, 3 hidden]`
    state: Linear,
}

/// GRU4Rec; a user is the last state, mapped to the width of the items.
#[derive(Module, Debug)]
pub struct Gru4Rec {
    /// `[items + 1, dim]`; row 0 is padding, which is never read.
    items: Param<Tensor<2>>,
    layers: Vec<Layer>,
    dense: Linear,
    #[module(skip)]
    config: Gru4RecConfig,
}

impl Gru4RecConfig {
    fn item_loss(&self) -> ItemLoss {
        ItemLoss { loss: self.loss, negatives: self.negatives, calibration: self.calibration }
    }

    /// Creates a new model for a catalogue of `items` items.
    pub fn init(&self, items: usize, seed: u64, device: &Device) -> Gru4Rec {
        let (dim, hidden, random) = (self.dim, self.hidden, &mut rng(seed, "gru4rec", 0));
        // Xavier's standard deviation for one gate: three gates side by side are not one wide layer.
        let mut gates = |from: usize| {
            let std = (2.0 / (from + hidden) as f32).sqrt();
            linear_of(normal([from, 3 * hidden], std, random, device))
        };
        let layers = (0..self.layers)
            .map(|layer| Layer { input: gates(if layer == 0 { dim } else { hidden }), state: gates(hidden) })
            .collect();
        Gru4Rec {
            layers,
            items: xavier_normal([items + 1, dim], random, device),
            dense: linear_of(xavier_normal([hidden, dim], random, device)),
            config: Self { loss: self.loss.for_catalogue(items), ..self.clone() },
        }
    }
}

impl Check for Gru4RecConfig {
    fn problems(&self) -> Vec<Problem> {
        let sizes = [
            Problem::unless_within("dim", self.dim, WIDEST),
            Problem::unless_within("hidden", self.hidden, WIDEST),
            Problem::unless_within("layers", self.layers, MOST),
            Problem::unless_within("max_length", self.max_length, LONGEST),
        ];
        let mut found: Vec<Problem> = sizes.into_iter().flatten().collect();
        found.extend(Problem::unless_share("dropout", self.dropout));
        found.extend(self.item_loss().problems());
        found.extend(of_train(self.train.problems()));
        found
    }

    fn oddities(&self) -> Vec<Problem> {
        self.item_loss().oddities().into_iter().chain(of_train(self.train.oddities())).collect()
    }
}

impl LearnedMethod for Gru4RecConfig {
    type Model = Gru4Rec;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<Gru4Rec> {
        Ok(self.init(job.dataset.catalog.len(), seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        let negatives = self.item_loss().wanted();
        let batches = NextItem::new(job.dataset, self.train.batch, self.max_length, negatives, job.seed, job.device);
        self.item_loss().batches(batches, job)
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

/// Transposed sequences: first the first item of each, then the second of each that has one, and so on, longer
/// sequences before shorter ones. A step is then one block of rows that starts with the sequences that continue, and no
/// step is spent on a sequence that has ended.
struct Steps {
    /// The number of unfinished sequences per step; never grows.
    sizes: Vec<usize>,
    /// The source of each row of the transposed order.
    order: Vec<u32>,
    /// The destination of each row.
    places: Vec<u32>,
}

impl Steps {
    fn of(lengths: &[usize]) -> Self {
        let start = |next: &mut usize, &n: &usize| {
            *next += n;
            Some(*next - n)
        };
        let starts: Vec<usize> = lengths.iter().scan(0, start).collect();
        let mut longest_first: Vec<usize> = (0..lengths.len()).collect();
        longest_first.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
        let count = lengths.iter().sum();
        let (mut sizes, mut order, mut places) = (Vec::new(), Vec::with_capacity(count), vec![0; count]);
        for step in 0..lengths.iter().copied().max().unwrap_or(0) {
            let size = longest_first.partition_point(|&row| lengths[row] > step);
            for &row in &longest_first[..size] {
                places[starts[row] + step] = order.len() as u32;
                order.push((starts[row] + step) as u32);
            }
            sizes.push(size);
        }
        Self { sizes, order, places }
    }
}

/// Recursively halves `x` into blocks of `sizes` rows. The gradient of a slice is as large as the tensor it is taken
/// from, so cutting a hundred blocks off one tensor would cost a hundred times its size, not seven.
fn cut(x: Tensor<2>, sizes: &[usize], blocks: &mut Vec<Tensor<2>>) {
    if let [] | [_] = sizes {
        blocks.push(x);
        return;
    }
    let (head, tail) = sizes.split_at(sizes.len() / 2);
    let (middle, end) = (head.iter().sum(), x.dims()[0]);
    cut(x.clone().slice([0..middle]), head, blocks);
    cut(x.slice([middle..end]), tail, blocks);
}

impl Layer {
    /// Returns the states `[rows, hidden]` after each row of `x`, `[rows, in]`, in the order of [`Steps`].
    fn states(&self, x: Tensor<2>, sizes: &[usize]) -> Tensor<2> {
        let hidden = self.state.weight.dims()[0];
        let first = sizes.first().copied().unwrap_or(0);
        let mut state = Tensor::<2>::zeros([first, hidden], &x.device());
        let mut inputs = Vec::with_capacity(sizes.len());
        cut(self.input.forward(x), sizes, &mut inputs);
        let mut states = Vec::with_capacity(sizes.len());
        for input in inputs {
            let active = input.dims()[0];
            if state.dims()[0] > active {
                state = state.slice([0..active]);
            }
            let columns =
                |x: &Tensor<2>, from: usize, to: usize| x.clone().slice([0..active, from * hidden..to * hidden]);
            let from_state = self.state.forward(state.clone());
            let gates = sigmoid(columns(&input, 0, 2) + columns(&from_state, 0, 2));
            let (reset, update) = (columns(&gates, 0, 1), columns(&gates, 1, 2));
            let candidate = (columns(&input, 2, 3) + reset * columns(&from_state, 2, 3)).tanh();
            // (1 - update) candidate + update state
            state = candidate.clone() + update * (state - candidate);
            states.push(state.clone());
        }
        Tensor::cat(states, 0)
    }
}

impl Gru4Rec {
    /// Returns the item table, `[items + 1, dim]`; row 0 is padding.
    pub fn table(&self) -> Tensor<2> {
        self.items.val()
    }

    /// Returns the recurrent states `[rows, hidden]` of concatenated histories; [`Gru4Rec::vectors`] turns them into
    /// user vectors.
    pub fn states(&self, items: Tensor<1, Int>, lengths: &[usize], seed: Option<u64>) -> Tensor<2> {
        let noise = noise(self.config.dropout, seed);
        let (device, steps) = (items.device(), Steps::of(lengths));
        let read = items.select(0, indices(steps.order, &device));
        let mut x = noise(self.items.val().select(0, read), 0);
        for (site, layer) in (1..).zip(&self.layers) {
            x = noise(layer.states(x, &steps.sizes), site);
        }
        x.select(0, indices(steps.places, &device))
    }

    /// Returns user vectors `[rows, dim]` for recurrent states `[rows, hidden]`.
    pub fn vectors(&self, states: Tensor<2>) -> Tensor<2> {
        self.dense.forward(states)
    }

    /// Returns every parameter under its name in the golden case; matrices of linear layers are stored `[in, out]`.
    pub(crate) fn original_names(&mut self) -> Vec<(String, Parameter<'_>)> {
        let mut all = vec![("item_emb".into(), Parameter::Table(&mut self.items))];
        linear(&mut all, "dense", &mut self.dense);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            for (name, linear) in [("ih", &mut layer.input), ("hh", &mut layer.state)] {
                all.push((format!("gru.w_{name}.{index}"), Parameter::Matrix(&mut linear.weight)));
                all.extend(linear.bias.as_mut().map(|b| (format!("gru.b_{name}.{index}"), Parameter::Vector(b))));
            }
        }
        all
    }
}

impl IdModel for Gru4Rec {
    type Fitted = Self;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let states = self.states(batch.items.clone(), &batch.lengths, batch.dropout);
        self.config.item_loss().of(self.vectors(batch.with_target(states)), self.table(), batch)
    }

    fn item_rows(&mut self) -> Option<&mut Param<Tensor<2>>> {
        self.config.item_loss().reads_rows().then_some(&mut self.items)
    }

    fn fitted(&self) -> Self {
        self.valid()
    }
}

impl Recommender for Gru4Rec {
    fn dim(&self) -> usize {
        self.config.dim
    }
    fn interests(&self) -> usize {
        1
    }

    fn users(&self, all: &[History<'_>]) -> Tensor<2> {
        let read = histories(all, self.config.max_length, &self.items.device());
        read.last(self.vectors(self.states(read.items.clone(), &read.lengths, None)))
    }

    own_item_table!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_hold_what_is_still_read_and_lead_back() {
        let steps = Steps::of(&[1, 3, 0, 2]);
        assert_eq!(steps.sizes, [3, 2, 1]);
        assert_eq!(steps.order, [1, 4, 0, 2, 5, 3]);
        let back: Vec<u32> = steps.places.iter().map(|&place| steps.order[place as usize]).collect();
        assert_eq!(back, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn layers_of_a_batch_are_those_of_each_sequence_alone() {
        let device = Device::flex();
        let model = Gru4RecConfig { dim: 6, hidden: 5, layers: 2, ..Gru4RecConfig::default() }.init(9, 4, &device);
        let rows: [&[u32]; 4] = [&[3], &[1, 5, 9, 2], &[7, 7], &[8, 1, 4]];
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        let together = model.states(indices(rows.concat(), &device), &lengths, None);
        let alone = rows.map(|row| model.states(indices(row.iter().copied(), &device), &[row.len()], None)).to_vec();
        let tolerance = burn::tensor::Tolerance::<f32>::absolute(1e-6);
        together.into_data().assert_approx_eq(&Tensor::cat(alone, 0).into_data(), tolerance);
    }
}
