//! Ids, positions and row numbers as tensors.
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Builds a row-major 32-bit integer tensor of `shape`. A value that does not fit into `i32` becomes `i32::MAX`, which
/// is never a valid index.
///
/// # Panics
/// If the number of `values` is not that of `shape`.
pub fn int_tensor<const D: usize, N: TryInto<i32>>(
    values: impl IntoIterator<Item = N>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    let values: Vec<i32> = values.into_iter().map(|value| value.try_into().unwrap_or(i32::MAX)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// [`int_tensor`] with one dimension, `[values]`: row numbers to select, or positions.
pub fn indices<N: TryInto<i32>>(values: impl IntoIterator<Item = N>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<N> = values.into_iter().collect();
    let n = values.len();
    int_tensor(values, [n], device)
}

/// Returns the numbers of an integer tensor, row-major; a negative one becomes `u32::MAX`, which is never a valid index.
pub(crate) fn read_indices<const D: usize>(x: &Tensor<D, Int>) -> Vec<u32> {
    let data = x.to_data();
    let valid = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    match data.as_slice::<i32>() {
        // Without a conversion of each number by itself.
        Ok(numbers) => numbers.iter().map(|&number| valid(number.into())).collect(),
        Err(_) => data.iter::<i64>().map(valid).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_kind_keep_their_order() {
        let device = Device::flex();
        let values = |tensor: Tensor<2, Int>| tensor.into_data().iter::<i64>().collect::<Vec<_>>();
        assert_eq!(values(int_tensor([1usize, 2, 3, 4, 5, 6], [2, 3], &device)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(values(int_tensor(vec![7u32, u32::MAX], [1, 2], &device)), [7, i64::from(i32::MAX)]);
        assert_eq!(read_indices(&int_tensor([3u32, 1, 7, 2], [2, 2], &device)), [3, 1, 7, 2]);
        assert_eq!(values(int_tensor([-1i32].into_iter().chain([4]), [2, 1], &device)), [-1, 4]);
    }
}
