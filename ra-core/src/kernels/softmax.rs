//! The error of a softmax classifier, over all classes or over a sample of them.
use super::math::{exp, max, sum, vectorized};
use super::{in_host_memory, on_host};
use crate::SharedNegatives;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData, activation};
use rayon::prelude::*;

/// Returns `softmax(scores) - one_hot(targets)`, which is the gradient of the cross-entropy, and the cross-entropy
/// summed over rows. On the CPU back end it overwrites the scores in one pass.
///
/// # Shapes
/// `scores` is `[n, classes]` without autodiff, `targets` is `[n]`; the results are `[n, classes]` and `[1]`.
pub fn softmax_error(scores: Tensor<2>, targets: Tensor<1, Int>) -> (Tensor<2>, Tensor<1>) {
    let [n, classes] = scores.dims();
    let device = scores.device();
    if !in_host_memory(&device) {
        return composed(scores, targets);
    }
    let columns: Vec<usize> = targets.to_data().iter::<i64>().map(|t| t as usize).collect();
    let mut all = [scores.reshape([n * classes])];
    let mut losses = vec![0.0f64; n];
    if let Some([error]) = on_host(&mut all, |[scores]| {
        let rows = scores.par_chunks_exact_mut(classes).zip(losses.par_iter_mut()).zip(&columns);
        rows.with_min_len(16).for_each(|((row, loss), &target)| *loss = error_row(row, target));
    }) {
        let loss: f64 = losses.iter().sum();
        return (error.reshape([n, classes]), Tensor::from_floats([loss as f32], &device));
    }
    let [scores] = all;
    composed(scores.reshape([n, classes]), targets)
}

/// Turns a row of scores into its error; returns the cross-entropy.
fn error_row(row: &mut [f32], target: usize) -> f64 {
    let wanted = row[target];
    vectorized(
        #[inline(always)]
        || {
            let top = max(row);
            let total = normalise(row, top, 0.0);
            row[target] -= 1.0;
            f64::from(top) + f64::from(total).ln() - f64::from(wanted)
        },
    )
}

/// Turns scores into `exp(score - top)`, divided by their sum and `more`; returns the divisor.
#[inline(always)]
fn normalise(row: &mut [f32], top: f32, more: f32) -> f32 {
    for x in row.iter_mut() {
        *x = exp(*x - top);
    }
    let total = sum(row) + more;
    let scale = 1.0 / total;
    for x in row.iter_mut() {
        *x *= scale;
    }
    total
}

/// Returns the gradient, by the scores, of the cross-entropy of rows over their own target and the draws that all rows
/// share, and the cross-entropy summed over rows. The denominator of a row is `exp(own)` plus the sum of `exp(score -
/// log_expected)` over the draws, without those of the row's own target. On the CPU back end it overwrites the scores in
/// one pass.
///
/// # Shapes
/// `scores` is `[n, k]`, the scores of the draws, and `own` is `[n, 1]`, those of the targets `[n]`, all without autodiff;
/// the results are `[n, k]`, `[n, 1]` and `[1]`. `k` is at least 1.
pub fn shared_softmax_error(
    scores: Tensor<2>,
    own: Tensor<2>,
    targets: Tensor<1, Int>,
    draws: &SharedNegatives,
) -> (Tensor<2>, Tensor<2>, Tensor<1>) {
    let ([n, k], device) = (scores.dims(), scores.device());
    if !in_host_memory(&device) {
        return composed_shared(scores, own, targets, draws);
    }
    let [targets_read, classes] = [&targets, &draws.items].map(|x| x.to_data().iter::<i32>().collect::<Vec<_>>());
    let log_expected: Vec<f32> = draws.log_expected.to_data().iter().collect();
    let mut errors: Vec<f32> = own.to_data().iter().collect();
    let mut losses = vec![0.0f64; n];
    let mut all = [scores.reshape([n * k])];
    if let Some([error]) = on_host(&mut all, |[scores]| {
        let rows = scores.par_chunks_exact_mut(k).zip(&mut errors).zip(&mut losses).zip(&targets_read);
        rows.with_min_len(16).for_each(|(((row, own), loss), &target)| {
            *loss = shared_row(row, own, target, &classes, &log_expected);
        });
    }) {
        let loss: f64 = losses.iter().sum();
        let errors = Tensor::from_data(TensorData::new(errors, [n, 1]), &device);
        return (error.reshape([n, k]), errors, Tensor::from_floats([loss as f32], &device));
    }
    let [scores] = all;
    composed_shared(scores.reshape([n, k]), own, targets, draws)
}

