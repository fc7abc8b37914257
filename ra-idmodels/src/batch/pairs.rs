//! Pairs of a user and an item.
use super::Batches;
use super::sampler::{self, NegativeSampler, step_seed, with_items};
use burn::tensor::{Device, Tensor};
use ra_core::{Dataset, SplitMix, TrainBatch, UserId, splitmix64};

/// Pairs without an order: a uniformly drawn user, one of their items, and some items that they do not have (LightGCN's
/// original sampler draws one). An epoch has as many pairs as there are training interactions.
#[derive(Debug)]
pub struct Pairs<'a> {
    dataset: &'a Dataset,
    users: Vec<UserId>,
    unseen: NegativeSampler,
    batch: usize,
    negatives: usize,
    seed: u64,
    device: Device,
}

impl<'a> Pairs<'a> {
    /// Plans batches of `batch` pairs, each with `negatives` items that the user does not have.
    pub fn new(dataset: &'a Dataset, batch: usize, negatives: usize, seed: u64, device: &Device) -> Self {
        let (users, unseen) = (with_items(dataset, 1), NegativeSampler::new(dataset));
        Self { dataset, users, unseen, batch: batch.max(1), negatives, seed, device: device.clone() }
    }
}

impl Batches for Pairs<'_> {
    fn steps(&self) -> usize {
        self.dataset.train.total().div_ceil(self.batch)
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        let seed = step_seed(self.seed, step);
        let mut random = SplitMix::new(seed);
        let done = step % self.steps() * self.batch;
        let n = self.batch.min(self.dataset.train.total() - done);
        let (mut users, [mut positives, mut negatives]) = (Vec::new(), [const { Vec::new() }; 2]);
        for _ in 0..n {
            let user = self.users[random.below(self.users.len())];
            let row = self.dataset.train.row(user);
            users.push(user);
            positives.push(row[random.below(row.len())]);
            negatives.extend((0..self.negatives).map(|_| self.unseen.draw(&mut random, user)));
        }
        TrainBatch {
            lengths: vec![1; n].into(),
            users: sampler::users(&users, &self.device),
            items: Tensor::zeros([n], &self.device),
            rows: None,
            positives: sampler::items(&positives, &self.device),
            negatives: sampler::item_grid(&negatives, n, self.negatives, &self.device),
            shared: None,
            catalog: self.dataset.catalog.len(),
            dropout: Some(splitmix64(seed)),
        }
    }
}
