//! Where a data set comes from, and how it is filtered and split.
use crate::{DataError, Result, time};
use ra_core::{Check, Problem, TextTemplate};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Where a data set comes from and how it is filtered and split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The interactions: a file, a folder, or a pattern such as `logs/*.parquet`. Accepted formats: tsv, csv, jsonl, a
    /// JSON array, parquet, arrow, RecBole's `.inter`, MovieLens's `ratings.dat`, `ratings.csv` and `u.data`, Amazon's reviews, and
    /// `.txt` with either a user and their items (oldest first) or a user and one item per line; text files may be
    /// compressed (`.gz`, `.zst`).
    pub interactions: Option<PathBuf>,
    /// The item titles, in the same formats or as RecBole's `.item`, MovieLens's `movies.dat` and `u.item`, or Amazon's
    /// metadata. Without this file all titles are empty.
    pub items: Option<PathBuf>,
    /// The file of test interactions for `split = "given"`; `interactions` then holds the training interactions.
    pub test: Option<PathBuf>,
    /// What a language model reads of an item, as a template such as `"{title}. Category: {category}. Brand:
    /// {brand}"`; by default the title. `{title}` is the title, any other name a column of the file of titles. An item
    /// that lacks a field lacks the words before it too; square brackets say what vanishes instead, as in `"{title}[
    /// ({year})]"`. A text that is too long for a prompt loses its last fields, whole.
    pub text: Option<TextTemplate>,
    /// The names of the columns.
    pub columns: Columns,
    /// Whether an unreadable row is an error. Otherwise unreadable rows are skipped, counted and reported.
    pub strict: bool,
    /// Whether to keep only a user's first interaction with each item. Off by default, because real logs contain
    /// repeats and repeats are signal.
    pub dedupe: bool,
    /// Keep only users and items with at least this many interactions, filtering repeatedly until nothing changes. 0
    /// turns the filter off.
    pub k_core: usize,
    /// Keep only interactions with at least this rating; needs a rating column.
    pub min_rating: Option<f64>,
    /// How interactions are held out for validation and test.
    pub split: Split,
    /// The number of each user's last interactions that `leave_last_n` holds out for test; as many before them are held
    /// out for validation.
    pub leave_n: usize,
    /// The share of each user's interactions that a `ratio` split holds out for validation, just before the test ones.
    pub ratio_valid: f64,
    /// The share of each user's latest interactions that a `ratio` split holds out for test.
    pub ratio_test: f64,
    /// The share of all interactions that a `temporal` split holds out for validation, just before the test ones. With
    /// `temporal_test_from` set, it is a share of the interactions before that date.
    pub temporal_valid: f64,
    /// The share of the latest interactions that a `temporal` split holds out for test.
    pub temporal_test: f64,
    /// The start of the validation part of a `temporal` split, in place of `temporal_valid`: a date such as
    /// `"2014-07-01"`, or a number of seconds since 1970 (or any other time unit that logs may use).
    pub temporal_valid_from: Option<TimePoint>,
    /// The start of the test part of a `temporal` split, in place of `temporal_test`.
    pub temporal_test_from: Option<TimePoint>,
    /// The share of items, chosen by their ids, that are removed from the training part to make them strictly cold.
    /// They stay in the catalogue and in the held-out parts.
    pub cold_items: f64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            interactions: None,
            items: None,
            test: None,
            text: None,
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

/// The names of the columns, if they differ from the usual ones.
///
/// A typed RecBole header such as `user_id:token` matches by the part before the colon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The user column; by default `user`, `user_id`, `userId` or `reviewerID`.
    pub user: Option<String>,
    /// The item column; by default `item`, `item_id`, `movieId`, `parent_asin` or `asin`.
    pub item: Option<String>,
    /// The time column; by default `ts`, `pos` (an order without clock time), `timestamp`, `time` or `unixReviewTime`.
    pub time: Option<String>,
    /// The column with an item's title; by default `title` or `movie_title`. Several columns, such as `["title",
    /// "categories", "brand"]`, are joined; an item may lack some of them.
    pub title: Option<TitleParts>,
    /// The rating column, read only if `min_rating` is set; by default `rating` or `overall`.
    pub rating: Option<String>,
}

/// The columns that make a title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TitleParts {
    /// One column.
    One(String),
    /// Several columns, joined in this order.
    Several(Vec<String>),
}

/// A point in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TimePoint {
    /// Seconds since 1970 (milliseconds, microseconds or nanoseconds if the number is that large), a day such as
    /// `20140701`, or, for a log without a clock, a place in its order.
    Number(f64),
    /// A date, or a date and time.
    Text(String),
}

impl TimePoint {
    /// Returns seconds since 1970, or a place in an order.
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

/// How interactions are held out for validation and test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Each user's last interaction is for test and the one before it for validation; users with fewer than 3
    /// interactions are only trained on.
    #[default]
    LeaveOneOut,
    /// Each user's last `leave_n` interactions are for test and as many before them for validation; users with fewer
    /// than `2 leave_n + 1` are only trained on.
    LeaveLastN,
    /// Each user's latest interactions are held out by the shares `ratio_test` and `ratio_valid`, rounded down.
    Ratio,
    /// Two points in time split the interactions of all users, so training never sees the future of what is predicted.
    Temporal,
    /// The two given files are used as they are: `interactions` for training and `test` for test, without validation.
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
    /// Also reports keys that have no effect with the others; a key at its default counts as unset.
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
        let not_a_share = |share: f64| format!("is {share}, which is not a share; give a number from 0 to below 1");
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
            wrong("test", "and split = \"given\" go together; set both, or neither".into());
        }
        if self.split == Split::Given && (self.dedupe || self.k_core > 0 || self.min_rating.is_some()) {
            wrong(
                "split",
                "is \"given\", and given files are used as they are; leave k_core, dedupe and min_rating out".into(),
            );
        }
        match self.min_rating {
            Some(least) if !least.is_finite() => wrong("min_rating", format!("is {least}, which is not finite")),
            None if self.columns.rating.is_some() => {
                wrong("columns.rating", "has no effect without min_rating; leave it out, or set min_rating".into());
            }
            _ => {}
        }
        if self.columns.title.is_some() && self.interactions.is_some() && self.items.is_none() {
            wrong("columns.title", "has no effect without a file of titles; leave it out, or set items".into());
        }
        if self.text.is_some() && self.interactions.is_some() && self.items.is_none() {
            wrong("text", "has no effect without a file of titles; leave it out, or set items".into());
        }
        if self.columns.user.is_some() && self.columns.user == self.columns.item {
            wrong("columns.item", "is also the user column; name another".into());
        }
        found
    }
}

impl DataConfig {
    /// Checks the dates of a temporal split.
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
                wrong("temporal_test_from", "is missing, but temporal_valid_from is set; give both dates".into())
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

    /// Refuses settings that need the whole log in memory.
    pub(crate) fn check_one_pass(&self) -> Result<()> {
        if self.cold_items > 0.0 {
            let problem = "needs the log in memory; leave `cold_items` out, or read without a bound";
            return Err(DataError::setting("cold_items", problem));
        }
        Ok(())
    }
}
