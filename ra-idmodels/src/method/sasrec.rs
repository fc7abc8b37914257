//! SASRec (Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018).
use super::parameters::{Parameter, linear, norm};
use super::sequence::{histories, item_rows, linear_of, normed};
use crate::checks::{LONGEST, MOST, WIDEST, not_divided, of_train};
use crate::loss::ItemLoss;
use crate::{Batches, Job, LearnedMethod, Loss, NextItem, TrainConfig};
use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::{attention, dropout, gelu};
use ra_core::{
    Check, History, IdModel, ItemId, Problem, Recommender, Result, TrainBatch, indices, normal, rng, splitmix64,
    xavier_normal,
};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The structure of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SasRecVariant {
    /// The original code: only the query is normalised, the residual is the normalised query, and there is no output
    /// projection.
    #[default]
    Original,
    /// A pre-norm transformer block with an output projection, and a feed-forward part with GELU and four times the
    /// width.
    Modern,
}

/// Configures [`SasRec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SasRecConfig {
    /// The structure of a block.
    pub variant: SasRecVariant,
    /// The width of item and user vectors.
    pub dim: usize,
    /// The number of self-attention blocks.
    pub blocks: usize,
    /// The number of attention heads per block.
    pub heads: usize,
    /// The number of newest items that are read.
    pub max_length: usize,
    /// The dropout rate.
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

impl Default for SasRecConfig {
    fn default() -> Self {
        Self {
            variant: SasRecVariant::Original,
            dim: 64,
            blocks: 2,
            heads: 1,
            max_length: 50,
            dropout: 0.3,
            loss: Loss::Softmax,
            negatives: 1,
            calibration: 0.75,
            train: TrainConfig::default(),
        }
    }
}

#[derive(Module, Debug)]
struct Block {
    attention_norm: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Option<Linear>,
    inner_norm: LayerNorm,
    up: Linear,
    down: Linear,
}

/// SASRec; a user is the state at the last position of the history.
#[derive(Module, Debug)]
pub struct SasRec {
    /// `[items + 1, dim]`; row 0 is padding, which is never read.
    items: Param<Tensor<2>>,
    encoder: Encoder,
}

/// The SASRec encoder for the vectors of a history, from any source.
#[derive(Module, Debug)]
pub(crate) struct Encoder {
    positions: Param<Tensor<2>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    #[module(skip)]
    config: SasRecConfig,
}

const EPSILON: f32 = 1e-8;

impl SasRecConfig {
    fn item_loss(&self) -> ItemLoss {
        ItemLoss { loss: self.loss, negatives: self.negatives, calibration: self.calibration }
    }

    /// Creates a new model for a catalogue of `items` items.
    pub fn init(&self, items: usize, seed: u64, device: &Device) -> SasRec {
        let random = &mut rng(seed, "sasrec", 0);
        let blocks = self.blocks(random, device);
        let items = normal([items + 1, self.dim], 0.02, random, device);
        SasRec { items, encoder: self.encoder(blocks, random, device) }
    }

    /// Creates a new encoder without an item table.
    pub(crate) fn encoder_alone(&self, seed: u64, device: &Device) -> Encoder {
        let random = &mut rng(seed, "sasrec", 0);
        let blocks = self.blocks(random, device);
        self.encoder(blocks, random, device)
    }

    fn blocks(&self, random: &mut ChaCha8Rng, device: &Device) -> Vec<Block> {
        let dim = self.dim;
        let norm = || LayerNormConfig::new(dim).with_epsilon(f64::from(EPSILON)).init(device);
        let mut linear = |from: usize, to: usize| linear_of(xavier_normal([from, to], random, device));
        let modern = self.variant == SasRecVariant::Modern;
        let inner = if modern { 4 * dim } else { dim };
        (0..self.blocks)
            .map(|_| Block {
                attention_norm: norm(),
                query: linear(dim, dim),
                key: linear(dim, dim),
                value: linear(dim, dim),
                output: modern.then(|| linear(dim, dim)),
                inner_norm: norm(),
                up: linear(dim, inner),
                down: linear(inner, dim),
            })
            .collect()
    }

    fn encoder(&self, blocks: Vec<Block>, random: &mut ChaCha8Rng, device: &Device) -> Encoder {
        Encoder {
            positions: normal([self.max_length, self.dim], 0.02, random, device),
            blocks,
            norm: LayerNormConfig::new(self.dim).with_epsilon(f64::from(EPSILON)).init(device),
            config: self.clone(),
        }
    }
}

impl Check for SasRecConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut found: Vec<Problem> = [
            Problem::unless_within("dim", self.dim, WIDEST),
            Problem::if_below("heads", self.heads, 1),
            Problem::if_above("blocks", self.blocks, MOST),
            Problem::unless_within("max_length", self.max_length, LONGEST),
            not_divided(self.dim, self.heads),
            Problem::unless_share("dropout", self.dropout),
        ]
        .into_iter()
        .flatten()
        .collect();
        found.extend(self.item_loss().problems());
        found.extend(of_train(self.train.problems()));
        found
    }

    fn oddities(&self) -> Vec<Problem> {
        of_train(self.train.oddities()).collect()
    }
}

