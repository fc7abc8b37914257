//! One number beside finished towers: chosen on validation, not trained.
use crate::Validate;
use crate::train::Metric;
use ra_core::{Error, Result};

/// The one of `tried`, in ascending order, whose metric is highest; of equals the first. `what` is said in the log.
pub(crate) fn choose(what: &str, tried: &[f32], mut metric: impl FnMut(f32) -> f64) -> f32 {
    let mut best = (f64::NEG_INFINITY, 0.0);
    for &number in tried {
        let metric = metric(number);
        if metric > best.0 {
            best = (metric, number);
        }
    }
    if tried.last() == Some(&best.1) {
        tracing::warn!(number = best.1, "{what} may want a larger number than any that is tried");
    }
    tracing::info!(number = best.1, validation = best.0, "{what}");
    best.1
}

/// The metric that a number is chosen by.
///
/// # Errors
/// [`Error::Missing`] with `remedy` when there is none.
pub(crate) fn needed<'a>(validate: Validate<'a>, remedy: &str) -> Result<Metric<'a>> {
    validate.ok_or_else(|| Error::Missing { what: "a validation metric".into(), remedy: remedy.into() })
}
