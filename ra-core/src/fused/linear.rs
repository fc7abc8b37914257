//! Linear layers that are never trained.
use super::math::vectorized;
use super::{Matrix, Operator, apply, on_flex};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use std::sync::Arc;

/// How a weight matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[out, in]`, as PyTorch's `Linear` has it.
    OutIn,
    /// `[in, out]`, as GPT-2's `Conv1D` has it.
    InOut,
}

/// `x W + b` with a weight that is never trained: it has no gradient, so that nothing of `x` is kept for one.
///
/// On the CPU back end the weight is kept in the order in which the product reads it, once for both directions.
#[derive(Debug, Clone)]
pub struct FrozenLinear {
    weight: Weight,
    dims: [usize; 2],
}

#[derive(Debug, Clone)]
enum Weight {
    Packed(Arc<Packed>),
    Plain { weight: Tensor<2>, bias: Option<Tensor<2>> },
}

impl FrozenLinear {
    /// A layer from `input` to `output` numbers; `weight` has `input * output` numbers, `bias` has `output`.
    ///
    /// # Panics
    /// When the numbers are too few or too many.
    pub fn new(
        weight: &[f32],
        layout: Layout,
        bias: Option<Vec<f32>>,
        [input, output]: [usize; 2],
        device: &Device,
    ) -> Self {
        assert_eq!(weight.len(), input * output, "a weight for every input and output");
        assert!(bias.as_ref().is_none_or(|b| b.len() == output), "a bias for every output");
        let weight = if on_flex(device) {
            Weight::Packed(Arc::new(Packed::new(weight, layout, bias, [input, output])))
        } else {
            let stored = |shape: [usize; 2]| Tensor::from_data(TensorData::new(weight.to_vec(), shape), device);
            let weight = match layout {
                Layout::OutIn => stored([output, input]).transpose(),
                Layout::InOut => stored([input, output]),
            };
            Weight::Plain { weight, bias: bias.map(|b| Tensor::from_data(TensorData::new(b, [1, output]), device)) }
        };
        Self { weight, dims: [input, output] }
    }

    /// Numbers that go in and out.
    pub fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// `[rows, in]` to `[rows, out]`.
    ///
    /// # Panics
    /// When `x` lives on another device than the layer.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.weight {
            Weight::Packed(packed) => match apply(Product(packed.clone()), &[x]) {
                Some(y) => y,
                None => unreachable!("a layer and what it reads live on one device, as f32"),
            },
            Weight::Plain { weight, bias } => {
                // A plain weight is a constant to autodiff.
                let lift = |w: &Tensor<2>| if x.is_autodiff() { Tensor::from_inner(w.clone()) } else { w.clone() };
                let y = x.clone().matmul(lift(weight));
                match bias {
                    Some(bias) => y + lift(bias),
                    None => y,
                }
            }
        }
    }

    /// [`FrozenLinear::forward`] of every row, `[batch, length, in]` to `[batch, length, out]`.
    pub fn project(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, length, width] = x.dims();
        self.forward(x.reshape([batch * length, width])).reshape([batch, length, self.dims[1]])
    }
}

/// Columns of a panel.
const PANEL: usize = 16;

/// Rows of `x` that a panel meets at once: their 6 x 16 sums fill the vector registers.
const TALL: usize = 6;

/// Rows of a task: what it reads of `x` stays in the cache while the weight goes by.
const BLOCK: usize = 96;

/// Inputs that are gone through before the next panel comes: the piece of a panel stays in the nearest cache.
const DEPTH: usize = 512;

/// A weight cut into panels of [`PANEL`] outputs, each `[input, PANEL]`; the last one is filled up with zeros.
#[derive(Debug)]
struct Packed {
    panels: Vec<f32>,
    bias: Option<Vec<f32>>,
    dims: [usize; 2],
}

impl Packed {
    fn new(weight: &[f32], layout: Layout, bias: Option<Vec<f32>>, [input, output]: [usize; 2]) -> Self {
        let count = output.div_ceil(PANEL);
        let mut panels = vec![0.0; count * input * PANEL];
        panels.par_chunks_exact_mut((input * PANEL).max(1)).enumerate().for_each(|(index, panel)| {
            let from = index * PANEL;
            let wide = PANEL.min(output - from);
            match layout {
                Layout::InOut => {
                    for (to, row) in panel.chunks_exact_mut(PANEL).zip(weight.chunks_exact(output)) {
                        to[..wide].copy_from_slice(&row[from..from + wide]);
                    }
                }
                Layout::OutIn => {
                    for column in 0..wide {
                        let row = &weight[(from + column) * input..][..input];
                        for (to, &w) in panel.chunks_exact_mut(PANEL).zip(row) {
                            to[column] = w;
                        }
                    }
                }
            }
        });
        Self { panels, bias, dims: [input, output] }
    }

