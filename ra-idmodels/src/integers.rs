//! Whole numbers, such as ids and rows, as tensors.
use burn::tensor::{Device, Int, Tensor, TensorData};

/// `[values]`.
pub(crate) fn indices(values: impl IntoIterator<Item = u32>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<u32> = values.into_iter().collect();
    let n = values.len();
    int_tensor(values, [n], device)
}

/// A tensor of this shape, row-major.
pub(crate) fn int_tensor<const D: usize>(
    values: impl IntoIterator<Item = u32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
