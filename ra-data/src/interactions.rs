//! Interactions with dense codes.
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// One interaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    /// Index into [`Interactions::users`].
    pub(crate) user: u32,
    /// Index into [`Interactions::items`].
    pub(crate) item: u32,
    /// The place in the file, counted from 0; breaks ties between equal times.
    pub(crate) index: u32,
    /// The time in seconds, or a place in an order.
    pub(crate) time: f64,
}

/// A log: the original user and item ids in ascending order (numerically if all are numbers), and rows that point to
/// them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interactions {
    pub(crate) users: Vec<String>,
    pub(crate) items: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// Collects interactions while they are read.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    users: Coder,
    items: Coder,
    rows: Vec<Row>,
}

impl Builder {
    /// Returns the number of bytes that the next row makes it allocate, if they are many.
    pub(crate) fn growth(&self) -> Option<usize> {
        const MANY: usize = 1 << 20;
        let rows = self.rows.capacity();
        (rows >= MANY && rows == self.rows.len()).then(|| 2 * rows * size_of::<Row>())
    }

    pub(crate) fn push(&mut self, user: &str, item: &str, time: f64) {
        let (user, item, index) = (self.users.code(user), self.items.code(item), self.rows.len() as u32);
        self.rows.push(Row { user, item, index, time });
    }

    /// Assigns codes in ascending order of ids.
    pub(crate) fn finish(mut self) -> Interactions {
        let ((users, user_codes), (items, item_codes)) = (self.users.sorted(), self.items.sorted());
        for row in &mut self.rows {
            (row.user, row.item) = (user_codes[row.user as usize], item_codes[row.item as usize]);
        }
        Interactions { users, items, rows: self.rows }
    }
}

/// Assigns codes to ids in order of first occurrence.
#[derive(Debug, Default)]
pub(crate) struct Coder {
    /// Ids that are plain decimal numbers: most ids are, and they are faster to look up this way.
    numbers: HashMap<u64, u32, RandomState>,
    texts: HashMap<Box<str>, u32, RandomState>,
    /// The total number of bytes of all texts.
    text_bytes: usize,
}

