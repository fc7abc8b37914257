//! Filters that decide which interactions are kept.
use crate::interactions::{Interactions, Row, counts};
use foldhash::fast::RandomState;
use std::collections::HashSet;

/// Keeps a user's first interaction with each item, by time and then by place in the file.
pub(crate) fn dedupe(rows: &mut Vec<Row>) {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&a, &b| rows[a].time.total_cmp(&rows[b].time).then(a.cmp(&b)));
    let mut seen = HashSet::with_capacity_and_hasher(order.len(), RandomState::default());
    let mut keep = vec![false; order.len()];
    for index in order {
        let row = rows[index];
        keep[index] = seen.insert((row.user, row.item));
    }
    let mut keep = keep.into_iter();
    rows.retain(|_| keep.next().unwrap_or(false));
}

/// Repeatedly drops users, then items, with fewer than `k` interactions, until nothing changes.
pub(crate) fn k_core(log: &mut Interactions, k: usize) {
    k_core_rows(&mut log.rows, [log.users.len(), log.items.len()], k);
}

/// [`k_core`] for rows with these numbers of users and items.
pub(crate) fn k_core_rows(rows: &mut Vec<Row>, [users, items]: [usize; 2], k: usize) {
    if k < 2 {
        return;
    }
    loop {
        let before = rows.len();
        let by_user = counts(rows, users, |r| r.user);
        rows.retain(|row| by_user[row.user as usize] as usize >= k);
        let by_item = counts(rows, items, |r| r.item);
        rows.retain(|row| by_item[row.item as usize] as usize >= k);
        if rows.len() == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_a_fixed_point() {
        let rows =
            [("a", "x", 0.0), ("a", "y", 1.0), ("b", "x", 0.0), ("b", "y", 1.0), ("c", "z", 0.0), ("c", "x", 1.0)];
        let mut log = Interactions::from_rows(&rows);
        k_core(&mut log, 2);
        assert_eq!(log.rows.len(), 4, "c falls with z");
        k_core(&mut log, 3);
        assert!(log.rows.is_empty());
    }

    #[test]
    fn the_earliest_of_repeats_stays() {
        let mut log = Interactions::from_rows(&[("a", "x", 5.0), ("a", "x", 2.0), ("a", "x", 2.0), ("a", "y", 9.0)]);
        dedupe(&mut log.rows);
        assert_eq!(log.rows.iter().map(|r| r.index).collect::<Vec<_>>(), vec![1, 3]);
    }
}
