//! One run, as people and programs read it.
use crate::significance::{Interval, paired_bootstrap};
use crate::{EvalError, Evaluation, Part, html, markdown};
use ra_core::{Curve, Dataset, LedgerRow, Protocol, read_json, write_atomic, write_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Draws for the interval of a difference.
const RESAMPLES: usize = 2000;

/// Titles of a history that a sample shows, the latest ones.
const HISTORY_SHOWN: usize = 8;

/// One finished run; `report.json` of a run folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the recipe.
    pub recipe: String,
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
    /// As [`Evaluation::not_finite`].
    #[serde(default)]
    pub not_finite: usize,
    /// The row that [`Row::differences`] are taken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// This row minus the baseline, by accuracy metric, with 95 % intervals over users.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differences: BTreeMap<String, Interval>,
}

impl Row {
    /// A row with all that its evaluation says; what training cost is left to fill in.
    pub fn new(name: impl Into<String>, kind: impl Into<String>, evaluation: &Evaluation) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            metrics: evaluation.metrics.clone(),
            tied_share: evaluation.tied_share,
            eval_seconds: evaluation.seconds,
            users: evaluation.users.len(),
            not_finite: evaluation.not_finite,
            ..Self::default()
        }
    }

    /// Adds the differences to a baseline on the same users, with paired bootstrap intervals.
    ///
    /// # Panics
    /// When the evaluations are of different users.
    #[must_use]
    pub fn against(mut self, baseline: &str, own: &Evaluation, other: &Evaluation, seed: u64) -> Self {
        assert_eq!(own.users, other.users, "differences are taken user by user");
        self.baseline = Some(baseline.into());
        self.differences = own
            .per_user
            .iter()
            .filter_map(|(name, values)| Some((name, values, other.per_user.get(name)?)))
            .map(|(name, values, others)| (name.clone(), paired_bootstrap(values, others, RESAMPLES, seed)))
            .collect();
        self
    }
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
        let title = |&item: &u32| match dataset.catalog.title(item) {
            "" => dataset.catalog.id(item).to_owned(),
            title => title.to_owned(),
        };
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
    /// The report as markdown.
    pub fn markdown(&self) -> String {
        markdown::report(self)
    }

    /// The report as one page that needs nothing else.
    pub fn html(&self) -> String {
        html::report(self)
    }

    /// Writes `report.json`, `report.md` and `report.html` into `folder`, each whole or not at all.
    ///
    /// # Errors
    /// [`EvalError::Core`] names the file.
    pub fn write(&self, folder: &Path) -> Result<(), EvalError> {
        write_atomic(&folder.join("report.md"), self.markdown().as_bytes())?;
        write_atomic(&folder.join("report.html"), self.html().as_bytes())?;
        Ok(write_json(&folder.join("report.json"), self)?)
    }

    /// Reads a `report.json`, or that of a run folder.
    ///
    /// # Errors
    /// [`EvalError::Core`] names the file, and the place in it that is wrong.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let file = if path.is_dir() { path.join("report.json") } else { path.to_path_buf() };
        Ok(read_json(&file)?)
    }

    /// What the protocol says, in the order people ask.
    pub(crate) fn protocol_facts(protocol: &Protocol) -> [(&'static str, String); 9] {
        [
            ("data set", protocol.dataset.clone()),
            ("users", grouped(protocol.users)),
            ("items", grouped(protocol.items)),
            ("interactions", grouped(protocol.interactions)),
            ("filter", protocol.filter.clone()),
            ("split", protocol.split.clone()),
            ("candidates", format!("{}; seen items {}", protocol.candidates, protocol.seen)),
            ("ties", protocol.ties.clone()),
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

/// Several runs under one protocol.
#[derive(Debug, Clone, Copy)]
pub struct Comparison<'a> {
    pub(crate) reports: &'a [Report],
}

impl Comparison<'_> {
    /// The comparison as markdown.
    pub fn markdown(&self) -> String {
        markdown::comparison(self)
    }

    /// The comparison as one page that needs nothing else.
    pub fn html(&self) -> String {
        html::comparison(self)
    }
}

/// Puts several runs into one table.
///
/// # Errors
/// [`EvalError::Protocols`] when two of them were evaluated under different protocols or on other numbers of users:
/// their figures do not compare.
pub fn compare(reports: &[Report]) -> Result<Comparison<'_>, EvalError> {
    let Some(first) = reports.first() else { return Ok(Comparison { reports }) };
    for other in reports {
        let refuse =
            |difference| EvalError::Protocols { left: first.recipe.clone(), right: other.recipe.clone(), difference };
        if first.protocol.fingerprint != other.protocol.fingerprint {
            return Err(refuse(protocol_difference(&first.protocol, &other.protocol)));
        }
    }
    let counted = |report: &Report| report.rows.iter().map(|row| row.users).find(|&users| users > 0);
    for other in reports {
        for row in other.rows.iter().filter(|row| row.users > 0) {
            if let Some(users) = reports.iter().find_map(counted).filter(|&users| users != row.users) {
                return Err(EvalError::Protocols {
                    left: first.recipe.clone(),
                    right: other.recipe.clone(),
                    difference: format!("{} is over {} users, not {users}", row.name, row.users),
                });
            }
        }
    }
    Ok(Comparison { reports })
}

