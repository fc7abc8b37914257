//! Linear layers that are never trained.
use super::activation::{Activation, activate, activate_in_place};
use super::bf16::{Bf16, Way};
use super::int16::Int16;
use super::math::TILE;
use super::matrix_unit::Unit;
use super::panels::Panels;
use super::{Matrix, Operator, apply, in_host_memory};
use crate::{Precision, host_numbers};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::sync::Arc;

/// How a weight matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[out, in]`, as in PyTorch's `Linear`.
    OutIn,
    /// `[in, out]`, as in GPT-2's `Conv1D`.
    InOut,
}

/// `x W + b` with a weight that is never trained: it gets no gradient, so `x` is not kept for one.
///
/// On the CPU back end the weight is stored once, packed in the order in which the products of both directions read it.
#[derive(Debug, Clone)]
pub struct FrozenLinear {
    weight: Weight,
    dims: [usize; 2],
}

#[derive(Debug, Clone)]
enum Weight {
    Packed(Arc<Packed>),
    Plain(Arc<Plain>),
}

/// A weight that is trained or on another back end, `[in, out]`, and its bias, `[1, out]`.
#[derive(Debug)]
struct Plain {
    weight: Tensor<2>,
    bias: Option<Tensor<2>>,
}

impl FrozenLinear {
    /// Creates a layer from `input` to `output` numbers; `weight` has `input * output` numbers, `bias` has `output`.
    ///
    /// # Panics
    /// If `weight` or `bias` has the wrong length.
    pub fn new(
        weight: &[f32],
        layout: Layout,
        bias: Option<Vec<f32>>,
        [input, output]: [usize; 2],
        device: &Device,
    ) -> Self {
        assert_eq!(weight.len(), input * output, "a weight for every input and output");
        assert!(bias.as_ref().is_none_or(|b| b.len() == output), "a bias for every output");
        let dims = [input, output];
        if in_host_memory(device) {
            return Self::packed(Numbers::F32(Panels::new(weight, layout, dims)), bias, dims);
        }
        let stored = |shape: [usize; 2]| Tensor::from_data(TensorData::new(weight.to_vec(), shape), device);
        let weight = match layout {
            Layout::OutIn => stored([output, input]).transpose(),
            Layout::InOut => stored(dims),
        };
        let bias = bias.map(|b| Tensor::from_data(TensorData::new(b, [1, output]), device));
        Self { weight: Weight::Plain(Arc::new(Plain { weight, bias })), dims }
    }

