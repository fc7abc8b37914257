//! Discounted cumulative gain for graded relevance.
use super::discount;
use crate::protocol::Ties;

/// Returns the discounted cumulative gain of the first `k` items by `scores`, with linear gains: `sum gain / log2(place
/// + 1)` (Järvelin & Kekäläinen, TOIS 2002). For the exponential form, pass `2^gain - 1`.
///
/// If items tie, [`Ties::Expected`] gives each the mean gain of its group, as scikit-learn's `dcg_score` does (McSherry
/// & Najork, ECIR 2008); the pessimistic and optimistic rules put the smallest or largest gains of a group first.
///
/// # Panics
/// Panics if `gains` and `scores` differ in length.
pub fn dcg(gains: &[f64], scores: &[f32], k: usize, ties: Ties) -> f64 {
    assert_eq!(gains.len(), scores.len(), "one gain and one score per item");
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let key = |i: usize| if scores[i].is_nan() { f32::NEG_INFINITY } else { scores[i] + 0.0 };
    let within = |a: f64, b: f64| match ties {
        Ties::Pessimistic => a.total_cmp(&b),
        Ties::Optimistic => b.total_cmp(&a),
        Ties::Expected | Ties::ById => std::cmp::Ordering::Equal,
    };
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(within(gains[a], gains[b])).then(a.cmp(&b)));
    let (mut place, mut sum) = (0, 0.0);
    for group in order.chunk_by(|&a, &b| key(a) == key(b)) {
        let mean = group.iter().map(|&i| gains[i]).sum::<f64>() / group.len() as f64;
        for &item in group.iter().take(k.saturating_sub(place)) {
            place += 1;
            sum += discount(place as f64) * if ties == Ties::Expected { mean } else { gains[item] };
        }
    }
    sum
}

/// Returns [`dcg`] divided by that of the best order of `gains`; 0 if no gain is positive.
///
/// ```
/// use ra_eval::{Ties, graded_ndcg};
/// // All scores are equal, so every order is equally likely; scikit-learn's ndcg_score gives the same value.
/// let got = graded_ndcg(&[10.0, 0.0, 0.0, 1.0, 5.0], &[0.1; 5], 5, Ties::Expected);
/// assert!((got - 0.690979).abs() < 1e-6);
/// ```
///
/// # Panics
/// Panics if `gains` and `scores` differ in length.
pub fn graded_ndcg(gains: &[f64], scores: &[f32], k: usize, ties: Ties) -> f64 {
    let mut best = gains.to_vec();
    best.sort_by(|a, b| b.total_cmp(a));
    let ideal: f64 = (1..).zip(best.iter().take(k)).map(|(place, gain)| gain * discount(f64::from(place))).sum();
    if ideal > 0.0 { dcg(gains, scores, k, ties) / ideal } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples from scikit-learn and Wikipedia, as cited in other libraries' discussions of ties.
    #[test]
    fn published_examples() {
        let near = |got: f64, want: f64, digits: f64| assert!((got - want).abs() < digits, "{got} for {want}");
        let gains = [10.0, 0.0, 0.0, 1.0, 5.0];
        near(dcg(&gains, &[0.3; 5], 5, Ties::Expected), 9.435069, 1e-6);
        near(graded_ndcg(&gains, &[0.3; 5], 5, Ties::Expected), 0.690979, 1e-6);
        near(graded_ndcg(&gains, &[1.0, 1.0, 1.0, 0.5, 0.5], 5, Ties::Expected), 0.699812, 1e-6);
        near(graded_ndcg(&gains, &[0.1, 0.2, 0.3, 4.0, 70.0], 5, Ties::Expected), 0.695694, 1e-6);
        let wikipedia = [3.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 2.0];
        let order = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        near(graded_ndcg(&wikipedia, &order, 6, Ties::ById), 0.785, 5e-4);
    }

    #[test]
    fn the_rules_enclose_the_expected_value() {
        let (gains, scores) = ([10.0, 0.0, 0.0, 1.0, 5.0], [1.0, 1.0, 1.0, 0.5, f32::NAN]);
        for k in 1..=5 {
            let [low, middle, high] =
                [Ties::Pessimistic, Ties::Expected, Ties::Optimistic].map(|ties| graded_ndcg(&gains, &scores, k, ties));
            assert!(low <= middle && middle <= high && (k > 2 || low < high), "{k}: {low} {middle} {high}");
        }
        assert_eq!(graded_ndcg(&gains, &scores, 1, Ties::ById), 1.0);
        assert_eq!((graded_ndcg(&[0.0], &[1.0], 3, Ties::Expected), graded_ndcg(&[], &[], 3, Ties::ById)), (0.0, 0.0));
    }

    #[test]
    fn binary_gains_give_the_metric_of_the_tables() {
        let (gains, scores) = ([0.0, 1.0, 0.0, 1.0], [4.0, 3.0, 2.0, 1.0]);
        let table = crate::metrics::accuracy(&[2.0, 4.0], 4).ndcg;
        assert!((graded_ndcg(&gains, &scores, 4, Ties::Pessimistic) - table).abs() < 1e-12);
    }
}
