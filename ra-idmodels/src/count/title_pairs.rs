//! Pairs of items, shared with the items of similar titles. It is the floor that any use of the log and of text together
//! must clear.
use super::decayed::{self, NoVectors};
use super::item_knn::count_pairs;
use super::titles::TitleWords;
use crate::choose::{Best, judge, open};
use crate::{IdMethod, Job, Trained};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{
    Check, Dataset, History, ItemId, Problem, Recommender, Result, Validate, forward_recommender, host_numbers,
    load_module,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The values that validation chooses among, in this order; the first ones are those without validation.
const POPULARITIES: [f32; 6] = [0.3, 0.0, 0.1, 0.2, 0.4, 0.5];
const SHARES: [f32; 4] = [1.0, 0.0, 0.3, 2.0];
const DECAYS: [f32; 5] = [0.8, 0.6, 0.7, 0.9, 1.0];

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
    /// makes a cosine; less favours popular items. By default, validation chooses; without it, 0.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub popularity: Option<f32>,
    /// The number of items with the most similar titles that an item shares its pairs with.
    pub neighbours: usize,
    /// The weight of all neighbours together, relative to the item itself. 0 makes it a plain count of pairs. By default,
    /// validation chooses; without it, 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f32>,
    /// The weight of an item of the history relative to the next newer one. By default, validation chooses; without it,
    /// 0.8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f32>,
}

impl Default for TitlePairsConfig {
    fn default() -> Self {
        Self { window: 5, backward: 0.5, fading: 0.5, popularity: None, neighbours: 10, share: None, decay: None }
    }
}

impl Check for TitlePairsConfig {
    fn problems(&self) -> Vec<Problem> {
        let found = [
            Problem::if_below("window", self.window, 1),
            Problem::if_negative("backward", self.backward),
            Problem::if_negative("fading", self.fading),
            self.popularity.and_then(|popularity| Problem::if_negative("popularity", popularity)),
            self.share.and_then(|share| Problem::if_negative("share", share)),
            self.decay.and_then(decayed::problem),
        ];
        found.into_iter().flatten().collect()
    }
}

impl IdMethod for TitlePairsConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        let fresh = TitlePairs::new(job.dataset, *self, job.device);
        let model = fresh.chosen(self, job.validate);
        let values = vec![model.popularity, model.share, model.decay];
        let chosen = Chosen { values: Param::from_tensor(Tensor::from_data(TensorData::new(values, [3]), job.device)) };
        let choices = model.choices();
        Ok(Trained::chosen(model, chosen, choices))
    }

    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained> {
        let fresh = Chosen { values: Param::from_tensor(Tensor::zeros([3], job.device)) };
        let chosen = load_module(fresh, path)?;
        let values = host_numbers(chosen.values.val());
        let model = TitlePairs::new(job.dataset, *self, job.device).with(values[0], values[1], values[2]);
        let choices = model.choices();
        Ok(Trained::chosen(model, chosen, choices))
    }

    fn adds_to_scores(&self) -> bool {
        true
    }

    fn reads_titles(&self) -> bool {
        true
    }
}

/// What is kept of a fit: everything else is counted again.
#[derive(Module, Debug)]
struct Chosen {
    /// The popularity, share and decay of [`TitlePairs`], `[3]`.
    values: Param<Tensor<1>>,
}

/// Scores an item by `h (I + W) P (I + W)^T`: `h` are the decayed weights of the history, `P` the counts of pairs
/// relative to popularity, as in [`ItemKnn`](super::ItemKnn), and row `i` of `W` holds the squared cosines between the
/// title of item `i` and those of its neighbours, with the [share](TitlePairsConfig::share) as their sum. So a pair of
/// items also speaks for items with titles like theirs, and an item without interactions has a score by its title.
///
/// Everything but three chosen numbers is counted again when it is loaded.
#[derive(Debug, Clone)]
pub struct TitlePairs {
    counted: Arc<Counted>,
    /// What popularity takes from each item: `(count + 1)^-popularity`.
    damped: Vec<f64>,
    popularity: f32,
    share: f32,
    decay: f32,
    vectors: NoVectors,
}

/// What no choice changes.
#[derive(Debug)]
struct Counted {
    /// The pairs of each item with their counts.
    pairs: Vec<Vec<(ItemId, f64)>>,
    /// The neighbours of each item with their weights, which sum to 1.
    neighbours: Vec<Vec<(ItemId, f64)>>,
    /// The items that each item is a neighbour of, with its weights for them.
    neighbour_of: Vec<Vec<(ItemId, f64)>>,
    /// The training interactions of each item.
    popularity: Vec<u32>,
}

