//! A method in another crate: a factorized Markov chain, which is FPMC (Rendle et al., WWW 2010) without its users.
//! Training only needs the module with its loss; with `LearnedMethod` on its configuration, `fit` and `load` accept it
//! like any other method.
//!
//! `cargo run -p ra-idmodels --example own_method`
#![allow(clippy::print_stdout)]
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ra_core::{
    Backend, Check, Dataset, History, IdModel, ItemId, OptimConfig, Problem, Recommender, Result, Sequences,
    TrainBatch, UserId, indices, normal, open_device, rng,
};
use ra_idmodels::{Batches, IdMethod, Job, LearnedMethod, NextItem, TrainConfig, fit, softmax_cross_entropy};

/// Configures [`Chain`].
#[derive(Debug)]
struct ChainConfig {
    dim: usize,
    train: TrainConfig,
}

/// Each item has two vectors, one as the last item of a history and one as the next item; both tables are `[items + 1,
/// dim]`.
#[derive(Module, Debug)]
struct Chain {
    last: Param<Tensor<2>>,
    next: Param<Tensor<2>>,
}

impl ChainConfig {
    fn init(&self, items: usize, seed: u64, device: &Device) -> Chain {
        let random = &mut rng(seed, "chain", 0);
        let mut table = || normal([items + 1, self.dim], 0.1, random, device);
        Chain { last: table(), next: table() }
    }
}

impl IdModel for Chain {
    type Fitted = Self;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let users = self.last.val().select(0, batch.items.clone()); // [n, dim]
        softmax_cross_entropy(users, self.next.val(), batch.positives.clone(), 1024)
    }

    fn fitted(&self) -> Self {
        self.valid()
    }
}

impl Recommender for Chain {
    fn dim(&self) -> usize {
        self.last.dims()[1]
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let last = histories.iter().map(|history| history.items.last().map_or(0, |item| item.0));
        self.last.val().select(0, indices(last, &self.last.device()))
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        let rows = items.iter().map(|item| item.0);
        self.next.val().select(0, indices(rows, &self.next.device()))
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}

impl Check for ChainConfig {
    fn problems(&self) -> Vec<Problem> {
        let training = self.train.problems().into_iter().map(|problem| problem.within("train"));
        Problem::if_below("dim", self.dim, 1).into_iter().chain(training).collect()
    }
}

impl LearnedMethod for ChainConfig {
    type Model = Chain;

    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<Chain> {
        Ok(self.init(job.dataset.catalog.len(), seed, device))
    }

    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        Box::new(NextItem::new(job.dataset, self.train.batch, 50, 0, job.seed, job.device))
    }

    fn training(&self) -> &TrainConfig {
        &self.train
    }
}

fn main() -> Result<()> {
    let (users, items) = (100, 8);
    let walk = |user: u32| (0..6).map(|step| (user + step) % items + 1).collect::<Vec<_>>();
    let data = Dataset::from_sequences("ring", items as usize, Sequences::from_numbers((0..users).map(walk)));
    let optim = OptimConfig { lr: 0.03, ..OptimConfig::default() };
    let train = TrainConfig { epochs: 100, optim, ..TrainConfig::default() };
    let method: Box<dyn IdMethod> = Box::new(ChainConfig { dim: 16, train });
    let device = open_device(Backend::Cpu)?;
    let trained = fit(&*method, &Job::new(&data, &device))?;

    let history = History { user: UserId(0), items: &[ItemId(3)] };
    let scores = trained.model.users(&[history]).matmul(trained.model.items(&ItemId::list(1..=items)).transpose());
    let scores: Vec<f32> = scores.into_data().iter().collect();
    for (item, score) in data.catalog.all().zip(scores) {
        println!("item {item} after item 3: {score:.2}");
    }
    Ok(())
}
