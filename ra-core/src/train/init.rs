//! Initial weights: random tensors that are a function of `(seed, label, step)`.
use crate::random::{around_zero, numbers};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_distr::Distribution;

/// A parameter with these numbers, or zeros if the distribution is invalid.
fn parameter<const D: usize>(
    shape: [usize; D],
    distribution: Option<impl Distribution<f32>>,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Param<Tensor<D>> {
    let values = numbers(shape.iter().product(), distribution, rng);
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

/// A parameter with [`normal_numbers`](crate::normal_numbers).
pub fn normal<const D: usize>(shape: [usize; D], std: f32, rng: &mut ChaCha8Rng, device: &Device) -> Param<Tensor<D>> {
    parameter(shape, around_zero(std), rng, device)
}

/// A parameter drawn uniformly from `-bound..bound`; zeros if `bound` is not positive.
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
