//! LightGCN (He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020).
use crate::checks::{MOST, WIDEST, of_train};
use crate::loss::{bpr, columns, square_norm};
use crate::{Batches, Job, LearnedMethod, Pairs, TrainConfig};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::{Graph, pair_scores, propagate};
use ra_core::{Check, Dataset, IdModel, IdTable, ItemId, OptimConfig, Problem, Result, TrainBatch, normal, rng};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configures [`LightGcn`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightGcnConfig {
    /// The width of item and user vectors.
    pub dim: usize,
    /// The number of propagation rounds.
    pub layers: usize,
    /// The weight of half the squared norm of a pair's vectors before propagation.
    pub l2: f64,
    /// The training settings; batches consist of pairs.
    pub train: TrainConfig,
}

impl Default for LightGcnConfig {
    fn default() -> Self {
        let train = TrainConfig { batch: 2048, optim: OptimConfig::default(), ..TrainConfig::default() };
        Self { dim: 64, layers: 3, l2: 1e-4, train }
    }
}

/// Matrix factorization with vectors smoothed over the graph of users and their training items.
#[derive(Module, Debug)]
pub struct LightGcn {
    /// `[users + items, dim]`: users first, then items from dense id 1.
    pub(crate) nodes: Param<Tensor<2>>,
    #[module(skip)]
    pub(crate) graph: Arc<Graph>,
    #[module(skip)]
    users: usize,
    #[module(skip)]
    config: LightGcnConfig,
}

impl LightGcnConfig {
    /// Creates a new model over the training interactions.
    pub fn init(&self, dataset: &Dataset, seed: u64, device: &Device) -> LightGcn {
        let users = dataset.train.len();
        let node = |item: ItemId| (users - 1) as u32 + item.0;
        let row = |(user, items): (u32, &[ItemId])| items.iter().map(|&i| (user, node(i))).collect::<Vec<_>>();
        let edges = (0u32..).zip(dataset.train.rows()).flat_map(row);
        let nodes = users + dataset.catalog.len();
        LightGcn {
            nodes: normal([nodes, self.dim], 0.1, &mut rng(seed, "lightgcn", 0), device),
            graph: Arc::new(Graph::new(nodes, edges)),
            users,
            config: self.clone(),
        }
    }
}

impl Check for LightGcnConfig {
    fn problems(&self) -> Vec<Problem> {
        [
            Problem::unless_within("dim", self.dim, WIDEST),
            Problem::if_above("layers", self.layers, MOST),
            Problem::if_negative("l2", self.l2),
        ]
        .into_iter()
        .flatten()
        .chain(of_train(self.train.problems()))
        .collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        of_train(self.train.oddities()).collect()
    }
}

impl LearnedMethod for LightGcnConfig {
    type Model = LightGcn;
    const READS_HISTORIES: bool = false;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<LightGcn> {
        Ok(self.init(job.dataset, seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        Box::new(Pairs::new(job.dataset, self.train.batch, 1, job.seed, job.device))
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

impl LightGcn {
    /// Returns the smoothed vectors, `[users + items, dim]`.
    pub(crate) fn smoothed(&self) -> Tensor<2> {
        propagate(&self.graph, self.config.layers, self.nodes.val())
    }
}

impl IdModel for LightGcn {
    type Fitted = IdTable;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let items: Tensor<2, Int> = columns(batch) + (self.users as i64 - 1);
        let smooth = self.smoothed();
        let scores = pair_scores(smooth.clone(), Some(batch.users.clone()), smooth, items.clone());
        let n = batch.positives.dims()[0];
        let ego = Tensor::cat(vec![batch.users.clone(), items.flatten(0, 1)], 0);
        bpr(scores) + square_norm(self.nodes.val(), ego) * (0.5 * self.config.l2 / n as f64)
    }

    fn fitted(&self) -> IdTable {
        let smooth = self.valid().smoothed();
        let [nodes, dim] = smooth.dims();
        let padding = Tensor::zeros([1, dim], &smooth.device());
        let items = Tensor::cat(vec![padding, smooth.clone().slice([self.users..nodes])], 0);
        IdTable::new(smooth.slice([0..self.users]), items)
    }
}
