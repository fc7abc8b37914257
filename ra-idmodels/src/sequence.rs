//! What methods that read a history have in common.
use burn::module::Param;
use burn::nn::{LayerNorm, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::History;
use ra_core::fused::layer_norm;
use std::sync::Arc;

/// Whole numbers as a tensor.
pub(crate) fn ints(values: impl IntoIterator<Item = i32>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.into_iter().collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// A linear layer with this weight, `[in, out]`, and a bias of zeros.
pub(crate) fn linear_of(weight: Param<Tensor<2>>) -> Linear {
    let ([_, to], device) = (weight.dims(), weight.device());
    let mut layer = LinearConfig::new(1, 1).init(&device);
    layer.weight = weight;
    layer.bias = Some(Param::from_tensor(Tensor::zeros([to], &device)));
    layer
}

/// The layer norm of `x`, `[rows, width]`, in its fused form, which Burn's own module does not have.
pub(crate) fn normed(norm: &LayerNorm, x: Tensor<2>, epsilon: f32) -> Tensor<2> {
    let beta = norm.beta.as_ref().map_or_else(|| norm.gamma.val().zeros_like(), Param::val);
    layer_norm(x, norm.gamma.val(), beta, epsilon)
}

/// The last row of each sequence.
pub(crate) fn ends(lengths: &[usize], device: &Device) -> Tensor<1, Int> {
    let end = |end: &mut i32, &n: &usize| {
        *end += n as i32;
        Some(*end)
    };
    ints(lengths.iter().scan(-1, end), device)
}

/// The state at the last item of each history, zeros where there is none.
pub(crate) fn last_states(
    histories: &[History<'_>],
    max_length: usize,
    device: &Device,
    states: impl FnOnce(Tensor<1, Int>, &Arc<[usize]>) -> Tensor<2>,
) -> Tensor<2> {
    // An empty history reads padding once; its state is then put to zero.
    let read = |h: &History<'_>| match &h.items[h.items.len().saturating_sub(max_length)..] {
        [] => vec![0],
        items => items.iter().map(|&i| i as i32).collect(),
    };
    let rows: Vec<Vec<i32>> = histories.iter().map(read).collect();
    let lengths: Arc<[usize]> = rows.iter().map(Vec::len).collect();
    let known: Vec<f32> = histories.iter().map(|h| if h.items.is_empty() { 0.0 } else { 1.0 }).collect();
    let known = Tensor::<1>::from_floats(known.as_slice(), device).reshape([histories.len(), 1]);
    states(ints(rows.concat(), device), &lengths).select(0, ends(&lengths, device)) * known
}
