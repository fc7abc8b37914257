//! Which samples are noise, and the stratum that each of the others is drawn from.
use crate::curate::words::words;
use crate::{CurateConfig, CurateMethod};
use ra_core::ItemId;
use std::collections::HashMap;

/// A stratum: the bucket of the history length and the bucket of the target's popularity.
pub(crate) type Stratum = (u32, u32);

/// Separates noise from useful samples, and assigns these to strata.
#[derive(Debug)]
pub(crate) struct NoiseFilter<'a> {
    config: &'a CurateConfig,
    /// The words of each title as numbers, in ascending order.
    bags: Vec<Vec<u32>>,
    /// The popularity bucket of each item; index 0 is padding.
    buckets: Vec<u32>,
}

impl<'a> NoiseFilter<'a> {
    /// Takes the titles of all items and their training popularity (index 0 is padding).
    pub(crate) fn new(titles: &[String], popularity: &[u32], config: &'a CurateConfig) -> Self {
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut number = |word: String| {
            let next = numbers.len() as u32;
            *numbers.entry(word).or_insert(next)
        };
        let mut bag = |title: &String| {
            let mut bag: Vec<u32> = words(title, config.strip_years).into_iter().map(&mut number).collect();
            bag.sort_unstable();
            bag
        };
        let reads = config.method == CurateMethod::Paper;
        let bags = if reads { titles.iter().map(&mut bag).collect() } else { Vec::new() };
        Self { config, bags, buckets: popularity_buckets(popularity, config.pop_buckets) }
    }

    /// Counts the words that the target's title shares with the titles of the history.
    pub(crate) fn overlap(&self, history: &[ItemId], target: ItemId) -> usize {
        let bag = |item: ItemId| &self.bags[item.index() - 1];
        let known = |word: &&u32| history.iter().any(|&item| bag(item).binary_search(word).is_ok());
        bag(target).iter().filter(known).count()
    }

    /// Returns the stratum of a sample, even if it is noise.
    pub(crate) fn any_stratum(&self, history: &[ItemId], target: ItemId) -> Stratum {
        let length = history.len().max(1).ilog2().min(self.config.max_len_bucket);
        (length, self.buckets[target.index()])
    }

    /// Returns the stratum to draw a sample from, or `None` if it is noise. For a uniform draw all samples share one
    /// stratum.
    pub(crate) fn stratum(&self, history: &[ItemId], target: ItemId) -> Option<Stratum> {
        if self.config.method != CurateMethod::Paper {
            return Some((0, 0));
        }
        let noise = self.config.denoise && self.overlap(history, target) < self.config.min_overlap;
        (!noise).then(|| self.any_stratum(history, target))
    }
}

/// Assigns items to buckets by rank of training popularity, starting from 0 for the most popular; index 0 is padding.
/// Items without training interactions get bucket 0, which is never read.
pub fn popularity_buckets(counts: &[u32], buckets: usize) -> Vec<u32> {
    let mut ranked: Vec<usize> = (1..counts.len()).filter(|&item| counts[item] > 0).collect();
    ranked.sort_by_key(|&item| (std::cmp::Reverse(counts[item]), item));
    let mut bucket = vec![0; counts.len()];
    for (rank, &item) in ranked.iter().enumerate() {
        bucket[item] = (rank * buckets.max(1) / ranked.len()) as u32;
    }
    bucket
}
