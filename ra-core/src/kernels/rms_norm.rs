//! Root mean square normalisation (Zhang & Sennrich, NeurIPS 2019), composed: an operator of its own was worth 0.5 % of a
//! step of SmolLM2.
use burn::tensor::Tensor;

/// `x / sqrt(mean(x^2) + epsilon) * gamma` for each row.
///
/// # Shapes
/// `x` is `[rows, width]`, `gamma` is `[width]`; each gets its gradient if it is tracked. The result has the shape of
/// `x`.
pub fn rms_norm(x: Tensor<2>, gamma: Tensor<1>, epsilon: f32) -> Tensor<2> {
    let deviation = (x.clone().square().mean_dim(1) + epsilon).sqrt();
    x / deviation * gamma.unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::random;
    use burn::tensor::{Device, Tolerance};

    #[test]
    fn each_row_has_a_mean_square_of_one() {
        let x = Tensor::<2>::from_floats([[3.0, 4.0], [-0.5, 0.0]], &Device::flex());
        let y = rms_norm(x, Tensor::from_floats([1.0, 2.0], &Device::flex()), 0.0);
        let (three, four) = (3.0 / 12.5f32.sqrt(), 4.0 / 12.5f32.sqrt());
        let expected = Tensor::<2>::from_floats([[three, 2.0 * four], [-(2.0f32.sqrt()), 0.0]], &Device::flex());
        y.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-6, 1e-6));
    }

    #[test]
    fn value_and_gradients_are_those_of_the_formula() {
        let tolerance = Tolerance::<f32>::rel_abs(1e-4, 2e-5);
        for (rows, width) in [(1, 16), (5, 50), (40, 64)] {
            let [x, gamma, grad] = [random([rows, width], 1), random([1, width], 2), random([rows, width], 3)];
            let y = rms_norm(x.clone(), gamma.clone().squeeze_dim(0), 1e-5);
            let grads = (y.clone() * grad.clone().detach()).sum().backward();
            let found = [y.inner(), x.grad(&grads).unwrap(), gamma.grad(&grads).unwrap()];

            let [x, gamma, grad] = [x, gamma, grad].map(Tensor::inner);
            let scale = (x.clone().square().mean_dim(1) + 1e-5).sqrt().recip();
            let unit = x.clone() * scale.clone();
            let inner = grad.clone() * gamma.clone();
            let along = (inner.clone() * unit.clone()).mean_dim(1);
            let dx = (inner - unit.clone() * along) * scale;
            let expected = [unit.clone() * gamma.clone(), dx, (grad * unit).sum_dim(0)];
            for (found, expected) in found.iter().zip(expected) {
                found.to_data().assert_approx_eq(&expected.into_data(), tolerance);
            }
            let plain = rms_norm(x, gamma.squeeze_dim(0), 1e-5);
            plain.into_data().assert_eq(&found[0].to_data(), true);
        }
    }
}
