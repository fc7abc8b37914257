//! One recipe in several settings: one table per protocol, and a plot.
use super::{Report, Row, RowKind, StageCost, group_measures};
use crate::{EvalError, Measure, Metric, Protocol};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The axis that results are averaged over.
const SEED: &str = "seed";

/// The label of a row that is the same in all settings.
pub(crate) const ALL_LABELS: &str = "all";

/// The preferred columns of a table: those that its rows have, or else hits and NDCG at every K that they have.
/// Differences are shown for the last column.
const METRICS: [Metric; 5] = [Metric::Recall(20), Metric::Ndcg(20), Metric::Hr(10), Metric::Ndcg(10), Metric::Hr(100)];

/// Several runs of one recipe, identified by one label per axis.
#[derive(Debug)]
pub struct Experiment {
    pub(crate) name: String,
    /// The axes, without the seed.
    pub(crate) axes: Vec<String>,
    /// The runs, grouped by protocol because runs of different protocols are not comparable.
    pub(crate) groups: Vec<Group>,
    pub(crate) origins: Vec<String>,
    /// The stages of every run, with the labels of the run.
    pub(crate) costs: Vec<(Vec<String>, StageCost)>,
    pub(crate) published: Option<Published>,
}

/// Published results, to be shown next to ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Where the results were published, and what they are.
    pub source: String,
    /// The column names.
    pub head: Vec<String>,
    /// The values as printed; the first column names the row.
    pub rows: Vec<Vec<String>>,
    /// Why the results are not directly comparable.
    #[serde(default)]
    pub note: String,
}

/// The runs of one protocol.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) protocol: Protocol,
    /// The kind of model that is plotted, so that each combination of labels is one line.
    pub(crate) plotted: Option<RowKind>,
    /// The columns of the table.
    pub(crate) metrics: Vec<Metric>,
    /// The columns of tail and cold items.
    pub(crate) groups: Vec<Measure>,
    pub(crate) lines: Vec<Line>,
}

/// A row of the table: one model in one setting, over its seeds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) labels: Vec<String>,
    pub(crate) name: String,
    pub(crate) kind: RowKind,
    /// One row per seed.
    pub(crate) rows: Vec<Row>,
}

impl Experiment {
    /// Combines `cells`, each a report with one label for each of `axes`. Results are averaged over an axis named
    /// `seed`. A row that is the same in all settings, such as the ID method, appears once. Runs of different protocols
    /// get separate tables.
    pub fn new(name: &str, axes: &[String], cells: &[(Vec<String>, Report)]) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for (_, report) in cells {
            let protocol = &report.protocol;
            if groups.iter().all(|group| group.protocol.fingerprint != protocol.fingerprint) {
                let of: Vec<&(Vec<String>, Report)> =
                    cells.iter().filter(|(_, other)| other.protocol.fingerprint == protocol.fingerprint).collect();
                let lines = lines(axes, &of);
                let variant = |line: &&Line| matches!(line.kind, RowKind::Variant(_));
                let plotted = lines.iter().find(variant).map(|line| line.kind.clone());
                let measures = group_measures(lines.iter().flat_map(|line| &line.rows));
                let (protocol, metrics) = (protocol.clone(), metrics(&lines));
                groups.push(Group { protocol, metrics, groups: measures, plotted, lines });
            }
        }
        let mut origins: Vec<String> = cells.iter().map(|(_, report)| report.origin()).collect();
        origins.dedup();
        let known = |labels: &[String]| -> Vec<String> {
            axes.iter().zip(labels).filter(|(axis, _)| *axis != SEED).map(|(_, label)| label.clone()).collect()
        };
        let stages = |(labels, report): &(Vec<String>, Report)| {
            let labels = known(labels);
            report.stages.iter().map(move |stage| (labels.clone(), stage.clone())).collect::<Vec<_>>()
        };
        let costs = cells.iter().flat_map(stages).collect();
        let axes = axes.iter().filter(|axis| *axis != SEED).cloned().collect();
        Self { name: name.into(), axes, groups, origins, costs, published: None }
    }

    /// Shows published results next to ours.
    #[must_use]
    pub fn with_published(self, published: Option<Published>) -> Self {
        Self { published, ..self }
    }

    /// Plots the rows of `kind` in each table that has them. By default, and in other tables, the first kind of variant
    /// in the table is plotted.
    #[must_use]
    pub fn with_plotted(mut self, kind: impl Into<RowKind>) -> Self {
        let kind = kind.into();
        for group in self.groups.iter_mut().filter(|group| group.lines.iter().any(|line| line.kind == kind)) {
            group.plotted = Some(kind.clone());
        }
        self
    }

    /// Returns the tables as JSON.
    ///
    /// # Errors
    /// [`EvalError::Json`] if a value cannot be represented in JSON.
    pub fn json(&self) -> Result<String, EvalError> {
        let group = |group: &Group| json!({ "protocol": group.protocol, "lines": group.lines });
        let groups: Vec<_> = self.groups.iter().map(group).collect();
        let cost = |(labels, stage): &(Vec<String>, StageCost)| json!({ "labels": labels, "stage": stage });
        let costs: Vec<_> = self.costs.iter().map(cost).collect();
        let all = json!({ "name": self.name, "axes": self.axes, "groups": groups, "costs": costs, "published": self.published });
        Ok(serde_json::to_string_pretty(&all)?)
    }
}

