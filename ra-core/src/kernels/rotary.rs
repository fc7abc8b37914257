//! Rotary position embedding (Su et al., "RoFormer", 2021) in the form of the Llama family.
use super::math::vectorized;
use super::{Matrix, Operator, apply};
use burn::tensor::Tensor;

/// Rotates the pairs `(j, j + head / 2)` of every head by the angles of its row: `x cos + (-second half, first half)
/// sin`.
///
/// # Shapes
/// `x` is `[rows, heads * head]`, `cos` and `sin` are `[rows, head / 2]`; the result has the shape of `x`.
pub fn rotate(x: Tensor<2>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<2> {
    let inputs = [x, cos, sin];
    apply(Rotate, &inputs).unwrap_or_else(|| composed(inputs))
}

fn composed([x, cos, sin]: [Tensor<2>; 3]) -> Tensor<2> {
    let ([rows, width], [_, half]) = (x.dims(), cos.dims());
    let x: Tensor<4> = x.reshape([rows, width / (2 * half), 2, half]);
    let [cos, sin] = [cos, sin].map(|a| a.reshape([rows, 1, 1, half]));
    let part = |i: usize| x.clone().slice([0..rows, 0..width / (2 * half), i..i + 1]);
    let (a, b) = (part(0), part(1));
    let turned = [a.clone() * cos.clone() - b.clone() * sin.clone(), b * cos + a * sin];
    Tensor::cat(turned.to_vec(), 2).reshape([rows, width])
}

#[derive(Debug)]
struct Rotate;

/// Rotates `x` by the angles, or back if `sign` is -1.
fn turn(x: &[f32], width: usize, cos: &[f32], sin: &[f32], half: usize, sign: f32) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    vectorized(
        #[inline(always)]
        || {
            let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
            for ((x, out), (cos, sin)) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(angles) {
                for (x, out) in x.chunks_exact(2 * half).zip(out.chunks_exact_mut(2 * half)) {
                    let ((a, b), (to_a, to_b)) = (x.split_at(half), out.split_at_mut(half));
                    for j in 0..half {
                        let s = sin[j] * sign;
                        to_a[j] = a[j] * cos[j] - b[j] * s;
                        to_b[j] = b[j] * cos[j] + a[j] * s;
                    }
                }
            }
        },
    );
    out
}

impl Operator<3> for Rotate {
    type Saved = ();

    fn forward(&self, [x, cos, sin]: [Matrix<'_>; 3]) -> (Vec<f32>, usize, ()) {
        (turn(x.values, x.width, cos.values, sin.values, cos.width, 1.0), x.width, ())
    }

    /// Angles are not trained.
    fn backward(&self, [x, cos, sin]: [Matrix<'_>; 3], _: &(), grad: &[f32], wanted: [bool; 3]) -> [Vec<f32>; 3] {
        assert!(!wanted[1] && !wanted[2], "angles have no gradient");
        [turn(grad, x.width, cos.values, sin.values, cos.width, -1.0), Vec::new(), Vec::new()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{agree, random};

    #[test]
    fn it_is_the_composed_form_in_value_and_gradient() {
        for (rows, heads, half) in [(1, 1, 4), (5, 3, 8), (7, 2, 5)] {
            let angle = random([rows, half], 9).inner();
            let (cos, sin) = (angle.clone().cos(), angle.sin());
            let lift = |a: &Tensor<2>, x: &Tensor<2>| {
                if x.is_autodiff() { Tensor::from_inner(a.clone()) } else { a.clone() }
            };
            agree(
                || [random([rows, heads * 2 * half], 1)],
                |[x]| rotate(x.clone(), lift(&cos, &x), lift(&sin, &x)),
                |[x]| composed([x.clone(), lift(&cos, &x), lift(&sin, &x)]),
            );
        }
    }
}
