//! A split data set with dense ids.
use super::{ItemId, TextTemplate, UserId};
use crate::{Fingerprint, Fingerprinter};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One list of items per user, in one allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sequences {
    offsets: Vec<usize>,
    items: Vec<ItemId>,
}

impl Sequences {
    /// Collects the rows in order.
    pub fn from_rows<R: AsRef<[ItemId]>>(rows: impl IntoIterator<Item = R>) -> Self {
        let mut all = Self { offsets: vec![0], items: Vec::new() };
        for row in rows {
            all.items.extend_from_slice(row.as_ref());
            all.offsets.push(all.items.len());
        }
        all
    }

    /// [`from_rows`](Self::from_rows) of plain numbers: `Sequences::from_numbers([vec![1, 2], vec![]])`.
    pub fn from_numbers<R: AsRef<[u32]>>(rows: impl IntoIterator<Item = R>) -> Self {
        Self::from_rows(rows.into_iter().map(|row| ItemId::list(row.as_ref().iter().copied())))
    }

    /// Splits `items` into rows of these lengths.
    ///
    /// # Panics
    /// If the lengths do not sum to the number of items.
    pub fn new(lengths: &[usize], items: Vec<ItemId>) -> Self {
        let mut offsets = vec![0];
        offsets.extend(lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        }));
        assert_eq!(offsets[lengths.len()], items.len(), "the lengths sum to the number of items");
        Self { offsets, items }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of items in all rows together.
    pub fn total(&self) -> usize {
        self.items.len()
    }

    /// The row of `user`, oldest item first.
    ///
    /// # Panics
    /// If there is no such row (an id of [`Sequences::len`] or more).
    pub fn row(&self, user: UserId) -> &[ItemId] {
        &self.items[self.offsets[user.index()]..self.offsets[user.index() + 1]]
    }

    /// All rows in order.
    pub fn rows(&self) -> impl Iterator<Item = &[ItemId]> + Clone {
        self.offsets.windows(2).map(|w| &self.items[w[0]..w[1]])
    }
}

/// The catalogue of items: for each dense id `1..=len` (0 is [`ItemId::PADDING`]) the original id, the title, and the
/// text that a language model reads. The text is the title, unless a template makes it of more fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    ids: Vec<String>,
    titles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    texts: Option<Texts>,
}

/// What texts are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Texts {
    template: TextTemplate,
    /// One list per field of the template, with the text of each item.
    fields: Vec<Vec<String>>,
}

impl Catalog {
    /// Returns the catalogue with more items after its own, each an id and a title. They lack all other fields.
    #[must_use]
    pub fn extended(&self, more: &[(String, String)]) -> Self {
        let mut all = self.clone();
        for (id, title) in more {
            all.ids.push(id.clone());
            all.titles.push(title.clone());
        }
        for field in all.texts.iter_mut().flat_map(|texts| &mut texts.fields) {
            field.resize(all.ids.len(), String::new());
        }
        all
    }

    /// Creates a catalogue; item `k` of the lists gets the dense id `k + 1`.
    ///
    /// # Panics
    /// If the lists differ in length.
    pub fn new(ids: Vec<String>, titles: Vec<String>) -> Self {
        assert_eq!(ids.len(), titles.len(), "one title per item");
        Self { ids, titles, texts: None }
    }

    /// Makes texts by a template. `fields` has one list for each of [`TextTemplate::fields`], with the text of each
    /// item; an item lacks a field that is blank.
    ///
    /// # Panics
    /// If a list is missing, or has another length than the catalogue.
    #[must_use]
    pub fn with_texts(self, template: TextTemplate, fields: Vec<Vec<String>>) -> Self {
        assert_eq!(fields.len(), template.fields().len(), "one list per field");
        assert!(fields.iter().all(|field| field.len() == self.len()), "one text per item");
        Self { texts: Some(Texts { template, fields }), ..self }
    }

    /// The number of items, without padding.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// All dense ids.
    pub fn all(&self) -> impl ExactSizeIterator<Item = ItemId> + DoubleEndedIterator + Clone + use<> {
        ItemId::all(self.len())
    }

