//! Choosing a small, good subset of the samples (RA-Rec, section "efficient tuning").
//!
//! This crate has no trained model: for [`CurateMethod::Coverage`] and [`CurateMethod::Hard`] the caller chooses from
//! [`candidates`].
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
    /// Denoises, then draws uniformly over buckets of history length and target popularity.
    Paper,
    /// Draws uniformly at random: the control.
    Random,
    /// Chooses samples that together cover the catalogue, by greedy facility location over the ID method's vectors.
    /// Needs a trained ID method.
    Coverage,
    /// Chooses the samples that the ID method predicts worst, without the worst 10 %, which count as noise. Needs a
    /// trained ID method.
    Hard,
    /// Keeps all samples.
    #[default]
    All,
}

/// How many samples are chosen, as a count or a share: a whole number such as `5000` is a count, a number with a
/// decimal point such as `0.06` is a share.
///
/// The same holds in TOML and in JSON:
///
/// | in a file | is | of 20,000 samples |
/// |---|---|---|
/// | `0.06` | [`Share(0.06)`](Budget::Share) | 1,200 |
/// | `5000` | [`Count(5000)`](Budget::Count) | 5,000 |
/// | `1.0` | [`Share(1.0)`](Budget::Share) | all 20,000 |
/// | `1` | [`Count(1)`](Budget::Count) | **one** |
///
/// A writer that drops `.0`, as JavaScript does, turns "all" into "one": [`oddities`](Check::oddities) reports a budget
/// of one sample, and [`Display`](fmt::Display) states whether the budget is a count or a share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Budget {
    /// A number of samples.
    Count(usize),
    /// A share of all samples.
    Share(f64),
}

/// Which samples a model is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CurateConfig {
    /// How samples are chosen.
    pub method: CurateMethod,
    /// The size of the selection.
    pub budget: Budget,
    /// Whether `paper` drops samples whose target title shares fewer than `min_overlap` words with the titles of the
    /// history.
    pub denoise: bool,
    /// The least number of words that the title of a target must share with its history to pass the denoising of
    /// `paper`.
    pub min_overlap: usize,
    /// Whether denoising ignores years such as "(1995)", which would make any two films of the same year look alike.
    pub strip_years: bool,
    /// The highest bucket of history length. Bucket `b` holds histories of `2^b` to `2^(b + 1) - 1` items, and the
    /// highest bucket also all longer ones.
    pub max_len_bucket: u32,
    /// The number of buckets of target popularity, by rank.
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

/// The chosen samples, and how they were chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Curated {
    /// The chosen samples, in the order they were drawn.
    pub samples: Vec<Sample>,
    /// The number of samples chosen from.
    pub total: usize,
    /// The number of samples that denoising dropped.
    pub denoised: usize,
    /// The number of samples in each cell of (history length, target popularity) after denoising, before the draw.
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

/// Chooses samples with histories of at most `max_history` items. The same data, configuration and seed give the same
/// samples.
///
/// # Errors
/// [`DataError::NeedsModel`] if the method needs a trained model (see [`candidates`]); [`DataError::Curation`] if the
/// budget is less than one sample.
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

/// The samples to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// Every sample of the training part, by user and position.
    pub samples: Vec<Sample>,
    /// The number of samples to choose.
    pub budget: usize,
}

impl Candidates {
    /// Returns the result for the samples that a trained model chose, in its order.
    pub fn chosen(&self, samples: Vec<Sample>) -> Curated {
        Curated { samples, total: self.samples.len(), denoised: 0, cells: BTreeMap::new() }
    }
}

/// Returns the samples that a method with a trained model ([`CurateMethod::needs_model`]) chooses from.
///
/// # Errors
/// [`DataError::Curation`] if the budget is less than one sample.
pub fn candidates(dataset: &Dataset, config: &CurateConfig) -> Result<Candidates> {
    let samples = dataset.samples();
    let budget = config.budget.of(samples.len())?;
    Ok(Candidates { samples, budget })
}

impl CurateMethod {
    /// Returns the name of the method in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Random => "random",
            Self::Coverage => "coverage",
            Self::Hard => "hard",
            Self::All => "all",
        }
    }

    /// Returns whether the method needs a trained ID method to choose samples.
    pub fn needs_model(self) -> bool {
        matches!(self, Self::Coverage | Self::Hard)
    }
}

impl Check for CurateConfig {
    /// Also reports keys that have no effect; a key at its default counts as unset.
    fn problems(&self) -> Vec<Problem> {
        const ALLOWED: &str = "give a share above 0 and up to 1.0, such as 0.06, or a count of at least 1, such as \
                               5000";
        let plain = Self::default();
        let mut found = Vec::new();
        let mut wrong = |key: &str, problem: String| found.push(Problem::new(key, problem));
        match self.budget {
            Budget::Count(0) => wrong("budget", format!("is 0, which chooses nothing; {ALLOWED}")),
            // Written so that NaN is refused too.
            Budget::Share(share) if !(share > 0.0 && share <= 1.0) => {
                wrong("budget", format!("is {share:?}, which is not a share of the samples; {ALLOWED}"));
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
    /// Refuses methods that look at all samples at once; a log that is not in memory allows only one pass.
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
    /// Returns the number of samples to choose out of `total`.
    ///
    /// # Errors
    /// [`DataError::Curation`] if that is none of them.
    pub(crate) fn of(self, total: usize) -> Result<usize> {
        let budget = match self {
            Self::Count(count) => count.min(total),
            Self::Share(share) => ((share * total as f64).round() as usize).min(total),
        };
        if budget > 0 || total == 0 {
            return Ok(budget);
        }
        let problem = match self {
            Self::Count(_) => "is 0, which chooses nothing; give a count of at least 1".into(),
            Self::Share(share) => {
                format!("is {share}, which is less than one of {total} samples; give a larger share, or a count")
            }
        };
        Err(DataError::curation("budget", problem))
    }
}

impl Curated {
    /// Summarises what `config` chose from cells of these sizes.
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