    /// The panels of the transposed weight, made anew for each backward pass: one copy of a weight is all that is kept.
    fn transposed(&self) -> Vec<f32> {
        let [input, output] = self.dims;
        let (counts, tall) = ([input.div_ceil(PANEL), output.div_ceil(PANEL)], output);
        let mut panels = Vec::with_capacity(counts[0] * tall * PANEL);
        vectorized(
            #[inline(always)]
            || {
                for to in 0..counts[0] {
                    for from in 0..counts[1] {
                        let start = (from * input + to * PANEL) * PANEL;
                        let rows = PANEL.min(input - to * PANEL);
                        let mut block = [[0.0f32; PANEL]; PANEL];
                        let (source, _) = self.panels[start..start + rows * PANEL].as_chunks::<PANEL>();
                        for (j, source) in source.iter().enumerate() {
                            for i in 0..PANEL {
                                block[i][j] = source[i];
                            }
                        }
                        panels.extend_from_slice(block[..PANEL.min(output - from * PANEL)].as_flattened());
                    }
                }
            },
        );
        panels
    }
}

/// `a b` with `b` in panels, `[rows, inner]` times `[inner, width]`, plus `bias`.
fn product(a: &[f32], inner: usize, panels: &[f32], width: usize, bias: Option<&[f32]>) -> Vec<f32> {
    let rows = a.len() / inner.max(1);
    let mut out = vec![0.0; rows * width];
    let tasks = out.par_chunks_mut((BLOCK * width).max(1)).zip(a.par_chunks((BLOCK * inner).max(1)));
    tasks.for_each(|(out, a)| {
        vectorized(
            #[inline(always)]
            || block(out, a, inner, panels, width, bias),
        );
    });
    out
}

#[inline(always)]
fn block(out: &mut [f32], a: &[f32], inner: usize, panels: &[f32], width: usize, bias: Option<&[f32]>) {
    let rows = a.len() / inner;
    for start in (0..inner).step_by(DEPTH) {
        let end = (start + DEPTH).min(inner);
        for (index, panel) in panels.chunks_exact(inner * PANEL).enumerate() {
            let (piece, _) = panel[start * PANEL..end * PANEL].as_chunks::<PANEL>();
            let columns = index * PANEL..((index + 1) * PANEL).min(width);
            for row in (0..rows).step_by(TALL) {
                // Beyond the end the last row is taken again, and what comes of it is dropped.
                let read = |r: usize| &a[(row + r).min(rows - 1) * inner..][start..end];
                let sums = tile([read(0), read(1), read(2), read(3), read(4), read(5)], piece);
                for (r, sums) in sums.iter().enumerate().take(rows - row) {
                    let out = &mut out[(row + r) * width..][columns.clone()];
                    match bias {
                        Some(bias) if start == 0 => {
                            let bias = &bias[columns.clone()];
                            out.iter_mut().zip(sums).zip(bias).for_each(|((out, sum), bias)| *out = sum + bias);
                        }
                        _ if start == 0 => out.iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum),
                        _ => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
                    }
                }
            }
        }
    }
}

/// The products of six rows with a piece of a panel.
#[inline(always)]
fn tile([a, b, c, d, e, f]: [&[f32]; TALL], piece: &[[f32; PANEL]]) -> [[f32; PANEL]; TALL] {
    let mut sums = [[0.0f32; PANEL]; TALL];
    for ((((((w, a), b), c), d), e), f) in piece.iter().zip(a).zip(b).zip(c).zip(d).zip(e).zip(f) {
        for (sums, x) in sums.iter_mut().zip([a, b, c, d, e, f]) {
            for j in 0..PANEL {
                sums[j] = x.mul_add(w[j], sums[j]);
            }
        }
    }
    sums
}

#[derive(Debug)]
struct Product(Arc<Packed>);

impl Operator<1> for Product {
    type Saved = ();
    const READS_INPUTS: bool = false;

    fn forward(&self, [x]: [Matrix<'_>; 1]) -> (Vec<f32>, usize, ()) {
        let Packed { panels, bias, dims: [input, output] } = &*self.0;
        assert_eq!(x.width, *input, "a row has as many numbers as the layer reads");
        (product(x.values, *input, panels, *output, bias.as_deref()), *output, ())
    }

    fn backward(&self, _: [Matrix<'_>; 1], _: &(), grad: &[f32], _: [bool; 1]) -> [Vec<f32>; 1] {
        let [input, output] = self.0.dims;
        [product(grad, output, &self.0.transposed(), input, None)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fused::tests::{agree, random};

    #[test]
    fn it_is_the_composed_form_in_value_and_gradient() {
        for (rows, input, output) in [(1, 1, 1), (5, 16, 32), (13, 33, 7), (100, 20, 50), (7, 600, 17), (3, 40, 1100)] {
            let (weight, bias) = (random([input, output], 3).inner(), random([1, output], 4).inner());
            let numbers = |x: &Tensor<2>| x.to_data().iter::<f32>().collect::<Vec<_>>();
            let device = Device::flex();
            for (layout, bias) in [(Layout::InOut, Some(bias)), (Layout::OutIn, None)] {
                let stored = if layout == Layout::InOut { weight.clone() } else { weight.clone().transpose() };
                let layer =
                    FrozenLinear::new(&numbers(&stored), layout, bias.as_ref().map(numbers), [input, output], &device);
                let plain = FrozenLinear {
                    weight: Weight::Plain { weight: weight.clone(), bias: bias.clone() },
                    dims: [input, output],
                };
                agree(|| [random([rows, input], 1)], |[x]| layer.forward(x), |[x]| plain.forward(x));
            }
        }
    }
}
