//! Whether a difference between two models is more than the luck of the users drawn.
use crate::metrics::mean;
use ra_core::{SplitMix, splitmix64};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A mean difference and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean of the differences.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether 0 lies outside.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The mean of `a - b` with a 95 % percentile interval (Efron & Tibshirani 1993, chapter 13): users are drawn with
/// replacement `resamples` times, both models on the same users. The same seed gives the same interval on any number of
/// threads.
///
/// # Panics
/// When `a` and `b` differ in length.
pub fn paired_bootstrap(a: &[f64], b: &[f64], resamples: usize, seed: u64) -> Interval {
    assert_eq!(a.len(), b.len(), "paired: one value a user in both");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let n = differences.len();
    let middle = mean(&differences);
    if n == 0 || resamples == 0 {
        return Interval { mean: middle, low: middle, high: middle };
    }
    let draw = |resample: u64| {
        let mut random = SplitMix::new(seed ^ splitmix64(resample));
        (0..n).map(|_| differences[random.below(n)]).sum::<f64>() / n as f64
    };
    let mut means: Vec<f64> = (0..resamples as u64).into_par_iter().map(draw).collect();
    means.sort_by(f64::total_cmp);
    Interval { mean: middle, low: quantile(&means, 0.025), high: quantile(&means, 0.975) }
}

/// Linear between order statistics.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_near_the_normal_one() {
        let a: Vec<f64> = (0..2000).map(|i| f64::from(i % 4 == 0)).collect(); // 500 hits
        let b: Vec<f64> = (0..2000).map(|i| f64::from(i % 5 == 0)).collect(); // 400 hits
        let got = paired_bootstrap(&a, &b, 4000, 3);
        let d: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let variance = d.iter().map(|x| (x - 0.05).powi(2)).sum::<f64>() / d.len() as f64;
        let half = 1.96 * (variance / d.len() as f64).sqrt();
        assert!((got.mean - 0.05).abs() < 1e-12);
        assert!((got.low - (0.05 - half)).abs() < 0.1 * half && (got.high - (0.05 + half)).abs() < 0.1 * half);
        assert!(got.excludes_zero());
        assert_eq!(got, paired_bootstrap(&a, &b, 4000, 3));
        assert_ne!(got, paired_bootstrap(&a, &b, 4000, 4));
    }

    #[test]
    fn equal_models_do_not_differ() {
        let got = paired_bootstrap(&[1.0, 0.0], &[1.0, 0.0], 50, 1);
        assert_eq!((got.mean, got.low, got.high, got.excludes_zero()), (0.0, 0.0, 0.0, false));
        assert_eq!(paired_bootstrap(&[], &[], 50, 1).mean, 0.0);
    }
}
