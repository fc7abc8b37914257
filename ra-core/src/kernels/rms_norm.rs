//! Root mean square normalisation (Zhang & Sennrich, NeurIPS 2019).
use super::math::{dot, vectorized};
use super::{Matrix, Operator, apply};
use burn::tensor::Tensor;

/// `x / sqrt(mean(x^2) + epsilon) * gamma`, each row by itself.
///
/// # Shapes
/// `x` is `[rows, width]`, `gamma` is `[width]`; both get their gradient where they are tracked. The result has the
/// shape of `x`.
pub fn rms_norm(x: Tensor<2>, gamma: Tensor<1>, epsilon: f32) -> Tensor<2> {
    let inputs = [x, gamma.unsqueeze()];
    apply(RmsNorm { epsilon }, &inputs).unwrap_or_else(|| composed(inputs, epsilon))
}

fn composed([x, gamma]: [Tensor<2>; 2], epsilon: f32) -> Tensor<2> {
    let deviation = (x.clone().square().mean_dim(1) + epsilon).sqrt();
    x / deviation * gamma
}

#[derive(Debug)]
struct RmsNorm {
    epsilon: f32,
}

impl Operator<2> for RmsNorm {
    /// The inverse deviation of each row.
    type Saved = Vec<f32>;

    fn forward(&self, [x, gamma]: [Matrix<'_>; 2]) -> (Vec<f32>, usize, Self::Saved) {
        let width = x.width;
        let mut out = vec![0.0; x.values.len()];
        let mut saved = Vec::with_capacity(x.values.len() / width.max(1));
        vectorized(
            #[inline(always)]
            || {
                for (x, out) in x.values.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                    let scale = 1.0 / (dot(x, x) / width as f32 + self.epsilon).sqrt();
                    for ((out, x), gamma) in out.iter_mut().zip(x).zip(gamma.values) {
                        *out = x * scale * gamma;
                    }
                    saved.push(scale);
                }
            },
        );
        (out, width, saved)
    }

    fn backward(
        &self,
        [x, gamma]: [Matrix<'_>; 2],
        saved: &Self::Saved,
        grad: &[f32],
        [_, of_gamma]: [bool; 2],
    ) -> [Vec<f32>; 2] {
        let width = x.width;
        let mut dx = vec![0.0; grad.len()];
        let mut dgamma = vec![0.0f32; if of_gamma { width } else { 0 }];
        vectorized(
            #[inline(always)]
            || {
                let rows = x.values.chunks_exact(width).zip(grad.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
                for (((x, grad), dx), &scale) in rows.zip(saved) {
                    for ((d, g), gamma) in dx.iter_mut().zip(grad).zip(gamma.values) {
                        *d = g * gamma;
                    }
                    let mean = dot(dx, x) * scale * scale / width as f32;
                    for (d, x) in dx.iter_mut().zip(x) {
                        *d = scale * (*d - x * mean);
                    }
                    for ((d, g), x) in dgamma.iter_mut().zip(grad).zip(x) {
                        *d += g * x * scale;
                    }
                }
            },
        );
        [dx, dgamma]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{agree, random};

    #[test]
    fn it_is_the_composed_form_in_value_and_gradient() {
        for (rows, width) in [(1, 16), (5, 50), (40, 64)] {
            let inputs = || [random([rows, width], 1), random([1, width], 2)];
            agree(inputs, |[x, g]| rms_norm(x, g.squeeze_dim(0), 1e-5), |inputs| composed(inputs, 1e-5));
        }
    }
}
