//! Losses over a catalogue.
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Int, Tensor};
use ra_core::kernels::{pair_scores, softmax_error};
use ra_core::{Problem, TrainBatch};
use serde::{Deserialize, Serialize};

/// What a method that reads a history minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross-entropy over the whole catalogue.
    #[default]
    Softmax,
    /// Cross-entropy over the target and the negatives.
    SampledSoftmax,
    /// Binary cross-entropy over the target and the negatives (Kang & McAuley, ICDM 2018, eq. 7).
    Bce,
    /// BCE whose positives are calibrated for the number of negatives (Petrov & Macdonald, gSASRec, RecSys 2023, eq. 9).
    Gbce,
    /// Bayesian personalised ranking against each negative (Rendle et al., UAI 2009).
    Bpr,
}

/// A loss and what it needs to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ItemLoss {
    pub(crate) loss: Loss,
    /// Negatives a row; the softmax needs none.
    pub(crate) negatives: usize,
    /// gSASRec's calibration, 0 (plain BCE) to 1 (as if the sample were the catalogue).
    pub(crate) calibration: f64,
}

impl ItemLoss {
    /// Negatives that a batch must bring.
    pub(crate) fn wanted(&self) -> usize {
        if self.loss == Loss::Softmax { 0 } else { self.negatives }
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let few = (self.loss != Loss::Softmax && self.negatives == 0)
            .then(|| Problem::new("negatives", "is 0, a loss on negatives needs at least 1"));
        let calibration = (!(0.0..=1.0).contains(&self.calibration))
            .then(|| Problem::new("calibration", format!("is {}, it must be from 0 to 1", self.calibration)));
        few.into_iter().chain(calibration).collect()
    }

    /// The loss of `hidden`, `[m, dim]`, on the batch's targets in `table`, `[items + 1, dim]`.
    pub(crate) fn of(&self, hidden: Tensor<2>, table: Tensor<2>, batch: &TrainBatch) -> Tensor<1> {
        if self.loss == Loss::Softmax {
            return whole_catalogue(hidden, table, batch);
        }
        let items = table.dims()[0] - 1;
        let scores = pair_scores(hidden, None, table, columns(batch));
        match self.loss {
            Loss::SampledSoftmax => sampled_softmax(scores),
            Loss::Bpr => bpr(scores),
            Loss::Gbce => binary_cross_entropy(scores, gbce_weight(self.negatives, items, self.calibration)),
            Loss::Bce | Loss::Softmax => binary_cross_entropy(scores, 1.0),
        }
    }
}

/// The cross-entropy of `hidden`, `[m, dim]`, on the batch's targets among all of `table`, `[items + 1, dim]`.
pub(crate) fn whole_catalogue(hidden: Tensor<2>, table: Tensor<2>, batch: &TrainBatch) -> Tensor<1> {
    // At most 16 MiB of scores at a time: they stay in the cache between the three products.
    let chunk = ((1 << 22) / table.dims()[0]).clamp(16, 1024);
    softmax_cross_entropy(hidden, table, batch.positives.clone(), chunk)
}

/// The target and then the negatives of each row, `[m, 1 + k]`.
pub(crate) fn columns(batch: &TrainBatch) -> Tensor<2, Int> {
    let m = batch.positives.dims()[0];
    Tensor::cat(vec![batch.positives.clone().reshape([m, 1]), batch.negatives.clone()], 1)
}

/// The sum of squares of the chosen rows.
pub(crate) fn square_norm(table: Tensor<2>, rows: Tensor<1, Int>) -> Tensor<1> {
    table.select(0, rows).square().sum()
}

fn split(scores: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let [m, k] = scores.dims();
    (scores.clone().slice([0..m, 0..1]), scores.slice([0..m, 1..k]))
}

/// Bayesian personalised ranking: the mean over rows and negatives of `-ln sigmoid(positive - negative)`.
///
/// # Shapes
/// `scores` is `[m, 1 + k]`, the target first; the result is `[1]`.
pub fn bpr(scores: Tensor<2>) -> Tensor<1> {
    let (positive, negatives) = split(scores);
    log_sigmoid(positive - negatives).mean().neg()
}

/// Binary cross-entropy, summed over the target and its negatives, mean over rows; `weight` is the exponent of the
/// target's sigmoid, 1 but for gBCE.
///
/// # Shapes
/// `scores` is `[m, 1 + k]`, the target first; the result is `[1]`.
pub fn binary_cross_entropy(scores: Tensor<2>, weight: f64) -> Tensor<1> {
    let m = scores.dims()[0];
    let (positive, negatives) = split(scores);
    (log_sigmoid(positive).sum() * weight + log_sigmoid(negatives.neg()).sum()).neg() / m as f32
}

