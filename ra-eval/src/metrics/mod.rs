//! Metrics of ranks (accuracy) and of recommended lists.
mod golden;
mod graded;
mod measure;
mod metric;
mod titles;

pub use golden::{GoldenCase, verify_case};
pub use graded::{dcg, graded_ndcg};
pub use measure::{ItemGroup, Measure};
pub use metric::{Metric, UnknownMetric};
pub(crate) use titles::Titles;

use crate::rank::ranking::Ranked;
use std::collections::BTreeMap;

/// Accuracy of one user's ranking within its first K.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Accuracy {
    /// 1 if any relevant item is among the first K, else 0.
    pub(crate) hr: f64,
    /// Share of the relevant items among the first K.
    pub(crate) recall: f64,
    /// Binary gain, `1 / log2(rank + 1)`, relative to the ideal list of `min(|R|, K)` items (Järvelin & Kekäläinen,
    /// TOIS 2002).
    pub(crate) ndcg: f64,
    /// `1 / rank` of the first relevant item, 0 beyond K.
    pub(crate) mrr: f64,
    /// Average precision over `|R|`, as in trec_eval's `map_cut` and ranx.
    pub(crate) map_r: f64,
    /// Average precision over `min(|R|, K)`, as in RecBole.
    pub(crate) map_min: f64,
    /// Share of the K places that hold a relevant item.
    pub(crate) precision: f64,
}

/// Returns the weight of a place, counted from 1: 1 / log2(rank + 1) (Järvelin & Kekäläinen, TOIS 2002).
pub(crate) fn discount(rank: f64) -> f64 {
    1.0 / (rank + 1.0).log2()
}

/// Computes accuracy from the `ranks` of all relevant items, which must be ascending and not empty.
pub(crate) fn accuracy(ranks: &[f64], k: usize) -> Accuracy {
    let hits = &ranks[..ranks.partition_point(|&rank| rank <= k as f64)];
    let possible = ranks.len().min(k);
    let ideal: f64 = (1..=possible).map(|rank| discount(rank as f64)).sum();
    let average = (1..).zip(hits).map(|(nth, &rank)| f64::from(nth) / rank).sum::<f64>() + 0.0;
    Accuracy {
        hr: if hits.is_empty() { 0.0 } else { 1.0 },
        recall: hits.len() as f64 / ranks.len() as f64,
        // The sum of no terms is -0.
        ndcg: (hits.iter().map(|&rank| discount(rank)).sum::<f64>() + 0.0) / ideal,
        mrr: hits.first().map_or(0.0, |&rank| 1.0 / rank),
        map_r: average / ranks.len() as f64,
        map_min: average / possible as f64,
        precision: hits.len() as f64 / k as f64,
    }
}

/// A metric: its name in the golden cases, its constructor from K, and its value for one user.
type Column = (&'static str, fn(usize) -> Metric, fn(&Accuracy) -> f64);

impl Accuracy {
    /// All metrics, with their names in the golden cases.
    pub(crate) const COLUMNS: [Column; 7] = [
        ("hr", Metric::Hr, |a| a.hr),
        ("recall", Metric::Recall, |a| a.recall),
        ("ndcg", Metric::Ndcg, |a| a.ndcg),
        ("mrr", Metric::Mrr, |a| a.mrr),
        ("map_r", Metric::Map, |a| a.map_r),
        ("map_min", Metric::MapMin, |a| a.map_min),
        ("precision", Metric::Precision, |a| a.precision),
    ];
}

/// Metrics of the recommended lists of all users.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct ListMetrics {
    /// Share of the items that are recommended to any user.
    pub(crate) coverage: f64,
    /// Inequality of how often items are recommended, including items that never are; 0 means equally often.
    pub(crate) gini: f64,
    /// Mean over users of the mean over the list of `-log2(train count / all train counts)`.
    pub(crate) novelty: f64,
    /// Shannon entropy, with the natural logarithm, of how often each item is recommended.
    pub(crate) entropy: f64,
    /// Mean over users of the mean training count in the list.
    pub(crate) popularity: f64,
    /// Mean over users of the similarity of the titles in the list, if it was requested.
    pub(crate) similarity: Option<f64>,
}

