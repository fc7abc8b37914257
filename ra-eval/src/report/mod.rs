//! What was found, as data: one run, several side by side, one recipe in several settings. How it looks is the matter of
//! [`crate::render`], which reads what is here.
mod experiment;
mod numbers;
mod table;

pub(crate) use experiment::{ALL_LABELS, Group, Line};
pub use experiment::{Experiment, Published};
pub(crate) use numbers::{duration, grouped};
pub use table::{Comparison, compare, compare_unchecked};
pub(crate) use table::{ORDER, ResultTable, is_headline, over_seeds};

use crate::significance::{Interval, detectable, holm, paired_bootstrap, permutation_test};
use crate::slices::Slice;
use crate::{EvalError, Evaluation, Part, Protocol};
use ra_core::{Curve, Dataset, LedgerRow, read_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Draws for the interval of a difference, and for its test: enough that Holm's correction of a hundred can still be below .05.
const RESAMPLES: usize = 2000;
const PERMUTATIONS: usize = 5000;

/// Titles of a history that a sample shows, the latest ones.
const HISTORY_SHOWN: usize = 8;

/// One finished run; `report.json` of a run folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the folder that it was read from; empty for a run at hand, and never written.
    #[serde(skip)]
    pub run: String,
    /// Commit of the code, empty when unknown.
    pub commit: String,
    /// The run's seed.
    pub seed: u64,
    /// Where tensors lived.
    pub backend: String,
    /// Under what the rows compare.
    pub protocol: Protocol,
    /// The result table.
    pub rows: Vec<Row>,
    /// What the alignment trained.
    pub ledger: Vec<LedgerRow>,
    /// What each stage cost.
    #[serde(default)]
    pub stages: Vec<StageCost>,
    /// How training went.
    #[serde(default)]
    pub curves: Vec<LearningCurve>,
    /// Recommendations to look at.
    #[serde(default)]
    pub samples: Vec<SampleRecommendation>,
    /// The machine and its load, in words.
    #[serde(default)]
    pub machine: String,
    /// What was looked for in the data.
    #[serde(default)]
    pub audit: Vec<AuditFinding>,
}

/// One thing that was looked for in the data, and what it does to the figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFinding {
    /// What was looked for.
    pub name: String,
    /// `fine`, `note` or `warning`.
    pub level: String,
    /// The finding in words.
    pub told: String,
    /// What it does to a metric, and what helps.
    pub effect: String,
}

/// One model of the result table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name in the table, such as `ra-rec(sasrec, minilm)`.
    pub name: String,
    /// What it is: `id`, `text`, `ra-rec`.
    pub kind: String,
    /// As [`Evaluation::metrics`].
    pub metrics: BTreeMap<String, f64>,
    /// As [`Evaluation::tied_share`].
    #[serde(default)]
    pub tied_share: f64,
    /// As [`Evaluation::tie_width`].
    #[serde(default)]
    pub tie_width: f64,
    /// Samples it learned from.
    #[serde(default)]
    pub train_samples: usize,
    /// Scalars that were trained.
    #[serde(default)]
    pub trainable_params: usize,
    /// Seconds of training.
    #[serde(default)]
    pub train_seconds: f64,
    /// Seconds of ranking.
    #[serde(default)]
    pub eval_seconds: f64,
    /// Users evaluated, 0 when unknown.
    #[serde(default)]
    pub users: usize,
    /// As [`Evaluation::candidates`]; none where the report is from before they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<(usize, f64)>,
    /// As [`Evaluation::not_finite`].
    #[serde(default)]
    pub not_finite: usize,
    /// What a reader must know of how the model was made, such as a training of no steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The row that [`Row::differences`] are taken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// This row minus the baseline, by accuracy metric, with 95 % intervals over users.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differences: BTreeMap<String, Interval>,
    /// The row by parts of the targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
}

impl Row {
    /// A row with all that its evaluation says; what training cost is left to fill in.
    pub fn new(name: impl Into<String>, kind: impl Into<String>, evaluation: &Evaluation) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            metrics: evaluation.metrics.clone(),
            tied_share: evaluation.tied_share,
            tie_width: evaluation.tie_width,
            eval_seconds: evaluation.seconds,
            users: evaluation.users.len(),
            candidates: Some(evaluation.candidates),
            not_finite: evaluation.not_finite,
            ..Self::default()
        }
    }

    /// Adds the differences to a baseline on the same users: paired bootstrap intervals, and for the metrics that a table is
    /// read for permutation tests and what could have been detected. [`correct`] comes when the table is whole.
    ///
    /// # Panics
    /// When the evaluations are of different users.
    #[must_use]
    pub fn against(mut self, baseline: &str, own: &Evaluation, other: &Evaluation, seed: u64) -> Self {
        assert_eq!(own.users, other.users, "differences are taken user by user");
        self.baseline = Some(baseline.into());
        let smallest = own.per_user.keys().filter_map(|key| key.split_once('@')?.1.parse().ok()).min().unwrap_or(0);
        let difference = |(name, values): (&String, &Vec<f64>)| {
            let others = other.per_user.get(name)?;
            let mut found = paired_bootstrap(values, others, RESAMPLES, seed);
            if is_headline(name, smallest) {
                found.p = Some(permutation_test(values, others, PERMUTATIONS, seed));
                found.detectable = Some(detectable(values, others));
            }
            Some((name.clone(), found))
        };
        self.differences = own.per_user.iter().filter_map(difference).collect();
        self
    }
}

