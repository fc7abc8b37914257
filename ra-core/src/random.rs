//! Randomness on the host from explicit seeds.
//!
//! Burn has one generator per process and back end: two tests in parallel would disturb each other, and two back ends
//! would start from different weights. Here every random number is a function of `(seed, label, step)`.
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::Distribution;

/// One round of SplitMix64 (Steele et al., OOPSLA 2014): a bijection that scatters nearby integers.
pub fn splitmix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A counter-based generator for hot loops.
#[derive(Debug, Clone)]
pub struct SplitMix(u64);

impl SplitMix {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(splitmix64(seed))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let out = splitmix64(self.0);
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        out
    }

    /// Uniform in `0..n` (`n` > 0), by multiplication; the bias is below `n / 2^64`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Uniform in `0..1`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Returns the generator for one purpose at one step.
pub fn rng(seed: u64, label: &str, step: u64) -> ChaCha8Rng {
    let label = label.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    ChaCha8Rng::seed_from_u64(splitmix64(splitmix64(seed) ^ label) ^ splitmix64(step))
}

pub(crate) fn numbers(count: usize, distribution: Option<impl Distribution<f32>>, rng: &mut ChaCha8Rng) -> Vec<f32> {
    match distribution {
        Some(distribution) => distribution.sample_iter(rng).take(count).collect(),
        None => vec![0.0; count],
    }
}

pub(crate) fn around_zero(std: f32) -> Option<rand_distr::Normal<f32>> {
    rand_distr::Normal::new(0.0, std.max(0.0)).ok()
}

/// Draws `count` numbers on the host from a normal distribution around 0; a negative or NaN `std` counts as 0.
pub fn normal_numbers(count: usize, std: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
    numbers(count, around_zero(std), rng)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_is_the_published_sequence() {
        // The first outputs of the reference generator from state 0.
        assert_eq!(splitmix64(0), 0xE220_A839_7B1D_CDAF);
        assert_eq!(splitmix64(0x9E37_79B9_7F4A_7C15), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn labels_and_steps_are_independent_streams() {
        let first = |label, step| normal_numbers(4, 1.0, &mut rng(7, label, step));
        assert_eq!(first("a", 0), first("a", 0));
        assert_ne!(first("a", 0), first("a", 1));
        assert_ne!(first("a", 0), first("b", 0));
    }
}
