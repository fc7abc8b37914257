//! Pairs of items: what is taken shortly after, or before, the items of the history. It is the floor that any use of the
//! log must clear.
use super::decayed::{self, NoVectors};
use crate::{IdMethod, Job, Trained};
use burn::tensor::Device;
use ra_core::{Check, Dataset, History, ItemId, Problem, Recommender, Result, forward_recommender};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Configures [`ItemKnn`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemKnnConfig {
    /// The number of steps between two items of a sequence that still make a pair.
    pub window: usize,
    /// The weight of an item that came before, relative to one that came as many steps after.
    pub backward: f32,
    /// The weight of an item of the history relative to the next newer one.
    pub decay: f32,
    /// How counts of pairs become a similarity.
    pub similarity: Similarity,
}

/// How the weighted count `c` of a pair of items, which occur `a` and `b` times in the training part, becomes a similarity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// `c / sqrt((a + 1) (b + 1))`.
    #[default]
    Cosine,
    /// `c / max(1, a + b + 1 - c)`.
    Jaccard,
    /// `c` itself.
    Count,
}

impl Default for ItemKnnConfig {
    fn default() -> Self {
        Self { window: 5, backward: 0.5, decay: 0.6, similarity: Similarity::Cosine }
    }
}

impl Check for ItemKnnConfig {
    fn problems(&self) -> Vec<Problem> {
        let found = [
            Problem::if_below("window", self.window, 1),
            Problem::if_negative("backward", self.backward),
            decayed::problem(self.decay),
        ];
        found.into_iter().flatten().collect()
    }
}

impl IdMethod for ItemKnnConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        Ok(Trained::counted(ItemKnn::new(job.dataset, *self, job.device)))
    }

    fn load(&self, job: &Job<'_>, _: &Path) -> Result<Trained> {
        self.fit(job)
    }

    fn adds_to_scores(&self) -> bool {
        true
    }
}

/// Scores an item by the sum, over the history, of its decayed similarity to the item of the history. A pair counts
/// `1 / gap` for an item that came `gap` steps after, and [`ItemKnnConfig::backward`] times that for one that came before.
#[derive(Debug, Clone)]
pub struct ItemKnn {
    /// The items that are similar to each item.
    similar: Vec<Vec<(ItemId, f64)>>,
    decay: f64,
    vectors: NoVectors,
}

impl ItemKnn {
    /// Counts the pairs of the training sequences.
    pub fn new(dataset: &Dataset, config: ItemKnnConfig, device: &Device) -> Self {
        let pairs = count_pairs(dataset, config.window, config.backward, |gap| 1.0 / gap as f64);
        let popularity: Vec<f64> = dataset.popularity().into_iter().map(f64::from).collect();
        let similarity = |from: usize, to: ItemId, count: f64| {
            let (a, b) = (popularity[from], popularity[to.index()]);
            match config.similarity {
                Similarity::Cosine => count / ((a + 1.0) * (b + 1.0)).sqrt(),
                Similarity::Jaccard => count / (a + b + 1.0 - count).max(1.0),
                Similarity::Count => count,
            }
        };
        let similar = pairs
            .into_iter()
            .enumerate()
            .map(|(from, pairs)| pairs.into_iter().map(|(to, count)| (to, similarity(from, to, count))).collect());
        Self { similar: similar.collect(), decay: config.decay.into(), vectors: NoVectors(device.clone()) }
    }
}

/// Counts the pairs of the training sequences: for each item, padding first, the items within `window` steps of it. One
/// that comes `gap` steps after it counts `near(gap)`, and one that comes before it `backward` times that.
pub(super) fn count_pairs(
    dataset: &Dataset,
    window: usize,
    backward: f32,
    near: impl Fn(usize) -> f64,
) -> Vec<BTreeMap<ItemId, f64>> {
    let mut pairs: Vec<BTreeMap<ItemId, f64>> = vec![BTreeMap::new(); dataset.catalog.len() + 1];
    for row in dataset.train.rows() {
        for (at, &first) in row.iter().enumerate() {
            for (gap, &second) in (1..=window).zip(&row[at + 1..]) {
                let near = near(gap);
                *pairs[first.index()].entry(second).or_insert(0.0) += near;
                *pairs[second.index()].entry(first).or_insert(0.0) += f64::from(backward) * near;
            }
        }
    }
    pairs
}

impl Recommender for ItemKnn {
    forward_recommender!(self => self.vectors; dim, interests, users, items);

    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        let mut scores = vec![0.0; self.similar.len()];
        for (item, share) in decayed::items(history, self.decay) {
            self.similar[item.index()].iter().for_each(|&(to, similarity)| scores[to.index()] += share * similarity);
        }
        decayed::positive(&scores)
    }
}
