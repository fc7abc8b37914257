//! Reports as plain lines for a terminal.
use crate::report::{ResultTable, group_measures, grouped};
use crate::{Measure, Metric, Report};
use std::collections::BTreeSet;

impl Report {
    /// Renders the rows with HR and NDCG at every K, HR of tail and cold items at the largest, the number of users, and
    /// the warnings.
    pub fn terminal(&self) -> String {
        let ks: BTreeSet<usize> =
            self.rows.iter().flat_map(|row| row.metrics.keys()).map(|metric| metric.k()).collect();
        let metrics: Vec<Metric> = ks.into_iter().flat_map(|k| [Metric::Hr(k), Metric::Ndcg(k)]).collect();
        let groups = group_measures(&self.rows);
        let users: BTreeSet<usize> = self.rows.iter().map(|row| row.users).collect();
        let users: Vec<String> = users.iter().map(usize::to_string).collect();
        let (dataset, items) = (&self.protocol.dataset, self.protocol.items);
        let head = metrics.iter().map(|metric| format!("{metric:>10}"));
        let head: String = head.chain(groups.iter().map(|measure| format!("{measure:>13}"))).collect();
        let mut lines = vec![
            format!("{dataset}: {} users evaluated, {items} items{}", users.join(" or "), self.support(&groups)),
            format!("{:<28}{head}   trained params", ""),
        ];
        for row in &self.rows {
            let figure = |metric: &Metric| match row.metrics.get(metric) {
                Some(value) => format!("{value:>10.4}"),
                None => format!("{:>10}", "-"),
            };
            let within = |measure: &Measure| match row.measure(*measure) {
                Some((value, _)) => format!("{value:>13.4}"),
                None => format!("{:>13}", "-"),
            };
            let figures: String = metrics.iter().map(figure).chain(groups.iter().map(within)).collect();
            lines.push(format!("{:<28}{figures}   {}", row.name, row.trainable_params));
        }
        lines.extend(ResultTable::new(std::slice::from_ref(self)).made());
        lines.extend(self.recommended.iter().map(|name| format!("recommended: {name}, which validates best")));
        lines.extend(self.warnings().into_iter().map(|line| format!("note: {line}")));
        lines.join("\n")
    }

    /// States how many users the rows' values for groups of targets are means over.
    fn support(&self, groups: &[Measure]) -> String {
        let of = |measure: &Measure| {
            let users: BTreeSet<usize> =
                self.rows.iter().map(|row| row.measure(*measure).map_or(0, |(_, users)| users)).collect();
            let users: Vec<String> = users.into_iter().map(grouped).collect();
            format!("{} with a {} target", users.join(" or "), measure.group.map_or("", |group| group.name()))
        };
        let told: Vec<String> = groups.iter().map(of).collect();
        if told.is_empty() { String::new() } else { format!("; users: {}", told.join(", ")) }
    }
}