    /// The original id of an item.
    ///
    /// # Panics
    /// If `item` is padding or not in the catalogue.
    pub fn id(&self, item: ItemId) -> &str {
        &self.ids[item.index() - 1]
    }

    /// The title of an item; empty if it has none.
    ///
    /// # Panics
    /// If `item` is padding or not in the catalogue.
    pub fn title(&self, item: ItemId) -> &str {
        &self.titles[item.index() - 1]
    }

    /// The display name of an item: its title, or its original id if the title is blank.
    ///
    /// # Panics
    /// If `item` is padding or not in the catalogue.
    pub fn name(&self, item: ItemId) -> &str {
        let title = self.title(item);
        if title.trim().is_empty() { self.id(item) } else { title }
    }

    /// All titles in the order of dense ids.
    pub fn titles(&self) -> &[String] {
        &self.titles
    }

    /// The template of texts; nothing if the text of an item is its title.
    pub fn template(&self) -> Option<&TextTemplate> {
        self.texts.as_ref().map(|texts| &texts.template)
    }

    /// The fields of the template beside the title: the name, and the text of each item.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[String])> {
        let names = self.template().map(TextTemplate::fields).unwrap_or_default();
        names.into_iter().zip(self.texts.iter().flat_map(|texts| &texts.fields).map(Vec::as_slice))
    }

    /// The parts of an item's text, which together are the text: those of the template, or the title.
    ///
    /// # Panics
    /// If `item` is padding or not in the catalogue.
    pub fn text_parts(&self, item: ItemId) -> Vec<String> {
        let Some(Texts { template, fields }) = &self.texts else { return vec![self.title(item).to_owned()] };
        let names = template.fields();
        template.parts(|name| match names.iter().position(|own| *own == name) {
            Some(at) => &fields[at][item.index() - 1],
            None => self.title(item),
        })
    }

    /// The text of an item, which a language model reads; empty if it has none.
    ///
    /// # Panics
    /// If `item` is padding or not in the catalogue.
    pub fn text(&self, item: ItemId) -> Cow<'_, str> {
        match self.texts {
            None => self.title(item).into(),
            Some(_) => self.text_parts(item).concat().into(),
        }
    }

    /// Whether an item has a text that is not blank.
    ///
    /// # Panics
    /// If `item` is padding or not in the catalogue.
    pub fn has_text(&self, item: ItemId) -> bool {
        !self.text(item).trim().is_empty()
    }
}

/// A target and the history before it: `train.row(user)[position]` and the items before that position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sample {
    /// The dense user id.
    pub user: UserId,
    /// The position of the target in the user's training sequence, at least 1.
    pub position: u32,
}

impl Sample {
    /// The history and target in `row`, the user's training sequence: at most the last `max_history` items, oldest
    /// first.
    ///
    /// # Panics
    /// If the position is beyond the row.
    pub fn cut(self, row: &[ItemId], max_history: usize) -> (&[ItemId], ItemId) {
        let at = self.position as usize;
        (&row[at.saturating_sub(max_history)..at], row[at])
    }
}

/// Interactions after ingestion, filtering and splitting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// The name in tables.
    pub name: String,
    /// The users' original ids; the index is the dense id.
    pub users: Vec<String>,
    /// The items.
    pub catalog: Catalog,
    /// The training part, one row per user, oldest first.
    pub train: Sequences,
    /// The part held out for model selection, one row per user, possibly empty.
    pub valid: Sequences,
    /// The part held out for the final evaluation, one row per user, possibly empty.
    pub test: Sequences,
    /// A description of the filter steps.
    pub filter: String,
    /// A description of the split.
    pub split: String,
}

