//! Matrix factorization with BPR (Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback",
//! UAI 2009).
use crate::checks::{WIDEST, of_train};
use crate::loss::{bpr, columns, square_norm};
use crate::{Batches, Job, LearnedMethod, Pairs, TrainConfig};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ra_core::kernels::pair_scores;
use ra_core::{Check, IdModel, IdTable, OptimConfig, Problem, Result, TrainBatch, normal, rng};
use serde::{Deserialize, Serialize};

/// Configures [`Mf`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MfConfig {
    /// The width of item and user vectors.
    pub dim: usize,
    /// The weight of half the squared norm of a pair's vectors; its negatives count with their mean.
    pub l2: f64,
    /// The number of items per pair that the user does not have; the loss is the mean over them.
    pub negatives: usize,
    /// The training settings; batches consist of pairs.
    pub train: TrainConfig,
}

impl Default for MfConfig {
    fn default() -> Self {
        let train = TrainConfig { batch: 2048, optim: OptimConfig::default(), ..TrainConfig::default() };
        Self { dim: 64, l2: 1e-4, negatives: 1, train }
    }
}

/// One vector per user and one per item, scored by their dot product.
#[derive(Module, Debug)]
pub struct Mf {
    pub(crate) users: Param<Tensor<2>>,
    pub(crate) items: Param<Tensor<2>>,
    #[module(skip)]
    l2: f64,
    #[module(skip)]
    negatives: usize,
}

impl MfConfig {
    /// Creates a new model.
    pub fn init(&self, users: usize, items: usize, seed: u64, device: &Device) -> Mf {
        let random = &mut rng(seed, "mf", 0);
        Mf {
            users: normal([users, self.dim], 0.1, random, device),
            items: normal([items + 1, self.dim], 0.1, random, device),
            l2: self.l2,
            negatives: self.negatives,
        }
    }
}

impl Check for MfConfig {
    fn problems(&self) -> Vec<Problem> {
        let found = [
            Problem::unless_within("dim", self.dim, WIDEST),
            Problem::if_below("negatives", self.negatives, 1),
            Problem::if_negative("l2", self.l2),
        ];
        found.into_iter().flatten().chain(of_train(self.train.problems())).collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        of_train(self.train.oddities()).collect()
    }
}

impl LearnedMethod for MfConfig {
    type Model = Mf;
    const READS_HISTORIES: bool = false;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<Mf> {
        Ok(self.init(job.dataset.users.len(), job.dataset.catalog.len(), seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        Box::new(Pairs::new(job.dataset, self.train.batch, self.negatives, job.seed, job.device))
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

impl IdModel for Mf {
    type Fitted = IdTable;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let (users, items) = (self.users.val(), self.items.val());
        let scores = pair_scores(users.clone(), Some(batch.users.clone()), items.clone(), columns(batch));
        let n = batch.positives.dims()[0];
        let owned = square_norm(users, batch.users.clone()) + square_norm(items.clone(), batch.positives.clone());
        let norms = owned + square_norm(items, batch.negatives.clone().flatten(0, 1)) / self.negatives as f64;
        bpr(scores) + norms * (0.5 * self.l2 / n as f64)
    }

    fn item_rows(&mut self) -> Option<&mut Param<Tensor<2>>> {
        Some(&mut self.items)
    }

    fn fitted(&self) -> IdTable {
        let plain = self.valid();
        IdTable::new(plain.users.val(), plain.items.val())
    }
}