impl TitlePairs {
    /// Counts the pairs of the training sequences, and compares all titles. What the configuration leaves open has its
    /// value without validation.
    pub fn new(dataset: &Dataset, config: TitlePairsConfig, device: &Device) -> Self {
        let near = |gap: usize| (gap as f64).powf(-f64::from(config.fading));
        let pairs = count_pairs(dataset, config.window, config.backward, near);
        let pairs = pairs.into_iter().map(|pairs| pairs.into_iter().collect()).collect();
        let mut neighbours = TitleWords::new(&dataset.catalog).most_alike(config.neighbours);
        for own in &mut neighbours {
            let sum: f64 = own.iter().map(|(_, cosine)| cosine * cosine).sum();
            own.iter_mut().for_each(|(_, cosine)| *cosine *= *cosine / sum);
        }
        let mut neighbour_of = vec![Vec::new(); neighbours.len()];
        for (item, own) in (0..).map(ItemId).zip(&neighbours) {
            own.iter().for_each(|&(neighbour, share)| neighbour_of[neighbour.index()].push((item, share)));
        }
        let counted = Arc::new(Counted { pairs, neighbours, neighbour_of, popularity: dataset.popularity() });
        let vectors = NoVectors(device.clone());
        let popularity = config.popularity.unwrap_or(POPULARITIES[0]);
        let (share, decay) = (config.share.unwrap_or(SHARES[0]), config.decay.unwrap_or(DECAYS[0]));
        Self::of(counted, vectors, popularity, share, decay)
    }

    fn of(counted: Arc<Counted>, vectors: NoVectors, popularity: f32, share: f32, decay: f32) -> Self {
        let damped = |&count: &u32| (f64::from(count) + 1.0).powf(-f64::from(popularity));
        let damped = counted.popularity.iter().map(damped).collect();
        Self { counted, damped, popularity, share, decay, vectors }
    }

    /// The same counts with other numbers.
    fn with(&self, popularity: f32, share: f32, decay: f32) -> Self {
        Self::of(self.counted.clone(), self.vectors.clone(), popularity, share, decay)
    }

    fn choices(&self) -> Vec<String> {
        let Self { popularity, share, decay, .. } = self;
        vec![format!("popularity = {popularity}, share = {share}, decay = {decay}")]
    }

    /// Chooses what the configuration leaves open, one number after the other.
    fn chosen(self, config: &TitlePairsConfig, validate: Option<Validate<'_>>) -> Self {
        let open = |own, among| open(own, among, validate);
        let mut best = Best::new(self, judge(validate));
        for &popularity in &open(config.popularity, &POPULARITIES[..])[1..] {
            best.offer(best.value.with(popularity, best.value.share, best.value.decay));
        }
        for &share in &open(config.share, &SHARES[..])[1..] {
            best.offer(best.value.with(best.value.popularity, share, best.value.decay));
        }
        for &decay in &open(config.decay, &DECAYS[..])[1..] {
            best.offer(best.value.with(best.value.popularity, best.value.share, decay));
        }
        best.value
    }
}

impl Recommender for TitlePairs {
    forward_recommender!(self => self.vectors; dim, interests, users, items);

    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        let (all, own) = (&*self.counted, f64::from(self.share));
        // Ordered, so that equal histories give equal bits.
        let mut from: BTreeMap<ItemId, f64> = BTreeMap::new();
        for (item, weight) in decayed::items(history, self.decay.into()) {
            *from.entry(item).or_insert(0.0) += weight;
            for &(neighbour, share) in all.neighbours[item.index()].iter().filter(|_| own > 0.0) {
                *from.entry(neighbour).or_insert(0.0) += weight * own * share;
            }
        }
        let mut paired = vec![0.0; all.pairs.len()];
        for (item, weight) in from {
            let weight = weight * self.damped[item.index()];
            all.pairs[item.index()].iter().for_each(|&(to, count)| paired[to.index()] += weight * count);
        }
        paired.iter_mut().zip(&self.damped).for_each(|(score, damped)| *score *= damped);
        if own == 0.0 {
            return decayed::positive(&paired);
        }
        let mut scores = paired.clone();
        for (&score, items) in paired.iter().zip(&all.neighbour_of).filter(|(score, _)| **score > 0.0) {
            items.iter().for_each(|&(item, share)| scores[item.index()] += own * share * score);
        }
        decayed::positive(&scores)
    }
}
