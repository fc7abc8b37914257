//! Choosing the samples worth training on (RA-Rec, section "efficient tuning").
//!
//! Denoising keeps a target that shares words with its history. Diversity then draws evenly from cells of history
//! length and target popularity, so that neither short histories nor popular items fill the budget.
use crate::words::words;
use ra_core::{Dataset, Sample, splitmix64};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// How samples are chosen: the `[data.curate]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CurateConfig {
    /// Which way.
    pub method: Method,
    /// Of method `paper`: keep only targets that share `min_overlap` words with their history.
    pub denoise: bool,
    /// How many words they must share.
    pub min_overlap: usize,
    /// Take "(1995)" out of titles first: a year makes every two films of it look alike.
    pub strip_years: bool,
    /// The last bucket of history lengths; bucket `b` holds lengths `2^b..2^(b+1)`.
    pub max_len_bucket: usize,
    /// How many buckets of target popularity, of equally many items each; 0 counts as 1.
    pub pop_buckets: usize,
    /// How many samples to choose.
    pub budget: Budget,
}

impl Default for CurateConfig {
    fn default() -> Self {
        Self {
            method: Method::All,
            denoise: true,
            min_overlap: 1,
            strip_years: true,
            max_len_bucket: 4,
            pop_buckets: 4,
            budget: Budget::Share(1.0),
        }
    }
}

/// Which way samples are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Denoised, then evenly from cells of history length and popularity.
    Paper,
    /// Uniformly from all samples: the control that any method must beat.
    Random,
    /// Everything; the budget does not count.
    #[default]
    All,
}

/// How many samples: in a recipe `0.1` is a share of all samples before denoising, `1000` a count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// Above 0, at most 1.
    Share(f64),
    /// At least 1.
    Count(usize),
}

impl Budget {
    /// The number of samples out of `total`.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Share(share) => ((share * total as f64).round() as usize).max(1).min(total),
            Self::Count(count) => count.min(total),
        }
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Share(share) => serializer.serialize_f64(share),
            Self::Count(count) => serializer.serialize_u64(count as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Budget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as 0.1 (above 0.0, at most 1.0) or a count such as 1000 (at least 1)")
            }

            fn visit_f64<E: de::Error>(self, share: f64) -> Result<Budget, E> {
                let fits = share > 0.0 && share <= 1.0;
                if fits { Ok(Budget::Share(share)) } else { Err(E::invalid_value(de::Unexpected::Float(share), &self)) }
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Budget, E> {
                let fits = usize::try_from(count).ok().filter(|&count| count > 0);
                fits.map(Budget::Count).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(count), &self))
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Budget, E> {
                let fits = u64::try_from(count).map_err(|_| E::invalid_value(de::Unexpected::Signed(count), &self));
                self.visit_u64(fits?)
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// Chosen samples, and how the choice came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curated {
    /// The chosen, in the order of choice.
    pub samples: Vec<Sample>,
    /// How many samples there were.
    pub total: usize,
    /// How many of them denoising removed.
    pub denoised: usize,
    /// How many remained after denoising in each cell of (length bucket, popularity bucket).
    pub cells: BTreeMap<(u32, u32), usize>,
}

/// Chooses among all samples of `dataset.train`; histories are cut to their last `max_history` items. The same `seed`
/// gives the same choice.
pub fn curate(dataset: &Dataset, config: &CurateConfig, max_history: usize, seed: u64) -> Curated {
    let samples = dataset.samples();
    let measures = measure(dataset, &samples, config, max_history);
    let keeps = |m: &Measure| config.method != Method::Paper || !config.denoise || m.overlap >= config.min_overlap;
    let kept: Vec<usize> = (0..samples.len()).filter(|&index| keeps(&measures[index])).collect();
    let mut cells: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for &index in &kept {
        cells.entry(measures[index].cell()).or_default().push(index);
    }
    let (total, denoised) = (samples.len(), samples.len() - kept.len());
    let sizes = cells.iter().map(|(&cell, members)| (cell, members.len())).collect();
    let budget = config.budget.of(total);
    let chosen = match config.method {
        Method::Paper => round_robin(cells.into_values().collect(), budget, seed),
        Method::Random => shuffled(kept, seed).into_iter().take(budget).collect(),
        Method::All => kept,
    };
    Curated { samples: chosen.into_iter().map(|index| samples[index]).collect(), total, denoised, cells: sizes }
}

/// What is known of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measure {
    /// How many words the target shares with its history.
    pub(crate) overlap: usize,
    /// By length of the history.
    pub(crate) len_bucket: u32,
    /// By popularity of the target; 0 is the head.
    pub(crate) pop_bucket: u32,
}

impl Measure {
    fn cell(self) -> (u32, u32) {
        (self.len_bucket, self.pop_bucket)
    }
}

/// Measures every sample, in the order given, which must be by user and position.
pub(crate) fn measure(dataset: &Dataset, samples: &[Sample], config: &CurateConfig, max_history: usize) -> Vec<Measure> {
    let pop_bucket = popularity_buckets(&dataset.popularity(), config.pop_buckets);
    let (words, vocabulary) = vocabulary(dataset.catalog.titles(), config.strip_years);
    // How often each word occurs in the history of the current sample, which moves along with the samples of a user.
    let mut counts = vec![0u32; vocabulary];
    let mut measures = Vec::with_capacity(samples.len());
    for of_user in samples.chunk_by(|a, b| a.user == b.user) {
        let row = dataset.train.row(of_user[0].user as usize);
        for &sample in of_user {
            let at = sample.position as usize;
            words[row[at - 1] as usize].iter().for_each(|&word| counts[word as usize] += 1);
            if at > max_history {
                words[row[at - 1 - max_history] as usize].iter().for_each(|&word| counts[word as usize] -= 1);
            }
            let overlap = words[row[at] as usize].iter().filter(|&&word| counts[word as usize] > 0).count();
            let len_bucket = at.min(max_history).max(1).ilog2().min(config.max_len_bucket as u32);
            measures.push(Measure { overlap, len_bucket, pop_bucket: pop_bucket[row[at] as usize] });
        }
        for &item in row {
            words[item as usize].iter().for_each(|&word| counts[word as usize] = 0);
        }
    }
    measures
}

