//! Dropout (Srivastava et al., JMLR 2014) from a counter: the mask is a function of the seed and the position, so it
//! need not be stored.
use super::math::vectorized;
use crate::splitmix64;
use burn::tensor::{Tensor, TensorData};

/// Zeroes each element with probability `p` and scales the others by `1 / (1 - p)`.
///
/// The same seed gives the same mask on every back end.
///
/// # Shapes
/// `x` and the result are `[rows, width]`.
pub fn dropout(x: Tensor<2>, p: f64, seed: u64) -> Tensor<2> {
    if p <= 0.0 {
        return x;
    }
    let [rows, width] = x.dims();
    let mask = Mask::new(p, seed).factors(rows * width);
    let mask = Tensor::from_data(TensorData::new(mask, [rows, width]), &x.device());
    x * mask
}

#[derive(Debug, Clone, Copy)]
struct Mask {
    threshold: u32,
    keep: f32,
    seeds: [u32; 2],
}

impl Mask {
    fn new(p: f64, seed: u64) -> Self {
        let bits = splitmix64(seed);
        Self {
            threshold: (p * f64::from(u32::MAX)) as u32,
            keep: (1.0 / (1.0 - p)) as f32,
            seeds: [bits as u32, (bits >> 32) as u32],
        }
    }

    /// What each of `n` elements is multiplied by.
    fn factors(&self, n: usize) -> Vec<f32> {
        let mut out = vec![0.0; n];
        vectorized(
            #[inline(always)]
            || {
                // Sixteen elements at a time: a counter that may overflow would prevent vectorization.
                for (block, out) in out.chunks_mut(16).enumerate() {
                    let first = (block as u32).wrapping_mul(16);
                    for (lane, out) in out.iter_mut().enumerate() {
                        *out = self.at(first.wrapping_add(lane as u32));
                    }
                }
            },
        );
        out
    }

    /// Two rounds of multiply and shift (Wellons' `lowbias32`), which vector units support for 32 bits.
    #[inline(always)]
    fn at(&self, index: u32) -> f32 {
        let x = index.wrapping_add(self.seeds[0]);
        let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D) ^ self.seeds[1];
        let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
        if (x ^ (x >> 16)) < self.threshold { 0.0 } else { self.keep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{agree, random};
    use burn::tensor::Device;

    #[test]
    fn gradient_and_value_share_the_mask() {
        let mask = Mask::new(0.3, 9).factors(70);
        let zeros = mask.iter().filter(|&&factor| factor == 0.0).count();
        assert!((10..35).contains(&zeros) && mask.iter().all(|&factor| factor == 0.0 || factor == 1.0 / 0.7_f32));
        let mask = Tensor::<2>::from_data(TensorData::new(mask, [10, 7]), &Device::flex());
        agree(|| [random([10, 7], 1)], |[x]| dropout(x, 0.3, 9), |[x]| x * Tensor::from_inner(mask.clone()));
        // The gradient of the sum is the mask itself.
        let x = random([10, 7], 1);
        let y = dropout(x.clone(), 0.3, 9);
        let grad = x.grad(&y.clone().sum().backward()).unwrap();
        (grad * x.inner()).into_data().assert_eq(&y.into_data(), true);
    }

    #[test]
    fn the_share_is_right_and_seeds_differ() {
        let ones = Tensor::<2>::ones([300, 400], &Device::flex());
        let [a, b] = [1, 2].map(|seed| dropout(ones.clone(), 0.2, seed));
        let mean: f32 = a.clone().mean().into_scalar();
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        // Independent masks agree on .8^2 + .2^2 of the elements.
        let same: f32 = a.equal(b).float().mean().into_scalar();
        assert!((same - 0.68).abs() < 0.01, "{same}");
        assert!(dropout(ones.clone(), 0.0, 1).to_data() == ones.to_data());
    }
}