/// Corrects the tests of all rows of a table for being looked at together.
pub fn correct(rows: &mut [Row]) {
    let tested = rows.iter_mut().flat_map(|row| row.differences.values_mut()).filter(|found| found.p.is_some());
    let mut tested: Vec<&mut Interval> = tested.collect();
    let ps: Vec<f64> = tested.iter().filter_map(|found| found.p).collect();
    tested.iter_mut().zip(holm(&ps)).for_each(|(found, p)| found.p_holm = Some(p));
}

/// What a stage cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageCost {
    /// Name of the stage.
    pub name: String,
    /// Seconds of wall time.
    pub seconds: f64,
    /// Largest resident memory up to its end, in MiB; none where the system does not tell.
    pub peak_mib: Option<u64>,
    /// Tokens that the language model read, those that fill up a batch included; none where it took no part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// The learning curve of one trained part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// What was trained.
    pub name: String,
    /// How it went.
    #[serde(flatten)]
    pub curve: Curve,
}

/// One user's recommendations beside what the user did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRecommendation {
    /// The user's own id.
    pub user: String,
    /// Titles of the latest items of the history, oldest first.
    pub history: Vec<String>,
    /// Titles of the held-out items.
    pub targets: Vec<String>,
    /// What each model recommends.
    pub lists: Vec<SampleList>,
}

/// What one model recommends to one user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleList {
    /// Name of the row.
    pub row: String,
    /// Titles, best first.
    pub titles: Vec<String>,
    /// The places in `titles`, from 0, that hold held-out items.
    pub hits: Vec<usize>,
}

impl SampleRecommendation {
    /// Puts titles to `lists`: a row's name and its best items for `user`, best first.
    ///
    /// # Panics
    /// When the user or an item lies beyond the data set.
    pub fn new(dataset: &Dataset, part: Part, user: u32, lists: &[(&str, &[u32])]) -> Self {
        let title = |&item: &u32| dataset.catalog.name(item).to_owned();
        let history = part.history(dataset, user);
        let targets = part.held_out(dataset, user);
        let list = |(row, items): &(&str, &[u32])| SampleList {
            row: (*row).into(),
            titles: items.iter().map(title).collect(),
            hits: (0..items.len()).filter(|&place| targets.contains(&items[place])).collect(),
        };
        Self {
            user: dataset.users[user as usize].clone(),
            history: history[history.len().saturating_sub(HISTORY_SHOWN)..].iter().map(title).collect(),
            targets: targets.iter().map(title).collect(),
            lists: lists.iter().map(list).collect(),
        }
    }
}

impl Report {
    /// What a reader must know before believing the rows.
    pub fn warnings(&self) -> Vec<String> {
        ResultTable::new(std::slice::from_ref(self)).warnings()
    }

    /// Reads a `report.json`, or that of a run folder.
    ///
    /// # Errors
    /// [`EvalError::Core`] names the file, and the place in it that is wrong.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let file = if path.is_dir() { path.join("report.json") } else { path.to_path_buf() };
        let folder = file.parent().and_then(Path::file_name).unwrap_or_default();
        Ok(Self { run: folder.to_string_lossy().into(), ..read_json(&file)? })
    }

    /// What the protocol says, in the order people ask.
    pub(crate) fn protocol_facts(protocol: &Protocol) -> [(&'static str, String); 11] {
        [
            ("data set", protocol.dataset.clone()),
            ("users", grouped(protocol.users)),
            ("items", grouped(protocol.items)),
            ("interactions", grouped(protocol.interactions)),
            ("filter", protocol.filter.clone()),
            ("split", protocol.split.clone()),
            ("candidates", format!("{}; seen items {}", protocol.candidates, protocol.seen)),
            ("repeated targets", protocol.repeats.clone()),
            ("ties", protocol.ties.clone()),
            ("models chosen by", protocol.select.clone()),
            ("fingerprint", protocol.fingerprint.to_string()),
        ]
    }

    /// Where, when and by what, in one line.
    pub(crate) fn origin(&self) -> String {
        let commit = if self.commit.is_empty() { "unknown" } else { &self.commit };
        let mut line = format!("recipe {}, seed {}, backend {}, commit {commit}", self.recipe, self.seed, self.backend);
        if !self.machine.is_empty() {
            line.push_str(", ");
            line.push_str(&self.machine);
        }
        line
    }
}
