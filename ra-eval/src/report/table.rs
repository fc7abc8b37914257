//! Rows of one or several runs in one table, with warnings for the reader.
use super::numbers::grouped;
use super::{Report, Row};
use crate::metrics::mean;
use crate::protocol::Protocol;
use crate::{EvalError, ItemGroup, Measure, Metric};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Several runs in one table.
#[derive(Debug, Clone)]
pub struct Comparison<'a> {
    pub(crate) reports: &'a [Report],
    /// Rows of one run compared with those of another.
    pub(crate) between: Vec<Row>,
    /// Whether the runs share a table although they are not comparable.
    mixed: bool,
}

/// The rows of a [`Comparison`], for programs.
#[derive(Debug, Serialize)]
struct Compared<'a> {
    /// Whether rows of different protocols share one table.
    mixed_protocols: bool,
    runs: Vec<Run<'a>>,
    between_runs: &'a [Row],
    over_seeds: Vec<OverSeeds>,
}

#[derive(Debug, Serialize)]
struct Run<'a> {
    recipe: &'a str,
    seed: u64,
    commit: &'a str,
    protocol: &'a Protocol,
    rows: &'a [Row],
}

/// A row over all seeds of its recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct OverSeeds {
    pub(crate) recipe: String,
    pub(crate) name: String,
    pub(crate) seeds: Vec<u64>,
    /// Mean and standard deviation over the seeds.
    pub(crate) metrics: BTreeMap<Metric, [f64; 2]>,
    /// The row that the seeds' differences are relative to, the mean differences, and the number of seeds in which each
    /// is significant.
    pub(crate) baseline: Option<String>,
    pub(crate) differences: BTreeMap<Metric, (f64, usize)>,
}

impl Comparison<'_> {
    /// Adds rows of one run that were compared with those of another, user by user, by [`Row::with_baseline`].
    #[must_use]
    pub fn with_between(self, between: Vec<Row>) -> Self {
        Self { between, ..self }
    }

    /// Returns the comparison as JSON.
    ///
    /// # Errors
    /// [`EvalError::Json`] if a value cannot be represented in JSON.
    pub fn json(&self) -> Result<String, EvalError> {
        let runs = self.reports.iter().map(|r| Run {
            recipe: &r.recipe,
            seed: r.seed,
            commit: &r.commit,
            protocol: &r.protocol,
            rows: &r.rows,
        });
        let runs = runs.collect();
        let between_runs = &self.between;
        let all = Compared { mixed_protocols: self.mixed, runs, between_runs, over_seeds: over_seeds(self.reports) };
        Ok(serde_json::to_string_pretty(&all)?)
    }

    /// Returns a warning if the runs are not comparable.
    pub(crate) fn caution(&self) -> Option<&'static str> {
        self.mixed.then_some(
            "These runs were evaluated under different protocols, so their metrics cannot be compared. They share a table only \
             because this was requested.",
        )
    }
}

/// Puts several runs into one table.
///
/// # Errors
/// [`EvalError::Protocols`] if two runs were evaluated under different protocols or on different numbers of users, so
/// that their metrics are not comparable. [`compare_unchecked`] shows them anyway.
pub fn compare(reports: &[Report]) -> Result<Comparison<'_>, EvalError> {
    match difference(reports) {
        Some(refusal) => Err(refusal),
        None => Ok(Comparison { reports, between: Vec::new(), mixed: false }),
    }
}

/// Like [`compare`], for examining the effect of a protocol on the metrics: adds a warning instead of returning an
/// error.
pub fn compare_unchecked(reports: &[Report]) -> Comparison<'_> {
    Comparison { reports, between: Vec::new(), mixed: difference(reports).is_some() }
}

/// Returns why the reports cannot share a table, if so.
fn difference(reports: &[Report]) -> Option<EvalError> {
    let first = reports.first()?;
    let refuse = |other: &Report, difference| EvalError::Protocols {
        left: first.recipe.clone(),
        right: other.recipe.clone(),
        difference,
    };
    for other in reports {
        if first.protocol.fingerprint != other.protocol.fingerprint {
            return Some(refuse(other, protocol_difference(&first.protocol, &other.protocol)));
        }
    }
    let users = reports.iter().flat_map(|report| &report.rows).map(|row| row.users).find(|&users| users > 0)?;
    reports.iter().find_map(|other| {
        let row = other.rows.iter().find(|row| row.users > 0 && row.users != users)?;
        Some(refuse(other, format!("{} was evaluated on {} users, not {users}", row.name, row.users)))
    })
}

