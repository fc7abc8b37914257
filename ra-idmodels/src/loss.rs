//! Losses over a catalogue.
use burn::tensor::activation::{log_sigmoid, softmax};
use burn::tensor::{IndexingUpdateOp, Int, Tensor};

/// Binary cross-entropy with one negative a positive, mean over rows (Kang & McAuley, ICDM 2018, eq. 7).
///
/// # Shapes
/// `hidden`, `positives` and `negatives` are `[n, dim]`; the result is `[1]`.
pub fn binary_cross_entropy(hidden: Tensor<2>, positives: Tensor<2>, negatives: Tensor<2>) -> Tensor<1> {
    let score = |items: Tensor<2>| (hidden.clone() * items).sum_dim(1);
    (log_sigmoid(score(positives)) + log_sigmoid(score(negatives).neg())).mean().neg()
}

/// Cross-entropy of the softmax over all items but padding (row 0), mean over rows.
///
/// The gradient is written by hand, `softmax - one-hot`, and made a `chunk` of rows at a time on the plain device: no
/// `[n, items]` tensor is kept for backward, and softmax runs in its fused form, which autodiff would switch off.
///
/// # Shapes
/// `hidden` is `[n, dim]`, `table` is `[items + 1, dim]`, `targets` is `[n]`; the result is `[1]`.
pub fn softmax_cross_entropy(hidden: Tensor<2>, table: Tensor<2>, targets: Tensor<1, Int>, chunk: usize) -> Tensor<1> {
    let [n, _] = hidden.dims();
    let [rows, _] = table.dims();
    let plain = |x: &Tensor<2>| if x.is_autodiff() { x.clone().inner() } else { x.clone() };
    let (h, e) = (plain(&hidden), plain(&table));
    let targets = if targets.is_autodiff() { targets.inner() } else { targets };
    let device = e.device();
    let no_padding = Tensor::cat(vec![Tensor::full([1, 1], -1e9, &device), Tensor::zeros([1, rows - 1], &device)], 1);
    let mut table_grad = e.zeros_like();
    let mut hidden_grads = Vec::new();
    let mut total = Tensor::<1>::zeros([1], &device);
    for start in (0..n).step_by(chunk.max(1)) {
        let part = start..(start + chunk.max(1)).min(n);
        let count = part.len();
        let h = h.clone().slice([part.clone()]);
        let target: Tensor<2, Int> = targets.clone().slice([part]).reshape([count, 1]);
        let probability = softmax(h.clone().matmul(e.clone().transpose()) + no_padding.clone(), 1);
        total = total - probability.clone().gather(1, target.clone()).clamp_min(1e-30).log().sum();
        let minus_one = Tensor::full([count, 1], -1.0, &device);
        let grad = probability.scatter(1, target, minus_one, IndexingUpdateOp::Add) / n as f32;
        table_grad = table_grad + grad.clone().transpose().matmul(h);
        hidden_grads.push(grad.matmul(e.clone()));
    }
    let loss = total / n as f32;
    if !hidden.is_autodiff() && !table.is_autodiff() {
        return loss;
    }
    // A linear form with these gradients, shifted to the loss's value.
    let attach = |x: Tensor<2>, grad: Tensor<2>| (x * Tensor::from_inner(grad)).sum();
    let linear = attach(hidden, Tensor::cat(hidden_grads, 0)) + attach(table, table_grad);
    linear.clone() - linear.detach() + Tensor::from_inner(loss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance, activation::log_softmax};
    use ra_core::{normal, rng};

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
