//! Which interactions stay.
use crate::interactions::Interactions;
use std::collections::HashSet;

/// Keeps the first interaction of a user with an item, by time and then by place in the file.
pub(crate) fn dedupe(log: &mut Interactions) {
    let mut order: Vec<usize> = (0..log.rows.len()).collect();
    order.sort_by(|&a, &b| log.rows[a].time.total_cmp(&log.rows[b].time).then(a.cmp(&b)));
    let mut seen = HashSet::with_capacity(order.len());
    let mut keep = vec![false; order.len()];
    for index in order {
        let row = log.rows[index];
        keep[index] = seen.insert((row.user, row.item));
    }
    let mut keep = keep.into_iter();
    log.rows.retain(|_| keep.next().unwrap_or(false));
}

/// Drops users, then items, with fewer than `k` interactions, until nothing changes.
pub(crate) fn k_core(log: &mut Interactions, k: usize) {
    loop {
        let before = log.rows.len();
        let users = log.counts(log.users.len(), |r| r.user);
        log.rows.retain(|row| users[row.user as usize] as usize >= k);
        let items = log.counts(log.items.len(), |r| r.item);
        log.rows.retain(|row| items[row.item as usize] as usize >= k);
        if log.rows.len() == before {
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
        dedupe(&mut log);
        assert_eq!(log.rows.iter().map(|r| r.index).collect::<Vec<_>>(), vec![1, 3]);
    }
}
