//! Predicting one target per history.
use super::sampler::{EpochSampler, LastRows, NegativeSampler, step_seed};
use super::{Batches, NextItem};
use burn::tensor::Device;
use ra_core::{Dataset, Sample, SplitMix, TrainBatch};

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
        let mut rows = LastRows::default();
        for user in order.samples(step) {
            let row = dataset.train.row(user);
            let target = 1 + random.below(row.len() - 1);
            rows.push(user, &row[target.saturating_sub(*max_length)..target], row[target]);
            rows.push_negatives((0..*wanted).map(|_| unseen.draw(&mut random, user)));
        }
        rows.batch(*wanted, dataset.catalog.len(), seed, device)
    }
}

/// Prefix augmentation (Tan et al., "Improved Recurrent Neural Networks for Session-based Recommendations", DLRS
/// 2016): every training item but the first of each user is the target of a sample of its own in every epoch, and the
/// `max_length` items before it are the history.
///
/// The last item of every history is then at the last position, as when the method is used. A user counts as often as
/// they have targets, where [`Prefixes`] takes one per user.
#[derive(Debug)]
pub struct EachPrefix<'a> {
    dataset: &'a Dataset,
    order: EpochSampler<Sample>,
    unseen: NegativeSampler,
    max_length: usize,
    negatives: usize,
    device: Device,
}

impl<'a> EachPrefix<'a> {
    /// Plans batches of `batch` samples, each with `negatives` items that the user does not have.
    pub fn new(
        dataset: &'a Dataset,
        batch: usize,
        max_length: usize,
        negatives: usize,
        seed: u64,
        device: &Device,
    ) -> Self {
        let (order, unseen) = (EpochSampler::new(dataset.samples(), batch, seed), NegativeSampler::new(dataset));
        Self { dataset, order, unseen, max_length, negatives, device: device.clone() }
    }
}

impl Batches for EachPrefix<'_> {
    fn steps(&self) -> usize {
        self.order.steps()
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        let seed = step_seed(self.order.seed, step);
        let mut random = SplitMix::new(seed);
        let mut rows = LastRows::default();
        for sample in self.order.samples(step) {
            let (history, target) = self.dataset.sample(sample, self.max_length);
            rows.push(sample.user, history, target);
            rows.push_negatives((0..self.negatives).map(|_| self.unseen.draw(&mut random, sample.user)));
        }
        rows.batch(self.negatives, self.dataset.catalog.len(), seed, &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::Sequences;

    #[test]
    fn every_prefix_is_a_sample_once_an_epoch() {
        let train = Sequences::from_numbers([vec![1, 2, 3, 4], vec![5], vec![], vec![6, 7]]);
        let data = Dataset::from_sequences("tiny", 7, train);
        let mut batches = EachPrefix::new(&data, 3, 2, 1, 4, &Device::flex());
        assert_eq!(batches.steps(), 2, "four samples");
        let numbers = |x: burn::tensor::Tensor<1, burn::tensor::Int>| x.into_data().iter::<u32>().collect::<Vec<_>>();
        for epoch in 0..2 {
            let mut found = Vec::new();
            for step in 2 * epoch..2 * epoch + 2 {
                let batch = batches.batch(step);
                let (items, rows) = (numbers(batch.items), numbers(batch.rows.unwrap()));
                assert_eq!(batch.negatives.dims(), [rows.len(), 1]);
                let starts = batch.lengths.iter().zip(&rows).map(|(&n, &end)| (end as usize + 1 - n, end as usize));
                let histories = starts.map(|(from, end)| items[from..=end].to_vec());
                found.extend(histories.zip(numbers(batch.positives)));
            }
            found.sort();
            let expected = [(vec![1], 2), (vec![1, 2], 3), (vec![2, 3], 4), (vec![6], 7)];
            assert_eq!(found, expected, "epoch {epoch}");
        }
    }
}
