//! Pairs of items, shared with the items of similar titles. It is the floor that any use of the log and of text together
//! must clear.
use super::decayed::{self, NoVectors};
use super::item_knn::count_pairs;
use super::titles::TitleWords;
use crate::{IdMethod, Job, Trained};
use burn::tensor::Device;
use ra_core::{Check, Dataset, History, ItemId, Problem, Recommender, Result, forward_recommender};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Configures [`TitlePairs`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TitlePairsConfig {
    /// The number of steps between two items of a sequence that still make a pair.
    pub window: usize,
    /// The weight of an item that came before, relative to one that came as many steps after.
    pub backward: f32,
    /// How fast a pair fades with the number of steps between its items: it counts `steps^-fading`.
    pub fading: f32,
    /// How much the popularity of its items takes from a pair: a count is divided by `((a + 1) (b + 1))^popularity`. 0.5
    /// makes a cosine; less favours popular items.
    pub popularity: f32,
    /// The number of items with the most similar titles that an item shares its pairs with.
    pub neighbours: usize,
    /// The weight of all neighbours together, relative to the item itself. 0 makes it a plain count of pairs.
    pub share: f32,
    /// The weight of an item of the history relative to the next newer one.
    pub decay: f32,
}

impl Default for TitlePairsConfig {
    fn default() -> Self {
        Self { window: 5, backward: 0.5, fading: 0.5, popularity: 0.3, neighbours: 10, share: 1.0, decay: 0.8 }
    }
}

impl Check for TitlePairsConfig {
    fn problems(&self) -> Vec<Problem> {
        let found = [
            Problem::if_below("window", self.window, 1),
            Problem::if_negative("backward", self.backward),
            Problem::if_negative("fading", self.fading),
            Problem::if_negative("popularity", self.popularity),
            Problem::if_negative("share", self.share),
            decayed::problem(self.decay),
        ];
        found.into_iter().flatten().collect()
    }
}

impl IdMethod for TitlePairsConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        Ok(Trained::counted(TitlePairs::new(job.dataset, *self, job.device)))
    }

    fn load(&self, job: &Job<'_>, _: &Path) -> Result<Trained> {
        self.fit(job)
    }

    fn adds_to_scores(&self) -> bool {
        true
    }

    fn reads_titles(&self) -> bool {
        true
    }
}

/// Scores an item by `h (I + W) P (I + W)^T`: `h` are the decayed weights of the history, `P` the counts of pairs relative
/// to popularity, as in [`ItemKnn`](super::ItemKnn), and row `i` of `W` holds the squared cosines between the title of item
/// `i` and those of its neighbours, with [`TitlePairsConfig::share`] as their sum. So a pair of items also speaks for items
/// with titles like theirs, and an item without interactions is found by its title.
#[derive(Debug, Clone)]
pub struct TitlePairs {
    /// The pairs of each item, with their counts relative to popularity.
    pairs: Vec<Vec<(ItemId, f64)>>,
    /// The neighbours of each item with their weights.
    neighbours: Vec<Vec<(ItemId, f64)>>,
    /// The items that each item is a neighbour of, with its weights for them.
    neighbour_of: Vec<Vec<(ItemId, f64)>>,
    decay: f64,
    vectors: NoVectors,
}

impl TitlePairs {
    /// Counts the pairs of the training sequences, and compares all titles.
    pub fn new(dataset: &Dataset, config: TitlePairsConfig, device: &Device) -> Self {
        let popularity: Vec<f64> = dataset.popularity().into_iter().map(|count| f64::from(count) + 1.0).collect();
        let relative = |(from, pairs): (usize, BTreeMap<ItemId, f64>)| {
            let both = |to: ItemId| (popularity[from] * popularity[to.index()]).powf(f64::from(config.popularity));
            pairs.into_iter().map(|(to, count)| (to, count / both(to))).collect()
        };
        let pairs =
            count_pairs(dataset, config.window, config.backward, |gap| (gap as f64).powf(-f64::from(config.fading)));
        let pairs = pairs.into_iter().enumerate().map(relative).collect();
        let mut neighbours = match config.share {
            0.0 => vec![Vec::new(); dataset.catalog.len() + 1],
            _ => TitleWords::new(&dataset.catalog).most_alike(config.neighbours),
        };
        for own in &mut neighbours {
            let sum: f64 = own.iter().map(|(_, cosine)| cosine * cosine).sum();
            own.iter_mut().for_each(|(_, cosine)| *cosine *= *cosine * f64::from(config.share) / sum);
        }
        let mut neighbour_of = vec![Vec::new(); neighbours.len()];
        for (item, own) in (0..).map(ItemId).zip(&neighbours) {
            own.iter().for_each(|&(neighbour, share)| neighbour_of[neighbour.index()].push((item, share)));
        }
        Self { pairs, neighbours, neighbour_of, decay: config.decay.into(), vectors: NoVectors(device.clone()) }
    }
}

impl Recommender for TitlePairs {
    forward_recommender!(self => self.vectors; dim, interests, users, items);

    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        // Ordered, so that equal histories give equal bits.
        let mut from: BTreeMap<ItemId, f64> = BTreeMap::new();
        for (item, weight) in decayed::items(history, self.decay) {
            *from.entry(item).or_insert(0.0) += weight;
            for &(neighbour, share) in &self.neighbours[item.index()] {
                *from.entry(neighbour).or_insert(0.0) += weight * share;
            }
        }
        let mut paired = vec![0.0; self.pairs.len()];
        for (item, weight) in from {
            self.pairs[item.index()].iter().for_each(|&(to, count)| paired[to.index()] += weight * count);
        }
        let mut scores = paired.clone();
        for (&score, items) in paired.iter().zip(&self.neighbour_of).filter(|(score, _)| **score > 0.0) {
            items.iter().for_each(|&(item, share)| scores[item.index()] += share * score);
        }
        decayed::positive(&scores)
    }
}
