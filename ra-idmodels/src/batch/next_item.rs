//! Predicting every next item of a history.
use super::Batches;
use super::sampler::{self, EpochSampler, NegativeSampler, step_seed, with_items};
use burn::tensor::Device;
use ra_core::{Dataset, SplitMix, TrainBatch, splitmix64};

/// Predicts each item of a history from those before it: the last `max_length + 1` training items of each user, with
/// `negatives` items per row that the user does not have.
#[derive(Debug)]
pub struct NextItem<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) order: EpochSampler,
    pub(super) unseen: NegativeSampler,
    pub(super) max_length: usize,
    pub(super) negatives: usize,
    pub(super) device: Device,
}

impl<'a> NextItem<'a> {
    /// Plans batches of `batch` users.
    pub fn new(
        dataset: &'a Dataset,
        batch: usize,
        max_length: usize,
        negatives: usize,
        seed: u64,
        device: &Device,
    ) -> Self {
        let users = with_items(dataset, 2);
        let (order, unseen) = (EpochSampler::new(users, batch, seed), NegativeSampler::new(dataset));
        Self { dataset, order, unseen, max_length, negatives, device: device.clone() }
    }
}

impl Batches for NextItem<'_> {
    fn steps(&self) -> usize {
        self.order.steps()
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        let seed = step_seed(self.order.seed, step);
        let mut random = SplitMix::new(splitmix64(seed) ^ 0x6E65_6761);
        let chosen = self.order.samples(step);
        let mut lengths = Vec::with_capacity(chosen.len());
        let (mut users, [mut items, mut positives, mut negatives]) = (Vec::new(), [const { Vec::new() }; 3]);
        for user in chosen {
            let row = self.dataset.train.row(user);
            let read = &row[row.len().saturating_sub(self.max_length + 1)..];
            let n = read.len() - 1;
            lengths.push(n);
            users.extend(std::iter::repeat_n(user, n));
            items.extend_from_slice(&read[..n]);
            positives.extend_from_slice(&read[1..]);
            negatives.extend((0..n * self.negatives).map(|_| self.unseen.draw(&mut random, user)));
        }
        TrainBatch {
            users: sampler::users(&users, &self.device),
            items: sampler::items(&items, &self.device),
            rows: None,
            positives: sampler::items(&positives, &self.device),
            negatives: sampler::item_grid(&negatives, lengths.iter().sum(), self.negatives, &self.device),
            lengths: lengths.into(),
            shared: None,
            catalog: self.dataset.catalog.len(),
            dropout: Some(splitmix64(seed)),
        }
    }
}
