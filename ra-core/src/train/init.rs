//! Weights at the start, and masks: tensors of random numbers that are a function of `(seed, label, step)`.
use crate::SplitMix;
use crate::random::{around_zero, numbers};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_distr::Distribution;

/// A parameter of these numbers, or of zeros where no distribution could be made.
fn parameter<const D: usize>(
    shape: [usize; D],
    distribution: Option<impl Distribution<f32>>,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Param<Tensor<D>> {
    let values = numbers(shape.iter().product(), distribution, rng);
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

/// A parameter of [`normal_numbers`](crate::normal_numbers).
pub fn normal<const D: usize>(shape: [usize; D], std: f32, rng: &mut ChaCha8Rng, device: &Device) -> Param<Tensor<D>> {
    parameter(shape, around_zero(std), rng, device)
}

/// A parameter drawn uniformly from `-bound..bound`; a bound that is not positive gives zeros.
pub fn uniform<const D: usize>(
    shape: [usize; D],
    bound: f32,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Param<Tensor<D>> {
    parameter(shape, rand_distr::Uniform::new(-bound, bound).ok(), rng, device)
}

/// Xavier normal initialisation (Glorot & Bengio, AISTATS 2010): `std = sqrt(2 / (rows + columns))`.
pub fn xavier_normal(shape: [usize; 2], rng: &mut ChaCha8Rng, device: &Device) -> Param<Tensor<2>> {
    normal(shape, (2.0 / (shape[0] + shape[1]) as f32).sqrt(), rng, device)
}

/// An inverted-dropout mask: 0 with probability `p`, else `1 / (1 - p)`.
///
/// Made on the host from a counter: burn's own mask takes 16 ns an element in one thread, this one below 1.
pub fn dropout_mask<const D: usize>(shape: [usize; D], p: f64, seed: u64, device: &Device) -> Tensor<D> {
    let mut random = SplitMix::new(seed);
    let keep = (1.0 / (1.0 - p)) as f32;
    let threshold = (p * 65536.0) as u64;
    let n: usize = shape.iter().product();
    let mut values = Vec::with_capacity(n + 3);
    while values.len() < n {
        let bits = random.bits();
        values.extend([0, 16, 32, 48].map(|shift| if (bits >> shift) & 0xFFFF < threshold { 0.0 } else { keep }));
    }
    values.truncate(n);
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_the_mean() {
        let mask = dropout_mask([100, 1000], 0.2, 3, &Device::flex());
        let mean: f32 = mask.clone().mean().into_scalar();
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        let zeros: f32 = mask.equal_elem(0.0).float().mean().into_scalar();
        assert!((zeros - 0.2).abs() < 0.01, "{zeros}");
    }
}
