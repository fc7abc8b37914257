//! The words of titles with their weights, which [`Lexical`](super::Lexical), [`TitlePairs`](super::TitlePairs),
//! [`TitleEase`](super::TitleEase) and [`TitleSvd`](super::TitleSvd) read.
use ra_core::{Catalog, ItemId};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// The most entries of the lists of words that the search for the titles most like one title reads, from the rarest word
/// on. It bounds the time at a million items. Ten words leave nothing out in up to 5,000 titles, and hardly anything in
/// some ten thousand.
const MOST_ENTRIES: usize = 50_000;

/// TF-IDF vectors of all titles: a word that occurs `tf` times in a title and in `df` of `N` titles has the weight
/// `(1 + ln tf) ln(N / df)` (Salton & Buckley, 1988). A word is a run of letters and digits, in lower case.
#[derive(Debug, Clone)]
pub(super) struct TitleWords {
    /// The words of each item with their weights, padding first; each vector has length 1, or no words.
    pub(super) of_item: Vec<Vec<(u32, f64)>>,
    /// The items of each word with its weight in their titles.
    pub(super) with_word: Vec<Vec<(ItemId, f64)>>,
}

impl TitleWords {
    /// Counts the words of all titles.
    pub(super) fn new(catalog: &Catalog) -> Self {
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
        let of_item: Vec<Vec<(u32, f64)>> = counts.iter().map(vector).collect();
        let mut with_word = vec![Vec::new(); known.len()];
        for item in catalog.all() {
            of_item[item.index()].iter().for_each(|&(word, weight)| with_word[word as usize].push((item, weight)));
        }
        Self { of_item, with_word }
    }

    /// Returns, for each item, padding first, up to `most` other items whose titles are most like its own, with the
    /// cosine of their vectors: the largest first, of equals the one with the smaller id. In a large catalogue common
    /// words are left out of the cosine.
    pub(super) fn most_alike(&self, most: usize) -> Vec<Vec<(ItemId, f64)>> {
        self.most_alike_within(most, MOST_ENTRIES)
    }

    /// Adds to `cosines`, zero for every item, the cosines between the title of an item and all titles, and to `met` the
    /// items with one, the item itself included. In a large catalogue common words are left out.
    pub(super) fn meet(&self, own: ItemId, cosines: &mut [f64], met: &mut Vec<ItemId>) {
        self.meet_within(own, MOST_ENTRIES, cosines, met);
    }

    fn meet_within(&self, own: ItemId, entries: usize, cosines: &mut [f64], met: &mut Vec<ItemId>) {
        // The rarest words say most, and cost least.
        let mut words = self.of_item[own.index()].clone();
        words.sort_by_key(|&(word, _)| (self.with_word[word as usize].len(), word));
        let mut read = 0;
        for (word, share) in words {
            let items = &self.with_word[word as usize];
            // A title of common words alone is compared with some of the titles that have the rarest of them.
            let items = if read == 0 { &items[..items.len().min(entries)] } else { items };
            read += items.len();
            if read > entries {
                break;
            }
            for &(item, weight) in items {
                let cosine = &mut cosines[item.index()];
                if *cosine == 0.0 {
                    met.push(item);
                }
                *cosine += share * weight;
            }
        }
    }

    fn most_alike_within(&self, most: usize, entries: usize) -> Vec<Vec<(ItemId, f64)>> {
        let none = || (vec![0.0; self.of_item.len()], Vec::new());
        let items = (0..self.of_item.len() as u32).into_par_iter();
        items.map_init(none, |(cosines, met), item| self.alike(ItemId(item), most, entries, cosines, met)).collect()
    }

    /// `cosines` is zero for every item, before and after; `met` is empty.
    fn alike(
        &self,
        own: ItemId,
        most: usize,
        entries: usize,
        cosines: &mut [f64],
        met: &mut Vec<ItemId>,
    ) -> Vec<(ItemId, f64)> {
        self.meet_within(own, entries, cosines, met);
        let mut found: Vec<(ItemId, f64)> = Vec::with_capacity(met.len());
        for item in met.drain(..) {
            found.push((item, std::mem::take(&mut cosines[item.index()])));
        }
        found.retain(|(item, _)| *item != own);
        let order = |a: &(ItemId, f64), b: &(ItemId, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if found.len() > most {
            found.select_nth_unstable_by(most, order);
            found.truncate(most);
        }
        found.sort_unstable_by(order);
        // Room for all that were met is thousands of times what is kept, for every item of a large catalogue.
        found.shrink_to_fit();
        found
    }
}

/// Runs of letters and digits in lower case. Numbers of other kinds, such as a fraction in one character, are no words.
fn words(title: &str) -> impl Iterator<Item = String> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c.is_alphabetic();
    title.split(move |c| !is_of_word(c)).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let found: Vec<String> = words("Café No. 7½: the T-800 (1984)™").collect();
        assert_eq!(found, ["café", "no", "7", "the", "t", "800", "1984"]);
    }

    #[test]
    fn a_bounded_search_reads_the_rarest_words_and_some_titles_at_least() {
        let titles = ["red tea", "red tea", "tea cup", "tea can", "blue"];
        let ids = (0..titles.len()).map(|id| id.to_string()).collect();
        let words = TitleWords::new(&Catalog::new(ids, titles.map(str::to_owned).to_vec()));
        let found = |entries| -> Vec<Vec<u32>> {
            let all = words.most_alike_within(9, entries);
            all.iter().map(|own| own.iter().map(|(item, _)| item.0).collect()).collect()
        };
        assert_eq!(found(9)[1], [2, 3, 4]);
        // Within two entries "red" is read and "tea" is not.
        assert_eq!(found(2)[1], [2]);
        // "red" is in two titles, of which one is read.
        assert_eq!(found(1)[2], [1]);
    }

    #[test]
    fn titles_most_alike_are_those_of_the_largest_cosines() {
        let titles = ["red tea pot", "red tea cup", "blue tea cup", "", "red shoe", "tea"];
        let ids = (0..titles.len()).map(|id| id.to_string()).collect();
        let words = TitleWords::new(&Catalog::new(ids, titles.map(str::to_owned).to_vec()));
        let cosine = |a: usize, b: usize| -> f64 {
            let (a, b) = (&words.of_item[a], &words.of_item[b]);
            a.iter()
                .flat_map(|(word, x)| b.iter().filter(move |(other, _)| other == word).map(move |(_, y)| x * y))
                .sum()
        };
        for most in [1, 2, 9] {
            for (item, found) in words.most_alike(most).into_iter().enumerate() {
                let others = (1..=titles.len()).filter(|other| *other != item);
                let mut all: Vec<(usize, f64)> = others.map(|other| (other, cosine(item, other))).collect();
                all.retain(|(_, cosine)| *cosine > 0.0);
                all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                assert_eq!(found.len(), all.len().min(most), "item {item}");
                for ((item, cosine), (other, wanted)) in found.into_iter().zip(all) {
                    assert!(
                        item.index() == other && (cosine - wanted).abs() < 1e-12,
                        "{item:?} {cosine} {other} {wanted}"
                    );
                }
            }
        }
    }
}
