//! The error of a softmax classifier.
use super::math::{exp, max, sum, vectorized};
use super::{in_host_memory, on_host};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, activation};
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
            for x in row.iter_mut() {
                *x = exp(*x - top);
            }
            let total = sum(row);
            let scale = 1.0 / total;
            for x in row.iter_mut() {
                *x *= scale;
            }
            row[target] -= 1.0;
            f64::from(top) + f64::from(total).ln() - f64::from(wanted)
        },
    )
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
}