impl Dataset {
    /// Creates a data set of training sequences alone, one row per user, over items `1..=items`. Users and items are
    /// named by their numbers, there are no titles, and nothing is held out; fill in the other fields as needed.
    ///
    /// # Panics
    /// If a row contains padding or an item beyond the catalogue.
    pub fn from_sequences(name: &str, items: usize, train: Sequences) -> Self {
        let known = |item: &ItemId| *item != ItemId::PADDING && item.index() <= items;
        assert!(train.rows().flatten().all(known), "an item of a sequence is not one of the {items} of the catalogue");
        let nothing = Sequences::from_rows(vec![Vec::new(); train.len()]);
        Self {
            name: name.into(),
            users: UserId::all(train.len()).map(|user| user.to_string()).collect(),
            catalog: Catalog::new(
                ItemId::all(items).map(|item| item.to_string()).collect(),
                vec![String::new(); items],
            ),
            train,
            valid: nothing.clone(),
            test: nothing,
            filter: "none".into(),
            split: "none".into(),
        }
    }

    /// The history of `sample`, oldest first, with at most the last `max_history` items, and its target.
    pub fn sample(&self, sample: Sample, max_history: usize) -> (&[ItemId], ItemId) {
        sample.cut(self.train.row(sample.user), max_history)
    }

    /// All samples of the training sequences, by user and position.
    pub fn samples(&self) -> Vec<Sample> {
        UserId::all(self.train.len())
            .flat_map(|user| (1..self.train.row(user).len() as u32).map(move |position| Sample { user, position }))
            .collect()
    }

    /// The number of training interactions of each item; index 0 (padding) is 0.
    pub fn popularity(&self) -> Vec<u32> {
        let mut counts = vec![0; self.catalog.len() + 1];
        for &item in self.train.rows().flatten() {
            counts[item.index()] += 1;
        }
        counts
    }

    /// The number of interactions, including those held out.
    pub fn interactions(&self) -> usize {
        self.train.total() + self.valid.total() + self.test.total()
    }

    /// A hash of users, items, titles, texts that are not titles, and all three parts of the split.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = DatasetHash::new(&self.users, &self.catalog);
        for part in [&self.train, &self.valid, &self.test] {
            hash.part(part.rows().map(<[ItemId]>::len));
            part.rows().for_each(|row| hash.items(row));
        }
        hash.finish(&self.filter, &self.split)
    }
}

/// Computes [`Dataset::fingerprint`] for a data set that is never in memory as a whole.
#[derive(Debug)]
pub struct DatasetHash(Fingerprinter);

impl DatasetHash {
    /// Starts with users and items.
    pub fn new(users: &[String], catalog: &Catalog) -> Self {
        let mut hash = Fingerprinter::default();
        let template: Vec<String> = catalog.template().map(TextTemplate::to_string).into_iter().collect();
        let of_texts = catalog.texts.iter().flat_map(|texts| std::iter::once(&template).chain(&texts.fields));
        for list in [users, &catalog.ids, &catalog.titles].into_iter().chain(of_texts.map(Vec::as_slice)) {
            let separators = list.len().saturating_sub(1);
            hash.part(list.iter().map(String::len).sum::<usize>() + separators);
            for (index, text) in list.iter().enumerate() {
                hash.bytes(if index == 0 { b"" } else { b"\0" });
                hash.bytes(text.as_bytes());
            }
            // Otherwise a text that contains the separator could pass for two texts.
            if list.iter().any(|text| text.contains('\0')) {
                hash.part(8 * list.len());
                list.iter().for_each(|text| hash.bytes(&(text.len() as u64).to_le_bytes()));
            }
        }
        Self(hash)
    }

    /// Starts a part of the split (training first), whose rows have these lengths.
    pub fn part(&mut self, lengths: impl Iterator<Item = usize> + Clone) {
        let (users, items) = lengths.clone().fold((0, 0), |(users, items), length| (users + 1, items + length));
        self.0.part(8 * (users + 1) + 4 * items);
        let mut end = 0u64;
        self.0.bytes(&end.to_le_bytes());
        lengths.for_each(|length| {
            end += length as u64;
            self.0.bytes(&end.to_le_bytes());
        });
    }

    /// Adds the next items of the part.
    pub fn items(&mut self, items: &[ItemId]) {
        items.iter().for_each(|item| self.0.bytes(&item.0.to_le_bytes()));
    }

