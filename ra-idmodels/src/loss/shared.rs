//! The softmax over the target and negatives that all rows of a batch share.
use super::with_gradients;
use burn::tensor::{Int, Tensor};
use ra_core::SharedNegatives;
use ra_core::kernels::shared_softmax_loss;

/// The most scores at a time: 8 MiB, so that they stay in the cache between the three products.
const SCORES: usize = 1 << 21;

/// Estimates the cross-entropy over the whole catalogue from negatives that are drawn once for all rows, averaged over
/// rows: importance sampling (Bengio & Senécal, "Adaptive Importance Sampling to Accelerate Training of a Neural
/// Probabilistic Language Model", IEEE TNN 2008), known as logQ correction (Yi et al., RecSys 2019).
///
/// The denominator of the softmax is `exp(s_target)` plus the sum over draws of `exp(s_j - ln(k q_j))`, without the draws
/// of the target itself; its expectation is that of the whole catalogue. The target's own score is not corrected, since
/// it is always there.
///
/// The gradient is computed by hand on the plain device, for some rows at a time.
///
/// # Shapes
/// `hidden` is `[m, dim]`, `table` is `[items + 1, dim]`, `targets` is `[m]`; the result is `[1]`.
pub fn shared_softmax(
    hidden: Tensor<2>,
    table: Tensor<2>,
    targets: Tensor<1, Int>,
    shared: &SharedNegatives,
) -> Tensor<1> {
    let (m, k) = (hidden.dims()[0], shared.items.dims()[0]);
    let plain = |x: &Tensor<2>| if x.is_autodiff() { x.clone().inner() } else { x.clone() };
    let [targets, drawn] = [targets, shared.items.clone()].map(|x| if x.is_autodiff() { x.inner() } else { x });
    let log_expected = shared.log_expected.clone();
    let log_expected = if log_expected.is_autodiff() { log_expected.inner() } else { log_expected };
    let (positives, negatives) =
        (table.clone().select(0, lifted(&targets, &table)), table.clone().select(0, lifted(&drawn, &table)));
    let [h, own, others] = [&hidden, &positives, &negatives].map(plain);
    let draws = SharedNegatives { items: drawn, log_expected };
    let chunk = (SCORES / (k + 1)).clamp(16, 1024);
    let scores = (h.clone() * own.clone()).sum_dim(1);
    let (found, error) = shared_softmax_loss(h.clone(), others, scores, targets, &draws, chunk);
    let grads = [(hidden, found.hidden + error.clone() * own), (positives, error * h), (negatives, found.classes)];
    with_gradients(found.loss, m, grads)
}

/// Returns row numbers for a select on `like`, which has or has not autodiff.
fn lifted(rows: &Tensor<1, Int>, like: &Tensor<2>) -> Tensor<1, Int> {
    if like.is_autodiff() { Tensor::from_inner(rows.clone()) } else { rows.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance, activation::log_softmax};
    use ra_core::{indices, normal, rng};

    fn shared(items: &[u32], log_expected: &[f32], device: &Device) -> SharedNegatives {
        let log_expected = Tensor::from_floats(log_expected, device);
        SharedNegatives { items: indices(items.iter().copied(), device), log_expected }
    }

    #[test]
    fn value_and_gradients_are_those_of_the_composed_softmax() {
        let device = Device::flex().autodiff();
        let make = || {
            let tensor = |name, shape| normal(shape, 1.0, &mut rng(1, name, 0), &device).val().detach().require_grad();
            (tensor("h", [40, 4]), tensor("e", [6, 4]))
        };
        let targets: Vec<u32> = (0..40).map(|row| 1 + row % 5).collect();
        let logs = [0.3, -0.4, 0.3];
        let (h, e) = make();
        // Item 2 is drawn twice, and is the target of some rows.
        let drawn = shared(&[2, 4, 2], &logs, &device);
        let loss = shared_softmax(h.clone(), e.clone(), indices(targets.clone(), &device), &drawn);
        let (h2, e2) = make();
        let row = |at: usize| {
            let h = h2.clone().slice([at..at + 1]);
            let score = |item: u32| h.clone().matmul(e2.clone().slice([item as usize..item as usize + 1]).transpose());
            let others = [2, 4, 2].into_iter().zip(logs).filter(|(item, _)| *item != targets[at]);
            let columns = std::iter::once(score(targets[at])).chain(others.map(|(item, log)| score(item) - log));
            log_softmax(Tensor::cat(columns.collect(), 1), 1).slice([0..1, 0..1]).reshape([1])
        };
        let composed = Tensor::cat((0..40).map(row).collect(), 0).mean().neg();
        let tolerance = Tolerance::<f32>::absolute(1e-5);
        loss.to_data().assert_approx_eq(&composed.to_data(), tolerance);
        let (found, expected) = (loss.backward(), composed.backward());
        h.grad(&found).unwrap().into_data().assert_approx_eq(&h2.grad(&expected).unwrap().into_data(), tolerance);
        e.grad(&found).unwrap().into_data().assert_approx_eq(&e2.grad(&expected).unwrap().into_data(), tolerance);
    }

    #[test]
    fn with_every_item_drawn_as_often_as_expected_it_is_the_softmax_over_the_catalogue() {
        let device = Device::flex();
        let h = normal([7, 4], 1.0, &mut rng(1, "h", 0), &device).val();
        let e = normal([6, 4], 1.0, &mut rng(1, "e", 0), &device).val();
        let targets: Tensor<1, Int> = indices([1u32, 5, 2, 2, 3, 4, 1], &device);
        // Item 3 has three draws and three times the probability of the others.
        let ln3 = 3f32.ln();
        let drawn = shared(&[1, 2, 3, 3, 3, 4, 5], &[0.0, 0.0, ln3, ln3, ln3, 0.0, 0.0], &device);
        let whole = super::super::softmax_cross_entropy(h.clone(), e.clone(), targets.clone(), 7);
        shared_softmax(h, e, targets, &drawn)
            .into_data()
            .assert_approx_eq(&whole.into_data(), Tolerance::<f32>::absolute(1e-5));
    }
}
