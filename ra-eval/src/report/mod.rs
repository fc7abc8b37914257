//! What was found, as data: one run, several side by side, one recipe in several settings. How it looks is the matter of
//! [`crate::render`], which reads what is here.
mod experiment;
mod glance;
mod numbers;
mod table;

#[cfg(feature = "report")]
pub(crate) use experiment::ALL_LABELS;
pub use experiment::{Experiment, Published};
pub(crate) use experiment::{Group, Line};
pub(crate) use glance::Glance;
#[cfg(feature = "report")]
pub(crate) use glance::{Shown, probability, signed};
pub(crate) use numbers::{duration, grouped};
#[cfg(feature = "report")]
pub(crate) use table::OverSeeds;
pub use table::{Comparison, compare, compare_unchecked};
pub(crate) use table::{ResultTable, is_headline, over_seeds};

use crate::significance::{Interval, detectable, holm, paired_bootstrap, permutation_test};
use crate::slices::Slice;
use crate::{EvalError, Evaluation, Metric, Part, Protocol};
use ra_core::{Curve, Dataset, ItemId, ParamRow, UserId, read_json};
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
#[non_exhaustive]
pub struct Report {
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the folder that it was read from; empty for a run of this process, and never written.
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
    /// What was trained.
    pub ledger: Vec<ParamRow>,
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
    /// How much it matters.
    pub level: AuditLevel,
    /// The finding in words.
    pub told: String,
    /// What it does to a metric, and what helps.
    pub effect: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditLevel {
    /// Nothing was found.
    Fine,
    /// Good to know.
    Note,
    /// The figures may not be what they seem.
    Warning,
}

impl AuditLevel {
    /// The word in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Warning => "warning",
        }
    }
}

/// What a row is; a word in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum RowKind {
    /// A method that knows items by their ids alone, `id`.
    Id,
    /// The text alone, `text`.
    Text,
    /// A trained model that is given something else than it was trained on, `probe`.
    Probe,
    /// A variant of the method that is studied, by its name, such as `ra-rec`.
    Variant(String),
}

impl RowKind {
    /// The word in a file.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id => "id",
            Self::Text => "text",
            Self::Probe => "probe",
            Self::Variant(name) => name,
        }
    }
}

impl std::fmt::Display for RowKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Default for RowKind {
    /// A variant without a name.
    fn default() -> Self {
        Self::Variant(String::new())
    }
}

impl From<&str> for RowKind {
    fn from(word: &str) -> Self {
        match word {
            "id" => Self::Id,
            "text" => Self::Text,
            "probe" => Self::Probe,
            name => Self::Variant(name.into()),
        }
    }
}

impl From<String> for RowKind {
    fn from(word: String) -> Self {
        word.as_str().into()
    }
}

impl From<RowKind> for String {
    fn from(kind: RowKind) -> Self {
        kind.as_str().into()
    }
}

/// One model of the result table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Row {
    /// Name in the table, such as `ra-rec(sasrec, minilm)`.
    pub name: String,
    /// What it is.
    pub kind: RowKind,
    /// As [`Evaluation::metrics`].
    pub metrics: BTreeMap<Metric, f64>,
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
    pub differences: BTreeMap<Metric, Interval>,
    /// The row by parts of the targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
}

impl Row {
    /// A row with all that its evaluation says; what training cost is left to fill in.
    pub fn new(name: impl Into<String>, kind: impl Into<RowKind>, evaluation: &Evaluation) -> Self {
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
    /// read for permutation tests and what could have been detected. [`holm_correct`] comes when the table is whole.
    ///
    /// # Panics
    /// When the evaluations are of different users.
    #[must_use]
    pub fn with_baseline(mut self, baseline: &str, own: &Evaluation, other: &Evaluation, seed: u64) -> Self {
        assert_eq!(own.users, other.users, "differences are taken user by user");
        self.baseline = Some(baseline.into());
        let smallest = own.per_user.keys().map(|metric| metric.k()).min().unwrap_or(0);
        let difference = |(&metric, values): (&Metric, &Vec<f64>)| {
            let others = other.per_user.get(&metric)?;
            let mut found = paired_bootstrap(values, others, RESAMPLES, seed);
            if is_headline(metric, smallest) {
                found.p = Some(permutation_test(values, others, PERMUTATIONS, seed));
                found.detectable = Some(detectable(values, others));
            }
            Some((metric, found))
        };
        self.differences = own.per_user.iter().filter_map(difference).collect();
        self
    }
}

/// Corrects the tests of all rows of a table for being looked at together.
pub fn holm_correct(rows: &mut [Row]) {
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
    pub fn new(dataset: &Dataset, part: Part, user: UserId, lists: &[(&str, &[ItemId])]) -> Self {
        let title = |&item: &ItemId| dataset.catalog.name(item).to_owned();
        let history = part.history(dataset, user);
        let targets = part.held_out(dataset, user);
        let list = |(row, items): &(&str, &[ItemId])| SampleList {
            row: (*row).into(),
            titles: items.iter().map(title).collect(),
            hits: (0..items.len()).filter(|&place| targets.contains(&items[place])).collect(),
        };
        Self {
            user: dataset.users[user.index()].clone(),
            history: history[history.len().saturating_sub(HISTORY_SHOWN)..].iter().map(title).collect(),
            targets: targets.iter().map(title).collect(),
            lists: lists.iter().map(list).collect(),
        }
    }
}

impl Report {
    /// A report of `rows`, which were made under `protocol`; what else there is to tell is left to fill in.
    pub fn new(recipe: impl Into<String>, seed: u64, protocol: Protocol, rows: Vec<Row>) -> Self {
        Self {
            recipe: recipe.into(),
            run: String::new(),
            commit: String::new(),
            seed,
            backend: String::new(),
            protocol,
            rows,
            ledger: Vec::new(),
            stages: Vec::new(),
            curves: Vec::new(),
            samples: Vec::new(),
            machine: String::new(),
            audit: Vec::new(),
        }
    }

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
