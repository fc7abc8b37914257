//! What a ranking has to choose: none of it is neutral, so all of it is declared.
use serde::{Deserialize, Serialize};

/// What is ranked for a user beside the targets.
///
/// Ranking a few sampled items instead of all inflates every metric and can turn the order of models around (Krichene &
/// Rendle, KDD 2020). It is here so that this can be shown, and compares with nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidates {
    /// The whole catalogue.
    #[default]
    All,
    /// So many items that the user never had, all equally likely.
    Uniform(usize),
    /// So many items that the user never had, likely as they are popular in training.
    Popular(usize),
}

impl Candidates {
    /// The name in protocols.
    pub fn name(self) -> String {
        match self {
            Self::All => "all".into(),
            Self::Uniform(n) => format!("{n} sampled uniformly"),
            Self::Popular(n) => format!("{n} sampled by popularity"),
        }
    }
}

/// How candidates count that score exactly as much as a target.
///
/// Relevant items that tie with each other never share a rank: they follow each other, spaced over their ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// All tied others stand before the target: a constant model gets nothing.
    #[default]
    Pessimistic,
    /// All tied others stand behind the target: flatters constant models; for comparison with code that does this.
    Optimistic,
    /// The mean rank over all orders of the tied items, so half of them stand before a single target. The rank may be a
    /// fraction; it counts within the first K when it is at most K.
    Expected,
    /// Smaller ids first, as a sort by (score, id) has it. Ids often follow popularity, so this is not neutral.
    ById,
}

impl Ties {
    /// The name in recipes and protocols.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pessimistic => "pessimistic",
            Self::Optimistic => "optimistic",
            Self::Expected => "expected",
            Self::ById => "by_id",
        }
    }
}

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
    /// The name in configurations and protocols.
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
    /// The name in configurations and protocols.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Skipped => "skipped",
        }
    }
}
