//! Users and items as named on the command line: by id or title.
use crate::names::{Names, plain};
use anyhow::{Context, Result, bail};
use ra_core::{Dataset, ItemId, UserId};
use std::collections::HashSet;

/// The number of letters of a title that an error shows.
const TOLD: usize = 100;

/// The receiver of a recommendation.
#[derive(Debug)]
#[non_exhaustive]
pub enum Who {
    /// A user of the data set, by id.
    User(String),
    /// Ids or titles of a history, oldest first.
    Items(Vec<String>),
    /// Titles of a history, oldest first.
    Titles(Vec<String>),
    /// Titles or ids of a history, oldest first, separated by semicolons.
    History(String),
}

/// Returns a user's number and their whole known history, oldest first.
fn of_user(dataset: &Dataset, id: &str) -> Result<(UserId, Vec<ItemId>)> {
    let user = dataset.users.iter().position(|user| user == id);
    let trimmed = dataset.users.iter().any(|user| user == id.trim());
    let hint = if trimmed { format!("; did you mean {:?}?", id.trim()) } else { String::new() };
    let user = user.with_context(|| {
        let (left, name) = (dataset.users.len(), &dataset.name);
        format!(
            "user {id:?} is not among the {left} users of {name} that the filters left{hint}; name the items of their history"
        )
    })?;
    let parts = [&dataset.train, &dataset.valid, &dataset.test];
    let user = UserId(user as u32);
    Ok((user, parts.iter().flat_map(|part| part.row(user)).copied().collect()))
}

impl Who {
    /// Returns the number of a user, 0 for anybody outside the data set, and their items. Items that are named more
    /// than once stay, like repeats in a log, unless the data set was read with `dedupe`. Either case is added to
    /// `notes`, as is a name that could mean two items.
    pub(crate) fn history(
        &self,
        dataset: &Dataset,
        dedupe: bool,
        notes: &mut Vec<String>,
    ) -> Result<(UserId, Vec<ItemId>)> {
        let names = Namer { dataset, names: Names::new(&dataset.catalog) };
        let mut items = match self {
            Self::User(id) => return of_user(dataset, id),
            Self::Items(given) => given.iter().map(|name| names.item(name, notes)).collect::<Result<Vec<_>>>()?,
            Self::Titles(given) => given.iter().map(|title| names.titled(title)).collect::<Result<Vec<_>>>()?,
            Self::History(text) => names.history(text, notes)?,
        };
        if items.is_empty() {
            bail!("the history names no item; give titles or ids, oldest first, as --item ID --item \"TITLE\"");
        }
        let mut seen = HashSet::new();
        let repeated: Vec<ItemId> = items.iter().copied().filter(|item| !seen.insert(*item)).collect();
        let told: HashSet<ItemId> = repeated.iter().copied().collect();
        if !told.is_empty() {
            let mut ids: Vec<&str> = told.iter().map(|&item| dataset.catalog.id(item)).collect();
            ids.sort_unstable();
            let how = if dedupe { "only the first counts, because of data.dedupe" } else { "each one counts" };
            notes.push(format!("named more than once: {}; {how}", ids.join(", ")));
        }
        if dedupe {
            seen.clear();
            items.retain(|item| seen.insert(*item));
        }
        Ok((UserId(0), items))
    }
}

/// Finds the items that a user names, and refuses what could mean several.
struct Namer<'a> {
    dataset: &'a Dataset,
    names: Names,
}

impl Namer<'_> {
    /// Returns the item with a title, if there is one.
    fn by_title(&self, title: &str) -> Result<Option<ItemId>> {
        match self.names.titled(title) {
            [] => Ok(None),
            [item] => Ok(Some(*item)),
            twins => {
                let ids: Vec<&str> = twins.iter().take(5).map(|&item| self.dataset.catalog.id(item)).collect();
                let more = if twins.len() > ids.len() { ", .." } else { "" };
                bail!(
                    "{:?} is the title of {} items: {}{more}; name one of them by its id, such as --item {}",
                    title.trim(),
                    twins.len(),
                    ids.join(", "),
                    ids[0]
                )
            }
        }
    }

    /// Finds an item by id, or else by title.
    fn item(&self, name: &str, notes: &mut Vec<String>) -> Result<ItemId> {
        let Some(item) = self.names.id(name) else { return self.by_title(name)?.with_context(|| self.unknown(name)) };
        if self.names.titled(name).iter().any(|other| *other != item) {
            notes.push(format!(
                "{name:?} is the id of one item and the title of another; the id is used; --title takes the title"
            ));
        }
        Ok(item)
    }

    /// Finds an item by title only.
    fn titled(&self, title: &str) -> Result<ItemId> {
        let unknown = || match self.names.id(title).is_some() {
            true => format!("{:?} is not a title but the id of an item: name it by --item", title.trim()),
            false => self.unknown(title),
        };
        self.by_title(title)?.with_context(unknown)
    }

    /// Reads titles or ids between semicolons, see [`Names::split`].
    fn history(&self, text: &str, notes: &mut Vec<String>) -> Result<Vec<ItemId>> {
        let mut items = Vec::new();
        for name in self.names.split(text) {
            let id = self.names.id(&name);
            let item = self.by_title(&name)?.or(id).with_context(|| self.unknown(&name))?;
            if id.is_some_and(|other| other != item) {
                notes.push(format!(
                    "{name:?} is the title of one item and the id of another; the title is used; --item takes the id"
                ));
            }
            items.push(item);
        }
        Ok(items)
    }

    fn unknown(&self, name: &str) -> String {
        let near = self.names.hint(name).unwrap_or_else(|| near(self.dataset, &plain(name)));
        format!("{:?} is neither a title nor an item id of {}{near}", name.trim(), self.dataset.name)
    }
}

