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
    use burn::tensor::{Device, Tolerance};

    #[test]
    fn each_row_has_a_mean_square_of_one() {
        let x = Tensor::<2>::from_floats([[3.0, 4.0], [-0.5, 0.0]], &Device::flex());
        let y = rms_norm(x, Tensor::from_floats([1.0, 2.0], &Device::flex()), 0.0);
        let (three, four) = (3.0 / 12.5f32.sqrt(), 4.0 / 12.5f32.sqrt());
        let expected = Tensor::<2>::from_floats([[three, 2.0 * four], [-(2.0f32.sqrt()), 0.0]], &Device::flex());
        y.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-6, 1e-6));
    }
}