/// Returns the number whose only spelling is `id`.
fn numeral(id: &str) -> Option<u64> {
    let digits = id.as_bytes();
    let plain = matches!(digits, [b'1'..=b'9', ..] | [b'0']) && digits.len() < 19;
    if !plain {
        return None;
    }
    digits.iter().try_fold(0, |number, &digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

impl Coder {
    pub(crate) fn code(&mut self, id: &str) -> u32 {
        let fresh = (self.numbers.len() + self.texts.len()) as u32;
        if let Some(number) = numeral(id) {
            return *self.numbers.entry(number).or_insert(fresh);
        }
        if let Some(&code) = self.texts.get(id) {
            return code;
        }
        self.texts.insert(id.into(), fresh);
        self.text_bytes += id.len();
        fresh
    }

    /// Returns roughly the bytes needed while sorting: keys of a table plus the list that is sorted.
    pub(crate) fn bytes(&self) -> usize {
        const LISTED: usize = size_of::<(Option<u64>, String, u32)>() + 16;
        self.numbers.capacity() * 17
            + self.texts.capacity() * 25
            + (self.numbers.len() + self.texts.len()) * LISTED
            + self.numbers.len() * 8
            + 2 * self.text_bytes
    }

    /// Returns the ids in ascending order, and the place of each code in that order.
    pub(crate) fn sorted(self) -> (Vec<String>, Vec<u32>) {
        let texts = self.texts.into_iter().map(|(id, code)| (id.parse().ok(), id.into(), code));
        let numbers = self.numbers.into_iter().map(|(number, code)| (Some(number), number.to_string(), code));
        let mut ids: Vec<(Option<u64>, String, u32)> = texts.chain(numbers).collect();
        if ids.iter().any(|(number, ..)| number.is_none()) {
            ids.iter_mut().for_each(|(number, ..)| *number = None);
        }
        // "7" and "07" are two ids with the same number.
        ids.sort_unstable();
        let mut places = vec![0; ids.len()];
        ids.iter().zip(0..).for_each(|((.., code), place)| places[*code as usize] = place);
        (ids.into_iter().map(|(_, id, _)| id).collect(), places)
    }
}

impl Interactions {
    /// Assigns codes to `(user, item, time)` rows.
    pub(crate) fn from_rows(rows: &[(&str, &str, f64)]) -> Self {
        let mut builder = Builder::default();
        rows.iter().for_each(|&(user, item, time)| builder.push(user, item, time));
        builder.finish()
    }

    /// Drops users and items without a row; the order of ids stays.
    pub(crate) fn compact(mut self) -> Self {
        let mut user_codes = counts(&self.rows, self.users.len(), |r| r.user);
        let mut item_codes = counts(&self.rows, self.items.len(), |r| r.item);
        self.users = used(self.users, &mut user_codes);
        self.items = used(self.items, &mut item_codes);
        for row in &mut self.rows {
            (row.user, row.item) = (user_codes[row.user as usize], item_codes[row.item as usize]);
        }
        self
    }
}

/// Returns the ids that have a row, and replaces their counts by their new codes.
pub(crate) fn used(ids: Vec<String>, counts: &mut [u32]) -> Vec<String> {
    let mut kept = Vec::new();
    for (id, code) in ids.into_iter().zip(counts) {
        if *code > 0 {
            *code = kept.len() as u32;
            kept.push(id);
        }
    }
    kept
}

/// Counts the rows of each of `codes` codes.
pub(crate) fn counts(rows: &[Row], codes: usize, code: impl Fn(&Row) -> u32) -> Vec<u32> {
    let mut counts = vec![0; codes];
    rows.iter().for_each(|row| counts[code(row) as usize] += 1);
    counts
}

/// Rows grouped by user, each user's sorted by time and then by place in the file.
#[derive(Debug)]
pub(crate) struct ByUser {
    starts: Vec<usize>,
    rows: Vec<Row>,
}

impl ByUser {
    /// Takes ownership of the rows, so that memory never holds more than two copies of them.
    pub(crate) fn new(rows: Vec<Row>, users: usize) -> Self {
        let mut starts = vec![0; users + 1];
        rows.iter().for_each(|row| starts[row.user as usize + 1] += 1);
        (1..=users).for_each(|user| starts[user] += starts[user - 1]);
        let mut next = starts.clone();
        let mut sorted = vec![Row { user: 0, item: 0, index: 0, time: 0.0 }; rows.len()];
        for row in rows {
            let place = &mut next[row.user as usize];
            sorted[*place] = row;
            *place += 1;
        }
        for own in starts.windows(2) {
            let by_time = |a: &Row, b: &Row| a.time.total_cmp(&b.time).then(a.index.cmp(&b.index));
            sorted[own[0]..own[1]].sort_unstable_by(by_time);
        }
        Self { starts, rows: sorted }
    }

    /// Returns each user's rows, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[Row]> {
        self.starts.windows(2).map(|own| &self.rows[own[0]..own[1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_says_what_it_will_ask_for_before_it_does() {
        let mut log = Builder::default();
        log.push("a", "b", 0.0);
        log.rows.shrink_to_fit();
        assert_eq!(log.growth(), None, "small ones may double as they like");
        log.rows.resize(log.rows.len() + (1 << 20), log.rows[0]);
        log.rows.shrink_to_fit();
        let full = log.rows.capacity();
        assert_eq!(log.growth(), Some(2 * full * size_of::<Row>()));
        log.push("a", "b", 1.0);
        assert_eq!(log.rows.capacity(), 2 * full, "as it was told");
        assert_eq!(log.growth(), None);
    }

    #[test]
    fn ids_are_ordered_by_number_or_by_text() {
        let log = Interactions::from_rows(&[("10", "b", 0.0), ("9", "a10", 1.0), ("09", "a9", 2.0)]);
        assert_eq!(log.users, ["09", "9", "10"]);
        assert_eq!(log.items, ["a10", "a9", "b"]);
        assert_eq!(log.rows.iter().map(|r| (r.user, r.item)).collect::<Vec<_>>(), [(2, 2), (1, 0), (0, 1)]);
    }
}
