//! Choosing a small, good part of the samples (RA-Rec, section "efficient tuning").
use crate::words::words;
use crate::{DataError, Result, prune};
use ra_core::{Dataset, Recommender, Sample, splitmix64};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BinaryHeap, HashMap};
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

/// How many samples are chosen: `0.06` is a share of all samples, `5000` a count. `1` is one sample, `1.0` all of them.
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
    pub cells: BTreeMap<Cell, usize>,
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

/// Chooses samples; the same data, configuration, seed and method give the same samples. `trained` is the ID method
/// whose vectors [`CurateMethod::Coverage`] and [`CurateMethod::Hard`] read.
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
    let budget = config.budget.of(total)?;
    let plain = |samples| Curated { samples, total, denoised: 0, cells: BTreeMap::new() };
    Ok(match config.method {
        CurateMethod::All => plain(all),
        CurateMethod::Coverage => plain(prune::coverage(dataset, &all, needed()?, budget, seed)),
        CurateMethod::Hard => plain(prune::hard(dataset, &all, needed()?, max_history, budget)),
        CurateMethod::Random | CurateMethod::Paper => {
            let judge = Judge::new(dataset.catalog.titles(), &dataset.popularity(), config);
            let mut draw = Draw::new(budget, seed);
            for (index, &sample) in all.iter().enumerate() {
                let (history, target) = dataset.sample(sample, max_history);
                if let Some(cell) = judge.cell(history, target) {
                    draw.offer(index, cell, sample);
                }
            }
            let (chosen, cells) = draw.finish();
            Curated::of(config, chosen.into_iter().map(|(_, sample)| sample).collect(), total, cells)
        }
    })
}

impl CurateConfig {
    /// Every key whose value cannot work, or that has no effect: its name within the table, and what is wrong with it
    /// and allowed instead. A key at its default counts as left out.
    pub fn problems(&self) -> Vec<(String, String)> {
        const ALLOWED: &str = "give a share above 0 and up to 1.0, as in 0.06, or a count from 1 on, as in 5000";
        let plain = Self::default();
        let mut found = Vec::new();
        let mut wrong = |key: &str, problem: String| found.push((key.to_owned(), problem));
        match self.budget {
            Budget::Count(0) => wrong("budget", format!("0 chooses nothing; {ALLOWED}")),
            // Not a number is in no range either.
            Budget::Share(share) if !(share > 0.0 && share <= 1.0) => {
                wrong("budget", format!("{share:?} is no share of the samples; {ALLOWED}"));
            }
            budget if budget != plain.budget && self.method == CurateMethod::All => {
                let problem = "has no effect with method = \"all\"; leave it out, or set method to random or paper";
                wrong("budget", problem.into());
            }
            _ => {}
        }
        if self.pop_buckets == 0 {
            wrong("pop_buckets", "0 leaves no bucket to draw from; give at least 1".into());
        }
        found
    }

    /// Refuses what [`problems`](Self::problems) finds.
    ///
    /// # Errors
    /// Names every key.
    pub fn check(&self) -> Result<()> {
        match self.problems() {
            found if found.is_empty() => Ok(()),
            found => Err(DataError::Settings(
                found.into_iter().map(|(key, problem)| (format!("curate.{key}"), problem)).collect(),
            )),
        }
    }

    /// Refuses methods that look at all samples at once, for logs that are not in memory.
    pub(crate) fn check_one_pass(&self) -> Result<()> {
        if matches!(self.method, CurateMethod::Paper | CurateMethod::Random) {
            return Ok(());
        }
        let problem = format!("{:?} needs the log in memory; use random or paper", self.method);
        Err(DataError::Config { key: "curate.method", problem })
    }
}

impl Budget {
    /// How many of `total` samples.
    ///
    /// # Errors
    /// Where that is none of them.
    pub(crate) fn of(self, total: usize) -> Result<usize> {
        let budget = match self {
            Self::Count(count) => count.min(total),
            Self::Share(share) => ((share * total as f64).round() as usize).min(total),
        };
        match (budget, self) {
            (0, Self::Share(share)) if total > 0 => {
                let problem = format!("{share} of {total} samples is less than one; give a larger share, or a count");
                Err(DataError::Config { key: "curate.budget", problem })
            }
            _ => Ok(budget),
        }
    }
}

/// A cell of (history length, target popularity).
pub(crate) type Cell = (u32, u32);