    /// The numbers of inputs and outputs.
    pub fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// Maps `[rows, in]` to `[rows, out]`, in `f32` whatever type `x` has.
    ///
    /// # Panics
    /// If `x` is on another device than the layer.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.weight {
            Weight::Packed(packed) => Product(packed.clone(), None).of(x),
            Weight::Plain(plain) => {
                let Plain { weight, bias } = &**plain;
                let tracked = x.is_autodiff() || weight.is_autodiff();
                let (x, weight) = (lifted(x, tracked), lifted(weight.clone(), tracked));
                let y = match (x.dtype(), weight.dtype()) {
                    (DType::F32, DType::F32) => x.matmul(weight),
                    (_, DType::F32) => x.cast(DType::F32).matmul(weight),
                    (_, half) => x.cast(half).matmul(weight).cast(DType::F32),
                };
                match bias {
                    Some(bias) => y + lifted(bias.clone(), tracked),
                    None => y,
                }
            }
        }
    }

    /// The layer with its weight stored and multiplied in `precision`: half the memory, and a GPU can use its matrix
    /// units.
    ///
    /// # Panics
    /// If the layer's device cannot compute in it, see [`Precision::check`].
    pub fn in_precision(&self, precision: Precision) -> Self {
        match (&self.weight, precision) {
            (Weight::Packed(packed), _) if packed.weight.precision() == precision => self.clone(),
            (_, Precision::Int16) => {
                let (weight, bias) = self.composed();
                assert!(in_host_memory(&weight.device()), "integers are multiplied on the CPU alone");
                let weight = Numbers::Int16(Int16::new(&host_numbers(weight), self.dims));
                Self::packed(weight, bias.map(host_numbers), self.dims)
            }
            (Weight::Packed(_), Precision::Bf16) => {
                let (weight, bias) = self.composed();
                let weight = Numbers::Bf16(Bf16::new(&host_numbers(weight), Layout::InOut, self.dims));
                Self::packed(weight, bias.map(host_numbers), self.dims)
            }
            (_, Precision::F32 | Precision::F16 | Precision::Bf16) => {
                let (weight, bias) = self.composed();
                let weight = weight.cast(precision.dtype());
                Self { weight: Weight::Plain(Arc::new(Plain { weight, bias })), dims: self.dims }
            }
        }
    }

    fn packed(weight: Numbers, bias: Option<Vec<f32>>, dims: [usize; 2]) -> Self {
        let mut bias = bias.unwrap_or_default();
        bias.resize(dims[1].next_multiple_of(TILE), 0.0);
        Self { weight: Weight::Packed(Arc::new(Packed { weight, bias })), dims }
    }

    /// The layer with `delta`, `[in, out]`, added to its weight. A trained `delta` gets its gradient; the layer itself
    /// is unchanged.
    ///
    /// # Panics
    /// If `delta` has another shape or is on another device.
    pub fn plus(&self, delta: Tensor<2>) -> Self {
        assert_eq!(delta.dims(), self.dims, "a number for every input and output");
        let device = if delta.is_autodiff() { delta.device().inner() } else { delta.device() };
        let (weight, bias) = self.composed();
        let weight = lifted(weight, delta.is_autodiff()).cast(DType::F32) + delta;
        if weight.is_autodiff() || matches!(self.weight, Weight::Plain(_)) {
            return Self { weight: Weight::Plain(Arc::new(Plain { weight, bias })), dims: self.dims };
        }
        Self::new(&host_numbers(weight), Layout::InOut, bias.map(host_numbers), self.dims, &device)
    }

    /// The weight and bias as tensors.
    fn composed(&self) -> (Tensor<2>, Option<Tensor<2>>) {
        match &self.weight {
            Weight::Packed(packed) => {
                let stored =
                    |values: Vec<f32>, shape| Tensor::from_data(TensorData::new(values, shape), &Device::flex());
                let [_, output] = self.dims;
                let bias = stored(packed.bias[..output].to_vec(), [1, output]);
                (stored(packed.weight.unpacked(), self.dims), Some(bias))
            }
            Weight::Plain(plain) => (plain.weight.clone(), plain.bias.clone()),
        }
    }

    /// `activation(x W + b)`, from `[rows, in]` to `[rows, out]`.
    pub fn activated(&self, x: Tensor<2>, activation: Activation) -> Tensor<2> {
        match &self.weight {
            Weight::Packed(packed) if !x.is_autodiff() => Product(packed.clone(), Some(activation)).of(x),
            _ => activate(self.forward(x), activation),
        }
    }

    /// [`FrozenLinear::forward`] for every row, from `[batch, length, in]` to `[batch, length, out]`.
    pub fn project(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, length, width] = x.dims();
        self.forward(x.reshape([batch * length, width])).reshape([batch, length, self.dims[1]])
    }
}

/// Lifts a constant to autodiff if the other tensors are `tracked`.
fn lifted(x: Tensor<2>, tracked: bool) -> Tensor<2> {
    if tracked && !x.is_autodiff() { Tensor::from_inner(x) } else { x }
}

/// A packed weight and its bias, as long as whole panels; zeros if there is no bias.
#[derive(Debug)]
struct Packed {
    weight: Numbers,
    bias: Vec<f32>,
}

#[derive(Debug)]
enum Numbers {
    F32(Panels),
    Bf16(Bf16),
    Int16(Int16),
}

impl Numbers {
    fn precision(&self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::Bf16(_) => Precision::Bf16,
            Self::Int16(_) => Precision::Int16,
        }
    }

    /// The numbers of inputs and outputs.
    fn dims(&self) -> [usize; 2] {
        match self {
            Self::F32(panels) => panels.dims(),
            Self::Bf16(halves) => halves.dims(),
            Self::Int16(integers) => integers.dims(),
        }
    }

    /// The weight, `[in, out]`.
    fn unpacked(&self) -> Vec<f32> {
        match self {
            Self::F32(panels) => panels.unpacked(),
            Self::Bf16(halves) => halves.unpacked(),
            Self::Int16(integers) => integers.unpacked(),
        }
    }
}

