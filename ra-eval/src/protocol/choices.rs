//! The choices that a ranking has to make. None of them is neutral, so all of them are declared.
use serde::{Deserialize, Serialize};

/// `"all"` is the whole catalogue; `{ uniform = N }` is N items that the user never had, drawn with equal probability;
/// `{ popular = N }` draws them in proportion to their popularity in training.
///
/// Ranking a few sampled items instead of all of them inflates every metric and can reverse the order of models
/// (Krichene & Rendle, KDD 2020). Sampling exists to demonstrate this effect; its results are not comparable with any
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidates {
    /// The whole catalogue.
    #[default]
    All,
    /// This many items that the user never had, all equally likely.
    Uniform(usize),
    /// This many items that the user never had, drawn in proportion to their popularity in training.
    Popular(usize),
}

impl Candidates {
    /// Returns the name used in protocols.
    pub fn name(self) -> String {
        match self {
            Self::All => "all".into(),
            Self::Uniform(n) => format!("{n} sampled uniformly"),
            Self::Popular(n) => format!("{n} sampled by popularity"),
        }
    }
}

/// How candidates with exactly the same score as a target count.
///
/// Relevant items that tie with each other never share a rank: they take successive ranks, spaced over their ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// All other tied items rank above the target, so a constant model scores nothing.
    #[default]
    Pessimistic,
    /// All other tied items rank below the target. This flatters constant models; use it only to compare with code that
    /// does the same.
    Optimistic,
    /// The mean rank over all orders of the tied items, so half of them rank above a single target. The rank may be a
    /// fraction; it counts as within the first K if it is at most K.
    Expected,
    /// Smaller ids rank first, as in a sort by (score, id). Ids often follow popularity, so this is not neutral.
    ById,
}

impl Ties {
    /// Returns the name used in recipes and protocols.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pessimistic => "pessimistic",
            Self::Optimistic => "optimistic",
            Self::Expected => "expected",
            Self::ById => "by_id",
        }
    }
}

/// How the items of a user's history are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Items of the history are not candidates, unless they are targets.
    #[default]
    Removed,
    /// Items of the history are candidates.
    Kept,
}

impl Seen {
    /// Returns the name used in configurations and protocols.
    pub fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Kept => "kept",
        }
    }
}

/// How targets that the user already had before count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeats {
    /// Repeats count like any other target and are candidates.
    #[default]
    Kept,
    /// Repeats are not counted as targets: only items that are new to the user are.
    Skipped,
}

impl Repeats {
    /// Returns the name used in configurations and protocols.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Skipped => "skipped",
        }
    }
}
