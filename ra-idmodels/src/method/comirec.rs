//! ComiRec (Cen et al., "Controllable Multi-Interest Framework for Recommendation", KDD 2020): several vectors per
//! user.
use super::sequence::{Grid, histories, own_item_table};
use crate::checks::{LONGEST, MOST, WIDEST, of_train};
use crate::loss::ItemLoss;
use crate::{Batches, Job, LearnedMethod, Loss, Prefixes, TrainConfig};
use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor};
use ra_core::{
    Check, History, IdModel, OptimConfig, Problem, Recommender, Result, TrainBatch, indices, normal, normal_numbers,
    rng, xavier_normal,
};
use serde::{Deserialize, Serialize};

/// How interests are extracted from a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Extraction {
    /// Self-attention: each interest weighs the items by a learned query (the paper's ComiRec-SA).
    #[default]
    SelfAttentive,
    /// Dynamic routing: items choose interests in three rounds (ComiRec-DR).
    DynamicRouting,
}

/// Configures [`ComiRec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComiRecConfig {
    /// How interests are extracted from a history.
    pub extraction: Extraction,
    /// The width of item and user vectors.
    pub dim: usize,
    /// The number of vectors (interests) per user.
    pub interests: usize,
    /// The number of newest items that are read.
    pub max_length: usize,
    /// The training loss.
    pub loss: Loss,
    /// The number of negatives per sample, for losses that use negatives.
    pub negatives: usize,
    /// The calibration `t` of gBCE, from 0 to 1.
    pub calibration: f64,
    /// The training settings.
    pub train: TrainConfig,
}

impl Default for ComiRecConfig {
    fn default() -> Self {
        Self {
            extraction: Extraction::SelfAttentive,
            dim: 64,
            interests: 4,
            max_length: 50,
            loss: Loss::Softmax,
            negatives: 10,
            calibration: 0.75,
            train: TrainConfig { optim: OptimConfig::default(), ..TrainConfig::default() },
        }
    }
}

/// A model with `interests` vectors per user; an item's score is the highest of their dot products.
#[derive(Module, Debug)]
pub struct ComiRec {
    /// `[items + 1, dim]`; row 0 is padding, which is never read.
    items: Param<Tensor<2>>,
    positions: Param<Tensor<2>>,
    /// For self-attention `[dim, 4 dim]`; for dynamic routing the map `[dim, dim]` that all interests share.
    first: Param<Tensor<2>>,
    /// For self-attention `[4 dim, interests]`.
    second: Option<Param<Tensor<2>>>,
    /// The initial routing logits, `[interests, max_length]`, the same for every user and never trained.
    #[module(skip)]
    start: Vec<f32>,
    #[module(skip)]
    config: ComiRecConfig,
}

impl ComiRecConfig {
    fn item_loss(&self) -> ItemLoss {
        ItemLoss { loss: self.loss, negatives: self.negatives, calibration: self.calibration }
    }

    /// Creates a new model for a catalogue of `items` items.
    pub fn init(&self, items: usize, seed: u64, device: &Device) -> ComiRec {
        let (dim, random) = (self.dim, &mut rng(seed, "comirec", 0));
        let attentive = self.extraction == Extraction::SelfAttentive;
        let inner = if attentive { 4 * dim } else { dim };
        let start = normal_numbers(self.interests * self.max_length, 1.0, &mut rng(0, "routing", 0));
        ComiRec {
            items: normal([items + 1, dim], 0.02, random, device),
            positions: normal([self.max_length, dim], 0.02, random, device),
            first: xavier_normal([dim, inner], random, device),
            second: attentive.then(|| xavier_normal([inner, self.interests], random, device)),
            start,
            config: Self { loss: self.loss.for_catalogue(items), ..self.clone() },
        }
    }
}

impl Check for ComiRecConfig {
    fn problems(&self) -> Vec<Problem> {
        let sizes = [
            Problem::unless_within("dim", self.dim, WIDEST),
            Problem::unless_within("interests", self.interests, MOST),
            Problem::unless_within("max_length", self.max_length, LONGEST),
        ];
        let mut found: Vec<Problem> = sizes.into_iter().flatten().collect();
        found.extend(self.item_loss().problems());
        found.extend(of_train(self.train.problems()));
        found
    }

    fn oddities(&self) -> Vec<Problem> {
        self.item_loss().oddities().into_iter().chain(of_train(self.train.oddities())).collect()
    }
}

