//! SASRec (Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018).
use super::parameters::{Parameter, linear, norm};
use super::sequence::{chosen, histories, last_places, linear_of, linear_without_bias, noise, normed, own_item_table};
use crate::checks::{MOST, of_attention, of_train};
use crate::loss::ItemLoss;
use crate::text::principal::Principal;
use crate::{Batches, EachPrefix, Job, LearnedMethod, Loss, NextItem, TrainConfig};
use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::{attention, gated_silu, gelu};
use ra_core::{Check, History, IdModel, Problem, Recommender, Result, TrainBatch, normal, rng, xavier_normal};
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
    /// A pre-norm block whose residuals are gated, `x + sigmoid(W x) f(norm(x))`, with a feed-forward part of SwiGLU
    /// without biases and four times the width: LiGR (Borisyuk et al., "From Features to Transformers", 2025) as
    /// eSASRec has it (Tikhonovich et al., RecSys 2025).
    Ligr,
}

/// What the item table of [`SasRec`] starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SasRecInit {
    /// Random numbers.
    #[default]
    Normal,
    /// Given vectors ([`Job::features`]), such as those of titles: their `dim` principal axes, scaled to the deviation
    /// of the random numbers, which fill what is missing if there are fewer axes. All of it is trained.
    Text,
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
    /// Whether each prefix of a training sequence is a sample of its own with one target, as in RecBole and S3-Rec
    /// ([`EachPrefix`]). Otherwise a sequence is one sample with a target at every position. A batch then is a number
    /// of prefixes, not of users, and an epoch takes several times as long.
    pub augment: bool,
    /// What the item table starts from.
    pub init: SasRecInit,
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
            augment: false,
            init: SasRecInit::Normal,
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
    gates: Option<Gates>,
}

/// What a block of [`SasRecVariant::Ligr`] has more.
#[derive(Module, Debug)]
struct Gates {
    /// Of the attention's output.
    attention: Linear,
    /// Of the feed-forward part's output.
    inner: Linear,
    /// The half of SwiGLU without an activation.
    linear: Linear,
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

/// The standard deviation of the initial items and positions.
const DEVIATION: f32 = 0.02;

impl SasRecConfig {
    fn item_loss(&self) -> ItemLoss {
        ItemLoss { loss: self.loss, negatives: self.negatives, calibration: self.calibration }
    }

    /// Creates a new model for a catalogue of `items` items.
    pub fn init(&self, items: usize, seed: u64, device: &Device) -> SasRec {
        let random = &mut rng(seed, "sasrec", 0);
        let blocks = self.blocks(random, device);
        let table = normal([items + 1, self.dim], DEVIATION, random, device);
        let mut encoder = self.encoder(blocks, random, device);
        encoder.config.loss = self.loss.for_catalogue(items);
        SasRec { items: table, encoder }
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
        let mut weight = |from: usize, to: usize| xavier_normal([from, to], random, device);
        let (original, gated) = (self.variant == SasRecVariant::Original, self.variant == SasRecVariant::Ligr);
        let inner = if original { dim } else { 4 * dim };
        let of_inner = if gated { linear_without_bias } else { linear_of };
        (0..self.blocks)
            .map(|_| Block {
                attention_norm: norm(),
                query: linear_of(weight(dim, dim)),
                key: linear_of(weight(dim, dim)),
                value: linear_of(weight(dim, dim)),
                output: (!original).then(|| linear_of(weight(dim, dim))),
                inner_norm: norm(),
                up: of_inner(weight(dim, inner)),
                down: of_inner(weight(inner, dim)),
                gates: gated.then(|| Gates {
                    attention: linear_of(weight(dim, dim)),
                    inner: linear_of(weight(dim, dim)),
                    linear: linear_without_bias(weight(dim, inner)),
                }),
            })
            .collect()
    }

    fn encoder(&self, blocks: Vec<Block>, random: &mut ChaCha8Rng, device: &Device) -> Encoder {
        Encoder {
            positions: normal([self.max_length, self.dim], DEVIATION, random, device),
            blocks,
            norm: LayerNormConfig::new(self.dim).with_epsilon(f64::from(EPSILON)).init(device),
            config: self.clone(),
        }
    }
}

impl Check for SasRecConfig {
    fn problems(&self) -> Vec<Problem> {
        let blocks = Problem::if_above("blocks", self.blocks, MOST);
        let mut found: Vec<Problem> =
            of_attention([self.dim, self.heads, self.max_length], blocks, self.dropout).collect();
        found.extend(self.item_loss().problems());
        found.extend(of_train(self.train.problems()));
        found
    }

    fn oddities(&self) -> Vec<Problem> {
        self.item_loss().oddities().into_iter().chain(of_train(self.train.oddities())).collect()
    }
}

impl LearnedMethod for SasRecConfig {
    type Model = SasRec;

