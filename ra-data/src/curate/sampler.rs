//! The stratified draw.
use crate::curate::noise::Stratum;
use ra_core::{Sample, splitmix64};
use std::collections::{BTreeMap, BinaryHeap};

/// Draws one sample per visit, visiting the strata in ascending order. Within a stratum, the seed and the sample's
/// index determine the order. Never holds more than `budget` samples per stratum.
#[derive(Debug)]
pub(crate) struct StratifiedSampler {
    budget: usize,
    seed: u64,
    strata: BTreeMap<Stratum, Inserted>,
}

/// The number of samples seen in a stratum, and the first of them as (key, index, sample), with the last on top.
type Inserted = (usize, BinaryHeap<(u64, usize, Sample)>);

impl StratifiedSampler {
    pub(crate) fn new(budget: usize, seed: u64) -> Self {
        Self { budget, seed, strata: BTreeMap::new() }
    }

    /// Adds the sample with number `index` among all samples.
    pub(crate) fn insert(&mut self, index: usize, stratum: Stratum, sample: Sample) {
        let (seen, first) = self.strata.entry(stratum).or_default();
        *seen += 1;
        let own = (splitmix64(self.seed ^ index as u64), index, sample);
        if first.len() < self.budget {
            first.push(own);
        } else if let Some(mut last) = first.peek_mut().filter(|last| own < **last) {
            *last = own;
        }
    }

    /// Returns the chosen samples with their indices, and the number of samples in each stratum.
    pub(crate) fn finish(self) -> (Vec<(usize, Sample)>, BTreeMap<Stratum, usize>) {
        let sizes = self.strata.iter().map(|(&stratum, (seen, _))| (stratum, *seen)).collect();
        let strata: Vec<Vec<_>> = self.strata.into_values().map(|(_, first)| first.into_sorted_vec()).collect();
        let longest = strata.iter().map(Vec::len).max().unwrap_or(0);
        let visits = (0..longest).flat_map(|round| strata.iter().filter_map(move |stratum| stratum.get(round)));
        (visits.take(self.budget).map(|&(_, index, sample)| (index, sample)).collect(), sizes)
    }
}
