//! Row numbers as tensors.
use burn::tensor::{Device, Int, Tensor};
use ra_core::int_tensor;

/// `[values]`, to select rows by.
pub(crate) fn indices(values: impl IntoIterator<Item = u32>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<u32> = values.into_iter().collect();
    let n = values.len();
    int_tensor(values, [n], device)
}