    fn wants_features(&self) -> bool {
        self.init == SasRecInit::Text
    }

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<SasRec> {
        let model = self.init(job.dataset.catalog.len(), seed, device);
        if self.init == SasRecInit::Normal {
            return Ok(model);
        }
        let given = Principal::new(job.given_features()?, self.dim, device)?.scaled(DEVIATION);
        let [rows, axes] = given.dims();
        let random = model.items.val().slice([0..rows, axes..self.dim]);
        let both = if axes < self.dim { Tensor::cat(vec![given, random], 1) } else { given };
        Ok(SasRec { items: Param::from_tensor(both.detach()), ..model })
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        let (batch, length, negatives) = (self.train.batch, self.max_length, self.item_loss().wanted());
        if self.augment {
            let batches = EachPrefix::new(job.dataset, batch, length, negatives, job.seed, job.device);
            return self.item_loss().batches(batches, job);
        }
        let batches = NextItem::new(job.dataset, batch, length, negatives, job.seed, job.device);
        self.item_loss().batches(batches, job)
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
        self.encoder.states(self.items.val().select(0, items), lengths, None, seed)
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
    /// Returns the longest history that it reads.
    pub(crate) fn max_length(&self) -> usize {
        self.config.max_length
    }

    /// Returns the states of concatenated histories from the vectors of their items, `[rows, dim]`; if `wanted` names
    /// rows, only theirs.
    pub(crate) fn states(
        &self,
        vectors: Tensor<2>,
        lengths: &Arc<[usize]>,
        wanted: Option<&Tensor<1, Int>>,
        seed: Option<u64>,
    ) -> Tensor<2> {
        let (config, device) = (&self.config, vectors.device());
        let noise = noise(config.dropout, seed);
        let attend = |block: &Block, query: Tensor<2>, x: Tensor<2>| {
            let (q, k, v) = (block.query.forward(query), block.key.forward(x.clone()), block.value.forward(x));
            attention(q, k, v, lengths, config.heads, true)
        };
        let places = last_places(lengths, config.max_length, &device);
        let read = vectors * (config.dim as f32).sqrt();
        let mut x = noise(read + self.positions.val().select(0, places), 0);
        for (index, block) in self.blocks.iter().enumerate() {
            let site = 3 * index as u64 + 1;
            // After the last attention no row reads another.
            let wanted = wanted.filter(|_| index + 1 == self.blocks.len());
            let left = |x: Tensor<2>| chosen(x, wanted);
            x = match (&block.output, &block.gates) {
                (None, _) => {
                    let query = normed(&block.attention_norm, x.clone(), EPSILON);
                    let attended = attend(block, query.clone(), x);
                    // Dropout on the attention's output in place of its weights: the same regularisation at a lower
                    // cost.
                    let inner = normed(&block.inner_norm, left(noise(attended, site) + query), EPSILON);
                    let up = noise(relu(block.up.forward(inner.clone())), site + 1);
                    noise(block.down.forward(up), site + 2) + inner
                }
                (Some(output), None) => {
                    let read = normed(&block.attention_norm, x.clone(), EPSILON);
                    let attended = left(attend(block, read.clone(), read));
                    let x = left(x) + noise(output.forward(attended), site);
                    let up = noise(gelu(block.up.forward(normed(&block.inner_norm, x.clone(), EPSILON))), site + 1);
                    x + noise(block.down.forward(up), site + 2)
                }
                (Some(output), Some(gates)) => {
                    let gated = |gate: &Linear, x: Tensor<2>, f: Tensor<2>| x.clone() + sigmoid(gate.forward(x)) * f;
                    let read = normed(&block.attention_norm, x.clone(), EPSILON);
                    let attended = left(attend(block, read.clone(), read));
                    let x = gated(&gates.attention, left(x), noise(output.forward(attended), site));
                    let read = normed(&block.inner_norm, x.clone(), EPSILON);
                    let up = gated_silu(block.up.forward(read.clone()), gates.linear.forward(read));
                    gated(&gates.inner, x, noise(block.down.forward(noise(up, site + 1)), site + 2))
                }
            };
        }
        if self.blocks.is_empty() {
            x = chosen(x, wanted);
        }
        normed(&self.norm, x, EPSILON)
    }
}

impl IdModel for SasRec {
    type Fitted = Self;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let read = self.items.val().select(0, batch.items.clone());
        let states = self.encoder.states(read, &batch.lengths, batch.rows.as_ref(), batch.dropout);
        self.encoder.config.item_loss().of(states, self.table(), batch)
    }

    fn item_rows(&mut self) -> Option<&mut Param<Tensor<2>>> {
        self.encoder.config.item_loss().reads_rows().then_some(&mut self.items)
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

    own_item_table!();
}