/// Returns the rows that exist for several seeds of a recipe, in order of first appearance.
pub(crate) fn over_seeds(reports: &[Report]) -> Vec<OverSeeds> {
    let mut found: Vec<(OverSeeds, Vec<&Row>)> = Vec::new();
    for report in reports {
        for row in &report.rows {
            let same = |(other, _): &&mut (OverSeeds, Vec<&Row>)| {
                other.recipe == report.recipe && other.name == row.name && !other.seeds.contains(&report.seed)
            };
            match found.iter_mut().find(same) {
                Some((over, rows)) => {
                    over.seeds.push(report.seed);
                    rows.push(row);
                }
                None => {
                    let over = OverSeeds {
                        recipe: report.recipe.clone(),
                        name: row.name.clone(),
                        seeds: vec![report.seed],
                        metrics: BTreeMap::new(),
                        baseline: row.baseline.clone(),
                        differences: BTreeMap::new(),
                    };
                    found.push((over, vec![row]));
                }
            }
        }
    }
    found.retain(|(over, _)| over.seeds.len() > 1);
    for (over, rows) in &mut found {
        let Some(first) = rows.first() else { continue };
        for &metric in first.metrics.keys() {
            let values: Vec<f64> = rows.iter().filter_map(|row| row.metrics.get(&metric).copied()).collect();
            // A mean over some of the seeds is not one of this row.
            if values.len() < rows.len() {
                continue;
            }
            let mean = mean(&values);
            let deviation = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0);
            over.metrics.insert(metric, [mean, deviation.sqrt()]);
        }
        // Validation may align another ID method with another seed: differences from two rows have no mean.
        if rows.iter().any(|row| row.baseline != first.baseline) {
            over.baseline = None;
            continue;
        }
        for &metric in first.differences.keys() {
            let of: Vec<_> = rows.iter().filter_map(|row| row.differences.get(&metric)).collect();
            if of.len() == rows.len() {
                let significant = of.iter().filter(|difference| difference.is_significant()).count();
                let means: Vec<f64> = of.iter().map(|difference| difference.mean).collect();
                over.differences.insert(metric, (mean(&means), significant));
            }
        }
    }
    found.into_iter().map(|(over, _)| over).collect()
}

fn protocol_difference(left: &Protocol, right: &Protocol) -> String {
    let pairs = Report::protocol_facts(left).into_iter().zip(Report::protocol_facts(right));
    let differing = pairs.filter(|(a, b)| a != b).map(|((name, a), (_, b))| format!("{name} {a} and {b}"));
    differing.collect::<Vec<_>>().join(", ")
}

/// Returns whether a table shows the metric first: `hr` and `ndcg` at every K, `mrr` at the `smallest`.
pub(crate) fn is_headline(metric: Metric, smallest: usize) -> bool {
    match metric {
        Metric::Hr(_) | Metric::Ndcg(_) => true,
        Metric::Mrr(k) => k == smallest,
        _ => false,
    }
}

/// Returns what a table tells of tail and cold items: HR at the largest K that the slices of `rows` have, nothing if
/// there are no slices.
pub(crate) fn group_measures<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<Measure> {
    let metrics = rows.into_iter().flat_map(|row| &row.slices).flat_map(|slice| slice.metrics.keys());
    let hits = metrics.filter(|metric| matches!(metric, Metric::Hr(_))).max_by_key(|metric| metric.k());
    let of = |metric: Metric| [ItemGroup::Tail, ItemGroup::Cold].map(|group| Measure { group: Some(group), metric });
    hits.map_or_else(Vec::new, |&metric| of(metric).into())
}

/// Returns the warnings about a report's protocol.
fn cautions(report: &Report) -> Vec<String> {
    let Report { recipe, protocol, rows, .. } = report;
    let mut lines = Vec::new();
    if protocol.candidates != "all" {
        lines.push(format!(
            "{recipe}: only {} items are ranked with the targets. This inflates every metric and can even change the order of the \
             models; do not compare with metrics over the whole catalogue.",
            protocol.candidates
        ));
        let asked: Option<usize> = protocol.candidates.split(' ').next().and_then(|count| count.parse().ok());
        let found = rows.iter().find_map(|row| row.candidates);
        if let Some((asked, (fewest, mean))) = asked.zip(found).filter(|(asked, (fewest, _))| fewest < asked) {
            lines.push(format!(
                "{recipe}: {asked} candidates were requested for each target, but there were fewer: at least {fewest}, and \
                 {mean:.1} on average over users."
            ));
        }
    }
    let ks = || rows.iter().flat_map(|row| row.metrics.keys()).map(|metric| metric.k());
    let beyond: BTreeSet<usize> = ks().filter(|&k| k >= protocol.items && protocol.items > 0).collect();
    if !beyond.is_empty() {
        let beyond: Vec<String> = beyond.iter().map(|k| format!("K = {k}")).collect();
        lines.push(format!(
            "{recipe}: a list of {} holds the whole catalogue of {} items, so every candidate counts as a hit.",
            beyond.join(", "),
            grouped(protocol.items)
        ));
    }
    let wide: BTreeSet<usize> = ks().filter(|&k| k < protocol.items && k * WIDE > protocol.items).collect();
    if let Some(k) = wide.last() {
        lines.push(format!(
            "{recipe}: a list of K = {k} holds more than a quarter of the {} items, so metrics at that K hardly differ between \
             rows; a smaller K in eval.ks and eval.select says more.",
            grouped(protocol.items)
        ));
    }
    lines
}

