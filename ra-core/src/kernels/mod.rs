//! Operators that are slow when composed, written once with their own gradient.
//!
//! On Burn's CPU back end, an operator here is one pass over host memory. On any other back end it is the composed form of
//! the same mathematics. Tests compare the two by value and by gradient. Inner loops are plain Rust, compiled for the
//! vector units of the machine they run on.
//!
//! # What each is worth
//!
//! How much longer a training step takes if the operator is composed instead: CPU time on one thread of an otherwise idle
//! Intel Xeon with AVX-512 and without AMX, 2026-11-28, by `cargo xtask bench`. An operator worth less than 3 % everywhere
//! is not kept: [`rms_norm`] (0.5 %) and [`dropout`] (-3 % and 3 %) are composed.
//!
//! | operator | step | ms | composed, ms | longer by |
//! |---|---|---|---|---|
//! | [`attention`], [`attend`] | `minilm-hybrid` | 881 | 1,000 | 14 % |
//! | | `smollm2-hybrid` | 2,045 | 2,324 | 14 % |
//! | | `sasrec-softmax` | 352 | 373 | 6 % |
//! | [`activate`], [`gelu`] | `minilm-hybrid` | 881 | 1,057 | 20 % |
//! | [`gated_silu`] | `smollm2-hybrid` | 2,045 | 2,395 | 17 % |
//! | [`rotate`] | `smollm2-hybrid` | 2,045 | 2,169 | 6 % |
//! | [`layer_norm`] | `minilm-hybrid` | 881 | 915 | 4 % |
//! | the errors of [`softmax_loss`] | `sasrec-softmax` | 352 | 873 | 148 % |
//! | [`pair_scores`] | `sasrec-bce` | 43 | 46 | 7 % |
//! | AdamW's update | `sasrec-bce` | 43 | 48 | 11 % |
//! | [`propagate`] | `lightgcn` | 131 | over 300 s for the bench | |
//! | [`FrozenLinear`] | `minilm-text` | 367 | 363 | -1 % |
//! | | `minilm-hybrid` | 866 | 784 | -9 % |
//!
//! [`softmax_loss`] also multiplies into memory that is there already. With Burn's product, which first fills and
//! moves a new tensor on one thread, the step takes 15 % longer on one thread and 23 % on two (385 and 296 ms for 334
//! and 240, medians of three; the two threads of one core of an Intel Xeon with AMX, 2026-12-01).
//!
//! [`FrozenLinear`] is kept although Burn's own product is quicker on this processor, for two reasons. A row of its result
//! has the same bits whatever rows are beside it, which cached texts and resumed runs rely on. And it is what uses Intel's
//! matrix unit (AMX).
mod activation;
mod attention;
mod bf16;
mod dropout;
mod int16;
mod layer_norm;
mod linear;
mod math;
mod matrix_unit;
mod padded;
mod pair_scores;
mod panels;
mod product;
mod propagate;
mod rms_norm;
mod rotary;
mod softmax;
mod sparse;

pub use activation::{Activation, activate, gated_silu, gelu};
pub use attention::{attend, attention};
pub use dropout::dropout;
pub use layer_norm::layer_norm;
pub use linear::{FrozenLinear, Layout};
pub(crate) use math::vectorized;
pub use pair_scores::pair_scores;
pub use propagate::{Graph, propagate};
pub use rms_norm::rms_norm;
pub use rotary::rotate;
pub use softmax::{SoftmaxLoss, shared_softmax_loss, softmax_loss};
pub use sparse::Sparse;

use crate::in_host_memory;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::fmt::Debug;
use std::sync::Arc;

/// The instructions of an x86 processor that operators use on the CPU back end, for a report and for the keys of stored
/// numbers: `AVX-512, AMX`, say. Empty elsewhere.
pub fn instructions() -> String {
    let units = [math::vectors(), bf16::Way::find().name(), matrix_unit::Unit::find().map(|_| "AMX")];
    units.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A matrix on the host, row-major.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) width: usize,
}