    /// Finishes with the descriptions of filter and split.
    pub fn finish(mut self, filter: &str, split: &str) -> Fingerprint {
        for words in [filter, split] {
            self.0.part(words.len());
            self.0.bytes(words.as_bytes());
        }
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Dataset {
        Dataset {
            name: "tiny".into(),
            users: vec!["u".into(), "v".into()],
            catalog: Catalog::new(
                vec!["a".into(), "b".into(), "c".into()],
                vec!["A".into(), String::new(), "a ".into()],
            ),
            train: Sequences::from_numbers([vec![1, 2, 3], vec![2]]),
            valid: Sequences::from_numbers([vec![1], vec![]]),
            test: Sequences::from_numbers([vec![2], vec![]]),
            filter: "none".into(),
            split: "leave_one_out".into(),
        }
    }

    #[test]
    fn samples_have_a_history_and_a_target() {
        let data = tiny();
        let samples = data.samples();
        assert_eq!(samples.len(), 2);
        assert_eq!(data.sample(samples[1], 1), (&ItemId::list([2])[..], ItemId(3)));
        assert_eq!(data.sample(samples[1], 9), (&ItemId::list([1, 2])[..], ItemId(3)));
        assert_eq!(data.popularity(), vec![0, 1, 2, 1]);
        assert_eq!(
            (data.catalog.name(ItemId(1)), data.catalog.name(ItemId(2))),
            ("A", "b"),
            "the id where there is no title"
        );
    }

    #[test]
    fn a_text_is_the_title_or_what_a_template_makes_of_the_fields() {
        let plain = tiny().catalog;
        assert_eq!((plain.text(ItemId(1)).as_ref(), plain.text_parts(ItemId(1))), ("A", vec!["A".to_owned()]));
        let brands = ["Acme", "Bell", ""].map(str::to_owned).to_vec();
        let made = plain.clone().with_texts("{title}. By {brand}".parse().unwrap(), vec![brands]);
        assert_eq!(made.text_parts(ItemId(1)), ["A", ". By Acme"]);
        assert_eq!((made.text(ItemId(2)).as_ref(), made.text(ItemId(3)).as_ref()), ("By Bell", "a"));
        assert_eq!(made.titles(), plain.titles());
        let more = made.extended(&[("d".into(), "D".into()), ("e".into(), String::new())]);
        assert_eq!(
            (more.text(ItemId(4)).as_ref(), more.has_text(ItemId(4)), more.has_text(ItemId(5))),
            ("D", true, false)
        );
        assert_eq!(more.fields().map(|(name, texts)| (name, texts.len())).collect::<Vec<_>>(), [("brand", 5)]);
    }

    #[test]
    fn the_fingerprint_sees_every_part() {
        let data = tiny();
        let changes: [fn(&mut Dataset); 9] = [
            |data| data.users[1] = "w".into(),
            |data| data.catalog.ids[1] = "d".into(),
            |data| data.catalog.titles[1] = "B".into(),
            |data| data.catalog = data.catalog.clone().with_texts("{title}".parse().unwrap(), Vec::new()),
            |data| data.train = Sequences::from_numbers([vec![1, 3, 2], vec![2]]),
            |data| data.valid = Sequences::from_numbers([vec![], vec![1]]),
            |data| data.test = Sequences::from_numbers([vec![3], vec![]]),
            |data| data.filter.push('x'),
            |data| data.split.push('x'),
        ];
        let changed = |change: &fn(&mut Dataset)| {
            let mut other = data.clone();
            change(&mut other);
            other
        };
        assert!(changes.iter().all(|change| changed(change).fingerprint() != data.fingerprint()));
        let titled = |titles: [&str; 3]| {
            let catalog = Catalog::new(data.catalog.ids.clone(), titles.map(String::from).to_vec());
            Dataset { catalog, ..data.clone() }.fingerprint()
        };
        assert_ne!(titled(["a\0b", "c", ""]), titled(["a", "b\0c", ""]), "a title may hold any character");
        assert_eq!(data.fingerprint(), tiny().fingerprint());
    }
}
