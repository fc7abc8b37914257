//! How the rows of a table were produced.
mod choices;
mod config;

pub use choices::{Candidates, Repeats, Seen, Ties};
pub use config::EvalConfig;

use crate::Measure;
use ra_core::{Dataset, Fingerprint, fingerprint};
use serde::{Deserialize, Serialize};

/// How the rows of a table were produced. Two rows are comparable only if their [`Protocol::fingerprint`]s are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// Hash of all the fields below and of the data itself.
    pub fingerprint: Fingerprint,
    /// Name of the data set.
    pub dataset: String,
    /// Users after filtering.
    pub users: usize,
    /// Items after filtering.
    pub items: usize,
    /// Interactions after filtering, held-out ones included.
    pub interactions: usize,
    /// Filter steps in words, such as `k_core=5`.
    pub filter: String,
    /// How interactions were held out, in words, such as `leave_one_out`.
    pub split: String,
    /// The items that are ranked: `all`, or a number of sampled ones.
    pub candidates: String,
    /// Whether items of the user's history are `removed` from the ranking (targets never are) or `kept`.
    pub seen: String,
    /// Whether targets that the user already had are `kept` or `skipped`.
    #[serde(default = "kept")]
    pub repeats: String,
    /// How ties between the target and other items count.
    pub ties: String,
    /// The criterion that chose models during training; [`SELECTION`] by default.
    #[serde(default = "selection")]
    pub select: String,
}

/// The default criterion for choosing models, in the words of [`Protocol::select`].
pub const SELECTION: &str = "0.25 hr@100 + 1 ndcg@10 on up to 2000 validation users";

/// The value for reports written before this setting existed.
fn kept() -> String {
    "kept".into()
}

/// As [`kept`].
fn selection() -> String {
    SELECTION.into()
}

/// How a ranking treats candidates, histories and ties, in the words of [`Protocol`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalRules<'a> {
    /// As [`Protocol::candidates`].
    pub candidates: &'a str,
    /// As [`Protocol::seen`].
    pub seen: &'a str,
    /// As [`Protocol::repeats`].
    pub repeats: &'a str,
    /// As [`Protocol::ties`].
    pub ties: &'a str,
    /// As [`Protocol::select`].
    pub select: &'a str,
}

impl Protocol {
    /// Creates the protocol of a table over `dataset`, ranked under `rules`.
    pub fn new(dataset: &Dataset, rules: &EvalRules<'_>) -> Self {
        let data = dataset.fingerprint().to_string();
        let parts = [rules.candidates, &data, &dataset.filter, &dataset.split, rules.seen, rules.ties];
        // Defaults are left out of the hash, so that existing reports keep their fingerprints.
        let repeats = Some(rules.repeats).filter(|repeats| *repeats != kept());
        // And they once said "on N users" where they now say "on up to N users".
        let select = (rules.select != SELECTION).then(|| rules.select.replace(" on up to ", " on "));
        let parts = parts.into_iter().chain(repeats).chain(select.as_deref());
        Self {
            fingerprint: fingerprint(parts.map(str::as_bytes)),
            dataset: dataset.name.clone(),
            users: dataset.users.len(),
            items: dataset.catalog.len(),
            interactions: dataset.interactions(),
            filter: dataset.filter.clone(),
            split: dataset.split.clone(),
            candidates: rules.candidates.into(),
            seen: rules.seen.into(),
            repeats: rules.repeats.into(),
            ties: rules.ties.into(),
            select: rules.select.into(),
        }
    }

    /// Returns the weights and measures of [`select`](Self::select), as [`EvalConfig`] writes it; none if it is written
    /// otherwise.
    pub(crate) fn criterion(&self) -> Vec<(f64, Measure)> {
        let term = |term: &str| {
            let (weight, measure) = term.split_once(' ')?;
            Some((weight.parse().ok()?, measure.parse().ok()?))
        };
        let (terms, _) = self.select.split_once(" on ").unwrap_or_default();
        terms.split(" + ").map(term).collect::<Option<_>>().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metric;
    use ra_core::{Catalog, Sequences};

    #[test]
    fn the_fingerprint_sees_the_data_and_every_rule_and_the_criterion_is_read_back() {
        let data = Dataset {
            name: "tiny".into(),
            users: vec!["u".into(), "v".into()],
            catalog: Catalog::new(
                vec!["a".into(), "b".into(), "c".into()],
                vec!["A".into(), String::new(), "a ".into()],
            ),
            train: Sequences::from_numbers([vec![1, 2, 3], vec![2]]),
            valid: Sequences::from_numbers([vec![1], vec![]]),
            test: Sequences::from_numbers([vec![2], vec![]]),
            filter: "none".into(),
            split: "leave_one_out".into(),
        };
        let other = Dataset { test: Sequences::from_numbers([vec![3], vec![]]), ..data.clone() };
        let rules =
            EvalRules { candidates: "all", seen: "removed", repeats: "kept", ties: "pessimistic", select: SELECTION };
        let others = [
            EvalRules { candidates: "100 sampled uniformly", ..rules },
            EvalRules { seen: "kept", ..rules },
            EvalRules { repeats: "skipped", ..rules },
            EvalRules { ties: "by_id", ..rules },
            EvalRules { select: "1 ndcg@10 on 2000 validation users", ..rules },
        ];
        let own = Protocol::new(&data, &rules).fingerprint;
        assert!(others.iter().all(|rules| Protocol::new(&data, rules).fingerprint != own));
        assert_ne!(own, Protocol::new(&other, &rules).fingerprint);

        let stated = |select: &str| Protocol::new(&data, &EvalRules { select, ..rules }).criterion();
        assert_eq!(stated(SELECTION), [(0.25, Metric::Hr(100).into()), (1.0, Metric::Ndcg(10).into())]);
        assert_eq!(stated("1 cold:hr@5 on 2 validation users"), [(1.0, "cold:hr@5".parse().unwrap())]);
        let asked: EvalConfig = serde_json::from_str(r#"{"select": {"mrr@5": -2.5}, "select_users": 0}"#).unwrap();
        assert_eq!(asked.protocol(&data).criterion(), [(-2.5, Metric::Mrr(5).into())]);
        assert!(stated("in words on 3 users").is_empty() && stated("").is_empty());
    }
}
