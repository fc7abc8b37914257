//! The samples of each batch: all of them, in another order each epoch.
use ra_core::rng;
use rand::seq::SliceRandom;

/// Batches of equal size, epoch after epoch. The remainder of an epoch is skipped.
#[derive(Debug)]
pub(crate) struct EpochSampler {
    samples: usize,
    batch: usize,
    seed: u64,
    /// The current epoch and its order.
    epoch: Option<(usize, Vec<usize>)>,
}

impl EpochSampler {
    /// Creates a sampler of `samples` samples in batches of `batch`, or of all samples if there are fewer.
    pub(crate) fn new(samples: usize, batch: usize, seed: u64) -> Self {
        Self { samples, batch: batch.min(samples).max(1), seed, epoch: None }
    }

    pub(crate) fn batch_size(&self) -> usize {
        self.batch
    }

    pub(crate) fn batches_per_epoch(&self) -> usize {
        (self.samples / self.batch).max(1)
    }

    /// Returns the samples of a batch. Batches are numbered from 0 over all epochs.
    pub(crate) fn batch(&mut self, number: usize) -> &[usize] {
        let (epoch, index) = (number / self.batches_per_epoch(), number % self.batches_per_epoch());
        let (samples, seed) = (self.samples, self.seed);
        let (at, order) = self.epoch.get_or_insert_with(|| (epoch, shuffled(samples, seed, epoch)));
        if *at != epoch {
            (*at, *order) = (epoch, shuffled(samples, seed, epoch));
        }
        &order[index * self.batch..(index + 1) * self.batch]
    }

    /// Returns the samples that the first `batches` batches may hold, in no particular order. A training that ends
    /// within its first epoch never reads the others.
    pub(crate) fn samples_in(&self, batches: usize) -> Vec<usize> {
        match batches <= self.batches_per_epoch() {
            true => shuffled(self.samples, self.seed, 0).into_iter().take(batches * self.batch).collect(),
            false => (0..self.samples).collect(),
        }
    }
}

fn shuffled(samples: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples).collect();
    order.shuffle(&mut rng(seed, "samples", epoch as u64));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn within_names_what_the_batches_hold_and_nothing_else() {
        for (samples, batch) in [(10, 3), (9, 3), (2, 5)] {
            let mut order = EpochSampler::new(samples, batch, 7);
            let mut seen = BTreeSet::new();
            for number in 0..4 * order.batches_per_epoch() {
                seen.extend(order.batch(number).iter().copied());
                let within: BTreeSet<usize> = order.samples_in(number + 1).into_iter().collect();
                if number < order.batches_per_epoch() {
                    assert_eq!(within, seen, "{samples} samples, batch {number}");
                }
                assert!(seen.is_subset(&within));
            }
            assert_eq!(seen.len(), samples, "four epochs of {samples} samples leave nothing out");
        }
    }

    #[test]
    fn a_batch_does_not_depend_on_those_before_it() {
        let mut forth = EpochSampler::new(20, 4, 1);
        let batches: Vec<Vec<usize>> = (0..12).map(|number| forth.batch(number).to_vec()).collect();
        let mut back = EpochSampler::new(20, 4, 1);
        for number in (0..12).rev() {
            assert_eq!(back.batch(number), batches[number]);
        }
        assert_ne!(batches[0], batches[5], "each epoch has an order of its own");
    }
}
