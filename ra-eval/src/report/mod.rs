//! Results as data: one run, several runs side by side, one recipe in several settings. [`crate::render`] determines
//! how they look.
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
pub(crate) use numbers::{duration, grouped, supported};
#[cfg(feature = "report")]
pub(crate) use table::OverSeeds;
pub use table::{Comparison, compare, compare_unchecked};
pub(crate) use table::{ResultTable, group_measures, is_headline, over_seeds};

use crate::significance::{Interval, detectable, holm, paired_bootstrap, permutation_test};
use crate::slices::Slice;
use crate::{EvalError, Evaluation, Measure, Metric, Part, Protocol};
use ra_core::{Curve, Dataset, ItemId, ParamRow, UserId, read_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The number of bootstrap resamples for the interval of a difference between two rows.
pub const RESAMPLES: usize = 2000;

/// The number of permutations for the test of a difference between two rows: enough for a p-value to be below .05 after
/// Holm's correction of a hundred tests.
pub const PERMUTATIONS: usize = 5000;

/// The number of titles shown of a history, the latest ones.
const HISTORY_SHOWN: usize = 8;

/// One finished run, stored as `report.json` in a run folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the folder that the report was read from, empty for a run of this process. It is never written.
    #[serde(skip)]
    pub run: String,
    /// Commit of the code, empty if unknown.
    pub commit: String,
    /// The run's seed.
    pub seed: u64,
    /// The backend that ran the tensor operations.
    pub backend: String,
    /// The protocol under which the rows are comparable.
    pub protocol: Protocol,
    /// The name of the row that validates best, the first of equal ones: the one to use. Nothing without validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommended: Option<String>,
    /// The result table.
    pub rows: Vec<Row>,
    /// The trained parameters.
    pub ledger: Vec<ParamRow>,
    /// The cost of each stage.
    #[serde(default)]
    pub stages: Vec<StageCost>,
    /// The learning curves.
    #[serde(default)]
    pub curves: Vec<LearningCurve>,
    /// Sample recommendations.
    #[serde(default)]
    pub samples: Vec<SampleRecommendation>,
    /// The machine and its load, in words.
    #[serde(default)]
    pub machine: String,
    /// The results of the data audit.
    #[serde(default)]
    pub audit: Vec<AuditFinding>,
}

/// One check of the data, and its effect on the metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFinding {
    /// The name of the check.
    pub name: String,
    /// How much the finding matters.
    pub level: AuditLevel,
    /// The finding in words.
    pub told: String,
    /// The effect on the metrics, and the remedy.
    pub effect: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditLevel {
    /// Nothing was found.
    Fine,
    /// Worth knowing.
    Note,
    /// The metrics may be misleading.
    Warning,
}

impl AuditLevel {
    /// Returns the word used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Warning => "warning",
        }
    }
}

/// The kind of a row, stored as a word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum RowKind {
    /// A method that knows items only by their ids, `id`.
    Id,
    /// The text alone, `text`.
    Text,
    /// A trained model whose input differs from what it was trained on, `probe`.
    Probe,
    /// A variant of the method under study, by its name, such as `ra-rec`.
    Variant(String),
}

impl RowKind {
    /// Returns the word used in files.
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
    /// The kind of model.
    pub kind: RowKind,
    /// As [`Evaluation::metrics`].
    pub metrics: BTreeMap<Metric, f64>,
    /// The criterion that models are chosen by, on the validation part; `None` if nothing is held out for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// As [`Evaluation::tied_share`].
    #[serde(default)]
    pub tied_share: f64,
    /// As [`Evaluation::tie_width`].
    #[serde(default)]
    pub tie_width: f64,
    /// The number of training samples.
    #[serde(default)]
    pub train_samples: usize,
    /// The number of trained parameters.
    #[serde(default)]
    pub trainable_params: usize,
    /// Training time in seconds.
    #[serde(default)]
    pub train_seconds: f64,
    /// Ranking time in seconds.
    #[serde(default)]
    pub eval_seconds: f64,
    /// The number of users evaluated, 0 if unknown.
    #[serde(default)]
    pub users: usize,
    /// As [`Evaluation::candidates`]; `None` in reports from before they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<(usize, f64)>,
    /// As [`Evaluation::not_finite`].
    #[serde(default)]
    pub not_finite: usize,
    /// Warnings about how the model was made, such as a training without steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether the model was not saved, so that nothing can recommend by it and the row is no choice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsaved: bool,
    /// How the model was made, such as the weights of a blend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<String>,
    /// The row that [`Row::differences`] are relative to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// This row minus the baseline, by accuracy metric, with 95 % intervals over users.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differences: BTreeMap<Metric, Interval>,
    /// The accuracy on parts of the targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
}

