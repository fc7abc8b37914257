//! Histories: every user's interactions, without a split.
use crate::config::{DataConfig, Split};
use crate::format::row::RejectedRows;
use crate::ingest::{self, read_interactions};
use crate::interactions::Interactions;
use crate::items::{read_attribute, read_catalog, read_catalog_of_new};
use crate::prepare::{Steps, keep};
use crate::source::read::Inputs;
use crate::split::{Parts, split};
use crate::{DataError, Result};
use ra_core::{Catalog, Sequences};

/// The interactions of every user in a log, oldest first.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Histories {
    /// The users' original ids, in ascending order.
    pub users: Vec<String>,
    /// The items' original ids; the item with number `n` in `rows` is `items[n - 1]`.
    pub items: Vec<String>,
    /// One row per user, oldest first.
    pub rows: Sequences,
    /// The time of every interaction, user by user: seconds since 1970, or places in an order.
    pub times: Vec<f64>,
    /// The time column, if it is an order without clock time.
    pub order_only: Option<String>,
    /// The rows that could not be read.
    pub rejected: RejectedRows,
}

/// Reads a log without splitting it: for recommendations rather than for training. Formats, columns and filters are those
/// of [`prepare`](crate::prepare); the keys of the split have no effect.
///
/// # Errors
/// [`DataError`] naming the file, row, column or key at fault, and the remedy.
pub fn histories(config: &DataConfig) -> Result<Histories> {
    // A given split keeps the order of files, any other sorts by time.
    let config = DataConfig { split: Split::LeaveOneOut, ..config.clone() };
    DataError::refuse_settings(&config)?;
    ingest::files(&config)?;
    let mut rejected = RejectedRows::default();
    let (interactions, told) = read_interactions(Inputs::files(&config), &config, &mut rejected)?;
    let Interactions { users, items, rows } =
        keep(interactions, &config, &mut Steps::new(&config, told.read, told.rated));
    // Nothing is held out of a part that is all of it.
    let whole = DataConfig { split: Split::Ratio, ratio_test: 0.0, ratio_valid: 0.0, ..config };
    let Parts { train, times, .. } = split(rows, users.len(), &whole, usize::MAX, [f64::INFINITY; 2]);
    let [times, ..] = times;
    Ok(Histories { users, items, rows: train, times, order_only: told.order_only, rejected })
}

/// Reads the titles and texts of the items with these ids from the file that `config` names as `items`, as
/// [`prepare`](crate::prepare) does; those of items that are not in it are empty.
///
/// # Errors
/// As [`prepare`](crate::prepare), about the file of titles.
pub fn catalog(config: &DataConfig, items: &[String]) -> Result<Catalog> {
    read_catalog(items.to_vec(), Inputs::files(config), config, &mut RejectedRows::default())
}

/// Reads the same from a file that need not say anything about the items that are `known`: nothing is reported if it
/// lacks them.
///
/// # Errors
/// As [`catalog`].
pub fn catalog_of_new(config: &DataConfig, items: &[String], known: &dyn Fn(&str) -> bool) -> Result<Catalog> {
    read_catalog_of_new(items.to_vec(), known, Inputs::files(config), config, &mut RejectedRows::default())
}

/// Reads another column about the items with these ids, such as their category, from the file that `config` names as
/// `items`; the text of items that are not in it is empty.
///
/// # Errors
/// Names the file, if it cannot be read or has no such column.
pub fn attribute(config: &DataConfig, column: &str, items: &[String]) -> Result<Vec<String>> {
    read_attribute(items, column, Inputs::files(config), config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::UserId;

    #[test]
    fn nothing_is_held_out_and_rows_are_in_the_order_of_time() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log.csv");
        std::fs::write(&log, "user,item,ts\nann,b,3\nann,a,1\nbob,c,2\nann,c,2\n").unwrap();
        let found = histories(&DataConfig { interactions: Some(log), ..DataConfig::default() }).unwrap();
        assert_eq!((found.users.join(" "), found.items.join(" ")), ("ann bob".into(), "a b c".into()));
        let row = |user| found.rows.row(UserId(user)).iter().map(|item| item.0).collect::<Vec<_>>();
        assert_eq!((row(0), row(1)), (vec![1, 3, 2], vec![3]));
        assert_eq!(found.times, [1.0, 2.0, 3.0, 2.0]);
        let items = dir.path().join("items.csv");
        std::fs::write(&items, "item,title,kind\na,One,x\nc,,y\nz,Two,\n").unwrap();
        let of_items = DataConfig { items: Some(items), ..DataConfig::default() };
        assert_eq!(catalog(&of_items, &found.items).unwrap().titles(), ["One", "", ""]);
        let strict = DataConfig { strict: true, ..of_items.clone() };
        let more: Vec<String> = ["d", "e", "f", "g", "a"].map(str::to_owned).into();
        let told = catalog(&strict, &more).unwrap_err().to_string();
        assert!(told.contains("has 1 of the 5 items"), "{told}");
        assert_eq!(catalog_of_new(&strict, &more, &|item| item != "a").unwrap().titles(), ["", "", "", "", "One"]);
        assert!(
            catalog_of_new(&strict, &more, &|item| item == "a").unwrap_err().to_string().contains("has 0 of the 4")
        );
        std::fs::write(of_items.items.as_ref().unwrap(), "item,title,kind\na,One,x\nd,,y\n").unwrap();
        let told = catalog_of_new(&strict, &more[..1], &|_| false).unwrap_err().to_string();
        assert!(told.contains("none of the items has a title"), "{told}");
        let told = catalog_of_new(&strict, &["a".into(), "d".into()], &|item| item == "a").unwrap_err().to_string();
        assert!(told.contains("none of the items has a title"), "{told}");
        std::fs::write(of_items.items.as_ref().unwrap(), "item,title,kind\na,One,x\nc,,y\nz,Two,\n").unwrap();
        assert_eq!(attribute(&of_items, "kind", &found.items).unwrap(), ["x", "", "y"]);
        assert!(attribute(&of_items, "colour", &found.items).unwrap_err().to_string().contains("`colour`"));
        let missing = DataConfig { interactions: Some(dir.path().join("no.csv")), ..DataConfig::default() };
        assert!(histories(&missing).unwrap_err().to_string().contains("no.csv"));
    }
}
