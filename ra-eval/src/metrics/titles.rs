//! The similarity of the titles in a list.
use std::collections::{BTreeSet, HashMap};

/// The words of every title, as vectors of length 1.
#[derive(Debug, Clone)]
pub(crate) struct Titles {
    /// Distinct words of each title: runs of letters and digits, in lower case.
    words: Vec<Vec<u32>>,
    /// The running sum of title vectors; all zeros between two lists.
    sum: Vec<f64>,
}

impl Titles {
    /// Returns `None` if no item has a title.
    pub(crate) fn new(titles: &[String]) -> Option<Self> {
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut words = Vec::with_capacity(titles.len());
        for title in titles {
            let title = title.to_lowercase();
            let distinct: BTreeSet<&str> =
                title.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
            let number = |word: &str| -> u32 {
                let next = known.len() as u32;
                *known.entry(word.to_owned()).or_insert(next)
            };
            words.push(distinct.into_iter().map(number).collect());
        }
        (!known.is_empty()).then(|| Self { words, sum: vec![0.0; known.len()] })
    }

    /// Returns the intra-list similarity (Ziegler et al., WWW 2005): the mean over all pairs of `list` of the cosine
    /// between their sets of words; 0 for fewer than two items.
    pub(crate) fn similarity(&mut self, list: &[u32]) -> f64 {
        let n = list.len() as f64;
        if list.len() < 2 {
            return 0.0;
        }
        // The square of the sum contains every pair twice and each vector with itself once.
        let titled = list.iter().filter(|&&item| !self.words[item as usize].is_empty()).count() as f64;
        for words in list.iter().map(|&item| &self.words[item as usize]) {
            let weight = 1.0 / (words.len() as f64).sqrt();
            words.iter().for_each(|&word| self.sum[word as usize] += weight);
        }
        let mut square = 0.0;
        for &word in list.iter().flat_map(|&item| &self.words[item as usize]) {
            let sum = std::mem::take(&mut self.sum[word as usize]);
            square += sum * sum;
        }
        (square - titled).max(0.0) / (n * (n - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_over_pairs() {
        let titles = ["The Ring, 2", "the ring", "Other words here", "", "RING (the) ring"].map(String::from);
        let mut made = Titles::new(&titles).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        near(made.similarity(&[1, 4]), 1.0);
        near(made.similarity(&[0, 1]), 2.0 / 6f64.sqrt());
        near(made.similarity(&[0, 1, 2, 3]), 2.0 / 6f64.sqrt() / 6.0);
        near(made.similarity(&[2, 3]), 0.0);
        near(made.similarity(&[0]), 0.0);
        assert!(Titles::new(&[String::new()]).is_none());
    }
}