/// The share of a catalogue, one item in this many, above which a list says little; the text calls it a quarter.
const WIDE: usize = 4;

/// The rows of one or several reports, and the metrics to show for them.
pub(crate) struct ResultTable<'a> {
    /// The run (only when there are several) and the row.
    pub(crate) rows: Vec<(Option<String>, &'a Row)>,
    /// The headline metrics: `hr` and `ndcg` at every K, `mrr` at the smallest.
    pub(crate) headline: Vec<Metric>,
    /// HR at the largest K for targets that are tail items and cold items.
    pub(crate) groups: Vec<Measure>,
    /// All other metrics.
    pub(crate) further: Vec<Metric>,
    /// The warnings about the reports' protocols.
    cautions: Vec<String>,
}

impl<'a> ResultTable<'a> {
    pub(crate) fn new(reports: &'a [Report]) -> Self {
        let several = reports.len() > 1;
        // Runs with the same recipe and seed, such as a suite's settings, are distinguished by their folders.
        let alike = |report: &Report| {
            let same = |other: &&Report| (&other.recipe, other.seed) == (&report.recipe, report.seed);
            reports.iter().filter(same).count() > 1
        };
        let run = |report: &Report| {
            let folder = if alike(report) { format!(", {}", report.run) } else { String::new() };
            several.then(|| format!("{}{folder} (seed {})", report.recipe, report.seed))
        };
        let rows = reports.iter().flat_map(|r| r.rows.iter().map(move |row| (run(r), row))).collect();
        let mut lines: Vec<String> = Vec::new();
        for line in reports.iter().flat_map(cautions) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        Self::of(rows, lines)
    }

    /// Creates a table of some rows, with the warnings about their protocols.
    pub(crate) fn of(rows: Vec<(Option<String>, &'a Row)>, cautions: Vec<String>) -> Self {
        let mut metrics: Vec<Metric> = rows.iter().flat_map(|(_, row)| row.metrics.keys().copied()).collect();
        metrics.sort_by_key(|metric| (metric.k(), metric.place()));
        metrics.dedup();
        let smallest = metrics.first().map_or(0, |metric| metric.k());
        let (headline, further) = metrics.into_iter().partition(|&metric| is_headline(metric, smallest));
        let groups = group_measures(rows.iter().map(|(_, row)| *row));
        Self { rows, headline, groups, further, cautions }
    }

    /// Returns whether `value` is the largest in its column; only a table of several rows has a best value.
    pub(crate) fn is_best(&self, metric: Metric, value: f64) -> bool {
        self.rows.len() > 1 && self.rows.iter().filter_map(|(_, row)| row.metrics.get(&metric)).all(|&v| v <= value)
    }

    /// Returns how rows were made, as far as they say it.
    pub(crate) fn made(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for (_, row) in &self.rows {
            for line in row.made.iter().map(|made| format!("{}: {made}.", row.name)) {
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines
    }

    /// Returns what a reader must know before trusting a row.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut lines = self.cautions.clone();
        for (_, row) in &self.rows {
            lines.extend(row_warnings(row));
        }
        let mut known = BTreeSet::new();
        // Runs share rows, such as their floors, so warnings may repeat.
        lines.retain(|line| known.insert(line.clone()));
        lines
    }
}

/// Returns what a reader must know before trusting a row.
fn row_warnings(row: &Row) -> Vec<String> {
    let name = &row.name;
    let mut lines: Vec<String> = row.notes.iter().map(|note| format!("{name}: {note}.")).collect();
    if row.tie_width > 0.5 {
        lines.push(format!(
            "{name}: the model is nearly constant: on average, {:.0} % of the other items have exactly the target's score, so \
             the tie rule decides its metrics.",
            100.0 * row.tie_width
        ));
    } else if row.tied_share > 0.1 {
        let share = 100.0 * row.tied_share;
        lines.push(format!(
            "{name}: {share:.1} % of the targets tie with other items, so its metrics depend on the tie rule."
        ));
    }
    if row.not_finite > 0 {
        lines.push(format!("{name}: {} scores are not finite; the model is broken.", grouped(row.not_finite)));
    }
    lines
}