/// Sums over users at one K. They take space linear in the items and in the users, without the lists themselves.
#[derive(Debug, Clone)]
struct AtK {
    k: usize,
    accuracy: Vec<Accuracy>,
    recommended: Vec<u64>,
    novelty: f64,
    popularity: f64,
    similarity: f64,
}

/// Collects ranked users, in order, into metrics.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    at: Vec<AtK>,
    counts: Vec<f64>,
    surprise: Vec<f64>,
    titles: Option<Titles>,
    users: usize,
    pub(crate) targets: usize,
    pub(crate) tied: usize,
    tie_width: f64,
    pub(crate) not_finite: usize,
}

impl Tally {
    /// Creates a tally for the given `ks`; `counts` are the training interactions of each item.
    pub(crate) fn new(ks: &[usize], counts: impl IntoIterator<Item = f64>) -> Self {
        let counts: Vec<f64> = counts.into_iter().collect();
        let total = counts.iter().sum::<f64>().max(1.0);
        let surprise = counts.iter().map(|c| -(c.max(1.0) / total).log2()).collect();
        let at = |&k| AtK {
            k,
            accuracy: Vec::new(),
            recommended: vec![0; counts.len()],
            novelty: 0.0,
            popularity: 0.0,
            similarity: 0.0,
        };
        let at = ks.iter().map(at).collect();
        Self { at, surprise, titles: None, users: 0, targets: 0, tied: 0, tie_width: 0.0, not_finite: 0, counts }
    }

    /// Also measures the similarity of the titles in each list.
    pub(crate) fn with_titles(self, titles: Option<Titles>) -> Self {
        Self { titles, ..self }
    }

    /// Adds the next user. A user without relevant items counts for the lists only.
    pub(crate) fn add(&mut self, user: &Ranked) {
        self.users += 1;
        self.targets += user.ranks.len();
        self.tied += user.tied;
        self.tie_width += user.tie_width;
        self.not_finite += user.not_finite;
        for at in &mut self.at {
            if !user.ranks.is_empty() {
                at.accuracy.push(accuracy(&user.ranks, at.k));
            }
            let list = &user.top[..at.k.min(user.top.len())];
            let n = list.len().max(1) as f64;
            at.novelty += list.iter().map(|&item| self.surprise[item as usize]).sum::<f64>() / n;
            at.popularity += list.iter().map(|&item| self.counts[item as usize]).sum::<f64>() / n;
            at.similarity += self.titles.as_mut().map_or(0.0, |titles| titles.similarity(list));
            for &item in list {
                at.recommended[item as usize] += 1;
            }
        }
    }

    /// Returns the accuracy of every user with a relevant item, in order, by K.
    pub(crate) fn accuracy(&self) -> impl Iterator<Item = (usize, &[Accuracy])> {
        self.at.iter().map(|at| (at.k, at.accuracy.as_slice()))
    }

    /// Returns the list metrics by K.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (usize, ListMetrics)> {
        self.at.iter().map(|at| (at.k, at.lists(self.users, self.titles.is_some())))
    }

    /// Returns the share of the targets that tie with another candidate.
    pub(crate) fn tied_share(&self) -> f64 {
        self.tied as f64 / self.targets.max(1) as f64
    }

    /// Returns the mean over targets of the share of the other candidates that they tie with.
    pub(crate) fn tie_width(&self) -> f64 {
        self.tie_width / self.targets.max(1) as f64
    }
}

impl AtK {
    fn lists(&self, users: usize, titled: bool) -> ListMetrics {
        let mut sorted = self.recommended.clone();
        sorted.sort_unstable();
        let (n, total) = (sorted.len() as f64, sorted.iter().sum::<u64>() as f64);
        if total == 0.0 {
            return ListMetrics::default();
        }
        let spread: f64 = (1..).zip(&sorted).map(|(i, &c)| (2.0 * f64::from(i) - n - 1.0) * c as f64).sum();
        let shares = sorted.iter().filter(|&&c| c > 0).map(|&c| c as f64 / total);
        ListMetrics {
            coverage: shares.clone().count() as f64 / n,
            gini: spread / (n * total),
            novelty: self.novelty / users as f64,
            entropy: -shares.map(|p| p * p.ln()).sum::<f64>(),
            popularity: self.popularity / users as f64,
            similarity: titled.then_some(self.similarity / users as f64),
        }
    }
}

