//! Negatives that all rows of a batch share.
use super::Batches;
use super::sampler::step_seed;
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{Dataset, SharedNegatives, SplitMix, TrainBatch, indices, splitmix64};

/// Adds negatives to each batch of another kind, drawn once for all its rows: with equal chance uniformly or by their
/// number of training interactions (mixed negatives; Yang et al., WWW 2020). Popular items, which uniform draws rarely
/// give, are the ones that a model confuses with a target; uniform ones reach the rest of the catalogue.
#[derive(Debug)]
pub struct WithShared<B> {
    batches: B,
    /// The items of all training interactions, one after the other: a uniform draw of them is one by popularity.
    interactions: Vec<u32>,
    /// The probability of each item, from row 1.
    shares: Vec<f64>,
    count: usize,
    seed: u64,
    device: Device,
}

impl<B: Batches> WithShared<B> {
    /// Adds `count` negatives to each of `batches`.
    pub fn new(batches: B, dataset: &Dataset, count: usize, seed: u64, device: &Device) -> Self {
        let items = dataset.catalog.len();
        let interactions: Vec<u32> = dataset.train.rows().flatten().map(|item| item.0).collect();
        let uniform = 0.5 / items.max(1) as f64;
        let mut shares = vec![uniform; items + 1];
        interactions.iter().for_each(|&item| shares[item as usize] += 0.5 / interactions.len() as f64);
        Self { batches, interactions, shares, count, seed, device: device.clone() }
    }
}

impl<B: Batches> Batches for WithShared<B> {
    fn steps(&self) -> usize {
        self.batches.steps()
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        let batch = self.batches.batch(step);
        let mut random = SplitMix::new(splitmix64(step_seed(self.seed, step)) ^ 0x7368_6172_6564);
        let draw = |_| match random.bits() & 1 {
            0 => random.below(batch.catalog) as u32 + 1,
            _ => self.interactions[random.below(self.interactions.len())],
        };
        let items: Vec<u32> = (0..self.count).map(draw).collect();
        let expected = |&item: &u32| (self.count as f64 * self.shares[item as usize]).ln() as f32;
        let log_expected: Vec<f32> = items.iter().map(expected).collect();
        let log_expected = Tensor::from_data(TensorData::new(log_expected, [self.count]), &self.device);
        let shared = SharedNegatives { items: indices(items, &self.device), log_expected };
        TrainBatch { shared: Some(shared), ..batch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NextItem;
    use ra_core::Sequences;

    #[test]
    fn draws_follow_the_probabilities_that_correct_them() {
        let train = Sequences::from_numbers([vec![1, 2, 1, 1], vec![1, 3]]);
        let data = Dataset::from_sequences("tiny", 5, train);
        let device = Device::flex();
        let mut batches = WithShared::new(NextItem::new(&data, 2, 9, 0, 1, &device), &data, 6000, 1, &device);
        let SharedNegatives { items, log_expected } = batches.batch(0).shared.unwrap();
        let mut found = [0.0; 6];
        items.into_data().iter::<i64>().for_each(|item| found[item as usize] += 1.0);
        let items: Vec<i64> = batches.batch(0).shared.unwrap().items.into_data().iter::<i64>().collect();
        let logs: Vec<f32> = log_expected.into_data().iter::<f32>().collect();
        for (item, times) in [(1, 4.0), (2, 1.0), (3, 1.0), (4, 0.0), (5, 0.0)] {
            let expected = 6000.0 * (0.5 / 5.0 + 0.5 * times / 6.0);
            // Five standard deviations of a count.
            assert!(f64::abs(found[item] - expected) < 5.0 * f64::sqrt(expected), "{item}: {found:?}");
            let place = items.iter().position(|&drawn| drawn == item as i64).unwrap();
            assert!((f64::from(logs[place]) - expected.ln()).abs() < 1e-5, "the same step has the same draws");
        }
        assert_eq!(found[0], 0.0, "padding is no item");
    }
}