impl LearnedMethod for SasRecConfig {
    type Model = SasRec;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<SasRec> {
        Ok(self.init(job.dataset.catalog.len(), seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        let negatives = self.item_loss().wanted();
        Box::new(NextItem::new(job.dataset, self.train.batch, self.max_length, negatives, job.seed, job.device))
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

impl SasRec {
    /// Returns the item table, `[items + 1, dim]`; row 0 is padding.
    pub fn table(&self) -> Tensor<2> {
        self.items.val()
    }

    /// Returns the states `[rows, dim]` of concatenated histories, each at most `max_length` long.
    pub fn states(&self, items: Tensor<1, Int>, lengths: &Arc<[usize]>, seed: Option<u64>) -> Tensor<2> {
        self.encoder.states(self.items.val().select(0, items), lengths, seed)
    }

    /// Returns every parameter under its name in the original code; matrices of linear layers are stored `[in, out]`.
    pub(crate) fn original_names(&mut self) -> Vec<(String, Parameter<'_>)> {
        let Encoder { positions, blocks, norm: last, .. } = &mut self.encoder;
        let mut all = vec![
            ("item_emb".into(), Parameter::Table(&mut self.items)),
            ("pos_emb".into(), Parameter::Table(positions)),
        ];
        for (index, block) in blocks.iter_mut().enumerate() {
            let linears = [
                ("q", &mut block.query),
                ("k", &mut block.key),
                ("v", &mut block.value),
                ("f1", &mut block.up),
                ("f2", &mut block.down),
            ];
            for (name, layer) in linears {
                linear(&mut all, &format!("{index}.{name}"), layer);
            }
            norm(&mut all, &format!("{index}.ln_attn"), &mut block.attention_norm);
            norm(&mut all, &format!("{index}.ln_ffn"), &mut block.inner_norm);
        }
        norm(&mut all, "ln_out", last);
        all
    }
}

impl Encoder {
    /// Returns the states of concatenated histories from the vectors of their items; both are `[rows, dim]`.
    pub(crate) fn states(&self, vectors: Tensor<2>, lengths: &Arc<[usize]>, seed: Option<u64>) -> Tensor<2> {
        let (config, device) = (&self.config, vectors.device());
        let noise = |x: Tensor<2>, site: u64| match seed {
            Some(seed) => dropout(x, config.dropout, splitmix64(seed ^ site)),
            None => x,
        };
        let attend = |block: &Block, query: Tensor<2>, x: Tensor<2>| {
            let (q, k, v) = (block.query.forward(query), block.key.forward(x.clone()), block.value.forward(x));
            attention(q, k, v, lengths, config.heads, true)
        };
        // The last item of a history has the last position.
        let place = |&length: &usize| (config.max_length - length..config.max_length).map(|place| place as u32);
        let places: Vec<u32> = lengths.iter().flat_map(place).collect();
        let places = indices(places, &device);
        let read = vectors * (config.dim as f32).sqrt();
        let mut x = noise(read + self.positions.val().select(0, places), 0);
        for (index, block) in self.blocks.iter().enumerate() {
            let site = 3 * index as u64 + 1;
            x = match &block.output {
                None => {
                    let query = normed(&block.attention_norm, x.clone(), EPSILON);
                    let attended = attend(block, query.clone(), x);
                    // Dropout on the attention's output in place of its weights: the same regularisation at a lower
                    // cost.
                    let inner = normed(&block.inner_norm, noise(attended, site) + query, EPSILON);
                    let up = noise(relu(block.up.forward(inner.clone())), site + 1);
                    noise(block.down.forward(up), site + 2) + inner
                }
                Some(output) => {
                    let read = normed(&block.attention_norm, x.clone(), EPSILON);
                    let x = x + noise(output.forward(attend(block, read.clone(), read)), site);
                    let up = noise(gelu(block.up.forward(normed(&block.inner_norm, x.clone(), EPSILON))), site + 1);
                    x + noise(block.down.forward(up), site + 2)
                }
            };
        }
        normed(&self.norm, x, EPSILON)
    }
}

impl IdModel for SasRec {
    type Fitted = Self;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let states = self.states(batch.items.clone(), &batch.lengths, batch.dropout);
        self.encoder.config.item_loss().of(batch.with_target(states), self.table(), batch)
    }

    fn fitted(&self) -> Self {
        self.valid()
    }
}

impl Recommender for SasRec {
    fn dim(&self) -> usize {
        self.encoder.config.dim
    }
    fn interests(&self) -> usize {
        1
    }

    fn users(&self, all: &[History<'_>]) -> Tensor<2> {
        let read = histories(all, self.encoder.config.max_length, &self.items.device());
        read.last(self.states(read.items.clone(), &read.lengths, None))
    }

    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        item_rows(&self.items.val(), items)
    }

    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }

    fn with_items(&self, items: &Tensor<2>) -> Option<Box<dyn Recommender>> {
        Some(Box::new(Self { items: Param::from_tensor(items.clone()), ..self.clone() }))
    }
}
