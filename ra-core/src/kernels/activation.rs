//! Activations of feed-forward blocks.
use super::math::{erf, exp, vectorized};
use super::{Matrix, Operator, apply, in_host_memory};
use burn::tensor::{Tensor, activation};
use rayon::prelude::*;
use std::ops::Range;

/// An elementwise activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x Phi(x)` (Hendrycks & Gimpel, 2016), with the exact error function: BERT.
    Gelu,
    /// GELU's tanh approximation: GPT-2.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x sigmoid(x)`.
    Silu,
}

/// Applies an activation to every element of `x`.
pub fn activate(x: Tensor<2>, activation: Activation) -> Tensor<2> {
    let inputs = [x];
    apply(Activate(activation), &inputs).unwrap_or_else(|| composed(inputs, activation))
}

/// `x Phi(x)` composed from Burn's operators, with the exact gradient on every back end.
///
/// Burn 0.22 has it on the CPU. On other back ends Burn's gradient is that of the tanh approximation, off by up to
/// 5e-4, so there the error function is written out.
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    if in_host_memory(&x.device()) {
        return activation::gelu(x);
    }
    let below = (x.clone() * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0;
    x * below * 0.5
}

/// `silu(gate) * up` (Shazeer, "GLU variants improve transformer", 2020, eq. 6), elementwise.
pub fn gated_silu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    let inputs = [gate, up];
    apply(GatedSilu, &inputs).unwrap_or_else(|| {
        let [gate, up] = inputs;
        activation::silu(gate) * up
    })
}

fn composed([x]: [Tensor<2>; 1], kind: Activation) -> Tensor<2> {
    match kind {
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => {
            let inner = (x.clone() + x.clone().powi_scalar(3) * 0.044_715) * ROOT_2_OVER_PI;
            x * (inner.tanh() + 1.0) * 0.5
        }
        Activation::Relu => activation::relu(x),
        Activation::Silu => activation::silu(x),
    }
}

const ROOT_2_OVER_PI: f32 = 0.797_884_6;

/// The number of elements per task.
const GRAIN: usize = 1 << 15;

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Computes `f(inputs[..][i])` for each `i`, with `f` compiled for the vector units.
macro_rules! map {
    (|$($x:ident),+| $body:expr, $first:expr $(, $input:expr)*) => {
        in_pieces($first.len(), |out, piece| {
            let inputs = [$first $(, $input)*].map(|x: &[f32]| &x[piece.clone()]);
            vectorized(
                #[inline(always)]
                || map!(@loop out, inputs, |$($x),+| $body),
            );
        })
    };
    (@loop $out:ident, $inputs:ident, |$a:ident, $b:ident| $body:expr) => {{
        let [a, b] = $inputs;
        for ((out, &$a), &$b) in $out.iter_mut().zip(a).zip(b) {
            *out = $body;
        }
    }};
    (@loop $out:ident, $inputs:ident, |$a:ident, $b:ident, $c:ident| $body:expr) => {{
        let [a, b, c] = $inputs;
        for (((out, &$a), &$b), &$c) in $out.iter_mut().zip(a).zip(b).zip(c) {
            *out = $body;
        }
    }};
}

/// Returns `n` numbers, filled in pieces by `fill`.
fn in_pieces(n: usize, fill: impl Fn(&mut [f32], Range<usize>) + Sync) -> Vec<f32> {
    if rayon::current_num_threads() > 1 {
        let mut out = vec![0.0; n];
        let pieces = out.par_chunks_mut(GRAIN).enumerate();
        pieces.for_each(|(index, out)| fill(out, index * GRAIN..index * GRAIN + out.len()));
        return out;
    }
    // With a single thread, fill each piece while it is still in the cache.
    let mut out = Vec::with_capacity(n);
    for start in (0..n).step_by(GRAIN) {
        let end = (start + GRAIN).min(n);
        out.resize(end, 0.0);
        fill(&mut out[start..], start..end);
    }
    out
}

