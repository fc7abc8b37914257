//! What is ranked, and how it counts: `[eval]` of a recipe.
use crate::{Candidates, EvalError, Ties};
use ra_core::{Dataset, Protocol, Rules};
use serde::{Deserialize, Serialize};

/// Items of the user's history in the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// They are no candidates, unless they are a target.
    #[default]
    Removed,
    /// They stay.
    Kept,
}

impl Seen {
    /// The name in recipes and protocols.
    pub fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Kept => "kept",
        }
    }
}

/// Targets that the user had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeats {
    /// They count as any other, and are candidates.
    #[default]
    Kept,
    /// They are no targets: only what is new to the user is asked for.
    Skipped,
}

impl Repeats {
    /// The name in recipes and protocols.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Skipped => "skipped",
        }
    }
}

/// How to rank and what to measure: `[eval]` of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// The K of every metric.
    pub ks: Vec<usize>,
    /// How tied scores count.
    pub ties: Ties,
    /// Whether the user's history is ranked.
    pub seen: Seen,
    /// Whether a target may be in the history.
    pub repeats: Repeats,
    /// What is ranked.
    pub candidates: Candidates,
    /// Users in the table: 0 is all, else a sample of so many that is the same for every seed.
    pub users: usize,
    /// Memory for the scores that are held at a time, in MiB; at least those of 256 items. Item vectors are not counted, nor
    /// what a GPU makes of the scores while it counts them.
    pub block_mib: usize,
    /// How many recommended items of each user to keep in [`crate::Evaluation::top`].
    pub keep_top: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        let (ties, seen, repeats) = (Ties::default(), Seen::default(), Repeats::default());
        let candidates = Candidates::default();
        Self { ks: vec![10, 100], ties, seen, repeats, candidates, users: 0, block_mib: 64, keep_top: 0 }
    }
}

impl EvalConfig {
    /// Refuses settings that measure nothing; for the moment a recipe is read.
    ///
    /// # Errors
    /// [`EvalError::Config`] names the key.
    pub fn check(&self) -> Result<(), EvalError> {
        if self.ks.is_empty() || self.ks.contains(&0) {
            let problem = format!("{:?} must hold at least one K, each at least 1, such as [10, 100]", self.ks);
            return Err(EvalError::Config { key: "ks", problem });
        }
        if let Candidates::Uniform(0) | Candidates::Popular(0) = self.candidates {
            let problem = "0 candidates beside the target rank it first; name how many, or \"all\"".into();
            return Err(EvalError::Config { key: "candidates", problem });
        }
        Ok(())
    }

    /// The protocol of a table made with these settings.
    pub fn protocol(&self, dataset: &Dataset) -> Protocol {
        let rules = Rules {
            candidates: &self.candidates.name(),
            seen: self.seen.name(),
            repeats: self.repeats.name(),
            ties: self.ties.name(),
        };
        dataset.protocol(&rules)
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
        assert!(config.check().unwrap_err().to_string().contains("[eval] ks"));
        assert!(EvalConfig::default().check().is_ok());
        assert_eq!(config.sorted_ks(), [10]);
        let nothing = EvalConfig { candidates: Candidates::Uniform(0), ..EvalConfig::default() };
        assert!(nothing.check().unwrap_err().to_string().contains("[eval] candidates"));
        let read: EvalConfig = serde_json::from_str(r#"{"ties": "by_id", "seen": "kept"}"#).unwrap();
        assert_eq!((read.ties, read.seen, read.block_mib), (Ties::ById, Seen::Kept, 64));
        let sampled: EvalConfig = serde_json::from_str(r#"{"candidates": {"uniform": 100}}"#).unwrap();
        assert_eq!(sampled.candidates, Candidates::Uniform(100));
        let typo = serde_json::from_str::<EvalConfig>(r#"{"tie": "by_id"}"#).unwrap_err().to_string();
        assert!(typo.contains("ties"), "{typo}");
    }
}
