//! Draws shared by all kinds of batches: users in the order of an epoch, and items that a user does not have.
use burn::tensor::{Device, Int, Tensor};
use ra_core::{Dataset, ItemId, Sequences, SplitMix, UserId, indices, int_tensor, rng, splitmix64};
use rand::seq::SliceRandom;

/// Chooses the users of each step's batch: every epoch visits each user once, in its own order.
#[derive(Debug)]
pub(super) struct EpochSampler {
    users: Vec<UserId>,
    epoch: Option<usize>,
    order: Vec<UserId>,
    batch: usize,
    pub(super) seed: u64,
}

impl EpochSampler {
    pub(super) fn new(users: Vec<UserId>, batch: usize, seed: u64) -> Self {
        Self { users, epoch: None, order: Vec::new(), batch: batch.max(1), seed }
    }

    pub(super) fn steps(&self) -> usize {
        self.users.len().div_ceil(self.batch)
    }

    pub(super) fn users(&mut self, step: usize) -> Vec<UserId> {
        let (epoch, index) = (step / self.steps().max(1), step % self.steps().max(1));
        if self.epoch != Some(epoch) {
            self.order.clone_from(&self.users);
            self.order.shuffle(&mut rng(self.seed, "epoch", epoch as u64));
            self.epoch = Some(epoch);
        }
        let start = index * self.batch;
        self.order[start..(start + self.batch).min(self.order.len())].to_vec()
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
