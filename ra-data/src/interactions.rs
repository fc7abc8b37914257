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
    /// Place in the file, counted from 0; decides between equal times.
    pub(crate) index: u32,
    /// Seconds, or a place in an order.
    pub(crate) time: f64,
}

/// A log: the users' and items' own ids in ascending order (by number where all are numbers), and rows that point there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interactions {
    pub(crate) users: Vec<String>,
    pub(crate) items: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// Interactions while they are read.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    users: Coder,
    items: Coder,
    rows: Vec<Row>,
}

impl Builder {
    /// Bytes that the next row makes it ask for, when they are many.
    pub(crate) fn growth(&self) -> Option<usize> {
        const MANY: usize = 1 << 20;
        let rows = self.rows.capacity();
        (rows >= MANY && rows == self.rows.len()).then(|| 2 * rows * size_of::<Row>())
    }

    pub(crate) fn push(&mut self, user: &str, item: &str, time: f64) {
        let (user, item, index) = (self.users.code(user), self.items.code(item), self.rows.len() as u32);
        self.rows.push(Row { user, item, index, time });
    }

    /// Codes in the ascending order of ids.
    pub(crate) fn finish(mut self) -> Interactions {
        let ((users, user_codes), (items, item_codes)) = (self.users.sorted(), self.items.sorted());
        for row in &mut self.rows {
            (row.user, row.item) = (user_codes[row.user as usize], item_codes[row.item as usize]);
        }
        Interactions { users, items, rows: self.rows }
    }
}

/// Codes of ids in the order in which they were first met.
#[derive(Debug, Default)]
pub(crate) struct Coder {
    /// Ids that are numbers as people write them: most are, and they are found faster so.
    numbers: HashMap<u64, u32, RandomState>,
    texts: HashMap<Box<str>, u32, RandomState>,
    /// Bytes of all texts.
    text_bytes: usize,
}

/// The number that is written as `id`, and as nothing else.
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

    /// What it takes, about, while it is put in order: as keys of a table, and as a list that is sorted.
    pub(crate) fn bytes(&self) -> usize {
        const LISTED: usize = size_of::<(Option<u64>, String, u32)>() + 16;
        self.numbers.capacity() * 17
            + self.texts.capacity() * 25
            + (self.numbers.len() + self.texts.len()) * LISTED
            + self.numbers.len() * 8
            + 2 * self.text_bytes
    }

    /// The ids in ascending order, and the place there of each code.
    pub(crate) fn sorted(self) -> (Vec<String>, Vec<u32>) {
        let texts = self.texts.into_iter().map(|(id, code)| (id.parse().ok(), id.into(), code));
        let numbers = self.numbers.into_iter().map(|(number, code)| (Some(number), number.to_string(), code));
        let mut ids: Vec<(Option<u64>, String, u32)> = texts.chain(numbers).collect();
        if ids.iter().any(|(number, ..)| number.is_none()) {
            ids.iter_mut().for_each(|(number, ..)| *number = None);
        }
        // "7" and "07" are two ids of one number.
        ids.sort_unstable();
        let mut places = vec![0; ids.len()];
        ids.iter().zip(0..).for_each(|((.., code), place)| places[*code as usize] = place);
        (ids.into_iter().map(|(_, id, _)| id).collect(), places)
    }
}

impl Interactions {
    /// Codes `(user, item, time)` rows.
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

/// The ids that have a row; their counts become their new codes.
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

/// Rows of each of `codes` codes.
pub(crate) fn counts(rows: &[Row], codes: usize, code: impl Fn(&Row) -> u32) -> Vec<u32> {
    let mut counts = vec![0; codes];
    rows.iter().for_each(|row| counts[code(row) as usize] += 1);
    counts
}

/// Rows by user, each user's by time and then by place in the file.
#[derive(Debug)]
pub(crate) struct ByUser {
    starts: Vec<usize>,
    rows: Vec<Row>,
}

impl ByUser {
    /// Takes the rows, so that no more than two copies of them are ever held.
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

    /// Every user's rows, oldest first.
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
