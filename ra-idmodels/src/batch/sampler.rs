//! Draws shared by all kinds of batches: users in the order of an epoch, and items that a user does not have.
use burn::tensor::{Device, Int, Tensor};
use ra_core::{Dataset, ItemId, Sequences, SplitMix, TrainBatch, UserId, indices, int_tensor, rng, splitmix64};
use rand::seq::SliceRandom;

/// Chooses the samples of each step's batch, such as users: every epoch visits each once, in its own order.
#[derive(Debug)]
pub(super) struct EpochSampler<S = UserId> {
    samples: Vec<S>,
    epoch: Option<usize>,
    order: Vec<S>,
    batch: usize,
    pub(super) seed: u64,
}

impl<S: Copy> EpochSampler<S> {
    pub(super) fn new(samples: Vec<S>, batch: usize, seed: u64) -> Self {
        Self { samples, epoch: None, order: Vec::new(), batch: batch.max(1), seed }
    }

    pub(super) fn steps(&self) -> usize {
        self.samples.len().div_ceil(self.batch)
    }

    pub(super) fn samples(&mut self, step: usize) -> Vec<S> {
        let (epoch, index) = (step / self.steps().max(1), step % self.steps().max(1));
        if self.epoch != Some(epoch) {
            self.order.clone_from(&self.samples);
            self.order.shuffle(&mut rng(self.seed, "epoch", epoch as u64));
            self.epoch = Some(epoch);
        }
        let start = index * self.batch;
        self.order[start..(start + self.batch).min(self.order.len())].to_vec()
    }
}

/// Collects samples of one target each, which the last row of a history predicts.
#[derive(Debug, Default)]
pub(super) struct LastRows {
    lengths: Vec<usize>,
    users: Vec<UserId>,
    items: Vec<ItemId>,
    rows: Vec<u32>,
    positives: Vec<ItemId>,
    negatives: Vec<ItemId>,
}

impl LastRows {
    /// Adds a sample; `history` is not empty.
    pub(super) fn push(&mut self, user: UserId, history: &[ItemId], target: ItemId) {
        self.lengths.push(history.len());
        self.users.extend(std::iter::repeat_n(user, history.len()));
        self.items.extend_from_slice(history);
        self.rows.push(self.items.len() as u32 - 1);
        self.positives.push(target);
    }

    /// Adds the negatives of the sample that was added last.
    pub(super) fn push_negatives(&mut self, negatives: impl Iterator<Item = ItemId>) {
        self.negatives.extend(negatives);
    }

    /// Returns the batch, with `negatives` negatives per sample, of a catalogue of `catalog` items.
    pub(super) fn batch(self, negatives: usize, catalog: usize, seed: u64, device: &Device) -> TrainBatch {
        TrainBatch {
            lengths: self.lengths.into(),
            users: users(&self.users, device),
            items: items(&self.items, device),
            negatives: item_grid(&self.negatives, self.rows.len(), negatives, device),
            rows: Some(indices(self.rows, device)),
            positives: items(&self.positives, device),
            shared: None,
            catalog,
            dropout: Some(splitmix64(seed)),
        }
    }
}

/// Holds the items of each user in ascending order, to draw items that are not among them.
#[derive(Debug)]
pub(super) struct NegativeSampler {
    seen: Sequences,
    items: usize,
}

impl NegativeSampler {
    pub(super) fn new(dataset: &Dataset) -> Self {
        let sorted = |row: &[ItemId]| {
            let mut row = row.to_vec();
            row.sort_unstable();
            row.dedup();
            row
        };
        Self { seen: Sequences::from_rows(dataset.train.rows().map(sorted)), items: dataset.catalog.len() }
    }

    /// Draws uniformly an item that `user` does not have in the training data; for a user who has nearly all items it
    /// may return any item after a few tries.
    pub(super) fn draw(&self, random: &mut SplitMix, user: UserId) -> ItemId {
        let seen = self.seen.row(user);
        let mut item = ItemId::PADDING;
        for _ in 0..100 {
            item = ItemId(random.below(self.items) as u32 + 1);
            if seen.binary_search(&item).is_err() {
                break;
            }
        }
        item
    }
}

/// Returns the users with at least `least` training items.
pub(super) fn with_items(dataset: &Dataset, least: usize) -> Vec<UserId> {
    UserId::all(dataset.train.len()).filter(|&user| dataset.train.row(user).len() >= least).collect()
}

/// Returns the seed of a step.
pub(super) fn step_seed(seed: u64, step: usize) -> u64 {
    splitmix64(seed ^ splitmix64(step as u64))
}

/// Returns a tensor `[values]`.
pub(super) fn users(values: &[UserId], device: &Device) -> Tensor<1, Int> {
    indices(values.iter().map(|user| user.0), device)
}

/// Returns a tensor `[values]`.
pub(super) fn items(values: &[ItemId], device: &Device) -> Tensor<1, Int> {
    indices(values.iter().map(|item| item.0), device)
}

/// Returns a tensor `[rows, width]`.
pub(super) fn item_grid(values: &[ItemId], rows: usize, width: usize, device: &Device) -> Tensor<2, Int> {
    int_tensor(values.iter().map(|item| item.0), [rows, width], device)
}