/// gBCE's exponent for `negatives` of `items`: `a (t (1 - 1/a) + 1/a)` with `a = negatives / (items - 1)`.
pub fn gbce_weight(negatives: usize, items: usize, calibration: f64) -> f64 {
    let share = negatives as f64 / (items.max(2) - 1) as f64;
    share * (calibration * (1.0 - 1.0 / share) + 1.0 / share)
}

/// Cross-entropy over the target and uniform negatives, mean over rows.
///
/// # Shapes
/// `scores` is `[m, 1 + k]`, the target first; the result is `[1]`.
pub fn sampled_softmax(scores: Tensor<2>) -> Tensor<1> {
    let m = scores.dims()[0];
    burn::tensor::activation::log_softmax(scores, 1).slice([0..m, 0..1]).mean().neg()
}

/// Cross-entropy of the softmax over all items but padding (row 0), mean over rows.
///
/// The gradient is written by hand, `softmax - one-hot`, and made a `chunk` of rows at a time on the plain device: no
/// `[n, items]` tensor is kept for backward.
///
/// # Shapes
/// `hidden` is `[n, dim]`, `table` is `[items + 1, dim]`, `targets` is `[n]`, from 1 on; the result is `[1]`.
pub fn softmax_cross_entropy(hidden: Tensor<2>, table: Tensor<2>, targets: Tensor<1, Int>, chunk: usize) -> Tensor<1> {
    let ([n, dim], [rows, _]) = (hidden.dims(), table.dims());
    let plain = |x: &Tensor<2>| if x.is_autodiff() { x.clone().inner() } else { x.clone() };
    let (h, items) = (plain(&hidden), plain(&table).slice([1..rows]));
    let targets = if targets.is_autodiff() { targets.inner() } else { targets } - 1;
    let device = h.device();
    let mut item_grad = items.zeros_like();
    let mut hidden_grads = Vec::new();
    let mut total = Tensor::<1>::zeros([1], &device);
    for start in (0..n).step_by(chunk.max(1)) {
        let part = start..(start + chunk.max(1)).min(n);
        let h = h.clone().slice([part.clone()]);
        let scores = h.clone().matmul(items.clone().transpose());
        let (error, loss) = softmax_error(scores, targets.clone().slice([part]));
        total = total + loss;
        item_grad = item_grad + error.clone().transpose().matmul(h);
        hidden_grads.push(error.matmul(items.clone()));
    }
    let loss = total / n as f32;
    if !hidden.is_autodiff() && !table.is_autodiff() {
        return loss;
    }
    // A linear form with these gradients, shifted to the loss's value.
    let attach = |x: Tensor<2>, grad: Tensor<2>| (x * Tensor::from_inner(grad / n as f32)).sum();
    let table_grad = Tensor::cat(vec![Tensor::zeros([1, dim], &device), item_grad], 0);
    let linear = attach(hidden, Tensor::cat(hidden_grads, 0)) + attach(table, table_grad);
    linear.clone() - linear.detach() + Tensor::from_inner(loss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance, activation::log_softmax};
    use ra_core::{normal, rng};

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

    #[test]
    fn the_chunked_softmax_is_the_composed_one_in_value_and_gradient() {
        let device = Device::flex().autodiff();
        let make = || {
            let h = normal([7, 4], 1.0, &mut rng(1, "h", 0), &device).val().detach().require_grad();
            let e = normal([6, 4], 1.0, &mut rng(1, "e", 0), &device).val().detach().require_grad();
            (h, e)
        };
        let targets = Tensor::<1, Int>::from_ints([1, 5, 2, 2, 3, 4, 1], &device);
        let (h, e) = make();
        let logits = h.clone().matmul(e.clone().slice([1..6]).transpose());
        let composed = log_softmax(logits, 1).gather(1, (targets.clone() - 1).reshape([7, 1])).mean().neg();
        let expected = composed.backward();
        for chunk in [2, 7, 100] {
            let (h2, e2) = make();
            let loss = softmax_cross_entropy(h2.clone(), e2.clone(), targets.clone(), chunk);
            let tolerance = Tolerance::<f32>::absolute(1e-6);
            loss.to_data().assert_approx_eq(&composed.to_data(), tolerance);
            let grads = loss.backward();
            h2.grad(&grads).unwrap().into_data().assert_approx_eq(&h.grad(&expected).unwrap().into_data(), tolerance);
            e2.grad(&grads).unwrap().into_data().assert_approx_eq(&e.grad(&expected).unwrap().into_data(), tolerance);
        }
    }
}
