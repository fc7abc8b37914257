//! Predicting one target per history.
use super::{Batches, NextItem, sampler, sampler::step_seed};
use burn::tensor::Device;
use ra_core::{Dataset, SplitMix, TrainBatch, indices, splitmix64};

/// One sample per user and epoch: a random training item is the target, and the `max_length` items before it are the
/// history.
#[derive(Debug)]
pub struct Prefixes<'a> {
    next: NextItem<'a>,
}

impl<'a> Prefixes<'a> {
    /// Plans batches of `batch` users.
    pub fn new(
        dataset: &'a Dataset,
        batch: usize,
        max_length: usize,
        negatives: usize,
        seed: u64,
        device: &Device,
    ) -> Self {
        Self { next: NextItem::new(dataset, batch, max_length, negatives, seed, device) }
    }
}

impl Batches for Prefixes<'_> {
    fn steps(&self) -> usize {
        self.next.steps()
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        let NextItem { dataset, order, unseen, max_length, negatives: wanted, device } = &mut self.next;
        let seed = step_seed(order.seed, step);
        let mut random = SplitMix::new(seed);
        let (mut lengths, mut last) = (Vec::new(), 0);
        let (mut users, mut rows) = (Vec::new(), Vec::new());
        let [mut items, mut positives, mut negatives] = [const { Vec::new() }; 3];
        for user in order.users(step) {
            let row = dataset.train.row(user);
            let target = 1 + random.below(row.len() - 1);
            let read = &row[target.saturating_sub(*max_length)..target];
            lengths.push(read.len());
            last += read.len() as u32;
            rows.push(last - 1);
            users.extend(std::iter::repeat_n(user, read.len()));
            items.extend_from_slice(read);
            positives.push(row[target]);
            negatives.extend((0..*wanted).map(|_| unseen.draw(&mut random, user)));
        }
        let m = positives.len();
        TrainBatch {
            lengths: lengths.into(),
            users: sampler::users(&users, device),
            items: sampler::items(&items, device),
            rows: Some(indices(rows, device)),
            positives: sampler::items(&positives, device),
            negatives: sampler::item_grid(&negatives, m, *wanted, device),
            dropout: Some(splitmix64(seed)),
        }
    }
}
