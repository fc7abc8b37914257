//! Reports as plain lines for a terminal.
use crate::{Metric, Report};
use std::collections::BTreeSet;

impl Report {
    /// Renders the rows with HR and NDCG at every K, the number of users, and the warnings.
    pub fn terminal(&self) -> String {
        let ks: BTreeSet<usize> =
            self.rows.iter().flat_map(|row| row.metrics.keys()).map(|metric| metric.k()).collect();
        let metrics: Vec<Metric> = ks.into_iter().flat_map(|k| [Metric::Hr(k), Metric::Ndcg(k)]).collect();
        let users: BTreeSet<usize> = self.rows.iter().map(|row| row.users).collect();
        let users: Vec<String> = users.iter().map(usize::to_string).collect();
        let (dataset, items) = (&self.protocol.dataset, self.protocol.items);
        let head: String = metrics.iter().map(|metric| format!("{metric:>10}")).collect();
        let mut lines = vec![
            format!("{dataset}: {} users evaluated, {items} items", users.join(" or ")),
            format!("{:<28}{head}   trained params", ""),
        ];
        for row in &self.rows {
            let figure = |metric: &Metric| match row.metrics.get(metric) {
                Some(value) => format!("{value:>10.4}"),
                None => format!("{:>10}", "-"),
            };
            let figures: String = metrics.iter().map(figure).collect();
            lines.push(format!("{:<28}{figures}   {}", row.name, row.trainable_params));
        }
        lines.extend(self.warnings().into_iter().map(|line| format!("note: {line}")));
        lines.join("\n")
    }
}