/// Turns the scores of a row into their errors; returns the cross-entropy.
fn shared_row(row: &mut [f32], own: &mut f32, target: i32, classes: &[i32], log_expected: &[f32]) -> f64 {
    let wanted = *own;
    vectorized(
        #[inline(always)]
        || {
            for ((x, &class), &expected) in row.iter_mut().zip(classes).zip(log_expected) {
                *x = if class == target { ABSENT } else { *x - expected };
            }
            let top = max(row).max(wanted);
            let first = exp(wanted - top);
            let total = normalise(row, top, first);
            *own = first * (1.0 / total) - 1.0;
            f64::from(top) + f64::from(total).ln() - f64::from(wanted)
        },
    )
}

/// The score of a draw that does not count.
const ABSENT: f32 = -1e9;

fn composed_shared(
    scores: Tensor<2>,
    own: Tensor<2>,
    targets: Tensor<1, Int>,
    draws: &SharedNegatives,
) -> (Tensor<2>, Tensor<2>, Tensor<1>) {
    let ([n, k], device) = (scores.dims(), scores.device());
    let classes: Tensor<2, Int> = draws.items.clone().reshape([1, k]);
    let is_target = targets.reshape([n, 1]).expand([n, k]).equal(classes.expand([n, k]));
    let scores = (scores - draws.log_expected.clone().reshape([1, k])).mask_fill(is_target, ABSENT);
    let (error, loss) = composed(Tensor::cat(vec![own, scores], 1), Tensor::zeros([n], &device));
    (error.clone().slice([0..n, 1..k + 1]), error.slice([0..n, 0..1]), loss)
}

fn composed(scores: Tensor<2>, targets: Tensor<1, Int>) -> (Tensor<2>, Tensor<1>) {
    let n = scores.dims()[0];
    let target: Tensor<2, Int> = targets.reshape([n, 1]);
    let loss = activation::log_softmax(scores.clone(), 1).gather(1, target.clone()).sum().neg();
    let minus_one = Tensor::full([n, 1], -1.0, &scores.device());
    (activation::softmax(scores, 1).scatter(1, target, minus_one, IndexingUpdateOp::Add), loss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::random;
    use burn::tensor::{Device, Tolerance};

    #[test]
    fn it_is_the_composed_form() {
        for classes in [1, 7, 100] {
            let scores = random([20, classes], 1).inner() * 5.0;
            let targets = Tensor::<1, Int>::arange(0..20, &Device::flex()).remainder_scalar(classes as i64);
            let (a, b) = (softmax_error(scores.clone(), targets.clone()), composed(scores, targets));
            a.0.into_data().assert_approx_eq(&b.0.into_data(), Tolerance::<f32>::absolute(1e-6));
            a.1.into_data().assert_approx_eq(&b.1.into_data(), Tolerance::<f32>::relative(1e-5));
        }
    }

    #[test]
    fn over_draws_it_is_the_composed_form() {
        let device = Device::flex();
        for k in [1, 7, 100] {
            let (scores, own) = (random([20, k], 1).inner() * 5.0, random([20, 1], 2).inner() * 5.0);
            // Every class is drawn more than once if there are many draws, and is some row's target.
            let targets = Tensor::<1, Int>::arange(0..20, &device).remainder_scalar(9);
            let classes = Tensor::<1, Int>::arange(0..k as i64, &device).remainder_scalar(9);
            let draws = SharedNegatives { items: classes, log_expected: random([1, k], 3).inner().reshape([k]) };
            let a = shared_softmax_error(scores.clone(), own.clone(), targets.clone(), &draws);
            let b = composed_shared(scores, own, targets, &draws);
            a.0.clone().into_data().assert_approx_eq(&b.0.into_data(), Tolerance::<f32>::absolute(1e-6));
            a.1.clone().into_data().assert_approx_eq(&b.1.into_data(), Tolerance::<f32>::absolute(1e-6));
            a.2.into_data().assert_approx_eq(&b.2.into_data(), Tolerance::<f32>::relative(1e-5));
            let sums = a.0.sum_dim(1) + a.1;
            sums.into_data()
                .assert_approx_eq(&Tensor::<2>::zeros([20, 1], &device).into_data(), Tolerance::<f32>::absolute(1e-6));
        }
    }
}
