//! The loss of a softmax classifier and its gradients, over all classes or over a sample of them.
use super::math::{exp, max, sum, vectorized};
use super::product::{View, multiply};
use super::{all, host, in_host_memory, matrix, tensor};
use crate::SharedNegatives;
use crate::int_tensor::read_indices;
use burn::backend::Flex;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData, activation};
use rayon::prelude::*;
use std::ops::Range;

/// A cross-entropy, and its gradients by what it scores.
#[derive(Debug, Clone)]
pub struct SoftmaxLoss {
    /// The cross-entropy summed over rows, `[1]`.
    pub loss: Tensor<1>,
    /// Its gradient by the rows, `[n, dim]`.
    pub hidden: Tensor<2>,
    /// Its gradient by the classes, `[classes, dim]`.
    pub classes: Tensor<2>,
}

/// Returns the cross-entropy of the softmax over all classes, whose scores are the products of `hidden` and `classes`.
///
/// It takes `chunk` rows at a time, so that no `[n, classes]` matrix is kept. On the CPU back end their scores, errors
/// and gradients are computed in the same memory.
///
/// # Shapes
/// `hidden` is `[n, dim]` and `classes` is `[classes, dim]`, both without autodiff and with numbers in each row;
/// `targets` is `[n]`, below `classes`.
///
/// # Panics
/// If a target is out of range.
pub fn softmax_loss(hidden: Tensor<2>, classes: Tensor<2>, targets: Tensor<1, Int>, chunk: usize) -> SoftmaxLoss {
    let inputs = [hidden, classes];
    // On a GPU, reading the targets would wait for all queued work.
    if in_host_memory(&inputs[0].device()) {
        let columns = read_indices(&targets);
        if let Some((losses, grads)) = on_host(&inputs, chunk, |row, scores| error_row(scores, columns[row] as usize)) {
            return summed(&losses, grads);
        }
    }
    let [hidden, classes] = inputs;
    by_chunks(hidden, classes, chunk, |scores, part| composed(scores, targets.clone().slice([part])))
}

/// Returns the cross-entropy of rows over their own target and the draws that all rows share, and its gradient by
/// `own`, `[n, 1]`. The denominator of a row is `exp(own)` plus the sum of `exp(score - log_expected)` over the draws,
/// without those of the row's own target; `score` is the product of `hidden` and a draw.
///
/// # Shapes
/// `hidden` is `[n, dim]`, `drawn` is `[k, dim]` with at least one draw, and `own` is `[n, 1]`, the scores of the targets
/// `[n]`, all without autodiff.
pub fn shared_softmax_loss(
    hidden: Tensor<2>,
    drawn: Tensor<2>,
    own: Tensor<2>,
    targets: Tensor<1, Int>,
    draws: &SharedNegatives,
    chunk: usize,
) -> (SoftmaxLoss, Tensor<2>) {
    let (n, device) = (hidden.dims()[0], hidden.device());
    let inputs = [hidden, drawn];
    if in_host_memory(&device) {
        let [targets, items] = [&targets, &draws.items].map(read_indices);
        let [log_expected, own] =
            [draws.log_expected.to_data(), own.to_data()].map(|data| data.iter::<f32>().collect::<Vec<_>>());
        let error = |row: usize, scores: &mut [f32]| shared_row(scores, own[row], targets[row], &items, &log_expected);
        if let Some((found, grads)) = on_host(&inputs, chunk, error) {
            let (losses, errors): (Vec<f64>, Vec<f32>) = found.into_iter().unzip();
            return (summed(&losses, grads), Tensor::from_data(TensorData::new(errors, [n, 1]), &device));
        }
    }
    let [hidden, drawn] = inputs;
    let mut errors = Vec::new();
    let found = by_chunks(hidden, drawn, chunk, |scores, part| {
        let own = own.clone().slice([part.clone()]);
        let (error, first, loss) = composed_shared(scores, own, targets.clone().slice([part]), draws);
        errors.push(first);
        (error, loss)
    });
    (found, if errors.is_empty() { own } else { Tensor::cat(errors, 0) })
}

/// Returns the result of rows with these losses.
fn summed(losses: &[f64], [hidden, classes]: [Tensor<2>; 2]) -> SoftmaxLoss {
    let loss: f64 = losses.iter().sum();
    SoftmaxLoss { loss: Tensor::from_floats([loss as f32], &hidden.device()), hidden, classes }
}