/// A product, and what follows it if no gradient is needed.
#[derive(Debug)]
struct Product(Arc<Packed>, Option<Activation>);

impl Product {
    fn of(self, x: Tensor<2>) -> Tensor<2> {
        let device = x.device();
        assert!(in_host_memory(&device), "the layer is on the CPU, its input on {device:?}");
        let x = if x.dtype() == DType::F32 { x } else { x.cast(DType::F32) };
        match apply(self, &[x]) {
            Some(y) => y,
            None => unreachable!("f32 in host memory"),
        }
    }
}

impl Operator<1> for Product {
    type Saved = ();
    const READS_INPUTS: bool = false;

    fn forward(&self, [x]: [Matrix<'_>; 1]) -> (Vec<f32>, usize, ()) {
        let Packed { weight, bias } = &*self.0;
        let [input, output] = weight.dims();
        assert_eq!(x.width, input, "a row has as many numbers as the layer reads");
        let finish = |rows: &mut [f32]| self.1.iter().for_each(|&a| activate_in_place(rows, a));
        let value = match weight {
            Numbers::F32(panels) => panels.product(Unit::find(), x.values, false, bias, finish),
            Numbers::Bf16(halves) => halves.product(Way::find(), x.values, bias, finish),
            Numbers::Int16(integers) => integers.product(x.values, bias, finish),
        };
        (value, output, ())
    }

    /// The gradient of the product with the weight as it is stored; that `x` is rounded too counts as no change of it.
    /// In `bf16`, the gradient of the value is rounded like an input.
    fn backward(&self, _: [Matrix<'_>; 1], _: &(), grad: &[f32], _: [bool; 1]) -> [Vec<f32>; 1] {
        let [input, _] = self.0.weight.dims();
        let none = vec![0.0; input.next_multiple_of(TILE)];
        [match &self.0.weight {
            Numbers::F32(panels) => panels.product(Unit::find(), grad, true, &none, |_| ()),
            Numbers::Bf16(halves) => halves.transposed().product(Way::find(), grad, &none, |_| ()),
            Numbers::Int16(integers) => integers.transposed().product(Unit::find(), grad, false, &none, |_| ()),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{agree, random};
    use burn::tensor::Tolerance;

    #[test]
    fn other_types_than_f32_are_read_as_f32() {
        let device = Device::flex();
        let layer = FrozenLinear::new(&[1.0, 2.0, 3.0, 4.0], Layout::InOut, Some(vec![0.5, -0.5]), [2, 2], &device);
        let x = Tensor::<2>::from_floats([[1.0, 1.0], [2.0, -1.0]], &device);
        for dtype in [DType::F64, DType::F16] {
            for layer in [layer.clone(), layer.in_precision(Precision::F16)] {
                let y = layer.forward(x.clone().cast(dtype));
                assert_eq!(y.dtype(), DType::F32);
                assert_eq!(y.into_data().try_to_vec::<f32>().unwrap(), [4.5, 5.5, -0.5, -0.5], "{dtype:?}");
            }
        }
    }

    #[test]
    fn integers_are_near_in_value_and_the_gradient_is_that_of_the_rounded_weight() {
        coarser_is_near(Precision::Int16, [0.04, 0.02], 1e-4);
    }

    #[test]
    fn bf16_is_near_in_value_and_so_is_the_gradient_of_the_rounded_weight() {
        // Eight bits instead of eleven, and the gradient is a sum of 33 products of rounded numbers.
        coarser_is_near(Precision::Bf16, [0.1, 0.07], 0.05);
    }

    /// `near_by` is how far values of the exact and of the rounded weight may be off, `steep` how far gradients may.
    fn coarser_is_near(precision: Precision, near_by: [f32; 2], steep: f32) {
        let (rows, dims) = (9, [70, 33]);
        let (weight, bias) = (random(dims, 3).inner(), random([1, dims[1]], 4).inner());
        let layer =
            FrozenLinear::new(&host_numbers(weight), Layout::InOut, Some(host_numbers(bias)), dims, &Device::flex());
        let coarse = layer.in_precision(precision);
        assert!(matches!(&coarse.weight, Weight::Packed(packed) if packed.weight.precision() == precision));
        // The rounded weight as a plain one, with the gradient of Burn's own product.
        let (weight, bias) = coarse.composed();
        let plain = FrozenLinear { weight: Weight::Plain(Arc::new(Plain { weight, bias })), dims };
        let direction = random([rows, dims[1]], 5).inner();
        let run = |layer: &FrozenLinear| {
            let x = random([rows, dims[0]], 1);
            let y = layer.forward(x.clone());
            let grads = (y.clone() * Tensor::from_inner(direction.clone())).sum().backward();
            [y.inner(), x.grad(&grads).unwrap()].map(Tensor::into_data)
        };
        let ([exact, _], [near, slope], [rounded, expected]) = (run(&layer), run(&coarse), run(&plain));
        // Sums of 70 products of numbers about 1.
        near.assert_approx_eq(&exact, Tolerance::<f32>::absolute(near_by[0]));
        near.assert_approx_eq(&rounded, Tolerance::<f32>::absolute(near_by[1]));
        assert_ne!(near, exact);
        slope.assert_approx_eq(&expected, Tolerance::<f32>::rel_abs(steep, steep));
        let x = random([rows, dims[0]], 1).inner();
        let (fused, apart) = (coarse.activated(x.clone(), Activation::Gelu), coarse.forward(x));
        let apart = activate(apart, Activation::Gelu).into_data();
        fused.into_data().assert_approx_eq(&apart, Tolerance::<f32>::rel_abs(1e-5, 1e-5));
        // What is added is not rounded.
        let (x, delta) = (random([rows, dims[0]], 1).inner(), random(dims, 6).inner() * 1e-3);
        let moved = coarse.plus(delta.clone()).forward(x.clone()).into_data();
        let composed = plain.forward(x.clone()) + x.matmul(delta);
        moved.assert_approx_eq(&composed.into_data(), Tolerance::<f32>::rel_abs(1e-4, 1e-4));
    }

    #[test]
    fn it_is_the_composed_form_in_value_and_gradient() {
        for (rows, input, output) in [(1, 1, 1), (5, 16, 32), (13, 33, 7), (100, 20, 50), (7, 600, 17), (3, 40, 1100)] {
            // As large as a model's, so that a product's sums are of the size of its terms.
            let weight = random([input, output], 3).inner() / (input as f32).sqrt();
            let bias = random([1, output], 4).inner();
            let numbers = |x: &Tensor<2>| x.to_data().iter::<f32>().collect::<Vec<_>>();
            let device = Device::flex();
            for (layout, bias) in [(Layout::InOut, Some(bias)), (Layout::OutIn, None)] {
                let stored = if layout == Layout::InOut { weight.clone() } else { weight.clone().transpose() };
                let layer =
                    FrozenLinear::new(&numbers(&stored), layout, bias.as_ref().map(numbers), [input, output], &device);
                let plain = FrozenLinear {
                    weight: Weight::Plain(Arc::new(Plain { weight: weight.clone(), bias: bias.clone() })),
                    dims: [input, output],
                };
                agree(|| [random([rows, input], 1)], |[x]| layer.forward(x), |[x]| plain.forward(x));
                let (a, b) = (Activation::Gelu, Activation::Gelu);
                agree(|| [random([rows, input], 1)], |[x]| layer.activated(x, a), |[x]| plain.activated(x, b));
                // A trained sum takes a plain product, a constant one is packed: the same numbers, summed in another
                // order.
                let (x, delta) = (random([rows, input], 1), random([input, output], 2));
                let (tracked, constant) = (layer.plus(delta.clone()), layer.plus(delta.clone().inner()));
                let composed = plain.forward(x.clone()) + x.clone().matmul(delta.clone());
                let tolerance = Tolerance::<f32>::rel_abs(1e-4, 1e-4);
                let close = |y: Tensor<2>| y.into_data().assert_approx_eq(&composed.to_data(), tolerance);
                close(constant.forward(x.clone().inner()));
                let y = tracked.forward(x.clone());
                close(y.clone());
                let grad = |y: Tensor<2>| delta.grad(&y.square().sum().backward()).unwrap().into_data();
                grad(y).assert_approx_eq(&grad(composed.clone()), Tolerance::<f32>::rel_abs(1e-3, 1e-2));
            }
        }
    }
}
