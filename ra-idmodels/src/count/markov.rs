//! A first-order Markov chain over items that falls back to popularity: the floor that a sequential method must clear.
use super::Popularity;
use crate::{IdMethod, Job, Trained};
use burn::tensor::Device;
use ra_core::{Check, Dataset, History, ItemId, Problem, Recommender, Result, forward_recommender};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// Configures [`Markov`]: it has no settings, and an unknown key is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkovConfig {}

impl Check for MarkovConfig {
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
}

impl IdMethod for MarkovConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        let counted = Markov::new(job.dataset, job.device);
        Ok(Trained::counted(Markov { popularity: Popularity::of_job(job), ..counted }))
    }

    fn load(&self, job: &Job<'_>, _: &Path) -> Result<Trained> {
        self.fit(job)
    }

    fn adds_to_scores(&self) -> bool {
        true
    }
}

/// Scores an item by how often it followed the last item of the history; popularity breaks ties and ranks the other
/// items.
#[derive(Debug, Clone)]
pub struct Markov {
    popularity: Popularity,
    /// The items that followed each item, and how often.
    followers: Vec<Vec<(ItemId, f32)>>,
    /// Larger than any popularity, so that one transition outweighs it.
    step: f32,
}

impl Markov {
    /// Counts the transitions of the training sequences.
    pub fn new(dataset: &Dataset, device: &Device) -> Self {
        let mut counts = vec![HashMap::new(); dataset.catalog.len() + 1];
        for row in dataset.train.rows() {
            for pair in row.windows(2) {
                *counts[pair[0].index()].entry(pair[1]).or_insert(0u32) += 1;
            }
        }
        let sorted = |counts: HashMap<ItemId, u32>| {
            let mut list: Vec<(ItemId, f32)> = counts.into_iter().map(|(item, n)| (item, n as f32)).collect();
            list.sort_unstable_by_key(|x| x.0);
            list
        };
        let most = dataset.popularity().into_iter().max().unwrap_or(0);
        let followers = counts.into_iter().map(sorted).collect();
        Self { popularity: Popularity::new(dataset, device), followers, step: (most as f32).ln_1p() + 1.0 }
    }
}

impl Recommender for Markov {
    forward_recommender!(self => self.popularity; dim, interests, users, items);

    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        let followers = history.items.last().map_or(&[][..], |&last| &self.followers[last.index()]);
        followers.iter().map(|&(item, count)| (item, count * self.step)).collect()
    }
}
