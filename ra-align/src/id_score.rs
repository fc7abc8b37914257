//! The ID method's own score beside the aligned one.
use crate::train::Metric;
use crate::{RaRec, Validate};
use burn::tensor::Tensor;
use ra_core::{Aligner, Error, LanguageModel, Recommender, Result};

/// Weights that are tried: scores are those of vectors of length 1, or about it.
const WEIGHTS: [f32; 12] = [0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0, 16.0];

/// `model` with the score `<h_u, h_i> + beta <u, i>`, `beta` being the one of a few weights that `validate` likes best.
///
/// The weight is not trained with the towers. An ID method has seen the targets that they are trained on and explains them far
/// better than it will explain those of test time (method notes, section 11.2): a trained weight leaves the towers little to
/// learn after a few steps.
///
/// # Errors
/// [`Error::Missing`] without a metric.
pub fn with_id_score<I: Recommender, L: LanguageModel, A: Aligner + Sync>(
    mut model: RaRec<I, L, A>,
    validate: Validate<'_>,
) -> Result<RaRec<I, L, A>> {
    let validate = needed(validate)?;
    let device = model.text.lm.device();
    let mut best = (f64::NEG_INFINITY, 0.0);
    for weight in WEIGHTS {
        model.towers.extra.weigh_ids(Tensor::from_floats([weight], &device));
        let metric = validate(&model);
        if metric > best.0 {
            best = (metric, weight);
        }
    }
    if WEIGHTS.last() == Some(&best.1) {
        tracing::warn!(weight = best.1, "the ID method's own score wants a larger weight than any that is tried");
    }
    tracing::info!(weight = best.1, validation = best.0, "the ID method's own score");
    model.towers.extra.weigh_ids(Tensor::from_floats([best.1], &device));
    Ok(model)
}

/// The metric that a weight is chosen by.
pub(crate) fn needed(validate: Validate<'_>) -> Result<Metric<'_>> {
    let what = "a validation metric";
    let remedy =
        "align.id_residual chooses its weight by it: hold some interactions out for validation, or switch it off";
    validate.ok_or_else(|| Error::Missing { what: what.into(), remedy: remedy.into() })
}