/// Returns titles that contain the wanted text, or share the most words with it.
fn near(dataset: &Dataset, wanted: &str) -> String {
    let words: HashSet<&str> = wanted.split_whitespace().collect();
    let likeness = |title: &str| {
        let title = title.to_lowercase();
        let shared = title.split_whitespace().filter(|word| words.contains(word)).count();
        shared + if title.contains(wanted) { words.len() } else { 0 }
    };
    let catalog = &dataset.catalog;
    let mut close: Vec<(usize, ItemId)> =
        catalog.all().map(|item| (likeness(catalog.title(item)), item)).filter(|(likeness, _)| *likeness > 0).collect();
    close.sort_by_key(|&(likeness, item)| (std::cmp::Reverse(likeness), catalog.title(item).len()));
    let told = |&(_, item): &(usize, ItemId)| {
        let title: String = catalog.title(item).chars().take(TOLD).collect();
        format!("{title:?} (--item {})", catalog.id(item))
    };
    let some: Vec<String> = close.iter().take(3).map(told).collect();
    if some.is_empty() { String::new() } else { format!("; did you mean {}?", some.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Catalog, Sequences};

    fn dataset() -> Dataset {
        let text = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        Dataset {
            name: "tiny".into(),
            users: text(&["u", "v"]),
            catalog: Catalog::new(
                text(&["a", "b", "c", "d", "e", "f"]),
                text(&["Salt; pepper", "Bread", "Twin", "twin ", "", "B"]),
            ),
            train: Sequences::from_numbers([vec![1, 2], vec![2]]),
            valid: Sequences::from_numbers([vec![3], vec![]]),
            test: Sequences::from_numbers([vec![4], vec![]]),
            filter: String::new(),
            split: "leave_one_out".into(),
        }
    }

    fn items(who: &Who) -> Result<Vec<u32>> {
        who.history(&dataset(), false, &mut Vec::new()).map(|(_, items)| numbers(&items))
    }

    fn numbers(items: &[ItemId]) -> Vec<u32> {
        items.iter().map(|item| item.0).collect()
    }

    #[test]
    fn items_go_by_id_or_title_and_a_title_may_hold_a_semicolon() {
        let text = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        for (history, wanted) in [
            ("bread", vec![2]),
            ("Salt; pepper", vec![1]),
            ("Salt\\; pepper", vec![1]),
            ("bread; salt; PEPPER; e;", vec![2, 1, 5]),
            ("c; d", vec![3, 4]),
            (" salt;  pepper ", vec![1]),
        ] {
            assert_eq!(items(&Who::History(history.into())).unwrap(), wanted, "{history}");
        }
        assert_eq!(items(&Who::Items(text(&["a", "Bread", "e"]))).unwrap(), [1, 2, 5]);
        assert_eq!(items(&Who::Titles(text(&["Salt; pepper"]))).unwrap(), [1]);
        let error = |who: Who| format!("{:#}", items(&who).unwrap_err());
        for twins in [error(Who::History("twin".into())), error(Who::Items(text(&["TWIN"])))] {
            assert!(twins.contains("title of 2 items: c, d") && twins.contains("--item c"), "{twins}");
        }
        assert!(error(Who::Titles(text(&["a"]))).contains("by --item"));
        assert!(error(Who::History("brown bread".into())).contains("did you mean \"Bread\""));
        for nothing in ["", " ; ;", "; "] {
            assert!(error(Who::History(nothing.into())).contains("names no item"), "{nothing:?}");
        }
        assert!(
            error(Who::Titles(text(&[" "]))).contains("neither a title nor an item id"),
            "an item without a title has no name here"
        );
    }

    #[test]
    fn repeats_count_as_in_a_log_unless_it_was_read_without() {
        let who = Who::Items(vec!["a".into(), "b".into(), "a".into()]);
        let mut notes = Vec::new();
        assert_eq!(numbers(&who.history(&dataset(), false, &mut notes).unwrap().1), [1, 2, 1]);
        assert!(notes[0].contains("\"b\" is the id of one item and the title of another; the id is used"), "{notes:?}");
        assert!(notes[1].contains("a; each one counts"), "{notes:?}");
        notes.clear();
        assert_eq!(numbers(&who.history(&dataset(), true, &mut notes).unwrap().1), [1, 2]);
        assert!(notes[1].contains("data.dedupe"), "{notes:?}");
        notes.clear();
        let twins = Who::History("b; a".into());
        assert_eq!(numbers(&twins.history(&dataset(), false, &mut notes).unwrap().1), [6, 1]);
        assert!(
            notes[0].contains("\"b\" is the title of one item and the id of another; the title is used"),
            "{notes:?}"
        );
    }

    #[test]
    fn a_user_is_all_that_is_known_of_them() {
        assert_eq!(of_user(&dataset(), "u").unwrap(), (UserId(0), ItemId::list([1, 2, 3, 4])));
        assert!(of_user(&dataset(), "u ").unwrap_err().to_string().contains("did you mean \"u\"?"));
    }
}
