//! One recipe in several settings: a table, and a plot where a setting is a number.
use crate::report::{Report, Row, duration, grouped};
use crate::significance::Interval;
use crate::{html, markdown};
use std::collections::BTreeMap;

/// The axis over which figures are averaged.
const SEED: &str = "seed";

/// What the table is read for.
const METRICS: [&str; 3] = ["hr@10", "ndcg@10", "hr@100"];

/// Several runs of one recipe, told apart by a label an axis.
#[derive(Debug)]
pub struct Experiment {
    pub(crate) name: String,
    /// The axes but for the seed.
    pub(crate) axes: Vec<String>,
    pub(crate) lines: Vec<Line>,
    pub(crate) origins: Vec<String>,
}

/// A row of the table: one model under one setting, over its seeds.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) labels: Vec<String>,
    pub(crate) name: String,
    pub(crate) kind: String,
    /// One a seed.
    pub(crate) rows: Vec<Row>,
}

impl Experiment {
    /// Puts together `cells`: a label for each of `axes`, and the report. An axis named `seed` is averaged over; a row that
    /// is the same in all settings, such as the ID method, is told once.
    pub fn new(name: &str, axes: &[String], cells: &[(Vec<String>, Report)]) -> Self {
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
                Some(other) => other
                    .labels
                    .iter_mut()
                    .zip(&line.labels)
                    .filter(|(a, b)| a != b)
                    .for_each(|(a, _)| *a = "all".into()),
                None => told.push(line),
            }
        }
        let mut origins: Vec<String> = cells.iter().map(|(_, report)| report.origin()).collect();
        origins.dedup();
        let axes = axes.iter().filter(|axis| *axis != SEED).cloned().collect();
        Self { name: name.into(), axes, lines: told, origins }
    }

    /// The table as markdown.
    pub fn markdown(&self) -> String {
        markdown::experiment(self)
    }

    /// Table and plots as one page that needs nothing else.
    pub fn html(&self) -> String {
        html::experiment(self)
    }

    pub(crate) fn head(&self) -> Vec<String> {
        let own =
            ["model"].into_iter().chain(METRICS).chain(["HR@100 to ID (95 %)", "samples", "parameters", "training"]);
        self.axes.iter().cloned().chain(own.map(String::from)).collect()
    }

    /// The lines of the aligned models by all axes but the last, when the labels of that one are numbers: `(x, y)`.
    pub(crate) fn series(&self, metric: &str) -> Vec<(String, Vec<(f64, f64)>)> {
        let mut series: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for line in self.lines.iter().filter(|line| line.kind == "ra-rec") {
            let Some((last, others)) = line.labels.split_last() else { return Vec::new() };
            let (Ok(x), Some(y)) = (last.trim_end_matches([' ', '%']).parse(), line.mean(metric)) else { continue };
            let name = others.join(", ");
            match series.iter_mut().find(|(known, _)| *known == name) {
                Some((_, points)) => points.push((x, y)),
                None => series.push((name, vec![(x, y)])),
            }
        }
        series
    }
}

impl Line {
    fn figures(&self) -> Vec<BTreeMap<String, f64>> {
        self.rows.iter().map(|row| row.metrics.clone()).collect()
    }

    pub(crate) fn mean(&self, metric: &str) -> Option<f64> {
        let values: Vec<f64> = self.rows.iter().filter_map(|row| row.metrics.get(metric).copied()).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// The cells of the table, as text.
    pub(crate) fn cells(&self) -> Vec<String> {
        let figure = |metric: &str| match self.mean(metric) {
            Some(mean) if self.rows.len() > 1 => {
                let values = || self.rows.iter().filter_map(|row| row.metrics.get(metric).copied());
                let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
                format!("{mean:.4} ({low:.4} to {high:.4}, n {})", self.rows.len())
            }
            Some(mean) => format!("{mean:.4}"),
            None => "-".into(),
        };
        let difference = || {
            let found: Vec<&Interval> = self.rows.iter().filter_map(|row| row.differences.get("hr@100")).collect();
            let told: Vec<String> =
                found.iter().map(|d| format!("{:+.4} [{:+.4}, {:+.4}]", d.mean, d.low, d.high)).collect();
            if told.is_empty() { "-".into() } else { told.join("; ") }
        };
        let first = self.rows.first().cloned().unwrap_or_default();
        let seconds = self.rows.iter().map(|row| row.train_seconds).sum::<f64>() / self.rows.len().max(1) as f64;
        let mut cells: Vec<String> = self.labels.iter().cloned().chain([self.name.clone()]).collect();
        cells.extend(METRICS.map(figure));
        cells.extend([difference(), grouped(first.train_samples), grouped(first.trainable_params), duration(seconds)]);
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seed: u64, aligned: f64) -> Report {
        let row = |name: &str, kind: &str, value: f64| Row {
            name: name.into(),
            kind: kind.into(),
            metrics: BTreeMap::from([("hr@100".into(), value)]),
            ..Row::default()
        };
        let protocol = serde_json::json!({ "fingerprint": "f", "dataset": "d", "users": 1, "items": 1, "interactions": 1,
            "filter": "", "split": "s", "candidates": "all", "seen": "removed", "ties": "t" });
        Report {
            recipe: "r".into(),
            commit: String::new(),
            seed,
            backend: "cpu".into(),
            protocol: serde_json::from_value(protocol).unwrap(),
            rows: vec![row("sasrec", "id", 0.2 + seed as f64 / 100.0), row("ra-rec", "ra-rec", aligned)],
            ledger: vec![],
            stages: vec![],
            curves: vec![],
            samples: vec![],
            machine: String::new(),
        }
    }

    #[test]
    fn seeds_are_averaged_and_what_is_the_same_is_told_once() {
        let axes = ["choice", "share", "seed"].map(String::from);
        let cell = |choice: &str, share: &str, seed: u64, value| {
            (vec![choice.to_string(), share.to_string(), seed.to_string()], report(seed, value))
        };
        let cells = [
            cell("random", "1 %", 1, 0.1),
            cell("random", "1 %", 2, 0.3),
            cell("random", "10 %", 1, 0.4),
            cell("random", "10 %", 2, 0.4),
            cell("paper", "1 %", 1, 0.5),
            cell("paper", "1 %", 2, 0.5),
        ];
        let made = Experiment::new("curve", &axes, &cells);
        assert_eq!(made.axes, ["choice", "share"]);
        let id: Vec<&Line> = made.lines.iter().filter(|l| l.kind == "id").collect();
        assert_eq!((id.len(), id[0].labels.clone()), (1, vec!["all".to_string(), "all".to_string()]));
        assert!((id[0].mean("hr@100").unwrap() - 0.215).abs() < 1e-12);
        let series = made.series("hr@100");
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].0, "random");
        assert!((series[0].1[0].1 - 0.2).abs() < 1e-12 && series[0].1[1] == (10.0, 0.4), "{series:?}");
        assert!(made.markdown().contains("0.2000 (0.1000 to 0.3000, n 2)"), "{}", made.markdown());
        let page = made.html();
        assert!(page.contains("<svg") && page.contains("random") && page.contains("paper"), "{page}");
    }
}