fn protocol_difference(left: &Protocol, right: &Protocol) -> String {
    let pairs = Report::protocol_facts(left).into_iter().zip(Report::protocol_facts(right));
    let differing = pairs.filter(|(a, b)| a != b).map(|((name, a), (_, b))| format!("{name} {a} and {b}"));
    differing.collect::<Vec<_>>().join(", ")
}

/// The rows of one or several reports, and the metrics to show of them.
pub(crate) struct ResultTable<'a> {
    /// The run (only when there are several) and the row.
    pub(crate) rows: Vec<(Option<String>, &'a Row)>,
    /// What the table is read for: `hr`, `ndcg` at every K, `mrr` at the smallest.
    pub(crate) headline: Vec<String>,
    /// All others.
    pub(crate) further: Vec<String>,
}

impl<'a> ResultTable<'a> {
    pub(crate) fn new(reports: &'a [Report]) -> Self {
        let several = reports.len() > 1;
        let run = |report: &Report| several.then(|| format!("{} (seed {})", report.recipe, report.seed));
        let rows: Vec<_> = reports.iter().flat_map(|r| r.rows.iter().map(move |row| (run(r), row))).collect();
        let order = ["hr", "ndcg", "mrr", "recall", "map", "coverage", "gini", "novelty", "entropy", "popularity"];
        let mut keys: Vec<(usize, usize, String)> = rows
            .iter()
            .flat_map(|(_, row)| row.metrics.keys())
            .map(|key| {
                let (name, k) = key.split_once('@').unwrap_or((key, "0"));
                let place = order.iter().position(|known| *known == name).unwrap_or(order.len());
                (k.parse().unwrap_or(usize::MAX), place, key.clone())
            })
            .collect();
        keys.sort();
        keys.dedup();
        let smallest = keys.first().map_or(0, |key| key.0);
        let head = |&(k, place, _): &(usize, usize, String)| place < 2 || (place == 2 && k == smallest);
        let (headline, further): (Vec<_>, Vec<_>) = keys.into_iter().partition(head);
        let names = |keys: Vec<(usize, usize, String)>| keys.into_iter().map(|key| key.2).collect();
        Self { rows, headline: names(headline), further: names(further) }
    }

    /// Whether `value` is the largest of its column, which there is only among several rows.
    pub(crate) fn is_best(&self, metric: &str, value: f64) -> bool {
        self.rows.len() > 1 && self.rows.iter().filter_map(|(_, row)| row.metrics.get(metric)).all(|&v| v <= value)
    }

    /// What a reader must know before believing a row.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (_, row) in &self.rows {
            if row.tied_share > 0.1 {
                let share = 100.0 * row.tied_share;
                lines.push(format!(
                    "{}: {share:.1} % of the targets tie with other items; its figures hang on the tie rule.",
                    row.name
                ));
            }
            if row.not_finite > 0 {
                lines.push(format!(
                    "{}: {} scores are not finite; the model is broken.",
                    row.name,
                    grouped(row.not_finite)
                ));
            }
        }
        lines
    }
}

/// An integer with thin groups of three, such as `59,384`.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds as people say them.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.1} s") } else { format!("{:.1} min", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 12, 999, 1000, 59384, 1234567].map(grouped), ["0", "12", "999", "1,000", "59,384", "1,234,567"]);
        assert_eq!([3.21, 119.96, 150.0].map(duration), ["3.2 s", "120.0 s", "2.5 min"]);
    }
}
