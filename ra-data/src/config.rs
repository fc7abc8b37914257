//! The `[data]` table of a recipe.
use crate::{DataError, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where a data set comes from and how it is filtered and split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The file of interactions: tsv, csv, jsonl, parquet, RecBole `.inter`, or `.txt` with a user and their items, oldest
    /// first, in each line; also `.gz` or `.zst`.
    pub interactions: Option<PathBuf>,
    /// The file of item titles, in the same formats and RecBole `.item`; without it all titles are empty.
    pub items: Option<PathBuf>,
    /// The file of test interactions, for `split = "given"`: `interactions` then holds those to learn from.
    pub test: Option<PathBuf>,
    /// Which column is what.
    pub columns: Columns,
    /// Keep only the first interaction of a user with an item. Off: real logs repeat, and repeats are signal.
    pub dedupe: bool,
    /// Keep users and items with at least this many interactions, to a fixed point; 0 is off.
    pub k_core: usize,
    /// Keep interactions rated at least this; needs a rating column.
    pub min_rating: Option<f64>,
    /// How interactions are held out.
    pub split: Split,
    /// Share of the interactions just before the test ones that a temporal split holds out for choices.
    pub temporal_valid: f64,
    /// Share of the latest interactions that a temporal split holds out for the final table.
    pub temporal_test: f64,
    /// The longest history of a training sample of the alignment. Evaluation and ID methods cut for themselves.
    pub max_history: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            interactions: None,
            items: None,
            test: None,
            columns: Columns::default(),
            dedupe: false,
            k_core: 0,
            min_rating: None,
            split: Split::default(),
            temporal_valid: 0.1,
            temporal_test: 0.1,
            max_history: 50,
        }
    }
}

/// The user's names of columns, where they are not among the usual ones.
///
/// A typed header of RecBole such as `user_id:token` is known by the part before the colon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// Who; by default `user` or `user_id`.
    pub user: Option<String>,
    /// What; by default `item`, `item_id` or `parent_asin`.
    pub item: Option<String>,
    /// When; by default `ts`, `pos` (an order without clock time), `timestamp` or `time`.
    pub time: Option<String>,
    /// The title of an item; by default `title` or `movie_title`.
    pub title: Option<String>,
    /// How well it was liked, read only for `min_rating`; by default `rating` or `overall`.
    pub rating: Option<String>,
}

/// How interactions are held out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Of each user the last interaction tests, the one before validates; users with fewer than 3 only train.
    #[default]
    LeaveOneOut,
    /// Two points in time cut the interactions of all users: nothing learned from lies after what is predicted.
    Temporal,
    /// Two files cut by somebody else: `interactions` trains, `test` tests, nothing validates.
    Given,
}

impl DataConfig {
    /// Refuses values that cannot work before any file is read.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |key, problem: String| Err(DataError::Config { key, problem });
        for (key, share) in [("temporal_valid", self.temporal_valid), ("temporal_test", self.temporal_test)] {
            if !(0.0..1.0).contains(&share) {
                return wrong(key, format!("{share} is not a share; give one from 0 up to, not including, 1"));
            }
        }
        if self.temporal_valid + self.temporal_test >= 1.0 {
            return wrong(
                "temporal_test",
                "together with temporal_valid it leaves nothing to train on; lower one".into(),
            );
        }
        if (self.split == Split::Given) != self.test.is_some() {
            return wrong("test", "a file of test interactions and split = \"given\" go together".into());
        }
        if self.split == Split::Given && (self.dedupe || self.k_core > 0 || self.min_rating.is_some()) {
            let problem = "given files are taken as they are; leave k_core, dedupe and min_rating out";
            return wrong("split", problem.into());
        }
        if self.max_history == 0 {
            return wrong("max_history", "0 leaves no history to predict from; give at least 1".into());
        }
        Ok(())
    }
}
