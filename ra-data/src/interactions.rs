//! The table of interactions: dense codes for users and items, so that filters and sorts touch integers only.
use crate::Result;
use polars::prelude::{DataFrame, df};
use std::collections::HashMap;

/// Who met what when: the frame has columns `user`, `item` (codes: positions in the lists of ids), `time` and `row`
/// (position in the input, which decides among equal times).
#[derive(Debug, Clone)]
pub(crate) struct Interactions {
    /// The users' own ids, ascending: as numbers when all are numbers, else as text.
    pub(crate) users: Vec<String>,
    /// The items' own ids, ascending.
    pub(crate) items: Vec<String>,
    user: Vec<u32>,
    item: Vec<u32>,
    time: Vec<f64>,
}

impl Interactions {
    /// Codes `(user, item, time)` rows.
    pub(crate) fn from_rows(rows: &[(&str, &str, f64)]) -> Self {
        let (users, user) = encode(rows.iter().map(|row| row.0));
        let (items, item) = encode(rows.iter().map(|row| row.1));
        Self { users, items, user, item, time: rows.iter().map(|row| row.2).collect() }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.time.len()
    }

    /// The rows as a polars frame.
    pub(crate) fn frame(&self) -> Result<DataFrame> {
        let row: Vec<u32> = (0..self.len() as u32).collect();
        Ok(df!("user" => &self.user, "item" => &self.item, "time" => &self.time, "row" => row)?)
    }
}

/// The distinct ids in ascending order, and each row's position among them.
fn encode<'a>(ids: impl Iterator<Item = &'a str>) -> (Vec<String>, Vec<u32>) {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut distinct = Vec::new();
    let codes: Vec<u32> = ids
        .map(|id| {
            *seen.entry(id).or_insert_with(|| {
                distinct.push(id);
                distinct.len() as u32 - 1
            })
        })
        .collect();
    let mut order: Vec<usize> = (0..distinct.len()).collect();
    let numbers: Option<Vec<u64>> = distinct.iter().map(|id| id.parse().ok()).collect();
    match numbers {
        Some(numbers) => order.sort_unstable_by_key(|&k| (numbers[k], distinct[k])),
        None => order.sort_unstable_by_key(|&k| distinct[k]),
    }
    let mut rank = vec![0u32; order.len()];
    for (&k, position) in order.iter().zip(0..) {
        rank[k] = position;
    }
    let codes = codes.into_iter().map(|code| rank[code as usize]).collect();
    (order.into_iter().map(|k| distinct[k].to_owned()).collect(), codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_numeric_order_when_all_are_numbers() {
        let (ids, codes) = encode(["10", "9", "10", "100"].into_iter());
        assert_eq!((ids, codes), (vec!["9".into(), "10".into(), "100".into()], vec![1, 0, 1, 2]));
        let (ids, _) = encode(["10", "9", "x"].into_iter());
        assert_eq!(ids, ["10", "9", "x"]);
    }
}
