//! What a run says when it is done, in lines.
use ra_core::{ParamRow, trainable_params};
use ra_eval::{Metric, Report};
use std::collections::BTreeSet;

/// Every trained tensor, and their share of the frozen model's parameters.
pub(crate) fn parameter_table(rows: &[ParamRow], frozen: usize) -> Vec<String> {
    let row = |row: &ParamRow| format!("  {:<28} {:<14} {:>10}", row.name, format!("{:?}", row.shape), row.params);
    let total = trainable_params(rows);
    let share = 100.0 * total as f64 / frozen as f64;
    let sum = format!("  {total} in all, {share:.2} % of the language model's {frozen}");
    std::iter::once("\ntrained parameters".to_owned()).chain(rows.iter().map(row)).chain([sum]).collect()
}

/// The rows of a report, by every K that was asked for, over how many users they are, and what must be known of them.
pub(crate) fn table(report: &Report) -> Vec<String> {
    let names = columns(report);
    let users: BTreeSet<usize> = report.rows.iter().map(|row| row.users).collect();
    let users: Vec<String> = users.iter().map(usize::to_string).collect();
    let (dataset, items) = (&report.protocol.dataset, report.protocol.items);
    let title = format!("\n{dataset}: {} users evaluated, {items} items", users.join(" or "));
    let head: String = names.iter().map(|name| format!("{:>10}", name.to_string())).collect();
    let head = format!("{:<28}{head}   trained params", "");
    let row = |row: &ra_eval::Row| {
        let figure = |metric: &Metric| match row.metrics.get(metric) {
            Some(value) => format!("{value:>10.4}"),
            None => format!("{:>10}", "-"),
        };
        format!("{:<28}{}   {}", row.name, names.iter().map(figure).collect::<String>(), row.trainable_params)
    };
    let notes = report.warnings().into_iter().map(|line| format!("note: {line}"));
    [title, head].into_iter().chain(report.rows.iter().map(row)).chain(notes).collect()
}

/// HR and NDCG at every K that there is, the smallest first.
fn columns(report: &Report) -> Vec<Metric> {
    let keys = report.rows.iter().flat_map(|row| row.metrics.keys());
    let ks: BTreeSet<usize> = keys.map(|metric| metric.k()).collect();
    ks.into_iter().flat_map(|k| [Metric::Hr(k), Metric::Ndcg(k)]).collect()
}
