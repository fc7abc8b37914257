//! Statistical significance of differences between two models.
use crate::metrics::mean;
use ra_core::{SplitMix, splitmix64};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A mean difference and its 95 % interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean of the differences.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The probability of a mean at least this far from 0 if the two models were equally good, by [`permutation_test`];
    /// `None` if it was not tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// [`Interval::p`] corrected by [`holm`] for all comparisons in one table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_holm: Option<f64>,
    /// The smallest true difference that this many users reveal in four of five cases, by [`detectable`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectable: Option<f64>,
}

impl Interval {
    /// Returns whether the interval excludes 0.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }

    /// Returns whether the difference is significant: by the corrected test if there is one, otherwise by the interval.
    pub fn is_significant(&self) -> bool {
        self.p_holm.map_or(self.excludes_zero(), |p| p < 0.05)
    }
}

/// Returns the mean of `a - b` with a 95 % percentile interval (Efron & Tibshirani 1993, chapter 13). Users are drawn
/// with replacement `resamples` times, the same users for both models. The same seed gives the same interval on any
/// number of threads.
///
/// # Panics
/// Panics if `a` and `b` differ in length.
pub fn paired_bootstrap(a: &[f64], b: &[f64], resamples: usize, seed: u64) -> Interval {
    assert_eq!(a.len(), b.len(), "paired: one value per user in both");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let n = differences.len();
    let middle = mean(&differences);
    if n == 0 || resamples == 0 {
        return Interval { mean: middle, low: middle, high: middle, ..Interval::default() };
    }
    let draw = |resample: u64| {
        let mut random = SplitMix::new(seed ^ splitmix64(resample));
        (0..n).map(|_| differences[random.below(n)]).sum::<f64>() / n as f64
    };
    let mut means: Vec<f64> = (0..resamples as u64).into_par_iter().map(draw).collect();
    means.sort_by(f64::total_cmp);
    Interval { mean: middle, low: quantile(&means, 0.025), high: quantile(&means, 0.975), ..Interval::default() }
}

/// Returns the two-sided p-value of a paired permutation test (Fisher 1935): if the models were equally good, each
/// user's difference could just as well have the other sign. It is the share of `resamples` random sign assignments for
/// which the sum of `a - b` is at least as far from 0 as observed. The observed signs are included, so it is never 0.
/// The same seed gives the same p-value on any number of threads.
///
/// # Panics
/// Panics if `a` and `b` differ in length.
pub fn permutation_test(a: &[f64], b: &[f64], resamples: usize, seed: u64) -> f64 {
    assert_eq!(a.len(), b.len(), "paired: one value per user in both");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).filter(|d| *d != 0.0).collect();
    // Summing in another order may change the last bits.
    let far = differences.iter().sum::<f64>().abs() - 1e-9;
    let as_far = |resample: u64| {
        let mut random = SplitMix::new(!seed ^ splitmix64(resample));
        let mut sum = 0.0;
        for chunk in differences.chunks(64) {
            let mut signs = random.bits();
            for d in chunk {
                sum += f64::from_bits(d.to_bits() ^ (signs << 63));
                signs >>= 1;
            }
        }
        sum.abs() >= far
    };
    let found = (0..resamples as u64).into_par_iter().filter(|&resample| as_far(resample)).count();
    (1 + found) as f64 / (1 + resamples) as f64
}

/// Corrects `ps` for multiple comparisons (Holm 1979): the probability of any false positive among the corrected
/// p-values below .05 is at most .05.
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&a, &b| ps[a].total_cmp(&ps[b]));
    let (mut corrected, mut largest) = (vec![0.0; ps.len()], 0.0f64);
    for (place, index) in order.into_iter().enumerate() {
        largest = largest.max(ps[index] * (ps.len() - place) as f64).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

/// Returns the smallest true mean of `a - b` that a two-sided test at 5 % detects in 80 % of all samples of this many
/// users: 2.8 standard errors of the mean difference.
///
/// # Panics
/// Panics if `a` and `b` differ in length.
pub fn detectable(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "paired: one value per user in both");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let (n, middle) = (differences.len().max(2) as f64, mean(&differences));
    let variance = differences.iter().map(|d| (d - middle).powi(2)).sum::<f64>() / (n - 1.0);
    // The 97.5 % and 80 % quantiles of the normal distribution.
    (1.959_964 + 0.841_621) * (variance / n).sqrt()
}

/// Interpolates linearly between order statistics.
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
    fn permutations_agree_with_all_of_them() {
        let (a, b) = ([1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.5, 0.75, 0.0, 0.5]);
        // Six differences: 1, 1, 1, .5, -.75, 1. All 64 sign assignments are enumerated.
        let d = [1.0, 1.0, 1.0, 0.5, -0.75, 1.0];
        let sum = |signs: u32| -> f64 { (0..6).map(|i| if signs >> i & 1 == 1 { -d[i] } else { d[i] }).sum() };
        let exact = (0..64).filter(|&signs| sum(signs).abs() >= sum(0) - 1e-9).count() as f64 / 64.0;
        let got = permutation_test(&a, &b, 20_000, 1);
        assert!((got - exact).abs() < 0.01, "{got} {exact}");
        assert_eq!(got, permutation_test(&b, &a, 20_000, 1));
        assert_eq!(permutation_test(&a, &a, 50, 1), 1.0);
        assert_eq!(permutation_test(&[1.0; 40], &[0.0; 40], 99, 1), 0.01);
    }

    #[test]
    fn alike_models_are_found_different_as_seldom_as_promised() {
        let mut random = SplitMix::new(8);
        let found = (0..400).filter(|&trial| {
            let mut users = || -> Vec<f64> { (0..60).map(|_| f64::from(random.unit() < 0.3)).collect() };
            permutation_test(&users(), &users(), 199, trial) < 0.05
        });
        assert!((4..=32).contains(&found.count()), "about 20 of 400, or fewer");
    }

    #[test]
    fn holm_by_hand() {
        assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]);
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn what_is_detectable_is_found_in_four_of_five_cases() {
        let mut random = SplitMix::new(4);
        let users = 400;
        let lift = 2.801_585 * (0.5 / users as f64).sqrt();
        // Differences of -1, 0 and 1 with mean `lift` and variance .5.
        let draw = |random: &mut SplitMix| -> Vec<f64> {
            let (up, down) = (0.25 + lift / 2.0, 0.25 - lift / 2.0);
            let value = |x: f64| {
                if x < up {
                    1.0
                } else if x < up + down {
                    -1.0
                } else {
                    0.0
                }
            };
            (0..users).map(|_| value(random.unit())).collect()
        };
        let none = vec![0.0; users];
        let size = detectable(&draw(&mut random), &none);
        assert!((size - lift).abs() < 0.1 * lift, "{size} {lift}");
        let found = (0..300).filter(|&t| permutation_test(&draw(&mut random), &none, 199, t) < 0.05).count();
        assert!((210..=270).contains(&found), "{found} of 300, about 240");
    }

    #[test]
    fn equal_models_do_not_differ() {
        let got = paired_bootstrap(&[1.0, 0.0], &[1.0, 0.0], 50, 1);
        assert_eq!((got.mean, got.low, got.high, got.excludes_zero()), (0.0, 0.0, 0.0, false));
        assert_eq!(paired_bootstrap(&[], &[], 50, 1).mean, 0.0);
    }
}