/// An operator on `N` matrices with a gradient of its own.
pub(crate) trait Operator<const N: usize>: Debug + Send + Sync + 'static {
    /// What the gradient needs beyond the inputs.
    type Saved: Send + Sync + 'static;

    /// Whether the gradient reads the inputs; where it does not, they are not kept for it.
    const READS_INPUTS: bool = true;

    /// The value, row-major, and its width.
    fn forward(&self, inputs: [Matrix<'_>; N]) -> (Vec<f32>, usize, Self::Saved);

    /// The value alone, where nothing asks for a gradient.
    fn plain(&self, inputs: [Matrix<'_>; N]) -> (Vec<f32>, usize) {
        let (value, width, _) = self.forward(inputs);
        (value, width)
    }

    /// The gradient of each input, given that of the value; of one that is not `wanted` it may be empty. The inputs are
    /// empty where they are not read.
    fn backward(&self, inputs: [Matrix<'_>; N], saved: &Self::Saved, grad: &[f32], wanted: [bool; N]) -> [Vec<f32>; N];
}

/// Runs an operator on the CPU back end; `None` where the tensors live elsewhere.
pub(crate) fn apply<const N: usize, O: Operator<N>>(operator: O, inputs: &[Tensor<2>; N]) -> Option<Tensor<2>> {
    if !inputs.iter().all(|x| in_host_memory(&x.device())) {
        return None;
    }
    if !inputs.iter().any(Tensor::is_autodiff) {
        let primitives = all(inputs, |x| x.clone().try_into_primitive::<Flex>().ok().and_then(host))?;
        let (value, width) = operator.plain(primitives.each_ref().map(matrix));
        return Some(Tensor::from_primitive::<Flex>(tensor(value, width)));
    }
    let tracked = all(inputs, |x| {
        let x = if x.is_autodiff() { x.clone() } else { Tensor::from_inner(x.clone()) };
        x.try_into_primitive::<Autodiff<Flex>>().ok()
    })?;
    let primitives = all(&tracked, |x| host(x.primitive().clone()))?;
    let (value, width, saved) = operator.forward(primitives.each_ref().map(matrix));
    let widths = primitives.each_ref().map(|x| matrix(x).width);
    let inputs = O::READS_INPUTS.then_some(primitives);
    let step = Step(Arc::new(Taped { operator, inputs, widths, saved }));
    let guards = tracked.map(|x| x.node());
    let output = tensor(value, width);
    let output = match step.clone().prepare::<NoCheckpointing>(guards).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
}

/// Changes plain tensors in place on the CPU back end; `None`, and nothing changed, where they live elsewhere.
pub(crate) fn on_host<const N: usize>(
    tensors: &mut [Tensor<1>; N],
    change: impl FnOnce([&mut [f32]; N]),
) -> Option<[Tensor<1>; N]> {
    all(tensors, |x| x.clone().try_into_primitive::<Flex>().ok().filter(|x| x.dtype() == DType::F32))?;
    // The handles must be the only ones, or the first write would copy.
    let owned = tensors.each_mut().map(|x| std::mem::replace(x, Tensor::zeros([0], &Device::flex())));
    let mut owned = owned.map(|x| match x.try_into_primitive::<Flex>() {
        Ok(x) if x.is_contiguous() && x.layout().start_offset() == 0 => x,
        Ok(x) => x.to_contiguous(),
        Err(_) => unreachable!("tried above"),
    });
    change(owned.each_mut().map(FlexTensor::storage_mut::<f32>));
    Some(owned.map(Tensor::from_primitive::<Flex>))
}

fn all<T, U: Debug, const N: usize>(items: &[T; N], each: impl Fn(&T) -> Option<U>) -> Option<[U; N]> {
    let found: Option<Vec<U>> = items.iter().map(each).collect();
    found?.try_into().ok()
}

fn host(x: FlexTensor) -> Option<FlexTensor> {
    // Rows from the middle of a tensor are read where they are.
    (x.dtype() == DType::F32).then(|| if x.is_contiguous() { x } else { x.to_contiguous() })
}

fn matrix(x: &FlexTensor) -> Matrix<'_> {
    let width = x.layout().shape().last().copied().unwrap_or(1);
    Matrix { values: x.as_slice().unwrap_or_else(|| unreachable!("made contiguous f32 above")), width }
}

fn tensor(values: Vec<f32>, width: usize) -> FlexTensor {
    let rows = values.len().checked_div(width).unwrap_or(0);
    FlexTensor::from_data(TensorData::new(values, [rows, width]))
}

#[derive(Debug)]
struct Taped<O: Operator<N>, const N: usize> {
    operator: O,
    inputs: Option<[FlexTensor; N]>,
    widths: [usize; N],
    saved: O::Saved,
}

struct Step<O: Operator<N>, const N: usize>(Arc<Taped<O, N>>);

impl<O: Operator<N>, const N: usize> Clone for Step<O, N> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<O: Operator<N>, const N: usize> Debug for Step<O, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.operator.fmt(f)
    }
}

impl<O: Operator<N>, const N: usize> Backward<Flex, N> for Step<O, N> {
    type State = ();

    fn backward(self, ops: Ops<(), N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let Taped { operator, inputs, widths, saved } = &*self.0;
        let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
        let read = match inputs {
            Some(inputs) => inputs.each_ref().map(matrix),
            None => widths.map(|width| Matrix { values: &[], width }),
        };
        let wanted = std::array::from_fn(|i| ops.parents[i].is_some());
        let found = operator.backward(read, saved, matrix(&grad).values, wanted);
        for ((parent, values), width) in ops.parents.iter().zip(found).zip(widths) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, tensor(values, *width));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{normal, rng};
    use burn::tensor::{Device, Tolerance};

    pub(super) fn random(shape: [usize; 2], seed: u64) -> Tensor<2> {
        normal(shape, 1.0, &mut rng(seed, "fused", 0), &Device::flex().autodiff()).val().detach().require_grad()
    }

    /// Compares value and gradients of two forms of one operator.
    pub(super) fn agree<const N: usize>(
        inputs: impl Fn() -> [Tensor<2>; N],
        fused: impl Fn([Tensor<2>; N]) -> Tensor<2>,
        composed: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    ) {
        let tolerance = Tolerance::<f32>::rel_abs(1e-4, 2e-5);
        let run = |form: &dyn Fn([Tensor<2>; N]) -> Tensor<2>| {
            let inputs = inputs();
            let value = form(inputs.clone());
            let direction = random(value.dims(), 99).detach();
            let grads = (value.clone() * direction).sum().backward();
            let grads: Vec<TensorData> =
                inputs.iter().map(|x| x.grad(&grads).map(Tensor::into_data)).map(Option::unwrap).collect();
            (value.into_data(), grads)
        };
        let (a, b) = (run(&fused), run(&composed));
        a.0.assert_approx_eq(&b.0, tolerance);
        for (a, b) in a.1.iter().zip(&b.1) {
            a.assert_approx_eq(b, tolerance);
        }
        // Without autodiff the value is the same, bit for bit.
        let plain = fused(inputs().map(Tensor::inner));
        assert!(!plain.is_autodiff());
        plain.into_data().assert_eq(&a.0, true);
    }
}
