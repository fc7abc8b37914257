//! How the rows of a table came about.
use crate::{Dataset, Fingerprint, fingerprint};
use serde::{Deserialize, Serialize};

/// How rows of a table came about; two rows compare only under the same [`Protocol::fingerprint`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// Hash of all below and of the data itself.
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
    /// `leave_one_out` or `temporal`.
    pub split: String,
    /// What is ranked: `all` items, or so many sampled ones.
    pub candidates: String,
    /// Items of the user's history: `removed` from the ranking (never the target) or `kept`.
    pub seen: String,
    /// Targets that the user had before: `kept` or `skipped`.
    #[serde(default = "kept")]
    pub repeats: String,
    /// How ties between the target and others count.
    pub ties: String,
    /// What models were chosen by while they trained, [`SELECTION`] where nothing else was asked for.
    #[serde(default = "selection")]
    pub select: String,
}

/// What models are chosen by where nothing else is asked for, in the words of [`Protocol::select`].
pub const SELECTION: &str = "0.25 hr@100 + 1 ndcg@10 on 2000 validation users";

/// Of a report that was written before there was a choice.
fn kept() -> String {
    "kept".into()
}

/// As [`kept`].
fn selection() -> String {
    SELECTION.into()
}

/// What a ranking does with candidates, histories and ties, in the words of [`Protocol`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules<'a> {
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

impl Dataset {
    /// The protocol of a table over this data set.
    pub fn protocol(&self, rules: &Rules<'_>) -> Protocol {
        let data = self.fingerprint().to_string();
        let parts = [rules.candidates, &data, &self.filter, &self.split, rules.seen, rules.ties];
        // Left out where it is as it always was: reports keep the fingerprints they have.
        let repeats = Some(rules.repeats).filter(|repeats| *repeats != kept());
        let select = Some(rules.select).filter(|select| *select != SELECTION);
        Protocol {
            fingerprint: fingerprint(parts.into_iter().chain(repeats).chain(select).map(str::as_bytes)),
            dataset: self.name.clone(),
            users: self.users.len(),
            items: self.catalog.len(),
            interactions: self.interactions(),
            filter: self.filter.clone(),
            split: self.split.clone(),
            candidates: rules.candidates.into(),
            seen: rules.seen.into(),
            repeats: rules.repeats.into(),
            ties: rules.ties.into(),
            select: rules.select.into(),
        }
    }
}
