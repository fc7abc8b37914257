//! The table of trained parameters.
use ra_core::{ParamRow, trainable_params};

/// Returns lines with every trained tensor, and their share of the frozen model's parameters.
pub(crate) fn parameter_table(rows: &[ParamRow], frozen: usize) -> Vec<String> {
    let row = |row: &ParamRow| format!("  {:<28} {:<14} {:>10}", row.name, format!("{:?}", row.shape), row.params);
    let total = trainable_params(rows);
    let share = 100.0 * total as f64 / frozen as f64;
    let sum = format!("  {total} in all, {share:.2} % of the language model's {frozen}");
    std::iter::once("\ntrained parameters".to_owned()).chain(rows.iter().map(row)).chain([sum]).collect()
}