/// Computes the gradients by rows and by classes on the CPU back end: `error` turns the scores of a row into their
/// errors. Also returns what it returned of each row; `None` where the tensors live elsewhere.
fn on_host<R: Clone + Default + Send>(
    inputs: &[Tensor<2>; 2],
    chunk: usize,
    error: impl Fn(usize, &mut [f32]) -> R + Sync,
) -> Option<(Vec<R>, [Tensor<2>; 2])> {
    let inputs = all(inputs, |x| x.clone().try_into_primitive::<Flex>().ok().and_then(host))?;
    let [hidden, classes] = inputs.each_ref().map(matrix);
    let (width, table) = (hidden.width, View::new(classes.values, classes.width));
    let [n, count] = [hidden, classes].map(|x| x.values.len().checked_div(width).unwrap_or(0));
    let chunk = chunk.clamp(1, n.max(1));
    let mut scores = vec![0.0; chunk * count];
    let (mut told, mut of_rows, mut of_classes) =
        (vec![R::default(); n], vec![0.0; hidden.values.len()], vec![0.0; classes.values.len()]);
    let parts = hidden.values.chunks(chunk * width).zip(of_rows.chunks_mut(chunk * width)).zip(told.chunks_mut(chunk));
    for (at, ((hidden, of_rows), told)) in parts.enumerate() {
        let (hidden, scores) = (View::new(hidden, width), &mut scores[..told.len() * count]);
        multiply(scores, hidden, table.transposed(), false);
        let rows = scores.par_chunks_exact_mut(count).zip(told).enumerate();
        rows.with_min_len(16).for_each(|(row, (scores, told))| *told = error(at * chunk + row, scores));
        let errors = View::new(scores, count);
        multiply(&mut of_classes, errors.transposed(), hidden, true);
        multiply(of_rows, errors, table, false);
    }
    Some((told, [of_rows, of_classes].map(|values| Tensor::from_primitive::<Flex>(tensor(values, width)))))
}

/// Computes the gradients on any back end: `error` returns the errors of the scores of some rows, and their loss.
fn by_chunks(
    hidden: Tensor<2>,
    classes: Tensor<2>,
    chunk: usize,
    mut error: impl FnMut(Tensor<2>, Range<usize>) -> (Tensor<2>, Tensor<1>),
) -> SoftmaxLoss {
    let (n, chunk) = (hidden.dims()[0], chunk.max(1));
    let mut loss = Tensor::<1>::zeros([1], &hidden.device());
    let (mut of_rows, mut of_classes) = (Vec::new(), classes.zeros_like());
    for start in (0..n).step_by(chunk) {
        let part = start..(start + chunk).min(n);
        let hidden = hidden.clone().slice([part.clone()]);
        let (error, own) = error(hidden.clone().matmul(classes.clone().transpose()), part);
        loss = loss + own;
        of_classes = of_classes + error.clone().transpose().matmul(hidden);
        of_rows.push(error.matmul(classes.clone()));
    }
    let hidden = if of_rows.is_empty() { hidden } else { Tensor::cat(of_rows, 0) };
    SoftmaxLoss { loss, hidden, classes: of_classes }
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

/// Turns the scores of a row into their errors; returns the cross-entropy and the error of `own`.
fn shared_row(row: &mut [f32], own: f32, target: u32, items: &[u32], log_expected: &[f32]) -> (f64, f32) {
    vectorized(
        #[inline(always)]
        || {
            for ((x, &item), &expected) in row.iter_mut().zip(items).zip(log_expected) {
                *x = if item == target { ABSENT } else { *x - expected };
            }
            let top = max(row).max(own);
            let first = exp(own - top);
            let total = normalise(row, top, first);
            (f64::from(top) + f64::from(total).ln() - f64::from(own), first * (1.0 / total) - 1.0)
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

    fn same<const D: usize>(one: Tensor<D>, other: Tensor<D>) {
        one.into_data().assert_approx_eq(&other.into_data(), Tolerance::<f32>::rel_abs(1e-5, 1e-5));
    }

    fn same_loss(one: SoftmaxLoss, other: SoftmaxLoss) {
        same(one.loss, other.loss);
        same(one.hidden, other.hidden);
        same(one.classes, other.classes);
    }

    #[test]
    fn it_is_the_composed_form() {
        for (count, chunk) in [(1, 7), (7, 3), (7, 20), (100, 1), (100, 64)] {
            let (hidden, classes) = (random([20, 5], 1).inner() * 2.0, random([count, 5], 2).inner());
            let targets = Tensor::<1, Int>::arange(0..20, &Device::flex()).remainder_scalar(count as i64);
            let found = softmax_loss(hidden.clone(), classes.clone(), targets.clone(), chunk);
            let error = |scores, part| composed(scores, targets.clone().slice([part]));
            same_loss(found, by_chunks(hidden, classes, 6, error));
        }
    }

    #[test]
    fn over_draws_it_is_the_composed_form() {
        let device = Device::flex();
        for (k, chunk) in [(1, 20), (7, 3), (100, 8)] {
            let (hidden, own) = (random([20, 4], 1).inner() * 2.0, random([20, 1], 2).inner() * 5.0);
            let drawn = random([k, 4], 3).inner();
            // Every class is drawn more than once if there are many draws, and is some row's target.
            let targets = Tensor::<1, Int>::arange(0..20, &device).remainder_scalar(9);
            let items = Tensor::<1, Int>::arange(0..k as i64, &device).remainder_scalar(9);
            let draws = SharedNegatives { items, log_expected: random([1, k], 4).inner().reshape([k]) };
            let inputs = || (hidden.clone(), drawn.clone(), own.clone(), targets.clone());
            let (hidden, drawn, own, targets) = inputs();
            let (found, error) = shared_softmax_loss(hidden, drawn, own, targets, &draws, chunk);
            let (hidden, drawn, own, targets) = inputs();
            let scores = hidden.clone().matmul(drawn.clone().transpose());
            let (errors, first, loss) = composed_shared(scores, own, targets, &draws);
            same(errors.clone().sum_dim(1) + error.clone(), Tensor::zeros([20, 1], &device));
            same(error, first);
            let classes = errors.clone().transpose().matmul(hidden);
            same_loss(found, SoftmaxLoss { loss, hidden: errors.matmul(drawn), classes });
        }
    }
}
