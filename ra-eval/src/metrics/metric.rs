//! Names of metrics.
use super::{Accuracy, accuracy};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt::{self, Display};
use std::str::FromStr;

/// A metric of the first `K` places of a ranking, written `hr@10` in text and in files.
///
/// Metrics sort by their text, like the keys of a file.
///
/// ```
/// use ra_eval::Metric;
/// assert_eq!("ndcg@10".parse(), Ok(Metric::Ndcg(10)));
/// assert_eq!(Metric::Hr(100).to_string(), "hr@100");
/// assert!("ndgc@10".parse::<Metric>().unwrap_err().to_string().contains("ndcg"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Metric {
    /// 1 if any target is among the first K, else 0.
    Hr(usize),
    /// Normalized discounted cumulative gain with binary gains: the sum of `1 / log2(1 + r(t))` over the targets with
    /// `r(t) <= K`, divided by the sum of `1 / log2(1 + i)` for `i` from 1 to `min(|T|, K)` (Järvelin & Kekäläinen,
    /// TOIS 2002).
    Ndcg(usize),
    /// Reciprocal rank: `1 / r` of the best-ranked target if `r <= K`, else 0.
    Mrr(usize),
    /// The number of targets among the first K, divided by `|T|`.
    Recall(usize),
    /// The number of targets among the first K, divided by `K`.
    Precision(usize),
    /// Average precision: the sum of `hits(r(t)) / r(t)` over the targets with `r(t) <= K`, divided by `|T|`, as
    /// trec_eval and ranx define it.
    Map(usize),
    /// The same sum divided by `min(|T|, K)`, as RecBole defines it.
    MapMin(usize),
    /// The share of the catalogue that is recommended to at least one user. It is one value for all users.
    Coverage(usize),
    /// The Gini coefficient of how often each item is recommended, including items that never are; 0 means equally
    /// often. It is one value for all users.
    Gini(usize),
    /// The mean of `-log2(n / N)` over the list, in bits: `n` is the number of training interactions of the item, at
    /// least 1, and `N` is that of all items.
    Novelty(usize),
    /// The Shannon entropy, with the natural logarithm, of how often each item is recommended. It is one value for all
    /// users.
    Entropy(usize),
    /// The mean number of training interactions of the items in the list.
    Popularity(usize),
    /// Intra-list similarity: the mean over all pairs of items in the list of the cosine between the sets of words in
    /// their titles (Ziegler et al., WWW 2005).
    Ils(usize),
}

/// The name of a metric and its constructor from K.
type Kind = (&'static str, fn(usize) -> Metric);

/// All metrics, in the order of a table.
const KINDS: [Kind; 13] = [
    ("hr", Metric::Hr),
    ("ndcg", Metric::Ndcg),
    ("mrr", Metric::Mrr),
    ("recall", Metric::Recall),
    ("precision", Metric::Precision),
    ("map", Metric::Map),
    ("map_min", Metric::MapMin),
    ("coverage", Metric::Coverage),
    ("gini", Metric::Gini),
    ("novelty", Metric::Novelty),
    ("entropy", Metric::Entropy),
    ("popularity", Metric::Popularity),
    ("ils", Metric::Ils),
];

impl Metric {
    /// Returns the name of the metric without its K.
    pub fn name(self) -> &'static str {
        KINDS[self.place()].0
    }

    /// Returns whether the metric is of the recommended items, not of the ranks of the targets.
    pub(crate) fn reads_lists(self) -> bool {
        use Metric::{Coverage, Entropy, Gini, Ils, Novelty, Popularity};
        matches!(self, Coverage(_) | Gini(_) | Novelty(_) | Entropy(_) | Popularity(_) | Ils(_))
    }

    /// Returns the metric for a user with one relevant item, at place `rank` of the list counted from 1, or not in it; nothing
    /// for a metric of the recommended items.
    pub fn of_rank(self, rank: Option<usize>) -> Option<f64> {
        let found = accuracy(&[rank.map_or(f64::INFINITY, |rank| rank as f64)], self.k());
        Accuracy::COLUMNS.iter().find(|(_, of, _)| of(self.k()) == self).map(|(.., value)| value(&found))
    }

    /// Returns the number of places that the metric looks at.
    pub fn k(self) -> usize {
        self.parts().1
    }

    /// Returns the names of all metrics, in the order of a table.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KINDS.into_iter().map(|(name, _)| name)
    }

    /// Returns the position of the metric in a table.
    pub(crate) fn place(self) -> usize {
        self.parts().0
    }

    /// Returns the position in [`KINDS`], and K.
    fn parts(self) -> (usize, usize) {
        match self {
            Self::Hr(k) => (0, k),
            Self::Ndcg(k) => (1, k),
            Self::Mrr(k) => (2, k),
            Self::Recall(k) => (3, k),
            Self::Precision(k) => (4, k),
            Self::Map(k) => (5, k),
            Self::MapMin(k) => (6, k),
            Self::Coverage(k) => (7, k),
            Self::Gini(k) => (8, k),
            Self::Novelty(k) => (9, k),
            Self::Entropy(k) => (10, k),
            Self::Popularity(k) => (11, k),
            Self::Ils(k) => (12, k),
        }
    }
}

