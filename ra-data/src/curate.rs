//! Choosing a small, good part of the samples (RA-Rec, section "efficient tuning").
use crate::words::words;
use crate::{DataError, Result, prune};
use ra_core::{Dataset, Recommender, Sample, splitmix64};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How samples are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CurateMethod {
    /// Denoise, then uniformly over buckets of history length and target popularity.
    Paper,
    /// A uniform sample: the control.
    Random,
    /// Samples that together come near to everything in the catalogue: greedy facility location over the ID method's
    /// vectors. Needs a trained method.
    Coverage,
    /// Samples that the ID method gets most wrong, the worst tenth left out as noise. Needs a trained method.
    Hard,
    /// Everything.
    #[default]
    All,
}

/// How many samples are chosen: `0.06` is a share of all samples, `5000` a count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Budget {
    /// A number of samples.
    Count(usize),
    /// A share of all samples.
    Share(f64),
}

/// The `[data.curate]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CurateConfig {
    /// How samples are chosen.
    pub method: CurateMethod,
    /// How many.
    pub budget: Budget,
    /// `paper`: drop samples whose target shares fewer than `min_overlap` words with the titles of the history.
    pub denoise: bool,
    /// Words that a target must share.
    pub min_overlap: usize,
    /// Years such as "(1995)" are no words: they would make every two films of a year look alike.
    pub strip_years: bool,
    /// Histories of `2^b` to `2^(b + 1) - 1` items share bucket `b`, up to this one.
    pub max_len_bucket: u32,
    /// Buckets of target popularity, by rank.
    pub pop_buckets: usize,
}

impl Default for CurateConfig {
    fn default() -> Self {
        Self {
            method: CurateMethod::All,
            budget: Budget::Share(1.0),
            denoise: true,
            min_overlap: 1,
            strip_years: true,
            max_len_bucket: 4,
            pop_buckets: 4,
        }
    }
}

/// What was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Curated {
    /// The chosen samples, in the order they were drawn.
    pub samples: Vec<Sample>,
    /// All samples.
    pub total: usize,
    /// Samples that denoising dropped.
    pub denoised: usize,
    /// Samples left in each cell of (history length, target popularity) before the draw.
    #[serde(skip)]
    pub cells: BTreeMap<(u32, u32), usize>,
}

impl fmt::Display for Curated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = 100.0 * self.samples.len() as f64 / self.total.max(1) as f64;
        write!(f, "samples: {} of {} ({share:.1} %)", self.samples.len(), self.total)?;
        if self.cells.is_empty() {
            return Ok(());
        }
        write!(
            f,
            "; {} dropped because the title shares no word with the history; cells (length, popularity):",
            self.denoised
        )?;
        self.cells.iter().try_for_each(|((length, pop), count)| write!(f, " {length},{pop}:{count}"))
    }
}

/// A sample with what the choice depends on.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) index: usize,
    pub(crate) sample: Sample,
    pub(crate) overlap: usize,
    pub(crate) cell: (u32, u32),
}

/// Chooses samples; the same data, configuration, seed and method give the same samples. `trained` is the ID method whose
/// vectors [`CurateMethod::Coverage`] and [`CurateMethod::Hard`] read.
///
/// # Errors
/// When a trained method is needed and there is none.
pub fn curate(
    dataset: &Dataset,
    config: &CurateConfig,
    max_history: usize,
    seed: u64,
    trained: Option<&dyn Recommender>,
) -> Result<Curated> {
    let needed = || {
        let problem =
            format!("{:?} reads a trained ID method, and there is none here; use random or paper", config.method);
        trained.ok_or(DataError::Config { key: "curate.method", problem })
    };
    let all = dataset.samples();
    let total = all.len();
    let budget = match config.budget {
        Budget::Count(count) => count.min(total),
        Budget::Share(share) => ((share * total as f64).round() as usize).min(total),
    };
    let plain = |samples| Curated { samples, total, denoised: 0, cells: BTreeMap::new() };
    Ok(match config.method {
        CurateMethod::All => plain(all),
        CurateMethod::Coverage => plain(prune::coverage(dataset, &all, needed()?, budget, seed)),
        CurateMethod::Hard => plain(prune::hard(dataset, &all, needed()?, max_history, budget)),
        CurateMethod::Random => {
            let mut order: Vec<usize> = (0..total).collect();
            order.sort_by_key(|&index| (splitmix64(seed ^ index as u64), index));
            plain(order.into_iter().take(budget).map(|index| all[index]).collect())
        }
        CurateMethod::Paper => {
            let least = if config.denoise { config.min_overlap } else { 0 };
            let mut kept = candidates(dataset, config, max_history);
            kept.retain(|c| c.overlap >= least);
            let cells = cell_sizes(&kept);
            let denoised = total - kept.len();
            let samples = round_robin(&kept, budget, seed).into_iter().map(|c| c.sample).collect();
            Curated { samples, total, denoised, cells }
        }
    })
}

/// Every sample in order of generation, with its overlap and cell.
pub(crate) fn candidates(dataset: &Dataset, config: &CurateConfig, max_history: usize) -> Vec<Candidate> {
    let bags: Vec<BTreeSet<String>> = dataset.catalog.titles().iter().map(|t| words(t, config.strip_years)).collect();
    let buckets = popularity_buckets(&dataset.popularity(), config.pop_buckets);
    let candidate = |(index, sample): (usize, Sample)| {
        let (history, target) = dataset.sample(sample, max_history);
        let known = |word: &&String| history.iter().any(|&item| bags[item as usize - 1].contains(*word));
        let overlap = bags[target as usize - 1].iter().filter(known).count();
        let length = history.len().max(1).ilog2().min(config.max_len_bucket);
        Candidate { index, sample, overlap, cell: (length, buckets[target as usize]) }
    };
    dataset.samples().into_iter().enumerate().map(candidate).collect()
}

/// Buckets of items by rank of training popularity, 0 the head; index 0 is padding. Items never trained on are in none
/// and get bucket 0, which nothing reads.
pub fn popularity_buckets(counts: &[u32], buckets: usize) -> Vec<u32> {
    let mut ranked: Vec<usize> = (1..counts.len()).filter(|&item| counts[item] > 0).collect();
    ranked.sort_by_key(|&item| (std::cmp::Reverse(counts[item]), item));
    let mut bucket = vec![0; counts.len()];
    for (rank, &item) in ranked.iter().enumerate() {
        bucket[item] = (rank * buckets.max(1) / ranked.len()) as u32;
    }
    bucket
}

pub(crate) fn cell_sizes(kept: &[Candidate]) -> BTreeMap<(u32, u32), usize> {
    let mut cells = BTreeMap::new();
    kept.iter().for_each(|c| *cells.entry(c.cell).or_insert(0) += 1);
    cells
}

/// One sample a visit, over the cells in ascending order, until `budget` are taken.
pub(crate) fn round_robin(kept: &[Candidate], budget: usize, seed: u64) -> Vec<&Candidate> {
    let mut cells: BTreeMap<(u32, u32), Vec<&Candidate>> = BTreeMap::new();
    kept.iter().for_each(|c| cells.entry(c.cell).or_default().push(c));
    for cell in cells.values_mut() {
        cell.sort_by_key(|c| (splitmix64(seed ^ c.index as u64), c.index));
    }
    let longest = cells.values().map(Vec::len).max().unwrap_or(0);
    let visits = (0..longest).flat_map(|round| cells.values().filter_map(move |cell| cell.get(round).copied()));
    visits.take(budget).collect()
}
