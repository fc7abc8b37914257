//! Items by their names: ids and titles.
use ra_core::{Catalog, ItemId};
use std::collections::HashMap;

/// The names of the items of a catalogue.
#[derive(Debug)]
pub(crate) struct Names {
    ids: HashMap<String, ItemId>,
    /// By title as [`plain`] has it; items may share a title.
    titles: HashMap<String, Vec<ItemId>>,
    /// Every title as [`plain`] has it, by item.
    plain: Vec<String>,
}

impl Names {
    pub(crate) fn new(catalog: &Catalog) -> Self {
        let plain: Vec<String> = catalog.titles().iter().map(|title| plain(title)).collect();
        let mut titles: HashMap<String, Vec<ItemId>> = HashMap::new();
        for (item, title) in catalog.all().zip(&plain).filter(|(_, title)| !title.is_empty()) {
            titles.entry(title.clone()).or_default().push(item);
        }
        Self { ids: catalog.all().map(|item| (catalog.id(item).to_owned(), item)).collect(), titles, plain }
    }

    /// Returns the item with exactly this id.
    pub(crate) fn exact(&self, id: &str) -> Option<ItemId> {
        self.ids.get(id).copied()
    }

    /// Returns the item with an id that a person has written, with or without surrounding blanks.
    pub(crate) fn id(&self, name: &str) -> Option<ItemId> {
        self.ids.get(name).or_else(|| self.ids.get(name.trim())).copied()
    }

    /// Returns the end of an error about an unknown name, if a single id is `name` but for case, leading zeros or a decimal
    /// point that a table program added. Ids are exact, so it is only a hint.
    pub(crate) fn hint(&self, name: &str) -> Option<String> {
        let wanted = loose(name);
        let mut found = self.ids.keys().filter(|id| !wanted.is_empty() && loose(id) == wanted);
        found.next().filter(|_| found.next().is_none()).map(|id| format!("; did you mean the id {id:?}?"))
    }

    /// Returns the items with a title, in the order of the catalogue.
    pub(crate) fn titled(&self, title: &str) -> &[ItemId] {
        self.titles.get(&plain(title)).map_or(&[], Vec::as_slice)
    }

    /// Returns the title of an item as [`plain`] has it.
    pub(crate) fn plain(&self, item: ItemId) -> &str {
        &self.plain[item.index() - 1]
    }

    /// Returns the names in a text between semicolons. A title may contain semicolons itself: at each place, the longest
    /// title or id is taken, or else what stands before the next semicolon; `\;` never separates.
    pub(crate) fn split(&self, text: &str) -> Vec<String> {
        let parts = pieces(text);
        let (mut found, mut from) = (Vec::new(), 0);
        while from < parts.len() {
            let name = |to: usize| parts[from..to].join(";");
            let is_known = |to: &usize| {
                let name = name(*to);
                self.id(&name).is_some() || !self.titled(&name).is_empty()
            };
            let to = (from + 1..=parts.len()).rev().find(is_known).unwrap_or(from + 1);
            let name = name(to).trim().to_owned();
            if !name.is_empty() {
                found.push(name);
            }
            from = to;
        }
        found
    }
}

/// Returns a title as it is looked up: in lower case, on one line.
pub(crate) fn plain(title: &str) -> String {
    title.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Returns an id without what table programs change.
fn loose(id: &str) -> String {
    let id = id.trim();
    let whole = id.strip_suffix(".0").filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or(id);
    whole.trim_start_matches('0').to_lowercase()
}

/// Returns the pieces between semicolons without a preceding backslash.
fn pieces(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let last = parts.len() - 1;
        match c {
            '\\' if rest.peek() == Some(&';') => parts[last].extend(rest.next()),
            ';' => parts.push(String::new()),
            c => parts[last].push(c),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_apart_at_semicolons_that_no_title_or_id_has() {
        let text = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let names = Names::new(&Catalog::new(text(&["a", "b;c", "d"]), text(&["Salt; pepper", "Twin", "twin "])));
        for (history, wanted) in [
            ("salt;  PEPPER; a", vec!["salt;  PEPPER", "a"]),
            ("Salt\\; pepper;b;c", vec!["Salt; pepper", "b;c"]),
            ("b; nobody\\;knows ;; twin", vec!["b", "nobody;knows", "twin"]),
            (" ; ", vec![]),
        ] {
            assert_eq!(names.split(history), wanted, "{history}");
        }
        assert_eq!((names.titled(" TWIN"), names.titled(" ")), (&[ItemId(2), ItemId(3)][..], &[][..]));
        let ids = Names::new(&Catalog::new(text(&["007", "7b", "B1", "b1"]), vec![String::new(); 4]));
        let [seven, b] = ["007", "7b"].map(|id| Some(format!("; did you mean the id {id:?}?")));
        assert_eq!(["7", "7.0", "7B", "7.5"].map(|name| ids.hint(name)), [seven.clone(), seven, b, None]);
        assert_eq!(["01B", "0b1", ""].map(|name| ids.hint(name)), [None, None, None], "two ids are like 0b1");
        assert_eq!((names.id(" b;c"), names.plain(ItemId(3))), (Some(ItemId(2)), "twin"));
    }
}
