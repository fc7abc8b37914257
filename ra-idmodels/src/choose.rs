//! Numbers that validation chooses, for methods that are counted or solved.
use ra_core::{Recommender, Validate};

/// Returns the value whose model validates best, and its metric; of equals the first.
pub(crate) fn best_of<M: Recommender>(values: &[f32], made: impl Fn(f32) -> M, validate: Validate<'_>) -> (f32, f64) {
    let mut best = (values[0], f64::NEG_INFINITY);
    for &value in values {
        let metric = validate(&made(value));
        best = if metric > best.1 { (value, metric) } else { best };
    }
    best
}
