//! Logs whose users and items are already numbers, such as arrays of another library or database keys.
use crate::interactions::Row;
use crate::split::{split, temporal_cuts};
use crate::{DataConfig, DataError, Result, Split, filter};
use ra_core::Sequences;

/// A filtered and split log of numbered users and items. Users keep their numbers; item `i` of the log becomes `i + 1`,
/// because 0 is padding.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexedSplit {
    /// The training part, one row per user, oldest first.
    pub train: Sequences,
    /// The interactions held out for validation.
    pub valid: Sequences,
    /// The interactions held out for test.
    pub test: Sequences,
    /// The times of the interactions of the three parts, in the same order.
    pub times: [Vec<f64>; 3],
    /// The number of training interactions of each item; index 0 is padding.
    pub popularity: Vec<u32>,
}

/// Filters and splits a log in which `users[r]` chose `items[r]` at `times[r]` (seconds since 1970, or places in an
/// order), as [`crate::prepare`] does with files. Only the filters and the split of `config` are used; the split cannot
/// be `given`.
///
/// # Errors
/// [`DataError::Arrays`] if the arrays differ in length, are too long, or hold a time that is not finite;
/// [`DataError::Settings`] if the configuration is invalid or does not apply to arrays.
pub fn split_indexed(users: &[u32], items: &[u32], times: &[f64], config: &DataConfig) -> Result<IndexedSplit> {
    DataError::refuse_settings(config)?;
    if config.split == Split::Given {
        return Err(DataError::setting(
            "split",
            "is \"given\", which needs a table of test interactions; use another split",
        ));
    }
    if config.min_rating.is_some() {
        return Err(DataError::setting("min_rating", "needs a column of ratings, which arrays lack; leave it out"));
    }
    if config.cold_items > 0.0 {
        let problem = "chooses cold items by their original ids, which numbered items lack; leave it out";
        return Err(DataError::setting("cold_items", problem));
    }
    if users.len() != items.len() || users.len() != times.len() {
        return Err(DataError::Arrays { problem: "they differ in length" });
    }
    if users.len() > u32::MAX as usize {
        return Err(DataError::Arrays { problem: "they have more than 4,294,967,295 rows" });
    }
    if times.iter().any(|time| !time.is_finite()) {
        return Err(DataError::Arrays { problem: "a time is not a finite number" });
    }
    let row = |(index, ((&user, &item), &time))| Row { user, item, index, time };
    let mut rows: Vec<Row> = (0..).zip(users.iter().zip(items).zip(times)).map(row).collect();
    let widest = |codes: &[u32]| codes.iter().max().map_or(0, |&most| most as usize + 1);
    let sizes = [widest(users), widest(items)];
    if config.dedupe {
        filter::dedupe(&mut rows);
    }
    filter::k_core_rows(&mut rows, sizes, config.k_core);
    let cuts = temporal_cuts(&rows, config)?;
    let parts = split(rows, sizes[0], config, 0, cuts);
    let mut popularity = vec![0; sizes[1] + 1];
    parts.train.rows().flatten().for_each(|&item| popularity[item.index()] += 1);
    Ok(IndexedSplit { train: parts.train, valid: parts.valid, test: parts.test, times: parts.times, popularity })
}
