//! BERT4Rec (Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from
//! Transformer", CIKM 2019), in RecBole's structure.
use super::parameters::{Parameter, linear, norm};
use super::sequence::{histories, linear_of, noise, normed};
use crate::checks::{LONGEST, MOST, WIDEST, not_divided, of_train};
use crate::loss::whole_catalogue;
use crate::{Batches, Cloze, Job, LearnedMethod, TrainConfig};
use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::{attention, gelu};
use ra_core::{
    Check, History, IdModel, ItemId, Problem, Recommender, Result, TrainBatch, UserId, indices, normal, rng,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configures [`Bert4Rec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bert4RecConfig {
    /// The width of the states. Item and user vectors have one more dimension, for the item's bias.
    pub dim: usize,
    /// The number of encoder layers.
    pub layers: usize,
    /// The number of attention heads per layer.
    pub heads: usize,
    /// The inner width of the feed-forward part of a layer.
    pub inner: usize,
    /// The number of newest items that are read, including the mask that stands for the next item.
    pub max_length: usize,
    /// The dropout rate.
    pub dropout: f64,
    /// The share of items that training masks.
    pub mask: f64,
    /// The training settings.
    pub train: TrainConfig,
}

impl Default for Bert4RecConfig {
    fn default() -> Self {
        Self {
            dim: 64,
            layers: 2,
            heads: 2,
            inner: 256,
            max_length: 50,
            dropout: 0.2,
            mask: 0.2,
            train: TrainConfig::default(),
        }
    }
}

/// Attention and a feed-forward part, each normalised after its residual.
#[derive(Module, Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    inner_norm: LayerNorm,
}

/// BERT4Rec; a user is the output of the head for a mask after the history.
#[derive(Module, Debug)]
pub struct Bert4Rec {
    /// `[items + 2, dim]`; row 0 is padding, which is never read, and the last row is the mask.
    items: Param<Tensor<2>>,
    /// `[items + 2]`, the bias of each item's score; those of padding and mask are never read.
    bias: Param<Tensor<1>>,
    positions: Param<Tensor<2>>,
    input_norm: LayerNorm,
    layers: Vec<Layer>,
    head: Linear,
    head_norm: LayerNorm,
    #[module(skip)]
    config: Bert4RecConfig,
}

const EPSILON: f32 = 1e-12;

/// The initial standard deviation of every matrix, as in BERT.
const DEVIATION: f32 = 0.02;

impl Bert4RecConfig {
    /// Creates a new model for a catalogue of `items` items.
    pub fn init(&self, items: usize, seed: u64, device: &Device) -> Bert4Rec {
        let (dim, random) = (self.dim, &mut rng(seed, "bert4rec", 0));
        let norm = || LayerNormConfig::new(dim).with_epsilon(f64::from(EPSILON)).init(device);
        let mut table = |from: usize, to: usize| normal([from, to], DEVIATION, random, device);
        let layers = (0..self.layers)
            .map(|_| Layer {
                query: linear_of(table(dim, dim)),
                key: linear_of(table(dim, dim)),
                value: linear_of(table(dim, dim)),
                output: linear_of(table(dim, dim)),
                attention_norm: norm(),
                up: linear_of(table(dim, self.inner)),
                down: linear_of(table(self.inner, dim)),
                inner_norm: norm(),
            })
            .collect();
        Bert4Rec {
            items: table(items + 2, dim),
            bias: Param::from_tensor(Tensor::zeros([items + 2], device)),
            positions: table(self.max_length, dim),
            input_norm: norm(),
            layers,
            head: linear_of(table(dim, dim)),
            head_norm: norm(),
            config: self.clone(),
        }
    }
}

impl Check for Bert4RecConfig {
    fn problems(&self) -> Vec<Problem> {
        let sizes = [
            Problem::unless_within("dim", self.dim, WIDEST),
            Problem::if_below("heads", self.heads, 1),
            Problem::unless_within("inner", self.inner, WIDEST),
            // One of the items read is the mask.
            Problem::if_below("max_length", self.max_length, 2),
            Problem::if_above("max_length", self.max_length, LONGEST),
            Problem::if_above("layers", self.layers, MOST),
        ];
        let mut found: Vec<Problem> = sizes.into_iter().flatten().collect();
        found.extend(not_divided(self.dim, self.heads));
        found.extend(Problem::unless_share("dropout", self.dropout));
        if !(self.mask > 0.0 && self.mask <= 1.0) {
            found.push(Problem::new("mask", format!("is {}, it must be above 0 and at most 1", self.mask)));
        }
        found.extend(of_train(self.train.problems()));
        found
    }

    fn oddities(&self) -> Vec<Problem> {
        of_train(self.train.oddities()).collect()
    }
}

impl LearnedMethod for Bert4RecConfig {
    type Model = Bert4Rec;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<Bert4Rec> {
        Ok(self.init(job.dataset.catalog.len(), seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        Box::new(Cloze::new(job.dataset, self.train.batch, self.max_length, self.mask, job.seed, job.device))
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

impl Bert4Rec {
    /// Returns the id of the mask: one more than the last item's.
    pub fn mask(&self) -> ItemId {
        ItemId(self.items.dims()[0] as u32 - 1)
    }

    /// Returns the item table with its biases, `[items + 1, dim + 1]`; row 0 is padding.
    pub fn table(&self) -> Tensor<2> {
        let known = self.items.dims()[0] - 1;
        let bias = self.bias.val().slice([0..known]).reshape([known, 1]);
        Tensor::cat(vec![self.items.val().slice([0..known]), bias], 1)
    }

    /// Returns the states `[rows, dim]` of concatenated histories, each at most `max_length` long.
    pub fn states(&self, items: Tensor<1, Int>, lengths: &Arc<[usize]>, seed: Option<u64>) -> Tensor<2> {
        let (config, device) = (&self.config, items.device());
        let noise = noise(config.dropout, seed);
        // The first item of a history has the first position.
        let places = indices(lengths.iter().flat_map(|&length| 0..length as u32), &device);
        let read = self.items.val().select(0, items) + self.positions.val().select(0, places);
        let mut x = noise(normed(&self.input_norm, read, EPSILON), 0);
        for (index, layer) in self.layers.iter().enumerate() {
            let site = 2 * index as u64 + 1;
            let [query, key, value] = [&layer.query, &layer.key, &layer.value].map(|part| part.forward(x.clone()));
            // RecBole also drops attention weights; dropout on the attention's output is enough.
            let attended = layer.output.forward(attention(query, key, value, lengths, config.heads, false));
            x = normed(&layer.attention_norm, noise(attended, site) + x, EPSILON);
            let inner = layer.down.forward(gelu(layer.up.forward(x.clone())));
            x = normed(&layer.inner_norm, noise(inner, site + 1) + x, EPSILON);
        }
        x
    }

    /// Applies the head to states `[rows, dim]`; the result has the same shape.
    pub fn head(&self, states: Tensor<2>) -> Tensor<2> {
        normed(&self.head_norm, gelu(self.head.forward(states)), EPSILON)
    }

    /// Returns user vectors `[rows, dim + 1]` for states `[rows, dim]`: the 1 at the end adds the item's bias to the
    /// product.
    pub fn vectors(&self, states: Tensor<2>) -> Tensor<2> {
        let found = self.head(states);
        let one = Tensor::ones([found.dims()[0], 1], &found.device());
        Tensor::cat(vec![found, one], 1)
    }

    /// Returns every parameter under its name in the golden case; matrices of linear layers are stored `[in, out]`.
    pub(crate) fn original_names(&mut self) -> Vec<(String, Parameter<'_>)> {
        let mut all = vec![
            ("item_emb".into(), Parameter::Table(&mut self.items)),
            ("out_bias".into(), Parameter::Vector(&mut self.bias)),
            ("pos_emb".into(), Parameter::Table(&mut self.positions)),
        ];
        norm(&mut all, "ln_in", &mut self.input_norm);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let linears = [
                ("q", &mut layer.query),
                ("k", &mut layer.key),
                ("v", &mut layer.value),
                ("o", &mut layer.output),
                ("f1", &mut layer.up),
                ("f2", &mut layer.down),
            ];
            for (name, layer) in linears {
                linear(&mut all, &format!("{index}.{name}"), layer);
            }
            norm(&mut all, &format!("{index}.ln1"), &mut layer.attention_norm);
            norm(&mut all, &format!("{index}.ln2"), &mut layer.inner_norm);
        }
        linear(&mut all, "out", &mut self.head);
        norm(&mut all, "ln_out", &mut self.head_norm);
        all
    }
}

impl IdModel for Bert4Rec {
    type Fitted = Self;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let states = self.states(batch.items.clone(), &batch.lengths, batch.dropout);
        whole_catalogue(self.vectors(batch.with_target(states)), self.table(), batch)
    }

    fn fitted(&self) -> Self {
        self.valid()
    }
}

impl Recommender for Bert4Rec {
    fn dim(&self) -> usize {
        self.config.dim + 1
    }
    fn interests(&self) -> usize {
        1
    }

    /// Reads an empty history as the mask alone.
    fn users(&self, all: &[History<'_>]) -> Tensor<2> {
        let width = self.config.max_length;
        let masked = |h: &History<'_>| {
            let newest = &h.items[h.items.len().saturating_sub(width - 1)..];
            newest.iter().copied().chain([self.mask()]).collect()
        };
        let rows: Vec<Vec<ItemId>> = all.iter().map(masked).collect();
        let asked: Vec<History<'_>> = rows.iter().map(|items| History { user: UserId(0), items }).collect();
        let read = histories(&asked, width, &self.items.device());
        self.vectors(read.last(self.states(read.items.clone(), &read.lengths, None)))
    }

    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        let rows = indices(items.iter().map(|item| item.0), &self.items.device());
        let bias = self.bias.val().select(0, rows.clone()).reshape([items.len(), 1]);
        Tensor::cat(vec![self.items.val().select(0, rows), bias], 1)
    }

    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }

    fn with_items(&self, items: &Tensor<2>) -> Option<Box<dyn Recommender>> {
        let ([rows, _], dim) = (items.dims(), self.config.dim);
        let mask = self.items.val().slice_dim(0, rows..rows + 1);
        let table = Tensor::cat(vec![items.clone().slice_dim(1, 0..dim), mask], 0);
        let own = self.bias.val().slice_dim(0, rows..rows + 1);
        let bias = Tensor::cat(vec![items.clone().slice_dim(1, dim..dim + 1).reshape([rows]), own], 0);
        Some(Box::new(Self { items: Param::from_tensor(table), bias: Param::from_tensor(bias), ..self.clone() }))
    }
}
