//! What the plots of an experiment show.
use super::{EVERYWHERE, Group, Line};
use crate::plot::Bar;

impl Group {
    /// The lines of one kind of aligned model, so that a label stands for one line: RA-Rec, or the first that there is.
    fn aligned(&self) -> impl Iterator<Item = &Line> {
        let other = |line: &&Line| !["id", "text", "probe"].contains(&line.kind.as_str());
        let first = self.lines.iter().find(other).map(|line| line.kind.as_str());
        let drawn = if self.lines.iter().any(|line| line.kind == "ra-rec") { Some("ra-rec") } else { first };
        self.lines.iter().filter(move |line| Some(line.kind.as_str()) == drawn)
    }

    /// The labels of the aligned models on an axis, by their first appearance.
    pub(super) fn labels(&self, axis: usize) -> Vec<String> {
        let mut labels: Vec<String> = Vec::new();
        for label in self.aligned().filter_map(|line| line.labels.get(axis)) {
            if !labels.contains(label) {
                labels.push(label.clone());
            }
        }
        labels
    }

    /// Those of the first `axes` labels of a line that tell it from others.
    fn telling<'a>(&'a self, line: &'a Line, axes: usize) -> impl Iterator<Item = &'a str> {
        let differ = |axis: usize| {
            let mut labels = self.lines.iter().map(|line| &line.labels[axis]).filter(|label| *label != EVERYWHERE);
            let first = labels.next();
            labels.any(|label| Some(label) != first)
        };
        let labels = line.labels[..axes].iter().enumerate();
        labels.filter(move |(axis, label)| *label != EVERYWHERE && differ(*axis)).map(|(_, label)| label.as_str())
    }

    /// Every line, named by its labels and its model.
    pub(crate) fn bars(&self, metric: &str) -> Vec<Bar> {
        let bar = |line: &Line| {
            let name: Vec<&str> = self.telling(line, line.labels.len()).chain([line.name.as_str()]).collect();
            Some(Bar { name: name.join(", "), value: line.mean(metric)?, interval: line.spread(metric) })
        };
        self.lines.iter().filter_map(bar).collect()
    }

    /// The aligned models by the first two axes that have several values: their labels and the figures.
    pub(crate) fn grid(&self, metric: &str) -> (Vec<String>, Vec<String>, Vec<Vec<Option<f64>>>) {
        let axes = self.lines.first().map_or(0, |line| line.labels.len());
        let several: Vec<usize> = (0..axes).filter(|&axis| self.labels(axis).len() > 1).collect();
        let [down, across, ..] = several[..] else { return (Vec::new(), Vec::new(), Vec::new()) };
        let (rows, columns) = (self.labels(down), self.labels(across));
        let cell = |row: &String, column: &String| {
            self.aligned().find(|line| line.labels[down] == *row && line.labels[across] == *column)?.mean(metric)
        };
        let values = rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect();
        (rows, columns, values)
    }

    /// The lines of the aligned models by all axes but the last, when the labels of that one are numbers: `(x, y)`.
    pub(crate) fn series(&self, metric: &str) -> Vec<(String, Vec<(f64, f64)>)> {
        let mut series: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for line in self.aligned() {
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