impl Activation {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        match self {
            Self::Gelu => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            // (1 + tanh u) / 2 is the sigmoid of 2u.
            Self::GeluTanh => x * sigmoid(2.0 * ROOT_2_OVER_PI * (x + 0.044_715 * x * x * x)),
            Self::Relu => x.max(0.0),
            Self::Silu => x * sigmoid(x),
        }
    }
}

/// Applies an activation in place.
pub(super) fn activate_in_place(x: &mut [f32], kind: Activation) {
    // One loop per activation, so that no loop checks it for every number.
    macro_rules! each {
        ($kind:expr) => {
            vectorized(
                #[inline(always)]
                || {
                    x.iter_mut().for_each(
                        #[inline(always)]
                        |x| *x = $kind.of(*x),
                    )
                },
            )
        };
    }
    match kind {
        Activation::Gelu => each!(Activation::Gelu),
        Activation::GeluTanh => each!(Activation::GeluTanh),
        Activation::Relu => each!(Activation::Relu),
        Activation::Silu => each!(Activation::Silu),
    }
}

#[derive(Debug)]
struct Activate(Activation);

impl Operator<1> for Activate {
    type Saved = ();

    fn forward(&self, [x]: [Matrix<'_>; 1]) -> (Vec<f32>, usize, ()) {
        let out = in_pieces(x.values.len(), |out, piece| {
            out.copy_from_slice(&x.values[piece]);
            activate_in_place(out, self.0);
        });
        (out, x.width, ())
    }

    fn backward(&self, [x]: [Matrix<'_>; 1], _: &(), grad: &[f32], _: [bool; 1]) -> [Vec<f32>; 1] {
        const DENSITY: f32 = 0.398_942_3; // of the normal distribution at 0
        [match self.0 {
            Activation::Gelu => map!(
                |x, g| {
                    let below = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
                    g * (x * DENSITY).mul_add(exp(-0.5 * x * x), below)
                },
                x.values,
                grad
            ),
            Activation::GeluTanh => map!(
                |x, g| {
                    let s = sigmoid(2.0 * ROOT_2_OVER_PI * (x + 0.044_715 * x * x * x));
                    let slope = 2.0 * ROOT_2_OVER_PI * (1.0 + 3.0 * 0.044_715 * x * x);
                    g * (s + x * s * (1.0 - s) * slope)
                },
                x.values,
                grad
            ),
            Activation::Relu => map!(|x, g| if x > 0.0 { g } else { 0.0 }, x.values, grad),
            Activation::Silu => map!(
                |x, g| {
                    let s = sigmoid(x);
                    g * (s + x * s * (1.0 - s))
                },
                x.values,
                grad
            ),
        }]
    }
}

#[derive(Debug)]
struct GatedSilu;

impl Operator<2> for GatedSilu {
    type Saved = ();

    fn forward(&self, [gate, up]: [Matrix<'_>; 2]) -> (Vec<f32>, usize, ()) {
        (map!(|a, b| a * sigmoid(a) * b, gate.values, up.values), gate.width, ())
    }

    fn backward(&self, [gate, up]: [Matrix<'_>; 2], _: &(), grad: &[f32], _: [bool; 2]) -> [Vec<f32>; 2] {
        let of_gate = map!(
            |a, b, g| {
                let s = sigmoid(a);
                g * b * (s + a * s * (1.0 - s))
            },
            gate.values,
            up.values,
            grad
        );
        [of_gate, map!(|a, g| g * a * sigmoid(a), gate.values, grad)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{agree, random};

    #[test]
    fn they_are_the_composed_forms_in_value_and_gradient() {
        for kind in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu] {
            agree(|| [random([7, 33], 1)], |[x]| activate(x * 3.0, kind), |[x]| composed([x * 3.0], kind));
        }
        agree(|| [random([5, 20], 1), random([5, 20], 2)], |[a, b]| gated_silu(a, b), |[a, b]| activation::silu(a) * b);
    }
}