impl Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.name(), self.k()))
    }
}

impl Ord for Metric {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name()).then_with(|| self.k().to_string().cmp(&other.k().to_string()))
    }
}

impl PartialOrd for Metric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

/// The error for text that does not name a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownMetric(String);

impl UnknownMetric {
    pub(super) fn new(text: &str) -> Self {
        Self(text.into())
    }
}

impl Display for UnknownMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Metric::names().collect();
        write!(f, "{:?} is not a metric with a K, such as ndcg@10; the metrics are {}", self.0, names.join(", "))?;
        match self.0.contains(':') {
            true => f.write_str(
                "; hr and ndcg are also those of a group of targets, as in tail:hr@100: head, tail and cold",
            ),
            false => Ok(()),
        }
    }
}

impl std::error::Error for UnknownMetric {}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let found = text.split_once('@').and_then(|(name, digits)| {
            let (_, kind) = KINDS.into_iter().find(|(known, _)| *known == name)?;
            let k: usize = digits.parse().ok().filter(|&k| k > 0)?;
            // Each metric has exactly one spelling: no sign and no leading zeros.
            (k.to_string() == digits).then(|| kind(k))
        });
        found.ok_or_else(|| UnknownMetric(text.into()))
    }
}

impl TryFrom<String> for Metric {
    type Error = UnknownMetric;

    fn try_from(text: String) -> Result<Self, UnknownMetric> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_metric_and_its_text_are_one_thing() {
        for (place, (name, kind)) in KINDS.into_iter().enumerate() {
            let metric = kind(20);
            assert_eq!((metric.name(), metric.k(), metric.place()), (name, 20, place));
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
        for wrong in ["hr", "hr@", "hr@0", "hr@010", "hr@+1", "HR@10", "ndgc@10"] {
            assert!(wrong.parse::<Metric>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_keep_the_order_of_their_keys() {
        let texts = ["coverage@10", "hr@10", "hr@100", "hr@5", "ils@5", "map@10", "map@5", "map_min@10", "ndcg@10"];
        let metrics: BTreeMap<Metric, f64> = texts.iter().map(|text| (text.parse().unwrap(), 0.5)).collect();
        let sorted: BTreeMap<&str, f64> = texts.iter().map(|text| (*text, 0.5)).collect();
        let json = serde_json::to_string(&metrics).unwrap();
        assert_eq!(json, serde_json::to_string(&sorted).unwrap());
        assert_eq!(serde_json::from_str::<BTreeMap<Metric, f64>>(&json).unwrap(), metrics);
    }
}
