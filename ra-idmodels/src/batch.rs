//! Next-item batches: a function of the data, the seed and the step.
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::{Dataset, NextItemBatch, SplitMix, rng, splitmix64};
use rand::seq::SliceRandom;
use std::collections::HashSet;

/// Which users make the batch of a step: every epoch visits each user with at least two training items once, in an
/// order of its own.
#[derive(Debug)]
pub struct BatchPlan {
    users: Vec<u32>,
    epoch: Option<usize>,
    order: Vec<u32>,
    batch: usize,
    seed: u64,
}

impl BatchPlan {
    /// Plans batches of `batch` users.
    pub fn new(dataset: &Dataset, batch: usize, seed: u64) -> Self {
        let users = (0..dataset.train.len() as u32).filter(|&u| dataset.train.row(u as usize).len() > 1).collect();
        Self { users, epoch: None, order: Vec::new(), batch: batch.max(1), seed }
    }

    /// Steps an epoch.
    pub fn steps(&self) -> usize {
        self.users.len().div_ceil(self.batch)
    }

    /// The users of a step.
    pub fn users(&mut self, step: usize) -> &[u32] {
        let (epoch, index) = (step / self.steps().max(1), step % self.steps().max(1));
        if self.epoch != Some(epoch) {
            self.order.clone_from(&self.users);
            self.order.shuffle(&mut rng(self.seed, "epoch", epoch as u64));
            self.epoch = Some(epoch);
        }
        let start = index * self.batch;
        &self.order[start..(start + self.batch).min(self.order.len())]
    }
}

/// The training rows of `users`: the last `max_length + 1` items of each, left-padded to the longest of the batch, one
/// uniform negative a position that the user has not in the training data.
pub fn next_item_batch(
    dataset: &Dataset,
    users: &[u32],
    max_length: usize,
    seed: u64,
    device: &Device,
) -> NextItemBatch {
    let read = |u: u32| {
        let row = dataset.train.row(u as usize);
        &row[row.len().saturating_sub(max_length + 1)..]
    };
    let length = users.iter().map(|&u| read(u).len().saturating_sub(1)).max().unwrap_or(0).max(1);
    let cells = users.len() * length;
    let (mut items, mut positives, mut negatives) = (vec![0i32; cells], vec![0i32; cells], vec![0i32; cells]);
    let mut rows = Vec::with_capacity(cells);
    let mut random = SplitMix::new(splitmix64(seed) ^ 0x6E65_6761);
    for (row, &user) in users.iter().enumerate() {
        let sequence = read(user);
        let seen: HashSet<u32> = dataset.train.row(user as usize).iter().copied().collect();
        let steps = sequence.len().saturating_sub(1);
        for t in 0..steps {
            let cell = row * length + length - steps + t;
            items[cell] = sequence[t] as i32;
            positives[cell] = sequence[t + 1] as i32;
            negatives[cell] = negative(&mut random, dataset.catalog.len(), &seen) as i32;
            rows.push(cell as i32);
        }
    }
    let grid = |values| Tensor::<2, Int>::from_data(TensorData::new(values, [users.len(), length]), device);
    let line = |values: Vec<i32>| {
        let n = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [n]), device)
    };
    NextItemBatch {
        users: line(users.iter().map(|&u| u as i32).collect()),
        items: grid(items),
        positives: grid(positives),
        negatives: grid(negatives),
        rows: line(rows),
        dropout: Some(splitmix64(seed)),
    }
}

fn negative(random: &mut SplitMix, items: usize, seen: &HashSet<u32>) -> u32 {
    // A user who has nearly everything gets any item after a few tries.
    let mut item = 0;
    for _ in 0..100 {
        item = random.below(items) as u32 + 1;
        if !seen.contains(&item) {
            break;
        }
    }
    item
}
