//! Layer normalisation (Ba et al., 2016).
use super::math::{dot, sum, vectorized};
use super::{Matrix, Operator, apply};
use burn::tensor::Tensor;

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` for each row, with the biased variance.
///
/// # Shapes
/// `x` is `[rows, width]`, `gamma` and `beta` are `[width]`; the result has the shape of `x`.
pub fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f32) -> Tensor<2> {
    let inputs = [x, gamma.unsqueeze(), beta.unsqueeze()];
    apply(LayerNorm { epsilon }, &inputs).unwrap_or_else(|| composed(inputs, epsilon))
}

fn composed([x, gamma, beta]: [Tensor<2>; 3], epsilon: f32) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let deviation = (centred.clone().square().mean_dim(1) + epsilon).sqrt();
    centred / deviation * gamma + beta
}

#[derive(Debug)]
struct LayerNorm {
    epsilon: f32,
}

impl Operator<3> for LayerNorm {
    /// The mean and inverse standard deviation of each row.
    type Saved = Vec<(f32, f32)>;

    fn forward(&self, [x, gamma, beta]: [Matrix<'_>; 3]) -> (Vec<f32>, usize, Self::Saved) {
        let width = x.width;
        let mut out = vec![0.0; x.values.len()];
        let mut saved = Vec::with_capacity(x.values.len() / width.max(1));
        vectorized(
            #[inline(always)]
            || {
                for (x, out) in x.values.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                    let mean = sum(x) / width as f32;
                    for (out, x) in out.iter_mut().zip(x) {
                        *out = x - mean;
                    }
                    let scale = 1.0 / (dot(out, out) / width as f32 + self.epsilon).sqrt();
                    for ((out, gamma), beta) in out.iter_mut().zip(gamma.values).zip(beta.values) {
                        *out = (*out * scale).mul_add(*gamma, *beta);
                    }
                    saved.push((mean, scale));
                }
            },
        );
        (out, width, saved)
    }

    fn backward(
        &self,
        [x, gamma, _]: [Matrix<'_>; 3],
        saved: &Self::Saved,
        grad: &[f32],
        [_, of_gamma, of_beta]: [bool; 3],
    ) -> [Vec<f32>; 3] {
        let width = x.width;
        let mut dx = vec![0.0; grad.len()];
        let (mut dgamma, mut dbeta) = (vec![0.0f32; width], vec![0.0f32; width]);
        let (mut unit, mut scaled) = (vec![0.0f32; width], vec![0.0f32; width]);
        vectorized(
            #[inline(always)]
            || {
                let rows = x.values.chunks_exact(width).zip(grad.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
                let gamma = &gamma.values[..width];
                let (unit, scaled) = (&mut unit[..width], &mut scaled[..width]);
                let (dgamma, dbeta) = (&mut dgamma[..width], &mut dbeta[..width]);
                for (((x, grad), dx), &(mean, scale)) in rows.zip(saved) {
                    let (x, grad, dx) = (&x[..width], &grad[..width], &mut dx[..width]);
                    for j in 0..width {
                        unit[j] = (x[j] - mean) * scale;
                        scaled[j] = grad[j] * gamma[j];
                    }
                    if of_gamma || of_beta {
                        for j in 0..width {
                            dbeta[j] += grad[j];
                            dgamma[j] = grad[j].mul_add(unit[j], dgamma[j]);
                        }
                    }
                    let (a, b) = (sum(scaled) / width as f32, dot(scaled, unit) / width as f32);
                    for j in 0..width {
                        dx[j] = scale * (scaled[j] - a - unit[j] * b);
                    }
                }
            },
        );
        [dx, dgamma, dbeta]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{agree, random};

    #[test]
    fn it_is_the_composed_form_in_value_and_gradient() {
        for (rows, width) in [(1, 16), (5, 50), (40, 64)] {
            let inputs = || [random([rows, width], 1), random([1, width], 2), random([1, width], 3)];
            let fused = |[x, g, b]: [Tensor<2>; 3]| layer_norm(x, g.squeeze_dim(0), b.squeeze_dim(0), 1e-8);
            agree(inputs, fused, |inputs| composed(inputs, 1e-8));
        }
    }
}
