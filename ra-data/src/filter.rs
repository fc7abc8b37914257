//! Deduplication, k-core and order: what is kept of the interactions, and in which sequence.
use crate::Result;
use crate::interactions::Interactions;
use polars::prelude::{DataFrame, IntoLazy, SortMultipleOptions, col, len, lit};

/// One kept interaction, by codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kept {
    pub(crate) user: u32,
    pub(crate) item: u32,
    pub(crate) time: f64,
    pub(crate) row: u32,
}

/// What to keep.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filter {
    /// Keep the first of a user's interactions with an item.
    pub(crate) dedupe: bool,
    /// Least interactions of a user and of an item.
    pub(crate) k_core: usize,
}

/// The kept interactions by user, then time, then position in the input.
pub(crate) fn filter(interactions: &Interactions, filter: Filter) -> Result<Vec<Kept>> {
    let mut frame = interactions.frame()?;
    if filter.dedupe {
        frame = frame
            .lazy()
            .sort(["time", "row"], SortMultipleOptions::default())
            .group_by_stable([col("user"), col("item")])
            .agg([col("time").first(), col("row").first()])
            .collect()?;
    }
    // Whoever is in the table has one row: a core of 1 drops nobody.
    if filter.k_core > 1 {
        frame = k_core(frame, filter.k_core)?;
    }
    let frame = frame.lazy().sort(["user", "time", "row"], SortMultipleOptions::default()).collect()?;
    let numbers = |name| frame.column(name)?.u32().map(|column| column.into_no_null_iter());
    let (users, items, rows) = (numbers("user")?, numbers("item")?, numbers("row")?);
    let times = frame.column("time")?.f64()?.into_no_null_iter();
    let kept = users.zip(items).zip(times).zip(rows);
    Ok(kept.map(|(((user, item), time), row)| Kept { user, item, time, row }).collect())
}

/// Drops users, then items, with fewer than `k` rows until none is left to drop.
fn k_core(mut frame: DataFrame, k: usize) -> Result<DataFrame> {
    loop {
        let rows = frame.height();
        for side in ["user", "item"] {
            frame = frame.lazy().filter(len().over([col(side)])?.gt_eq(lit(k as u32))).collect()?;
        }
        if frame.height() == rows {
            return Ok(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(rows: &[(&str, &str, f64)], dedupe: bool, k_core: usize) -> Vec<u32> {
        let kept = filter(&Interactions::from_rows(rows), Filter { dedupe, k_core }).unwrap();
        kept.iter().map(|kept| kept.row).collect()
    }

    #[test]
    fn the_first_of_a_pair_is_kept() {
        let rows = [("u", "a", 3.0), ("u", "b", 2.0), ("u", "a", 1.0), ("u", "a", 1.0)];
        assert_eq!(kept(&rows, true, 0), [2, 1]);
        assert_eq!(kept(&rows, false, 0), [2, 3, 1, 0]);
    }

    #[test]
    fn a_core_is_a_fixed_point() {
        // Dropping `c` (one row) leaves user `w` with one row, whose drop leaves the square u, v x a, b.
        let rows = [
            ("u", "a", 0.0), ("u", "b", 1.0), ("v", "a", 0.0), ("v", "b", 1.0), ("w", "b", 0.0), ("w", "c", 1.0),
        ];
        assert_eq!(kept(&rows, false, 2), [0, 1, 2, 3]);
        assert!(kept(&rows, false, 3).is_empty());
        assert_eq!(kept(&rows, false, 1).len(), 6);
    }
}
