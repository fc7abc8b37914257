//! Words in common: items whose titles are like those of the history. It is the floor that any use of text must clear.
use super::decayed::{self, NoVectors};
use crate::{IdMethod, Job, Trained};
use burn::tensor::Device;
use ra_core::{Check, Dataset, History, ItemId, Problem, Recommender, Result, forward_recommender};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
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
    /// The words of each item with their weights; each vector has length 1, or no words.
    words: Vec<Vec<(u32, f64)>>,
    /// The items of each word with its weight in their titles.
    items: Vec<Vec<(ItemId, f64)>>,
    decay: f64,
    vectors: NoVectors,
}

impl Lexical {
    /// Counts the words of all titles.
    pub fn new(dataset: &Dataset, config: LexicalConfig, device: &Device) -> Self {
        let catalog = &dataset.catalog;
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut counts: Vec<BTreeMap<u32, f64>> = vec![BTreeMap::new(); catalog.len() + 1];
        for item in catalog.all() {
            for word in words(catalog.title(item)) {
                let next = known.len() as u32;
                let word = *known.entry(word).or_insert(next);
                *counts[item.index()].entry(word).or_insert(0.0) += 1.0;
            }
        }
        let mut in_titles = vec![0u32; known.len()];
        counts.iter().flat_map(BTreeMap::keys).for_each(|&word| in_titles[word as usize] += 1);
        let weight = |word: u32, count: f64| {
            (1.0 + count.ln()) * (catalog.len() as f64 / f64::from(in_titles[word as usize])).ln()
        };
        let vector = |counts: &BTreeMap<u32, f64>| {
            let weights: Vec<(u32, f64)> = counts.iter().map(|(&word, &count)| (word, weight(word, count))).collect();
            let length = weights.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
            weights
                .into_iter()
                .filter(|(_, weight)| *weight > 0.0)
                .map(|(word, weight)| (word, weight / length))
                .collect()
        };
        let words: Vec<Vec<(u32, f64)>> = counts.iter().map(vector).collect();
        let mut items = vec![Vec::new(); known.len()];
        for item in catalog.all() {
            words[item.index()].iter().for_each(|&(word, weight)| items[word as usize].push((item, weight)));
        }
        Self { words, items, decay: config.decay.into(), vectors: NoVectors(device.clone()) }
    }
}

/// Runs of letters and digits in lower case. Numbers of other kinds, such as a fraction in one character, are no words.
fn words(title: &str) -> impl Iterator<Item = String> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c.is_alphabetic();
    title.split(move |c| !is_of_word(c)).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

impl Recommender for Lexical {
    forward_recommender!(self => self.vectors; dim, interests, users, items);

    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        let mut query: BTreeMap<u32, f64> = BTreeMap::new();
        for (item, share) in decayed::items(history, self.decay) {
            for &(word, weight) in &self.words[item.index()] {
                *query.entry(word).or_insert(0.0) += share * weight;
            }
        }
        let mut scores = vec![0.0; self.words.len()];
        for (word, share) in query {
            self.items[word as usize].iter().for_each(|&(item, weight)| scores[item.index()] += share * weight);
        }
        decayed::positive(&scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let found: Vec<String> = words("Café No. 7½: the T-800 (1984)™").collect();
        assert_eq!(found, ["café", "no", "7", "the", "t", "800", "1984"]);
    }
}
