//! Losses over a target and some negatives.
use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Int, Tensor};

fn target_and_negatives(scores: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let [m, k] = scores.dims();
    (scores.clone().slice([0..m, 0..1]), scores.slice([0..m, 1..k]))
}

/// Bayesian personalised ranking: the mean of `-ln sigmoid(positive - negative)` over rows and negatives.
///
/// # Shapes
/// `scores` is `[m, 1 + k]`, the target first; the result is `[1]`.
pub fn bpr(scores: Tensor<2>) -> Tensor<1> {
    let (positive, negatives) = target_and_negatives(scores);
    log_sigmoid(positive - negatives).mean().neg()
}

/// Binary cross-entropy, summed over the target and its negatives and averaged over rows. `weight` is the exponent of
/// the target's sigmoid: 1, except for gBCE.
///
/// # Shapes
/// `scores` is `[m, 1 + k]`, the target first; the result is `[1]`.
pub fn binary_cross_entropy(scores: Tensor<2>, weight: f64) -> Tensor<1> {
    let m = scores.dims()[0];
    let (positive, negatives) = target_and_negatives(scores);
    (log_sigmoid(positive).sum() * weight + log_sigmoid(negatives.neg()).sum()).neg() / m as f32
}

/// Returns gBCE's exponent for `negatives` of `items`: `a (t (1 - 1/a) + 1/a)` with `a = negatives / (items - 1)`.
pub fn gbce_weight(negatives: usize, items: usize, calibration: f64) -> f64 {
    let share = negatives as f64 / (items.max(2) - 1) as f64;
    share * (calibration * (1.0 - 1.0 / share) + 1.0 / share)
}

/// Takes each row's own target out of its scores of the targets of all rows.
///
/// # Shapes
/// `scores` and the result are `[m, m]`, `targets` is `[m]`.
pub(super) fn without_target(scores: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<2> {
    let m = targets.dims()[0];
    let own = targets.clone().reshape([m, 1]).expand([m, m]).equal(targets.reshape([1, m]).expand([m, m]));
    scores.mask_fill(own, -1e9)
}

/// Cross-entropy over the target and uniform negatives, averaged over rows.
///
/// # Shapes
/// `scores` is `[m, 1 + k]`, the target first; the result is `[1]`.
pub fn sampled_softmax(scores: Tensor<2>) -> Tensor<1> {
    let m = scores.dims()[0];
    log_softmax(scores, 1).slice([0..m, 0..1]).mean().neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::{ItemLoss, Loss};
    use burn::tensor::Device;
    use ra_core::{TrainBatch, indices, int_tensor};

    #[test]
    fn mixed_negatives_are_the_other_targets_and_those_drawn() {
        let device = Device::flex();
        let table = Tensor::<2>::from_floats([[9.0], [1.0], [2.0], [-1.0], [0.5]], &device);
        let hidden = Tensor::<2>::from_floats([[1.0], [0.5], [-2.0]], &device);
        let batch = TrainBatch {
            lengths: [3].into(),
            users: indices([0, 0, 0], &device),
            items: indices([3, 3, 3], &device),
            rows: None,
            positives: indices([1, 2, 1], &device),
            negatives: int_tensor([3, 4, 4], [3, 1], &device),
            shared: None,
            catalog: 4,
            dropout: None,
        };
        let loss = ItemLoss { loss: Loss::MixedSoftmax, negatives: 1, calibration: 0.0 };
        let got: f32 = loss.of(hidden, table, &batch).into_scalar();
        // The target, the negative, and the targets of the other rows that are another item.
        let row = |h: f64, target: f64, others: &[f64]| {
            let all: f64 = others.iter().chain([&target]).map(|item| (h * item).exp()).sum();
            -((h * target).exp() / all).ln()
        };
        let want = row(1.0, 1.0, &[-1.0, 2.0]) + row(0.5, 2.0, &[0.5, 1.0, 1.0]) + row(-2.0, 1.0, &[0.5, 2.0]);
        assert!((f64::from(got) - want / 3.0).abs() < 1e-6, "{got}, not {}", want / 3.0);
    }

    #[test]
    fn gbce_is_bce_at_one_end_and_calibrated_at_the_other() {
        assert!((gbce_weight(256, 3417, 0.0) - 1.0).abs() < 1e-12);
        assert!((gbce_weight(256, 3417, 1.0) - 256.0 / 3416.0).abs() < 1e-12);
        let scores = Tensor::<2>::from_floats([[2.0, -1.0, 0.5]], &Device::flex());
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let got: f32 = binary_cross_entropy(scores.clone(), 0.25).into_scalar();
        let want = -(0.25 * sigmoid(2.0).ln() + sigmoid(1.0).ln() + sigmoid(-0.5).ln());
        assert!((f64::from(got) - want).abs() < 1e-6);
        let got: f32 = sampled_softmax(scores.clone()).into_scalar();
        let want = -(2f64.exp() / (2f64.exp() + (-1f64).exp() + 0.5f64.exp())).ln();
        assert!((f64::from(got) - want).abs() < 1e-6);
        let got: f32 = bpr(scores).into_scalar();
        let want = -(sigmoid(3.0).ln() + sigmoid(1.5).ln()) / 2.0;
        assert!((f64::from(got) - want).abs() < 1e-6);
    }
}
