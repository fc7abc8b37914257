//! Masked items of a history.
use super::Batches;
use super::sampler::{self, EpochSampler, step_seed, with_items};
use burn::tensor::Device;
use ra_core::{Dataset, ItemId, SplitMix, TrainBatch, indices, splitmix64};

/// The cloze task (Sun et al., BERT4Rec, CIKM 2019): of the last `max_length` training items of each user, a share is
/// replaced by the mask, item `catalogue + 1`, and has to be predicted. In one of ten batch rows only the last item of
/// the history is masked, as at inference.
#[derive(Debug)]
pub struct Cloze<'a> {
    dataset: &'a Dataset,
    order: EpochSampler,
    max_length: usize,
    share: f64,
    device: Device,
}

impl<'a> Cloze<'a> {
    /// Plans batches of `batch` users with `share` of the items masked.
    pub fn new(dataset: &'a Dataset, batch: usize, max_length: usize, share: f64, seed: u64, device: &Device) -> Self {
        let order = EpochSampler::new(with_items(dataset, 2), batch, seed);
        Self { dataset, order, max_length, share, device: device.clone() }
    }
}

impl Batches for Cloze<'_> {
    fn steps(&self) -> usize {
        self.order.steps()
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        let seed = step_seed(self.order.seed, step);
        let mut random = SplitMix::new(seed);
        let mask = ItemId(self.dataset.catalog.len() as u32 + 1);
        let mut lengths = Vec::new();
        let (mut users, mut rows, [mut items, mut positives]) = (Vec::new(), Vec::new(), [const { Vec::new() }; 2]);
        for user in self.order.samples(step) {
            let row = self.dataset.train.row(user);
            let read = &row[row.len().saturating_sub(self.max_length)..];
            let last_alone = random.below(10) == 0;
            let spare = random.below(read.len());
            let chosen = |at: usize, random: &mut SplitMix| {
                if last_alone { at + 1 == read.len() } else { random.unit() < self.share }
            };
            let mut hidden: Vec<bool> = (0..read.len()).map(|at| chosen(at, &mut random)).collect();
            if !hidden.contains(&true) {
                hidden[spare] = true;
            }
            for (&item, hidden) in read.iter().zip(hidden) {
                if hidden {
                    rows.push(items.len() as u32);
                    positives.push(item);
                }
                items.push(if hidden { mask } else { item });
            }
            lengths.push(read.len());
            users.extend(std::iter::repeat_n(user, read.len()));
        }
        let m = positives.len();
        TrainBatch {
            lengths: lengths.into(),
            users: sampler::users(&users, &self.device),
            items: sampler::items(&items, &self.device),
            rows: Some(indices(rows, &self.device)),
            positives: sampler::items(&positives, &self.device),
            negatives: sampler::item_grid(&[], m, 0, &self.device),
            shared: None,
            catalog: self.dataset.catalog.len(),
            dropout: Some(splitmix64(seed)),
        }
    }
}
