//! Where a data set comes from, and how it is filtered and split.
use crate::{DataError, Result, time};
use ra_core::{Check, Problem};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Where a data set comes from and how it is filtered and split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The interactions: a file, a folder, or a pattern such as `logs/*.parquet`. Known are tsv, csv, jsonl, parquet,
    /// arrow, RecBole's `.inter`, MovieLens's `ratings.dat`, `ratings.csv` and `u.data`, Amazon's reviews, and `.txt`
    /// with a user and their items, oldest first, in each line, or a user and one item; text also with `.gz` or
    /// `.zst`.
    pub interactions: Option<PathBuf>,
    /// The titles of items, in the same formats, RecBole's `.item`, MovieLens's `movies.dat` and `u.item`, and Amazon's
    /// metadata; without it all titles are empty.
    pub items: Option<PathBuf>,
    /// The file of test interactions, for `split = "given"`: `interactions` then holds those to learn from.
    pub test: Option<PathBuf>,
    /// Which column is what.
    pub columns: Columns,
    /// Whether a row that cannot be read is an error; otherwise it is left out, counted and shown.
    pub strict: bool,
    /// Keep only the first interaction of a user with an item. Off: real logs repeat, and repeats are signal.
    pub dedupe: bool,
    /// Keep users and items with at least this many interactions, to a fixed point; 0 is off.
    pub k_core: usize,
    /// Keep interactions rated at least this; needs a rating column.
    pub min_rating: Option<f64>,
    /// How interactions are held out.
    pub split: Split,
    /// Interactions of each user that `leave_last_n` holds out for the final table, and again for choices.
    pub leave_n: usize,
    /// Share of each user's interactions just before the test ones that a ratio split holds out for choices.
    pub ratio_valid: f64,
    /// Share of each user's latest interactions that a ratio split holds out for the final table.
    pub ratio_test: f64,
    /// Share of the interactions just before the test ones that a temporal split holds out for choices; beside
    /// `temporal_test_from` a share of those before it.
    pub temporal_valid: f64,
    /// Share of the latest interactions that a temporal split holds out for the final table.
    pub temporal_test: f64,
    /// When a temporal split begins to hold out for choices, instead of a share: a date as `"2014-07-01"`, or a
    /// number, of seconds since 1970 or in another of the units that times are read in.
    pub temporal_valid_from: Option<TimePoint>,
    /// When a temporal split begins to hold out for the final table, instead of a share.
    pub temporal_test_from: Option<TimePoint>,
    /// Share of the items, chosen by their ids, that nobody has in the training part: strictly cold ones. They stay
    /// in the catalogue and among what is held out.
    pub cold_items: f64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            interactions: None,
            items: None,
            test: None,
            columns: Columns::default(),
            strict: false,
            dedupe: false,
            k_core: 0,
            min_rating: None,
            split: Split::default(),
            leave_n: 1,
            ratio_valid: 0.1,
            ratio_test: 0.1,
            temporal_valid: 0.1,
            temporal_test: 0.1,
            temporal_valid_from: None,
            temporal_test_from: None,
            cold_items: 0.0,
        }
    }
}

/// The user's names of columns, where they are not among the usual ones.
///
/// A typed header of RecBole such as `user_id:token` is known by the part before the colon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// Who; by default `user`, `user_id`, `userId` or `reviewerID`.
    pub user: Option<String>,
    /// What; by default `item`, `item_id`, `movieId`, `parent_asin` or `asin`.
    pub item: Option<String>,
    /// When; by default `ts`, `pos` (an order without clock time), `timestamp`, `time` or `unixReviewTime`.
    pub time: Option<String>,
    /// The title of an item; by default `title` or `movie_title`. A list of columns is put together, as in
    /// `["title", "categories", "brand"]`; an item may lack some of them.
    pub title: Option<TitleParts>,
    /// How well it was liked, read only for `min_rating`; by default `rating` or `overall`.
    pub rating: Option<String>,
}

/// The columns that make a title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TitleParts {
    /// One.
    One(String),
    /// Several, one after the other.
    Several(Vec<String>),
}

/// A point in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TimePoint {
    /// Seconds since 1970, a larger number of milliseconds and so on, or a day as in `20140701`; of a log without a
    /// clock a place in its order.
    Number(f64),
    /// A date, or a date and time.
    Text(String),
}

impl TimePoint {
    /// Seconds since 1970, or a place in an order.
    pub(crate) fn seconds(&self) -> Option<f64> {
        let text = match self {
            Self::Number(number) => return time::point(*number),
            Self::Text(text) => text.trim(),
        };
        match text.parse() {
            Ok(number) => time::point(number),
            Err(_) => time::instant(text).map(|(seconds, _)| seconds),
        }
    }
}

impl fmt::Display for TimePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// How interactions are held out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Of each user the last interaction tests, the one before validates; users with fewer than 3 only train.
    #[default]
    LeaveOneOut,
    /// Of each user the last `leave_n` test, as many before validate; users with fewer than `2 leave_n + 1` only train.
    LeaveLastN,
    /// Of each user the latest shares `ratio_test` and `ratio_valid`, rounded down.
    Ratio,
    /// Two points in time cut the interactions of all users: nothing learned from lies after what is predicted.
    Temporal,
    /// Two files cut by somebody else: `interactions` trains, `test` tests, nothing validates.
    Given,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaveOneOut => "leave_one_out",
            Self::LeaveLastN => "leave_last_n",
            Self::Ratio => "ratio",
            Self::Temporal => "temporal",
            Self::Given => "given",
        })
    }
}

