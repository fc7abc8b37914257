//! Interactions with dense codes.
use std::collections::HashMap;

/// One interaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    /// Index into [`Interactions::users`].
    pub(crate) user: u32,
    /// Index into [`Interactions::items`].
    pub(crate) item: u32,
    /// Seconds, or a place in an order.
    pub(crate) time: f64,
    /// Place in the file, counted from 0; decides between equal times.
    pub(crate) index: u32,
}

/// A log: the users' and items' own ids in ascending order (by number where all are numbers), and rows that point there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interactions {
    pub(crate) users: Vec<String>,
    pub(crate) items: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Interactions {
    /// Codes `(user, item, time)` rows.
    pub(crate) fn from_rows(rows: &[(&str, &str, f64)]) -> Self {
        let (users, user_codes) = codes(rows.iter().map(|r| r.0));
        let (items, item_codes) = codes(rows.iter().map(|r| r.1));
        let code = |(index, &(user, item, time)): (usize, &(&str, &str, f64))| Row {
            user: user_codes[user],
            item: item_codes[item],
            time,
            index: index as u32,
        };
        Self { users, items, rows: rows.iter().enumerate().map(code).collect() }
    }

    /// Both logs over one set of ids, the rows of `self` first.
    pub(crate) fn join(&self, other: &Self) -> Self {
        let rows = |log: &'_ Self| -> Vec<(String, String, f64)> {
            let name = |r: &Row| (log.users[r.user as usize].clone(), log.items[r.item as usize].clone(), r.time);
            log.rows.iter().map(name).collect()
        };
        let rows: Vec<_> = rows(self).into_iter().chain(rows(other)).collect();
        let rows: Vec<(&str, &str, f64)> = rows.iter().map(|(u, i, t)| (u.as_str(), i.as_str(), *t)).collect();
        Self::from_rows(&rows)
    }

    /// Drops users and items without a row; the order of ids stays.
    pub(crate) fn compact(mut self) -> Self {
        let keep = |ids: Vec<String>, used: &mut Vec<u32>| {
            let mut kept = Vec::new();
            for (id, code) in ids.into_iter().zip(used.iter_mut()) {
                if *code > 0 {
                    *code = kept.len() as u32;
                    kept.push(id);
                }
            }
            kept
        };
        let mut user_codes = self.counts(self.users.len(), |r| r.user);
        let mut item_codes = self.counts(self.items.len(), |r| r.item);
        self.users = keep(self.users, &mut user_codes);
        self.items = keep(self.items, &mut item_codes);
        for row in &mut self.rows {
            (row.user, row.item) = (user_codes[row.user as usize], item_codes[row.item as usize]);
        }
        self
    }

    /// Rows of each code.
    pub(crate) fn counts(&self, codes: usize, code: impl Fn(&Row) -> u32) -> Vec<u32> {
        let mut counts = vec![0; codes];
        self.rows.iter().for_each(|row| counts[code(row) as usize] += 1);
        counts
    }
}

/// Distinct ids in ascending order, and the code of each.
fn codes<'a>(ids: impl Iterator<Item = &'a str>) -> (Vec<String>, HashMap<&'a str, u32>) {
    let mut codes: HashMap<&str, u32> = ids.map(|id| (id, 0)).collect();
    let mut sorted: Vec<&str> = codes.keys().copied().collect();
    let number = |id: &str| id.parse::<u64>().ok();
    if sorted.iter().all(|id| number(id).is_some()) {
        // "7" and "07" are two ids of one number.
        sorted.sort_unstable_by_key(|id| (number(id), *id));
    } else {
        sorted.sort_unstable();
    }
    for (code, id) in sorted.iter().enumerate() {
        codes.insert(id, code as u32);
    }
    (sorted.iter().map(|&id| id.to_owned()).collect(), codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_by_number_or_by_text() {
        let log = Interactions::from_rows(&[("10", "b", 0.0), ("9", "a10", 1.0), ("9", "a9", 2.0)]);
        assert_eq!(
            (log.users, log.items),
            (vec!["9".into(), "10".into()], vec!["a10".into(), "a9".into(), "b".into()])
        );
    }
}
