//! What is ranked and how it is measured.
use super::{Candidates, Repeats, Seen, Ties};
use super::{EvalRules, Protocol};
use crate::metrics::{Measure, Metric};
use ra_core::{Check, Dataset, Problem};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The minimum number of items scored at a time.
const FEWEST: usize = 256;

/// How to rank and what to measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// The list lengths K at which every metric is computed.
    pub ks: Vec<usize>,
    /// How tied scores count.
    pub ties: Ties,
    /// Whether the items of the user's history are ranked.
    pub seen: Seen,
    /// Whether items that the user already had count as targets.
    pub repeats: Repeats,
    /// The items that each user's targets are ranked against.
    pub candidates: Candidates,
    /// The metrics that choose the model during training, each with its weight: the criterion is their weighted sum on
    /// the validation part. All items are ranked for it, whatever `candidates` is. `head:`, `tail:` or `cold:` before
    /// `hr@K` or `ndcg@K` measures the users with a target in that group of items, as in `tail:hr@100`.
    pub select: BTreeMap<String, f64>,
    /// At most this many validation users are ranked to choose the model, drawn by the run's seed; 0 means all.
    pub select_users: usize,
    /// At most this many users are evaluated for the report, the same sample for every seed; 0 means all.
    pub users: usize,
    /// Memory for the scores that are held at a time, in MiB; scores of at least 256 items are always held. What methods
    /// that count add to scores of single items takes about eight times as much at most. Item vectors and a GPU's
    /// temporary copies of the scores are not included.
    pub block_mib: usize,
    /// The number of recommended items to keep for each user.
    ///
    /// They are found in [`crate::Evaluation::top`].
    pub keep_top: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        let (ties, seen, repeats) = (Ties::default(), Seen::default(), Repeats::default());
        let candidates = Candidates::default();
        let select = BTreeMap::from([("ndcg@10".into(), 1.0), ("hr@100".into(), 0.25)]);
        let (ks, select_users, users) = (vec![10, 100], 2000, 0);
        Self { ks, ties, seen, repeats, candidates, select, select_users, users, block_mib: 64, keep_top: 0 }
    }
}

/// Parses a measure that can choose a model: any except [`Metric::Ils`], which is computed on the test part only.
fn selectable(measure: &str) -> Option<Measure> {
    measure.parse().ok().filter(|measure: &Measure| !matches!(measure.metric, Metric::Ils(_)))
}

impl Check for EvalConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.ks.is_empty() || self.ks.contains(&0) {
            let told = format!("is {:?}, it must hold at least one K, each at least 1, such as [10, 100]", self.ks);
            found.push(Problem::new("ks", told));
        }
        if let Candidates::Uniform(0) | Candidates::Popular(0) = self.candidates {
            let told = "is 0 items, so every target ranks first; give a number of at least 1, or \"all\"";
            found.push(Problem::new("candidates", told));
        }
        if self.select.is_empty() {
            found.push(Problem::new("select", "is empty: name a metric and its weight, as in { \"ndcg@10\" = 1.0 }"));
        }
        for (metric, weight) in &self.select {
            if selectable(metric).is_none() {
                let known: Vec<&str> = Metric::names().filter(|name| *name != "ils").collect();
                let told = format!(
                    "is not a metric with a K, such as ndcg@10; the metrics are {}; for targets in one group of items, \
                     write head, tail or cold before hr or ndcg, as in tail:hr@100",
                    known.join(", ")
                );
                found.push(Problem::new(format!("select.{metric}"), told));
            }
            if !weight.is_finite() || *weight == 0.0 {
                let told = format!("is {weight}, it must be finite and not 0");
                found.push(Problem::new(format!("select.{metric}"), told));
            }
        }
        found
    }
}

impl EvalConfig {
    /// Returns the settings for choosing a model: by [`select`](Self::select), among all items and on all users given,
    /// whatever the report ranks.
    #[must_use]
    pub fn choosing(&self) -> Self {
        let ks: BTreeSet<usize> =
            self.select.keys().filter_map(|measure| Some(selectable(measure)?.metric.k())).collect();
        Self { ks: ks.into_iter().collect(), candidates: Candidates::All, users: 0, ..self.clone() }
    }

    /// Returns the terms of [`select`](Self::select): weights and measures, without what is not a measure.
    pub(crate) fn terms(&self) -> Vec<(f64, Measure)> {
        self.select.iter().filter_map(|(measure, weight)| Some((*weight, selectable(measure)?))).collect()
    }

