//! What a run says on the terminal when it is done.
use ra_core::{LedgerRow, trainable_params};
use ra_eval::Report;
use std::collections::BTreeSet;

/// Every trained tensor, and their share of the frozen model's parameters.
pub(crate) fn print_ledger(rows: &[LedgerRow], frozen: usize) {
    say!("\ntrained parameters");
    for row in rows {
        say!("  {:<28} {:<14} {:>10}", row.name, format!("{:?}", row.shape), row.params);
    }
    let total = trainable_params(rows);
    let share = 100.0 * total as f64 / frozen as f64;
    say!("  {total} in all, {share:.2} % of the language model's {frozen}");
}

/// The rows of a report, by every K that was asked for, over how many users they are, and what must be known of them.
pub(crate) fn print_table(report: &Report) {
    let names = columns(report);
    let users: BTreeSet<usize> = report.rows.iter().map(|row| row.users).collect();
    let users: Vec<String> = users.iter().map(usize::to_string).collect();
    let (dataset, items) = (&report.protocol.dataset, report.protocol.items);
    say!("\n{dataset}: {} users evaluated, {items} items", users.join(" or "));
    let head: String = names.iter().map(|name| format!("{name:>10}")).collect();
    say!("{:<28}{head}   trained params", "");
    for row in &report.rows {
        let figure = |name: &String| match row.metrics.get(name) {
            Some(value) => format!("{value:>10.4}"),
            None => format!("{:>10}", "-"),
        };
        say!("{:<28}{}   {}", row.name, names.iter().map(figure).collect::<String>(), row.trainable_params);
    }
    report.warnings().iter().for_each(|line| say!("note: {line}"));
}

/// HR and NDCG at every K that there is, the smallest first.
fn columns(report: &Report) -> Vec<String> {
    let keys = report.rows.iter().flat_map(|row| row.metrics.keys());
    let ks: BTreeSet<usize> = keys.filter_map(|key| key.split_once('@')?.1.parse().ok()).collect();
    ks.into_iter().flat_map(|k| [format!("hr@{k}"), format!("ndcg@{k}")]).collect()
}