/// Says which cell a sample belongs to, or that it is noise.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    config: &'a CurateConfig,
    /// The words of each title as numbers, in ascending order.
    bags: Vec<Vec<u32>>,
    /// The popularity bucket of each item; index 0 is padding.
    buckets: Vec<u32>,
}

impl<'a> Judge<'a> {
    /// Knows the titles and the training popularity (index 0 is padding) of all items.
    pub(crate) fn new(titles: &[String], popularity: &[u32], config: &'a CurateConfig) -> Self {
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut number = |word: String| {
            let next = numbers.len() as u32;
            *numbers.entry(word).or_insert(next)
        };
        let mut bag = |title: &String| {
            let mut bag: Vec<u32> = words(title, config.strip_years).into_iter().map(&mut number).collect();
            bag.sort_unstable();
            bag
        };
        let reads = config.method == CurateMethod::Paper;
        let bags = if reads { titles.iter().map(&mut bag).collect() } else { Vec::new() };
        Self { config, bags, buckets: popularity_buckets(popularity, config.pop_buckets) }
    }

    /// Words that the target's title shares with the history's.
    pub(crate) fn overlap(&self, history: &[u32], target: u32) -> usize {
        let bag = |item: u32| &self.bags[item as usize - 1];
        let known = |word: &&u32| history.iter().any(|&item| bag(item).binary_search(word).is_ok());
        bag(target).iter().filter(known).count()
    }

    /// The cell of a sample, noise or not.
    pub(crate) fn place(&self, history: &[u32], target: u32) -> Cell {
        let length = history.len().max(1).ilog2().min(self.config.max_len_bucket);
        (length, self.buckets[target as usize])
    }

    /// The cell to draw a sample from; all samples have one where the draw is uniform.
    pub(crate) fn cell(&self, history: &[u32], target: u32) -> Option<Cell> {
        if self.config.method != CurateMethod::Paper {
            return Some((0, 0));
        }
        let noise = self.config.denoise && self.overlap(history, target) < self.config.min_overlap;
        (!noise).then(|| self.place(history, target))
    }
}

impl Curated {
    /// What `config` chose from cells of these sizes.
    pub(crate) fn of(config: &CurateConfig, samples: Vec<Sample>, total: usize, cells: BTreeMap<Cell, usize>) -> Self {
        let denoised = total - cells.values().sum::<usize>();
        let cells = if config.method == CurateMethod::Paper { cells } else { BTreeMap::new() };
        Self { samples, total, denoised, cells }
    }
}

/// Draws one sample a visit, over the cells in ascending order, each cell's in an order that the seed and the sample's
/// index give; holds no more than it may have to give.
#[derive(Debug)]
pub(crate) struct Draw {
    budget: usize,
    seed: u64,
    cells: BTreeMap<Cell, Offered>,
}

/// How many samples of a cell were offered, and the first of them: key, index, sample; the last on top.
type Offered = (usize, BinaryHeap<(u64, usize, Sample)>);

impl Draw {
    pub(crate) fn new(budget: usize, seed: u64) -> Self {
        Self { budget, seed, cells: BTreeMap::new() }
    }

    /// Sample number `index` of all.
    pub(crate) fn offer(&mut self, index: usize, cell: Cell, sample: Sample) {
        let (seen, first) = self.cells.entry(cell).or_default();
        *seen += 1;
        let own = (splitmix64(self.seed ^ index as u64), index, sample);
        if first.len() < self.budget {
            first.push(own);
        } else if let Some(mut last) = first.peek_mut().filter(|last| own < **last) {
            *last = own;
        }
    }

    /// The chosen samples with their index, and how many were offered in each cell.
    pub(crate) fn finish(self) -> (Vec<(usize, Sample)>, BTreeMap<Cell, usize>) {
        let sizes = self.cells.iter().map(|(&cell, (seen, _))| (cell, *seen)).collect();
        let cells: Vec<Vec<_>> = self.cells.into_values().map(|(_, first)| first.into_sorted_vec()).collect();
        let longest = cells.iter().map(Vec::len).max().unwrap_or(0);
        let visits = (0..longest).flat_map(|round| cells.iter().filter_map(move |cell| cell.get(round)));
        (visits.take(self.budget).map(|&(_, index, sample)| (index, sample)).collect(), sizes)
    }
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