impl LearnedMethod for ComiRecConfig {
    type Model = ComiRec;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<ComiRec> {
        Ok(self.init(job.dataset.catalog.len(), seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        let negatives = self.item_loss().wanted();
        let batches = Prefixes::new(job.dataset, self.train.batch, self.max_length, negatives, job.seed, job.device);
        self.item_loss().batches(batches, job)
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

impl ComiRec {
    /// Returns the interests `[histories, interests, dim]` of concatenated histories.
    fn extract(&self, items: Tensor<1, Int>, lengths: &[usize]) -> Tensor<3> {
        let (grid, config) = (Grid::new(lengths, &self.items.device()), &self.config);
        let ([batch, longest], dim, k) = (grid.dims(), config.dim, config.interests);
        let read = grid.pad(self.items.val().select(0, items)); // [batch, longest, dim]
        let bias = (grid.mask().reshape([batch, 1, longest]) - 1.0) * 1e9;
        match &self.second {
            Some(second) => {
                // The last item of a history has the last position.
                let from = |&length: &usize| (config.max_length - length..config.max_length).map(|place| place as u32);
                let places: Vec<u32> = lengths.iter().flat_map(from).collect();
                let places = indices(places, &self.items.device());
                let placed = read.clone() + grid.pad(self.positions.val().select(0, places));
                let hidden = placed.reshape([batch * longest, dim]).matmul(self.first.val()).tanh();
                let scores: Tensor<3> = hidden.matmul(second.val()).reshape([batch, longest, k]).swap_dims(1, 2);
                softmax(scores + bias, 2).matmul(read)
            }
            None => {
                let mapped: Tensor<3> =
                    read.reshape([batch * longest, dim]).matmul(self.first.val()).reshape([batch, longest, dim]);
                let starts: Vec<f32> =
                    self.start.chunks(config.max_length).flat_map(|row| row[..longest].to_vec()).collect();
                let starts = Tensor::<1>::from_floats(starts.as_slice(), &mapped.device());
                let mut logits: Tensor<3> = starts.reshape([1, k, longest]).expand([batch, k, longest]);
                // Routing coefficients are computed without gradients, as in the authors' code, except in the last
                // round.
                let still = mapped.clone().detach();
                let weigh = |logits: Tensor<3>| softmax(logits, 1) * grid.mask().reshape([batch, 1, longest]);
                for _ in 0..2 {
                    let capsules = squash(weigh(logits.clone()).matmul(still.clone()));
                    logits = logits + capsules.matmul(still.clone().swap_dims(1, 2));
                }
                squash(weigh(logits).matmul(mapped))
            }
        }
    }
}

/// `|x|^2 / (1 + |x|^2) * x / |x|` (Sabour et al., NeurIPS 2017, eq. 1).
fn squash(x: Tensor<3>) -> Tensor<3> {
    let square = x.clone().square().sum_dim(2);
    x * (square.clone() / (square.clone() + 1.0) / (square + 1e-9).sqrt())
}

impl IdModel for ComiRec {
    type Fitted = Self;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let interests = self.extract(batch.items.clone(), &batch.lengths);
        let [n, k, dim] = interests.dims();
        // Only the interest that fits the target best is trained on it (eq. 8).
        let target: Tensor<3> = self.items.val().select(0, batch.positives.clone()).reshape([n, dim, 1]);
        let best = interests.clone().detach().matmul(target.detach()).argmax(1).reshape([n]);
        let places: Tensor<1, Int> = Tensor::arange(0..n as i64, &best.device()) * k as i64 + best;
        let hidden = interests.reshape([n * k, dim]).select(0, places);
        self.config.item_loss().of(hidden, self.items.val(), batch)
    }

    fn item_rows(&mut self) -> Option<&mut Param<Tensor<2>>> {
        self.config.item_loss().reads_rows().then_some(&mut self.items)
    }

    fn fitted(&self) -> Self {
        self.valid()
    }
}

impl Recommender for ComiRec {
    fn dim(&self) -> usize {
        self.config.dim
    }

    fn interests(&self) -> usize {
        self.config.interests
    }

    fn users(&self, all: &[History<'_>]) -> Tensor<2> {
        let (device, k) = (self.items.device(), self.config.interests);
        let read = histories(all, self.config.max_length, &device);
        let vectors = self.extract(read.items, &read.lengths) * read.known.reshape([all.len(), 1, 1]);
        vectors.reshape([all.len() * k, self.config.dim])
    }

    own_item_table!();
}