/// The bucket of each item that occurs, by rank of popularity; index 0 (padding) and items that never occur are 0.
pub(crate) fn popularity_buckets(popularity: &[u32], buckets: usize) -> Vec<u32> {
    let mut ranked: Vec<usize> = (0..popularity.len()).filter(|&item| popularity[item] > 0).collect();
    ranked.sort_unstable_by_key(|&item| (Reverse(popularity[item]), item));
    let mut bucket = vec![0; popularity.len()];
    for (rank, &item) in ranked.iter().enumerate() {
        bucket[item] = (rank * buckets.max(1) / ranked.len()) as u32;
    }
    bucket
}

/// The words of each dense item as numbers, and how many different ones there are; padding has none.
fn vocabulary(titles: &[String], strip_years: bool) -> (Vec<Vec<u32>>, usize) {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut items = vec![Vec::new()];
    for title in titles {
        let mut item = Vec::new();
        for word in words(title, strip_years) {
            let next = numbers.len() as u32;
            item.push(*numbers.entry(word).or_insert(next));
        }
        items.push(item);
    }
    (items, numbers.len())
}

/// `indices` in an order that depends on the seed and on each index alone.
fn shuffled(mut indices: Vec<usize>, seed: u64) -> Vec<usize> {
    indices.sort_unstable_by_key(|&index| (splitmix64(seed ^ index as u64), index));
    indices
}

/// One from each cell in turn until `budget` are taken or all cells are empty.
fn round_robin(cells: Vec<Vec<usize>>, budget: usize, seed: u64) -> Vec<usize> {
    let mut cells: Vec<_> = cells.into_iter().map(|cell| shuffled(cell, seed).into_iter()).collect();
    let mut chosen = Vec::new();
    while !cells.is_empty() && chosen.len() < budget {
        cells.retain_mut(|cell| match cell.next() {
            Some(index) if chosen.len() < budget => {
                chosen.push(index);
                true
            }
            _ => false,
        });
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Catalog, Sequences};

    fn films() -> Dataset {
        let titles = ["Toy Story (1995)", "Heat (1995)", "Toy Story 2", "Alien", "Aliens"];
        Dataset {
            name: "films".into(),
            users: vec!["u".into(), "v".into()],
            catalog: Catalog::new(titles.map(str::to_owned).to_vec(), titles.map(str::to_owned).to_vec()),
            train: Sequences::from_rows([vec![1, 2, 3, 4], vec![4, 5, 4]]),
            valid: Sequences::from_rows([vec![], vec![]]),
            test: Sequences::from_rows([vec![], vec![]]),
            filter: "none".into(),
            split: "leave_one_out".into(),
        }
    }

    #[test]
    fn words_leave_the_window_with_their_item() {
        let data = films();
        let overlaps = |strip_years, max_history| -> Vec<usize> {
            let config = CurateConfig { strip_years, ..CurateConfig::default() };
            measure(&data, &data.samples(), &config, max_history).iter().map(|m| m.overlap).collect()
        };
        assert_eq!(overlaps(true, 9), [0, 2, 0, 0, 1]);
        assert_eq!(overlaps(false, 9), [1, 2, 0, 0, 1]);
        assert_eq!(overlaps(true, 1), [0, 0, 0, 0, 0]);
    }

    #[test]
    fn methods_and_budgets() {
        let chosen = |method, budget| curate(&films(), &CurateConfig { method, budget, ..CurateConfig::default() }, 9, 3);
        assert_eq!(chosen(Method::All, Budget::Count(1)).samples, films().samples());
        let random = chosen(Method::Random, Budget::Share(0.6));
        assert_eq!((random.samples.len(), random.denoised, random.total), (3, 0, 5));
        let paper = chosen(Method::Paper, Budget::Share(1.0));
        assert_eq!((paper.samples.len(), paper.denoised), (2, 3));
        assert_eq!(paper.cells.values().sum::<usize>(), 2);
        assert_eq!(chosen(Method::Paper, Budget::Count(1)).samples.len(), 1);
    }

    #[test]
    fn a_budget_is_a_share_or_a_count() {
        let parse = |text: &str| serde_json::from_str::<Budget>(text);
        assert_eq!(parse("0.1").unwrap(), Budget::Share(0.1));
        assert_eq!(parse("1.0").unwrap(), Budget::Share(1.0));
        assert_eq!(parse("1").unwrap(), Budget::Count(1));
        for wrong in ["0", "1.5", "0.0", "-3", "\"all\""] {
            assert!(parse(wrong).unwrap_err().to_string().contains("a share such as 0.1"), "{wrong}");
        }
        for budget in [Budget::Share(1.0), Budget::Count(7)] {
            assert_eq!(parse(&serde_json::to_string(&budget).unwrap()).unwrap(), budget);
        }
    }

    #[test]
    fn a_single_item_has_one_bucket() {
        assert_eq!(popularity_buckets(&[0, 5, 0], 4), [0, 0, 0]);
        assert_eq!(popularity_buckets(&[0, 1, 9, 9, 2], 2), [0, 1, 0, 0, 1]);
        assert_eq!(popularity_buckets(&[], 0), [] as [u32; 0]);
    }
}