    /// Describes the criterion in words, for protocols.
    fn selection(&self) -> String {
        let terms: Vec<String> = self.select.iter().map(|(metric, weight)| format!("{weight} {metric}")).collect();
        let users = if self.select_users == 0 { "all".into() } else { format!("up to {}", self.select_users) };
        format!("{} on {users} validation users", terms.join(" + "))
    }

    /// Returns the protocol of a table made with these settings.
    pub fn protocol(&self, dataset: &Dataset) -> Protocol {
        let rules = EvalRules {
            candidates: &self.candidates.name(),
            seen: self.seen.name(),
            repeats: self.repeats.name(),
            ties: self.ties.name(),
            select: &self.selection(),
        };
        Protocol::new(dataset, &rules)
    }

    /// Returns how many items are scored at a time: as many as fit [`block_mib`](Self::block_mib) for this many `rows`,
    /// at least 256 and at most `most`.
    pub(crate) fn block_width(&self, rows: usize, most: usize) -> usize {
        ((self.block_mib << 20) / size_of::<f32>() / rows.max(1)).clamp(FEWEST, most)
    }

    /// Returns how many additions to scores are held at a time.
    #[cfg_attr(not(feature = "tensor"), expect(dead_code, reason = "models alone add"))]
    pub(crate) fn additions_at_once(&self) -> usize {
        self.block_mib.saturating_mul(8 << 20) / size_of::<(u32, f32)>()
    }

    pub(crate) fn sorted_ks(&self) -> Vec<usize> {
        let mut ks: Vec<usize> = self.ks.iter().copied().filter(|&k| k > 0).collect();
        ks.sort_unstable();
        ks.dedup();
        ks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_measure_nothing_are_refused() {
        let config = EvalConfig { ks: vec![10, 0], ..EvalConfig::default() };
        assert!(config.check().unwrap_err().to_string().contains("ks is [10, 0]"));
        assert!(EvalConfig::default().check().is_ok());
        assert_eq!(config.sorted_ks(), [10]);
        let nothing = EvalConfig { candidates: Candidates::Uniform(0), ..EvalConfig::default() };
        assert!(nothing.check().unwrap_err().to_string().contains("candidates is 0 items"));
        let read: EvalConfig = serde_json::from_str(r#"{"ties": "by_id", "seen": "kept"}"#).unwrap();
        assert_eq!((read.ties, read.seen, read.block_mib), (Ties::ById, Seen::Kept, 64));
        let sampled: EvalConfig = serde_json::from_str(r#"{"candidates": {"uniform": 100}}"#).unwrap();
        assert_eq!(sampled.candidates, Candidates::Uniform(100));
        let of = |select: &[(&str, f64)]| EvalConfig {
            select: select.iter().map(|(metric, weight)| (metric.to_string(), *weight)).collect(),
            ..EvalConfig::default()
        };
        for wrong in [
            ("ndcg10", 1.0),
            ("ndgc@10", 1.0),
            ("ils@10", 1.0),
            ("hr@0", 1.0),
            ("hr@010", 1.0),
            ("hr@5", f64::NAN),
            ("tail:gini@5", 1.0),
        ] {
            let told = of(&[wrong]).problems();
            assert!(told.len() == 1 && told[0].key == format!("select.{}", wrong.0), "{told:?}");
        }
        assert_eq!(of(&[]).problems()[0].key, "select");
        let typo = serde_json::from_str::<EvalConfig>(r#"{"tie": "by_id"}"#).unwrap_err().to_string();
        assert!(typo.contains("ties"), "{typo}");
    }

    #[test]
    fn models_are_chosen_by_what_is_asked_for() {
        let usual = EvalConfig { candidates: Candidates::Uniform(5), ..EvalConfig::default() };
        assert_eq!(usual.selection(), super::super::SELECTION);
        let choosing = usual.choosing();
        assert_eq!((choosing.ks, choosing.candidates), (vec![10, 100], Candidates::All));
        assert_eq!(usual.terms(), [(0.25, Metric::Hr(100).into()), (1.0, Metric::Ndcg(10).into())]);
        let tail: EvalConfig = serde_json::from_str(r#"{"select": {"tail:hr@50": 2.0, "ndcg@10": 1.0}}"#).unwrap();
        assert_eq!((tail.choosing().ks, tail.problems()), (vec![10, 50], vec![]));
        assert!(tail.selection().starts_with("1 ndcg@10 + 2 tail:hr@50 on up to 2000"), "{}", tail.selection());
        let read: EvalConfig = serde_json::from_str(r#"{"select": {"mrr@5": 2.0}, "select_users": 0}"#).unwrap();
        assert_eq!((read.choosing().ks, read.selection()), (vec![5], "2 mrr@5 on all validation users".into()));
    }
}
