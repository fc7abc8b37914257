//! The softmax over the whole catalogue.
use super::with_gradients;
use burn::tensor::{Int, Tensor};
use ra_core::TrainBatch;
use ra_core::kernels::softmax_loss;

/// Computes the cross-entropy of `hidden`, `[m, dim]`, for the batch's targets among all rows of `table`, `[items + 1,
/// dim]`.
pub(crate) fn whole_catalogue(hidden: Tensor<2>, table: Tensor<2>, batch: &TrainBatch) -> Tensor<1> {
    // At most 8 MiB of scores at a time, so that they stay in the cache between the three products.
    let chunk = ((1 << 21) / table.dims()[0]).clamp(16, 1024);
    softmax_cross_entropy(hidden, table, batch.positives.clone(), chunk)
}

/// Cross-entropy of the softmax over all items except padding (row 0), averaged over rows.
///
/// The gradient, `softmax - one-hot`, is computed by hand on the plain device, for `chunk` rows at a time, so that no
/// `[n, items]` tensor is kept for the backward pass.
///
/// # Shapes
/// `hidden` is `[n, dim]`, `table` is `[items + 1, dim]`, `targets` is `[n]` with items from 1; the result is `[1]`.
pub fn softmax_cross_entropy(hidden: Tensor<2>, table: Tensor<2>, targets: Tensor<1, Int>, chunk: usize) -> Tensor<1> {
    let ([n, dim], [rows, _]) = (hidden.dims(), table.dims());
    let plain = |x: &Tensor<2>| if x.is_autodiff() { x.clone().inner() } else { x.clone() };
    let (h, items) = (plain(&hidden), plain(&table).slice([1..rows]));
    let targets = if targets.is_autodiff() { targets.inner() } else { targets } - 1;
    let found = softmax_loss(h, items, targets, chunk);
    let table_grad = Tensor::cat(vec![Tensor::zeros([1, dim], &found.classes.device()), found.classes], 0);
    with_gradients(found.loss, n, [(hidden, found.hidden), (table, table_grad)])
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