/// Returns the mean, or 0 for no values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    (values.iter().sum::<f64>() + 0.0) / values.len().max(1) as f64
}

/// Returns the accuracy metrics of every user.
pub(crate) fn per_user(tally: &Tally) -> BTreeMap<Metric, Vec<f64>> {
    let mut table = BTreeMap::new();
    for (k, users) in tally.accuracy() {
        for (_, metric, column) in Accuracy::COLUMNS {
            table.insert(metric(k), users.iter().map(column).collect());
        }
    }
    table
}

/// Returns the mean accuracy and the list metrics.
pub(crate) fn means(per_user: &BTreeMap<Metric, Vec<f64>>, tally: &Tally) -> BTreeMap<Metric, f64> {
    let mut table: BTreeMap<Metric, f64> = per_user.iter().map(|(&metric, values)| (metric, mean(values))).collect();
    for (k, lists) in tally.lists() {
        table.extend([
            (Metric::Coverage(k), lists.coverage),
            (Metric::Gini(k), lists.gini),
            (Metric::Novelty(k), lists.novelty),
            (Metric::Entropy(k), lists.entropy),
            (Metric::Popularity(k), lists.popularity),
        ]);
        table.extend(lists.similarity.map(|value| (Metric::Ils(k), value)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_conventions_of_average_precision() {
        let got = accuracy(&[1.0, 3.0, 9.0], 2);
        assert_eq!((got.map_r, got.map_min), (1.0 / 3.0, 0.5));
        assert_eq!((got.hr, got.recall, got.mrr, got.precision), (1.0, 1.0 / 3.0, 1.0, 0.5));
        assert!((got.ndcg - 1.0 / (1.0 + 1.0 / 3f64.log2())).abs() < 1e-12);
    }

    #[test]
    fn nothing_found_is_zero_and_not_minus_zero() {
        let got = accuracy(&[9.0], 2);
        assert!([got.hr, got.recall, got.ndcg, got.mrr, got.map_r, got.map_min].iter().all(|x| x.to_bits() == 0));
        assert_eq!(mean(&[]).to_bits(), 0);
    }

    #[test]
    fn lists_that_are_all_alike_are_unequal() {
        let mut tally = Tally::new(&[1], [4.0, 0.0, 4.0]);
        for _ in 0..5 {
            tally.add(&Ranked { top: vec![2, 0], ..Ranked::default() });
        }
        let (_, lists) = tally.lists().next().unwrap();
        assert!((lists.coverage - 1.0 / 3.0).abs() < 1e-12);
        assert!((lists.gini - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((lists.novelty, lists.popularity, lists.entropy), (1.0, 4.0, 0.0));
    }

    #[test]
    fn one_rank_gives_each_accuracy_metric_and_no_metric_of_lists() {
        let of = |metric: Metric, rank| metric.of_rank(rank);
        assert_eq!(of(Metric::Hr(2), Some(2)), Some(1.0));
        assert_eq!([Some(3), None].map(|rank| of(Metric::Hr(2), rank)), [Some(0.0); 2]);
        assert_eq!((of(Metric::Ndcg(10), Some(1)), of(Metric::Ndcg(10), Some(3))), (Some(1.0), Some(0.5)));
        assert_eq!((of(Metric::Mrr(10), Some(4)), of(Metric::Coverage(10), Some(1))), (Some(0.25), None));
    }

    #[test]
    fn nobody_gives_zeros() {
        let tally = Tally::new(&[3], [1.0]);
        assert!(means(&per_user(&tally), &tally).values().all(|&v| v == 0.0));
    }
}