impl Check for DataConfig {
    /// A key that has no effect beside the others is among them; a key at its default counts as left out.
    fn problems(&self) -> Vec<Problem> {
        let plain = Self::default();
        let mut found = Vec::new();
        let mut wrong = |key: &str, problem: String| found.push(Problem::new(key, problem));
        let shares = [
            ("temporal_valid", self.temporal_valid, plain.temporal_valid, Split::Temporal),
            ("temporal_test", self.temporal_test, plain.temporal_test, Split::Temporal),
            ("ratio_valid", self.ratio_valid, plain.ratio_valid, Split::Ratio),
            ("ratio_test", self.ratio_test, plain.ratio_test, Split::Ratio),
        ];
        let is_share = |share: f64| (0.0..1.0).contains(&share);
        let not_a_share =
            |share: f64| format!("is {share}, which is not a share; give one from 0 up to, not including, 1");
        let without_effect = |split: Split| {
            format!("has no effect under split = \"{}\"; leave it out, or set split = \"{split}\"", self.split)
        };
        for (key, share, default, split) in shares {
            if !is_share(share) {
                wrong(key, not_a_share(share));
            } else if share != default && self.split != split {
                wrong(key, without_effect(split));
            }
        }
        if !is_share(self.cold_items) {
            wrong("cold_items", not_a_share(self.cold_items));
        }
        for (key, [valid, test]) in [
            ("temporal_test", [self.temporal_valid, self.temporal_test]),
            ("ratio_test", [self.ratio_valid, self.ratio_test]),
        ] {
            if is_share(valid) && is_share(test) && valid + test >= 1.0 {
                let other = key.replace("test", "valid");
                wrong(
                    key,
                    format!("is {test}, and {other} = {valid}: nothing is left to train on; their sum must be below 1"),
                );
            }
        }
        if self.leave_n == 0 {
            wrong("leave_n", "is 0, which holds nothing out; give at least 1".into());
        } else if self.leave_n != plain.leave_n && self.split != Split::LeaveLastN {
            wrong("leave_n", without_effect(Split::LeaveLastN));
        }
        self.wrong_dates(&mut wrong);
        if self.interactions.is_some() && (self.split == Split::Given) != self.test.is_some() {
            wrong(
                "test",
                "and split = \"given\" go together: a file of test interactions, and nothing else held out".into(),
            );
        }
        if self.split == Split::Given && (self.dedupe || self.k_core > 0 || self.min_rating.is_some()) {
            wrong(
                "split",
                "is \"given\", and given files are taken as they are; leave k_core, dedupe and min_rating out".into(),
            );
        }
        match self.min_rating {
            Some(least) if !least.is_finite() => wrong("min_rating", format!("is {least}, no number to compare with")),
            None if self.columns.rating.is_some() => {
                wrong("columns.rating", "has no effect without min_rating; leave it out, or set min_rating".into());
            }
            _ => {}
        }
        if self.columns.title.is_some() && self.interactions.is_some() && self.items.is_none() {
            wrong("columns.title", "has no effect without a file of titles; leave it out, or name items".into());
        }
        if self.columns.user.is_some() && self.columns.user == self.columns.item {
            wrong("columns.item", "is the column of the users too; name another".into());
        }
        found
    }
}

impl DataConfig {
    /// The dates of a temporal split.
    fn wrong_dates(&self, wrong: &mut impl FnMut(&str, String)) {
        let dates =
            [("temporal_valid_from", &self.temporal_valid_from), ("temporal_test_from", &self.temporal_test_from)];
        for (key, date) in dates {
            let Some(date) = date else { continue };
            if date.seconds().is_none() {
                let told = "which is not a date; write it as \"2014-07-01\" or \"2014-07-01T12:00:00\", or in seconds since 1970";
                wrong(key, format!("is {date}, {told}"));
            } else if self.split != Split::Temporal {
                let split = self.split;
                wrong(
                    key,
                    format!("has no effect under split = \"{split}\"; leave it out, or set split = \"temporal\""),
                );
            }
        }
        match (&self.temporal_valid_from, &self.temporal_test_from) {
            (Some(_), None) => {
                wrong("temporal_test_from", "is missing beside temporal_valid_from: give both dates".into())
            }
            (valid, Some(test)) => {
                if let Some(valid) = valid
                    && let (Some(from), Some(to)) = (valid.seconds(), test.seconds())
                    && from >= to
                {
                    let problem =
                        format!("is {valid}, which is not before temporal_test_from = {test}; give the earlier date");
                    wrong("temporal_valid_from", problem);
                }
                let plain = Self::default();
                for (key, is_set) in [
                    ("temporal_valid", valid.is_some() && self.temporal_valid != plain.temporal_valid),
                    ("temporal_test", self.temporal_test != plain.temporal_test),
                ] {
                    if is_set && self.split == Split::Temporal {
                        wrong(key, format!("has no effect beside {key}_from; leave one of them out"));
                    }
                }
            }
            _ => {}
        }
    }

    /// Refuses what wants the whole log in memory.
    pub(crate) fn check_one_pass(&self) -> Result<()> {
        if self.cold_items > 0.0 {
            let problem = "needs the log in memory; leave `cold_items` out, or read without a bound";
            return Err(DataError::setting("cold_items", problem));
        }
        Ok(())
    }
}
