//! Choosing a small, good part of the samples (RA-Rec, section "efficient tuning").
//!
//! What a trained model says of the samples is not known here: for [`CurateMethod::Coverage`] and [`CurateMethod::Hard`]
//! whoever has one chooses from [`candidates`].
mod noise;
mod sampler;
pub(crate) mod words;

pub use noise::popularity_buckets;
pub(crate) use noise::{NoiseFilter, Stratum};
pub(crate) use sampler::StratifiedSampler;

use crate::{DataError, Result};
use ra_core::{Check, Dataset, Problem, Sample};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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

/// How many samples are chosen.
///
/// A file tells the two apart by the point alone, in TOML as in JSON: a number without one is a count, a number with one
/// is a share.
///
/// | in a file | is | of 20,000 samples |
/// |---|---|---|
/// | `0.06` | [`Share(0.06)`](Budget::Share) | 1,200 |
/// | `5000` | [`Count(5000)`](Budget::Count) | 5,000 |
/// | `1.0` | [`Share(1.0)`](Budget::Share) | all 20,000 |
/// | `1` | [`Count(1)`](Budget::Count) | **one** |
///
/// A writer that drops `.0`, as JavaScript does, turns "all" into "one": [`oddities`](Check::oddities) tells of a budget of
/// one sample, and [`Display`](fmt::Display) writes which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Budget {
    /// A number of samples.
    Count(usize),
    /// A share of all samples.
    Share(f64),
}

/// Which samples a training sees.
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
    pub cells: BTreeMap<Stratum, usize>,
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

/// Chooses samples; the same data, configuration and seed give the same samples. A history has at most `max_history`
/// items.
///
/// # Errors
/// [`DataError::NeedsModel`] for methods that a trained model chooses by: see [`candidates`]. [`DataError::Curation`]
/// for a budget that is less than one sample.
pub fn curate(dataset: &Dataset, config: &CurateConfig, max_history: usize, seed: u64) -> Result<Curated> {
    if config.method.needs_model() {
        return Err(DataError::NeedsModel(config.method));
    }
    let Candidates { samples: all, budget } = candidates(dataset, config)?;
    let total = all.len();
    if config.method == CurateMethod::All {
        return Ok(Curated { samples: all, total, denoised: 0, cells: BTreeMap::new() });
    }
    let filter = NoiseFilter::new(dataset.catalog.titles(), &dataset.popularity(), config);
    let mut sampler = StratifiedSampler::new(budget, seed);
    for (index, &sample) in all.iter().enumerate() {
        let (history, target) = dataset.sample(sample, max_history);
        if let Some(stratum) = filter.stratum(history, target) {
            sampler.insert(index, stratum, sample);
        }
    }
    let (chosen, cells) = sampler.finish();
    Ok(Curated::of(config, chosen.into_iter().map(|(_, sample)| sample).collect(), total, cells))
}

/// What samples are chosen from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// Every sample of the training part, by user and position.
    pub samples: Vec<Sample>,
    /// How many of them are to be chosen.
    pub budget: usize,
}

impl Candidates {
    /// What a trained model chose, in the order it did.
    pub fn chosen(&self, samples: Vec<Sample>) -> Curated {
        Curated { samples, total: self.samples.len(), denoised: 0, cells: BTreeMap::new() }
    }
}

/// What a method that reads a trained model ([`CurateMethod::needs_model`]) chooses from.
///
/// # Errors
/// [`DataError::Curation`] for a budget that is less than one sample.
pub fn candidates(dataset: &Dataset, config: &CurateConfig) -> Result<Candidates> {
    let samples = dataset.samples();
    let budget = config.budget.of(samples.len())?;
    Ok(Candidates { samples, budget })
}

impl CurateMethod {
    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Random => "random",
            Self::Coverage => "coverage",
            Self::Hard => "hard",
            Self::All => "all",
        }
    }

    /// Whether samples are chosen by what a trained ID method says of them.
    pub fn needs_model(self) -> bool {
        matches!(self, Self::Coverage | Self::Hard)
    }
}

impl Check for CurateConfig {
    /// A key that has no effect is among them; a key at its default counts as left out.
    fn problems(&self) -> Vec<Problem> {
        const ALLOWED: &str = "give a share above 0 and up to 1.0, as in 0.06, or a count from 1 on, as in 5000";
        let plain = Self::default();
        let mut found = Vec::new();
        let mut wrong = |key: &str, problem: String| found.push(Problem::new(key, problem));
        match self.budget {
            Budget::Count(0) => wrong("budget", format!("is 0, which chooses nothing; {ALLOWED}")),
            // Not a number is in no range either.
            Budget::Share(share) if !(share > 0.0 && share <= 1.0) => {
                wrong("budget", format!("is {share:?}, which is no share of the samples; {ALLOWED}"));
            }
            budget if budget != plain.budget && self.method == CurateMethod::All => {
                let problem = "has no effect with method = \"all\"; leave it out, or set method to random or paper";
                wrong("budget", problem.into());
            }
            _ => {}
        }
        if self.pop_buckets == 0 {
            wrong("pop_buckets", "is 0, which leaves no bucket to draw from; give at least 1".into());
        }
        found
    }

    fn oddities(&self) -> Vec<Problem> {
        let one = Problem::new("budget", "is 1: one sample, not a share; 1.0 is all of them");
        if self.budget == Budget::Count(1) { vec![one] } else { Vec::new() }
    }
}

impl CurateConfig {
    /// Refuses methods that look at all samples at once, for logs that are not in memory.
    pub(crate) fn check_one_pass(&self) -> Result<()> {
        if matches!(self.method, CurateMethod::Paper | CurateMethod::Random) {
            return Ok(());
        }
        let problem = format!("is {}, which needs the log in memory; use random or paper", self.method.name());
        Err(DataError::curation("method", problem))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(1) => f.write_str("1 sample"),
            Self::Count(count) => write!(f, "{count} samples"),
            Self::Share(share) => write!(f, "{share:?} of the samples"),
        }
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
        if budget > 0 || total == 0 {
            return Ok(budget);
        }
        let problem = match self {
            Self::Count(_) => "is 0, which chooses nothing; give a count from 1 on".into(),
            Self::Share(share) => {
                format!("is {share}: of {total} samples less than one; give a larger share, or a count")
            }
        };
        Err(DataError::curation("budget", problem))
    }
}

impl Curated {
    /// What `config` chose from cells of these sizes.
    pub(crate) fn of(
        config: &CurateConfig,
        samples: Vec<Sample>,
        total: usize,
        cells: BTreeMap<Stratum, usize>,
    ) -> Self {
        let denoised = total - cells.values().sum::<usize>();
        let cells = if config.method == CurateMethod::Paper { cells } else { BTreeMap::new() };
        Self { samples, total, denoised, cells }
    }
}