/// Returns the columns of a table.
fn metrics(lines: &[Line]) -> Vec<Metric> {
    let known: BTreeSet<Metric> =
        lines.iter().flat_map(|line| &line.rows).flat_map(|row| row.metrics.keys().copied()).collect();
    let usual: Vec<Metric> = METRICS.into_iter().filter(|metric| known.contains(metric)).collect();
    if !usual.is_empty() {
        return usual;
    }
    let is_shown = |metric: &Metric| matches!(metric, Metric::Hr(_) | Metric::Ndcg(_));
    let mut others: Vec<Metric> = known.into_iter().filter(is_shown).collect();
    others.sort_by_key(|metric| (metric.k(), metric.place()));
    // The last column is the one whose differences are shown.
    if let Some(hits) = others.iter().rposition(|metric| matches!(metric, Metric::Hr(_))) {
        others[hits..].rotate_left(1);
    }
    others
}

/// Returns the lines of the table of `cells`.
fn lines(axes: &[String], cells: &[&(Vec<String>, Report)]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (labels, report) in cells {
        let labels: Vec<String> =
            axes.iter().zip(labels).filter(|(axis, _)| *axis != SEED).map(|(_, label)| label.clone()).collect();
        for row in &report.rows {
            match lines.iter_mut().find(|line| line.labels == labels && line.name == row.name) {
                Some(line) => line.rows.push(row.clone()),
                None => lines.push(Line {
                    labels: labels.clone(),
                    name: row.name.clone(),
                    kind: row.kind.clone(),
                    rows: vec![row.clone()],
                }),
            }
        }
    }
    let mut told: Vec<Line> = Vec::new();
    let same = |name: &str| {
        let mut of = lines.iter().filter(|line| line.name == name).map(Line::figures);
        let first = of.next();
        of.all(|figures| Some(figures) == first)
    };
    let everywhere: Vec<bool> = lines.iter().map(|line| same(&line.name)).collect();
    for (line, everywhere) in lines.into_iter().zip(everywhere) {
        match told.iter_mut().find(|other| everywhere && other.name == line.name) {
            Some(other) => {
                let differing = other.labels.iter_mut().zip(&line.labels).filter(|(a, b)| a != b);
                differing.for_each(|(a, _)| *a = ALL_LABELS.into());
            }
            None => told.push(line),
        }
    }
    told
}

impl Group {
    /// Returns the data set and enough of the fingerprint to distinguish protocols.
    pub(crate) fn name(&self) -> String {
        let fingerprint = self.protocol.fingerprint.to_string();
        format!("{} ({})", self.protocol.dataset, fingerprint.get(..8).unwrap_or(&fingerprint))
    }
}

impl Line {
    fn figures(&self) -> Vec<BTreeMap<Metric, f64>> {
        self.rows.iter().map(|row| row.metrics.clone()).collect()
    }

    fn values(&self, metric: Metric) -> impl Iterator<Item = f64> {
        self.rows.iter().filter_map(move |row| row.metrics.get(&metric).copied())
    }

    pub(crate) fn mean(&self, metric: Metric) -> Option<f64> {
        let values: Vec<f64> = self.values(metric).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// Returns the smallest and the largest value, if there are several seeds.
    pub(crate) fn range(&self, metric: Metric) -> Option<(f64, f64)> {
        let (low, high) = (self.values(metric).fold(f64::MAX, f64::min), self.values(metric).fold(f64::MIN, f64::max));
        (self.rows.len() > 1).then_some((low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_usual_columns_or_those_that_there_are() {
        let of = |known: &[&str]| {
            let metrics = known.iter().map(|metric| (metric.parse().unwrap(), 0.5)).collect();
            let (labels, name, kind) = (vec![], String::new(), RowKind::Id);
            super::metrics(&[Line { labels, name, kind, rows: vec![Row { metrics, ..Row::default() }] }])
                .into_iter()
                .map(|metric| metric.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&["hr@10", "hr@100", "hr@5", "map@10", "ndcg@10"]), ["hr@10", "ndcg@10", "hr@100"]);
        assert_eq!(of(&["hr@50", "hr@5", "map@5", "ndcg@5", "ndcg@50"]), ["hr@5", "ndcg@5", "ndcg@50", "hr@50"]);
    }
}
