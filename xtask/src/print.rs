//! What a run says on the terminal when it is done.
use ra_core::{LedgerRow, trainable_params};
use ra_eval::Report;

/// Every trained tensor, and their share of the frozen model's parameters.
pub(crate) fn print_ledger(rows: &[LedgerRow], frozen: usize) {
    say!("\ntrained parameters");
    for row in rows {
        say!("  {:<28} {:<14} {:>10}", row.name, format!("{:?}", row.shape), row.params);
    }
    let total = trainable_params(rows);
    say!(
        "  {total} in all, {:.2} % of the language model's {frozen} (paper: about 18 000 beside GPT-2-large's 774 M)",
        100.0 * total as f64 / frozen as f64
    );
}

/// The rows of a report.
pub(crate) fn print_table(report: &Report) {
    let names: Vec<&str> = ["hr@10", "ndcg@10", "hr@100", "ndcg@100"].into_iter().filter(|m| has(report, m)).collect();
    say!(
        "\n{:<28}{}   trained params",
        report.protocol.dataset,
        names.iter().map(|n| format!("{n:>10}")).collect::<String>()
    );
    for row in &report.rows {
        let values: String =
            names.iter().map(|n| format!("{:>10.4}", row.metrics.get(*n).unwrap_or(&f64::NAN))).collect();
        say!("{:<28}{values}   {}", row.name, row.trainable_params);
        if row.tied_share > 0.5 {
            say!(
                "  {:.0} % of its targets tie with other items: its figures hang on the tie rule",
                100.0 * row.tied_share
            );
        }
    }
}

fn has(report: &Report, metric: &str) -> bool {
    report.rows.iter().any(|row| row.metrics.contains_key(metric))
}
