//! Words in common: items whose titles are like those of the history. It is the floor that any use of text must clear.
use super::decayed::{self, NoVectors};
use super::titles::TitleWords;
use crate::{IdMethod, Job, Trained};
use burn::tensor::Device;
use ra_core::{Check, Dataset, History, ItemId, Problem, Recommender, Result, forward_recommender};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Configures [`Lexical`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LexicalConfig {
    /// The weight of an item of the history relative to the next newer one.
    pub decay: f32,
}

impl Default for LexicalConfig {
    fn default() -> Self {
        Self { decay: 0.6 }
    }
}

impl Check for LexicalConfig {
    fn problems(&self) -> Vec<Problem> {
        decayed::problem(self.decay).into_iter().collect()
    }
}

impl IdMethod for LexicalConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        Ok(Trained::counted(Lexical::new(job.dataset, *self, job.device)))
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

/// Scores an item by the sum, over the history, of a decayed cosine between TF-IDF vectors of titles: a word that occurs
/// `tf` times in a title and in `df` of `N` titles has the weight `(1 + ln tf) ln(N / df)` (Salton & Buckley, 1988). A word
/// is a run of letters and digits, in lower case.
#[derive(Debug, Clone)]
pub struct Lexical {
    titles: TitleWords,
    decay: f64,
    vectors: NoVectors,
}

impl Lexical {
    /// Counts the words of all titles.
    pub fn new(dataset: &Dataset, config: LexicalConfig, device: &Device) -> Self {
        let titles = TitleWords::new(&dataset.catalog);
        Self { titles, decay: config.decay.into(), vectors: NoVectors(device.clone()) }
    }
}

impl Recommender for Lexical {
    forward_recommender!(self => self.vectors; dim, interests, users, items);

    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        let mut query: BTreeMap<u32, f64> = BTreeMap::new();
        for (item, share) in decayed::items(history, self.decay) {
            for &(word, weight) in &self.titles.of_item[item.index()] {
                *query.entry(word).or_insert(0.0) += share * weight;
            }
        }
        let mut scores = vec![0.0; self.titles.of_item.len()];
        for (word, share) in query {
            self.titles.with_word[word as usize]
                .iter()
                .for_each(|&(item, weight)| scores[item.index()] += share * weight);
        }
        decayed::positive(&scores)
    }
}
