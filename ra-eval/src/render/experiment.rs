//! The table of an experiment as text.
use crate::report::{Experiment, Group, Line, Row, duration, grouped, supported};
use crate::significance::Interval;
use crate::{Measure, Metric};

impl Experiment {
    /// Returns the names of the columns of [`Line::cells`].
    pub(crate) fn head(&self, group: &Group) -> Vec<String> {
        let mut head: Vec<String> = self.axes.iter().map(String::as_str).chain(["model"]).map(String::from).collect();
        head.extend(group.metrics.iter().map(ToString::to_string));
        head.extend(group.metrics.last().map(|metric| format!("{metric} vs ID (95 %)")));
        head.extend(group.groups.iter().map(|measure| format!("{measure} (users)")));
        head.extend(["samples", "parameters", "training", "ranking"].map(String::from));
        head
    }
}

impl Group {
    /// Describes the values of the table.
    pub(crate) fn caption(&self) -> &'static str {
        match self.lines.iter().any(|line| line.rows.len() > 1) {
            true => "Mean over seeds (smallest to largest)",
            false => "All settings",
        }
    }

    /// Describes what was ranked, in one line.
    pub(crate) fn facts(&self) -> String {
        let p = &self.protocol;
        let evaluated = self.lines.iter().flat_map(|line| &line.rows).map(|row| row.users).max().unwrap_or(0);
        let [users, evaluated, items, interactions] = [p.users, evaluated, p.items, p.interactions].map(grouped);
        format!(
            "{users} users ({evaluated} evaluated), {items} items, {interactions} interactions; split {}, candidates {}, \
             seen {}, ties {}",
            p.split, p.candidates, p.seen, p.ties
        )
    }
}

impl Line {
    /// Returns the cells of a row of the group's table as text.
    pub(crate) fn cells(&self, group: &Group) -> Vec<String> {
        let metrics = &group.metrics;
        let figure = |metric: &Metric| match (self.mean(*metric), self.range(*metric)) {
            (Some(mean), Some((low, high))) => format!("{mean:.4} ({low:.4} to {high:.4}, n {})", self.rows.len()),
            (Some(mean), None) => format!("{mean:.4}"),
            (None, _) => "-".into(),
        };
        let difference = |metric: &Metric| {
            let found: Vec<&Interval> = self.rows.iter().filter_map(|row| row.differences.get(metric)).collect();
            let told: Vec<String> =
                found.iter().map(|d| format!("{:+.4} [{:+.4}, {:+.4}]", d.mean, d.low, d.high)).collect();
            if told.is_empty() { "-".into() } else { told.join("; ") }
        };
        let within = |measure: &Measure| {
            let found: Vec<(f64, usize)> = self.rows.iter().filter_map(|row| row.measure(*measure)).collect();
            let mean = found.iter().map(|(value, _)| value).sum::<f64>() / found.len().max(1) as f64;
            supported(found.first().map(|(_, users)| (mean, *users)))
        };
        let first = self.rows.first().cloned().unwrap_or_default();
        let seconds =
            |of: fn(&Row) -> f64| duration(self.rows.iter().map(of).sum::<f64>() / self.rows.len().max(1) as f64);
        let mut cells: Vec<String> = self.labels.iter().cloned().chain([self.name.clone()]).collect();
        cells.extend(metrics.iter().map(figure));
        cells.extend(metrics.last().map(difference));
        cells.extend(group.groups.iter().map(within));
        cells.extend([grouped(first.train_samples), grouped(first.trainable_params)]);
        cells.extend([seconds(|row| row.train_seconds), seconds(|row| row.eval_seconds)]);
        cells
    }
}
