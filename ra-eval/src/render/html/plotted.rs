//! The contents of an experiment's plots.
use super::plot::Bar;
use crate::Metric;
use crate::report::{ALL_LABELS, Experiment, Group, Line};

/// The form of a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Lines along a last axis of numbers.
    Lines,
    /// One bar per line of the table.
    Bars,
    /// One cell for each pair of values of two axes.
    Heat,
}

impl Experiment {
    /// Returns the form of plot that suits the axes.
    pub(crate) fn shape(&self, group: &Group) -> Shape {
        let values = |axis: usize| group.labels(axis).len();
        let along = |&metric: &Metric| group.series(metric).iter().any(|(_, points)| points.len() > 1);
        if group.metrics.first().is_some_and(along) {
            Shape::Lines
        } else if (0..self.axes.len()).filter(|&axis| values(axis) > 1).count() > 1 {
            Shape::Heat
        } else {
            Shape::Bars
        }
    }
}

impl Group {
    /// Returns the lines that are plotted.
    fn drawn(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| Some(&line.kind) == self.plotted.as_ref())
    }

    /// Returns the labels of the plotted lines on an axis, in order of first appearance.
    fn labels(&self, axis: usize) -> Vec<String> {
        let mut labels: Vec<String> = Vec::new();
        for label in self.drawn().filter_map(|line| line.labels.get(axis)) {
            if !labels.contains(label) {
                labels.push(label.clone());
            }
        }
        labels
    }

    /// Returns those of the first `axes` labels of a line that distinguish it from others.
    fn telling<'a>(&'a self, line: &'a Line, axes: usize) -> impl Iterator<Item = &'a str> {
        let differ = |axis: usize| {
            let mut labels = self.lines.iter().map(|line| &line.labels[axis]).filter(|label| *label != ALL_LABELS);
            let first = labels.next();
            labels.any(|label| Some(label) != first)
        };
        let labels = line.labels[..axes].iter().enumerate();
        labels.filter(move |(axis, label)| *label != ALL_LABELS && differ(*axis)).map(|(_, label)| label.as_str())
    }

    /// Returns a bar for every line, named by its labels and its model.
    pub(crate) fn bars(&self, metric: Metric) -> Vec<Bar> {
        let bar = |line: &Line| {
            let name: Vec<&str> = self.telling(line, line.labels.len()).chain([line.name.as_str()]).collect();
            Some(Bar { name: name.join(", "), value: line.mean(metric)?, interval: line.range(metric) })
        };
        self.lines.iter().filter_map(bar).collect()
    }

    /// Returns the plotted values by the first two axes that have several labels: the labels of both, and the values.
    pub(crate) fn grid(&self, metric: Metric) -> (Vec<String>, Vec<String>, Vec<Vec<Option<f64>>>) {
        let axes = self.lines.first().map_or(0, |line| line.labels.len());
        let several: Vec<usize> = (0..axes).filter(|&axis| self.labels(axis).len() > 1).collect();
        let [down, across, ..] = several[..] else { return (Vec::new(), Vec::new(), Vec::new()) };
        let (rows, columns) = (self.labels(down), self.labels(across));
        let cell = |row: &String, column: &String| {
            self.drawn().find(|line| line.labels[down] == *row && line.labels[across] == *column)?.mean(metric)
        };
        let values = rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect();
        (rows, columns, values)
    }

    /// Returns the plotted lines over the last axis, one per combination of the other labels, as `(x, y)`, if the
    /// labels of the last axis are numbers.
    pub(crate) fn series(&self, metric: Metric) -> Vec<(String, Vec<(f64, f64)>)> {
        let mut series: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for line in self.drawn() {
            let Some((last, others)) = line.labels.split_last() else { return Vec::new() };
            let (Ok(x), Some(y)) = (last.trim_end_matches([' ', '%']).parse(), line.mean(metric)) else { continue };
            let name = self.telling(line, others.len()).collect::<Vec<_>>().join(", ");
            match series.iter_mut().find(|(known, _)| *known == name) {
                Some((_, points)) => points.push((x, y)),
                None => series.push((name, vec![(x, y)])),
            }
        }
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Report, Row, RowKind};
    use std::collections::BTreeMap;

    fn report(seed: u64, aligned: f64) -> Report {
        let row = |name: &str, kind: &str, value: f64| Row {
            name: name.into(),
            kind: kind.into(),
            metrics: BTreeMap::from([(Metric::Hr(100), value)]),
            ..Row::default()
        };
        let protocol = serde_json::json!({ "fingerprint": "f", "dataset": "d", "users": 1, "items": 1, "interactions": 1,
            "filter": "", "split": "s", "candidates": "all", "seen": "removed", "ties": "t" });
        let rows = vec![row("sasrec", "id", 0.2 + seed as f64 / 100.0), row("ra-rec", "ra-rec", aligned)];
        Report::new("r", seed, serde_json::from_value(protocol).unwrap(), rows)
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
        let group = &made.groups[0];
        let id: Vec<&Line> = group.lines.iter().filter(|l| l.kind == RowKind::Id).collect();
        assert_eq!((id.len(), id[0].labels.clone()), (1, vec!["all".to_string(), "all".to_string()]));
        assert!((id[0].mean(Metric::Hr(100)).unwrap() - 0.215).abs() < 1e-12);
        let names = |cells| {
            let bars = Experiment::new("bars", &axes, cells).groups[0].bars(Metric::Hr(100));
            bars.into_iter().map(|bar| bar.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&cells[..2]), ["sasrec", "ra-rec"], "what is the same in all settings is in no name");
        assert_eq!(names(&cells[..4]), ["sasrec", "1 %, ra-rec", "10 %, ra-rec"]);
        let series = group.series(Metric::Hr(100));
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].0, "random");
        assert!((series[0].1[0].1 - 0.2).abs() < 1e-12 && series[0].1[1] == (10.0, 0.4), "{series:?}");
        assert!(made.markdown().contains("0.2000 (0.1000 to 0.3000, n 2)"), "{}", made.markdown());
        let page = made.html();
        assert!(page.contains("<svg") && page.contains("random") && page.contains("paper"), "{page}");
    }
}
