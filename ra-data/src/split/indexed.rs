//! Logs whose users and items are numbers already: arrays of another library, a data base's keys.
use crate::interactions::Row;
use crate::split::{split, temporal_cuts};
use crate::{DataConfig, DataError, Result, Split, filter};
use ra_core::Sequences;

/// A filtered and split log of numbered users and items. Numbers stay what they were but for items, which begin at 1:
/// item `i` of the log is `i + 1` here, 0 being padding.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexedSplit {
    /// What models may learn from, a row a user, oldest first.
    pub train: Sequences,
    /// Held out for choices.
    pub valid: Sequences,
    /// Held out for the final table.
    pub test: Sequences,
    /// The times of their interactions, in the same order.
    pub times: [Vec<f64>; 3],
    /// Training interactions of each item; index 0 is padding.
    pub popularity: Vec<u32>,
}

/// Filters and splits `users[r]` took `items[r]` at `times[r]` (seconds since 1970, or places in an order), as
/// [`crate::prepare`] does with files. Of `config` the filters and the split are read; `given` is not among the
/// splits.
///
/// # Errors
/// [`DataError::Arrays`] for columns of different lengths, [`DataError::Settings`] for values that cannot work.
pub fn split_indexed(users: &[u32], items: &[u32], times: &[f64], config: &DataConfig) -> Result<IndexedSplit> {
    DataError::refuse_settings(config)?;
    if config.split == Split::Given {
        return Err(DataError::setting(
            "split",
            "is \"given\", which needs a table of test interactions; take another one",
        ));
    }
    if config.min_rating.is_some() {
        return Err(DataError::setting("min_rating", "needs a column of ratings, which arrays lack; leave it out"));
    }
    if config.cold_items > 0.0 {
        let problem = "makes items cold by their own ids, which numbered ones lack; leave it out";
        return Err(DataError::setting("cold_items", problem));
    }
    if users.len() != items.len() || users.len() != times.len() {
        return Err(DataError::Arrays { problem: "they differ in length" });
    }
    if users.len() > u32::MAX as usize {
        return Err(DataError::Arrays { problem: "they have more than 4,294,967,295 rows" });
    }
    if times.iter().any(|time| !time.is_finite()) {
        return Err(DataError::Arrays { problem: "a time is no number" });
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
