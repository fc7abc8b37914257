//! Tensors as numbers on the host.
use burn::tensor::Tensor;

/// Returns the numbers of a tensor in row order, as `f32`, without a copy if it is on the host and nothing else holds
/// it. To collect an iterator over its data is a copy whose vector grows by doubling: the iterator does not tell its
/// length.
pub fn host_numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    let data = x.into_data().convert::<f32>();
    data.try_into_vec().unwrap_or_else(|e| unreachable!("converted to f32 above: {e:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn numbers_are_in_row_order_also_of_a_view() {
        let x = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::flex());
        assert_eq!(host_numbers(x.clone()), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(host_numbers(x.clone().transpose()), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(host_numbers(x.slice_dim(1, 1..3)), [2.0, 3.0, 5.0, 6.0]);
    }
}