impl Row {
    /// Creates a row with everything its evaluation provides; the training costs remain to be filled in.
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

    /// Returns whether the row can be the one to use: its model was kept and measured as it was trained.
    pub fn can_be_chosen(&self) -> bool {
        self.kind != RowKind::Probe && !self.unsaved && !self.metrics.is_empty()
    }

    /// Returns a measure of this row and the number of users that it is a mean over; nothing without such users.
    ///
    /// Groups of targets are those of [`slices`](Self::slices).
    pub fn measure(&self, measure: Measure) -> Option<(f64, usize)> {
        let Some(group) = measure.group else { return Some((*self.metrics.get(&measure.metric)?, self.users)) };
        let slice = self.slices.iter().find(|slice| slice.is_of(group))?;
        Some((*slice.metrics.get(&measure.metric)?, slice.users))
    }

    /// Adds the differences from a baseline on the same users: paired bootstrap intervals and, for the headline
    /// metrics, permutation tests and detectable differences. Call [`holm_correct`] once the table is complete.
    ///
    /// # Panics
    /// Panics if the evaluations have different users.
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

/// Corrects the tests of all rows of a table for multiple comparisons.
pub fn holm_correct(rows: &mut [Row]) {
    let tested = rows.iter_mut().flat_map(|row| row.differences.values_mut()).filter(|found| found.p.is_some());
    let mut tested: Vec<&mut Interval> = tested.collect();
    let ps: Vec<f64> = tested.iter().filter_map(|found| found.p).collect();
    tested.iter_mut().zip(holm(&ps)).for_each(|(found, p)| found.p_holm = Some(p));
}

/// The cost of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageCost {
    /// Name of the stage.
    pub name: String,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Peak resident memory until the end of the stage, in MiB; `None` if the system does not report it.
    pub peak_mib: Option<u64>,
    /// Tokens that the language model read, including padding; `None` if it was not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// The learning curve of one trained part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// The trained part.
    pub name: String,
    /// The curve.
    #[serde(flatten)]
    pub curve: Curve,
}

/// Recommendations for one user, next to the user's own choices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRecommendation {
    /// The user's original id.
    pub user: String,
    /// Titles of the latest items of the history, oldest first.
    pub history: Vec<String>,
    /// Titles of the held-out items.
    pub targets: Vec<String>,
    /// The recommendations of each model.
    pub lists: Vec<SampleList>,
}

/// The recommendations of one model for one user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleList {
    /// Name of the row.
    pub row: String,
    /// Titles, best first.
    pub titles: Vec<String>,
    /// The positions in `titles`, from 0, of held-out items.
    pub hits: Vec<usize>,
}

impl SampleRecommendation {
    /// Looks up the titles of `lists`, each of which is a row's name and its best items for `user`, best first.
    ///
    /// # Panics
    /// Panics if the user or an item is not in the data set.
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

/// Returns the row that validates best, the first of equal ones; nothing if a row that can be used was not validated.
fn recommended(rows: &[Row]) -> Option<&Row> {
    let mut best: Option<(&Row, f64)> = None;
    for row in rows.iter().filter(|row| row.can_be_chosen()) {
        let own = row.validation.filter(|own| own.is_finite())?;
        best = best.filter(|(_, known)| *known >= own).or(Some((row, own)));
    }
    best.map(|(row, _)| row)
}

impl Report {
    /// Creates a report of `rows`, produced under `protocol`; the remaining fields are to be filled in.
    pub fn new(recipe: impl Into<String>, seed: u64, protocol: Protocol, rows: Vec<Row>) -> Self {
        Self {
            recipe: recipe.into(),
            run: String::new(),
            commit: String::new(),
            seed,
            backend: String::new(),
            protocol,
            recommended: recommended(&rows).map(|row| row.name.clone()),
            rows,
            ledger: Vec::new(),
            stages: Vec::new(),
            curves: Vec::new(),
            samples: Vec::new(),
            machine: String::new(),
            audit: Vec::new(),
        }
    }

    /// Returns what a reader must know before trusting the rows.
    pub fn warnings(&self) -> Vec<String> {
        ResultTable::new(std::slice::from_ref(self)).warnings()
    }

    /// Reads a `report.json` file, or the one in a run folder.
    ///
    /// # Errors
    /// [`EvalError::Core`] names the file and the position of the error in it.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let file = if path.is_dir() { path.join("report.json") } else { path.to_path_buf() };
        let folder = file.parent().and_then(Path::file_name).unwrap_or_default();
        Ok(Self { run: folder.to_string_lossy().into(), ..read_json(&file)? })
    }

    /// Returns the parts of the protocol, in the order in which readers ask for them.
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

    /// Describes where, when and how the run was made, in one line.
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
