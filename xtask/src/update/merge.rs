//! The log of an older bundle and a new one, as one.
use super::UpdateConfig;
use crate::bundle::Bundle;
use anyhow::{Context, Result, bail};
use ra_core::{Dataset, ItemId, UserId};
use ra_data::{Column, Columns, DataConfig, Histories, attribute, catalog_of_new, histories, write_columns};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// The column of groups in the merged items.
pub(super) const GROUP: &str = "group of an item";

/// A log that holds at least this share of what the bundle knows is the whole log.
const MOST: f64 = 0.9;

/// A log holds new interactions alone if it has at most this share of what the bundle knows, and if the bundle knows at most
/// this share of the log: users do again what they have done before.
const FEW: f64 = 0.25;
const REPEATED: f64 = 0.5;

/// What a new log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogHolds {
    /// Everything, the interactions that the bundle knows included: it takes their place.
    Everything,
    /// New interactions alone, which follow those of the bundle.
    NewOnly,
}

/// What every user did, oldest first, by name.
type Rows = BTreeMap<String, Vec<String>>;

/// A merged log.
#[derive(Debug)]
pub(super) struct Merged {
    holds: LogHolds,
    users: Rows,
    /// The title of every item, by id.
    titles: BTreeMap<String, String>,
    /// The fields of texts, by name: what they hold of every item.
    fields: Vec<(String, Vec<String>)>,
    /// The group of every item, if they have groups.
    pub(super) groups: Option<BTreeMap<String, String>>,
    /// The number of new interactions with an item that their user had before.
    repeats: usize,
}

impl Merged {
    /// Reads the new log as `data` says and merges it with what the bundle knows.
    ///
    /// # Errors
    /// As [`ra_data::histories`]; if it cannot be told what the log holds.
    pub(super) fn new(old: &Bundle, config: &UpdateConfig, data: &DataConfig) -> Result<Self> {
        // Rare items are left out of the merged log, not of its parts.
        let read = DataConfig {
            interactions: Some(config.log.clone()),
            items: config.items.clone(),
            k_core: 0,
            ..data.clone()
        };
        let columns = Columns { title: None, ..read.columns.clone() };
        let new = histories(&DataConfig { items: None, text: None, columns, ..read.clone() })?;
        let holds = match config.holds {
            Some(holds) => holds,
            None => found(old, &new).with_context(|| config.log.display().to_string())?,
        };
        if holds == LogHolds::NewOnly && !old.manifest().names_users {
            bail!(
                "{}: the bundle does not hold the names of users, so it cannot know whose new interactions these are; \
                 give the whole log, or export the bundle again with --names-users",
                config.log.display()
            );
        }
        let id = |item: &ItemId| new.items[item.index() - 1].clone();
        let rows = UserId::all(new.users.len()).map(|user| new.rows.row(user).iter().map(id).collect());
        let fresh: Rows = new.users.iter().cloned().zip(rows).collect();
        let (users, repeats) = match holds {
            LogHolds::Everything => (fresh, 0),
            LogHolds::NewOnly => followed(old, fresh),
        };
        let items: Vec<String> = users.values().flatten().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let known = |item: &String| old.title_and_group(item).unwrap_or_default();
        let or_known = |newer: &[String], known: &dyn Fn(&String) -> String| -> BTreeMap<String, String> {
            let text = |(item, newer): (&String, &String)| match newer.trim().is_empty() {
                true => (item.clone(), known(item)),
                false => (item.clone(), newer.clone()),
            };
            items.iter().zip(newer).map(text).collect()
        };
        let has_groups = config.group.is_some() || old.has_groups();
        let of_groups = match (&config.group, &read.items) {
            (Some(column), Some(_)) => attribute(&read, column, &items).with_context(|| format!("--group {column}"))?,
            _ => vec![String::new(); items.len()],
        };
        let groups = has_groups.then(|| or_known(&of_groups, &|item| known(item).1.to_owned()));
        // Without a file of items, its texts are empty.
        let newer = catalog_of_new(&read, &items, &|item| old.knows(item))?;
        let titles = or_known(newer.titles(), &|item| known(item).0.to_owned());
        let field = |(name, texts): (&str, &[String])| {
            let texts = or_known(texts, &|item| old.field_of(item, name).to_owned());
            (name.to_owned(), texts.into_values().collect())
        };
        let fields = newer.fields().map(field).collect();
        Ok(Self { holds, users, titles, fields, groups, repeats })
    }

    /// Writes the merged log and its items.
    pub(super) fn write(&self, log: &Path, items: &Path) -> Result<()> {
        let rows = || self.users.iter().flat_map(|(user, row)| row.iter().zip(1u32..).map(move |own| (user, own)));
        let columns = [
            ("user", Column::Text(rows().map(|(user, _)| user.clone()).collect())),
            ("item", Column::Text(rows().map(|(_, (item, _))| item.clone()).collect())),
            ("pos", Column::Ids(rows().map(|(_, (_, place))| place).collect())),
        ];
        write_columns(log, &columns)?;
        let mut columns = vec![
            ("item", Column::Text(self.titles.keys().cloned().collect())),
            ("title", Column::Text(self.titles.values().cloned().collect())),
        ];
        if let Some(groups) = &self.groups {
            columns.push((GROUP, Column::Text(groups.values().cloned().collect())));
        }
        for (name, texts) in &self.fields {
            // A field may be one of these.
            if columns.iter().all(|(own, _)| own != name) {
                columns.push((name, Column::Text(texts.clone())));
            }
        }
        Ok(write_columns(items, &columns)?)
    }

    /// Returns whether any item has a title, or a group.
    pub(super) fn has_items(&self) -> bool {
        let texts = self.fields.iter().flat_map(|(_, texts)| texts);
        self.titles.values().chain(texts).any(|text| !text.trim().is_empty()) || self.groups.is_some()
    }
}

/// What is new in a data set to an older bundle.
#[derive(Debug)]
pub(super) struct News {
    /// The number of users with interactions that the bundle lacks.
    pub(super) users: usize,
    /// Those of them whose newest interaction is one of these, and that is held out for test: the bundle was not trained on it.
    pub(super) comparable: Vec<UserId>,
    told: String,
}

impl News {
    /// Looks for what an older bundle lacks in the merged log, after its filters and split.
    pub(super) fn new(old: &Bundle, merged: &Merged, dataset: &Dataset) -> Self {
        let known = Known::new(old);
        let (mut users, mut comparable) = (0, Vec::new());
        for user in UserId::all(dataset.users.len()) {
            let row = row_of(dataset, user);
            let Some(is_newest) = known.has_more(&dataset.users[user.index()], &row, old) else { continue };
            users += 1;
            if is_newest && dataset.test.row(user).len() == 1 {
                comparable.push(user);
            }
        }
        let told = known.told(old, merged, dataset, users);
        Self { users, comparable, told }
    }

    /// Says what was merged, and what is gone.
    pub(super) fn told(&self) -> &str {
        &self.told
    }
}

/// What an older bundle knows of its users.
enum Known<'a> {
    /// How often each user had each item.
    Named(HashMap<&'a str, HashMap<&'a str, usize>>),
    /// The histories, of users without a name.
    Nameless(HashSet<u64>),
}

impl<'a> Known<'a> {
    fn new(old: &'a Bundle) -> Self {
        match old.manifest().names_users {
            true => Self::Named(old.histories().map(|(name, row)| (name, counts(&row))).collect()),
            false => Self::Nameless(
                old.histories().filter_map(|(_, row)| beginnings(row.into_iter()).last().flatten()).collect(),
            ),
        }
    }

    /// Returns whether the newest item of a history is new to the bundle; nothing if nothing is.
    fn has_more(&self, user: &str, row: &[&str], old: &Bundle) -> Option<bool> {
        match self {
            Self::Named(users) => {
                let own = counts(row);
                let before =
                    |item: &str| users.get(user).and_then(|known| known.get(item)).copied().unwrap_or_default();
                let is_new = |item: &str| own[item] > before(item);
                row.iter().any(|item| is_new(item)).then(|| row.last().is_some_and(|item| is_new(item)))
            }
            Self::Nameless(known) => {
                let places = (0..row.len()).filter(|at| old.knows(row[*at]));
                let hashes = beginnings(places.clone().map(|at| row[at]));
                let longest =
                    places.zip(hashes).filter(|(_, hash)| hash.is_some_and(|hash| known.contains(&hash))).last();
                match longest {
                    Some((at, _)) if at + 1 == row.len() => None,
                    // A new user, or one whose history has changed: the bundle may have been trained on anything of it.
                    found => (!row.is_empty()).then_some(found.is_some()),
                }
            }
        }
    }

    fn told(&self, old: &Bundle, merged: &Merged, dataset: &Dataset, users: usize) -> String {
        let mut told = vec![match merged.holds {
            LogHolds::Everything => "the log takes the place of what the bundle knows".to_owned(),
            LogHolds::NewOnly => "the log follows what the bundle knows".to_owned(),
        }];
        let interactions = dataset.interactions();
        told.push(format!(
            "{} users with {interactions} interactions, {users} of them with new ones",
            dataset.users.len()
        ));
        let items: HashSet<&str> = dataset.catalog.all().map(|item| dataset.catalog.id(item)).collect();
        let mut gone: Vec<String> = Vec::new();
        let mut tell = |count: usize, what: &str| gone.extend((count > 0).then(|| format!("{count} {what}")));
        if let Self::Named(known) = self {
            let now: HashMap<&str, UserId> =
                dataset.users.iter().map(String::as_str).zip(UserId::all(dataset.users.len())).collect();
            told.push(format!("{} new users", now.keys().filter(|user| !known.contains_key(*user)).count()));
            let mut lost = [0, 0];
            for (user, before) in known {
                let row = now.get(user).map(|user| row_of(dataset, *user)).unwrap_or_default();
                let own = counts(&row);
                lost[0] += usize::from(row.is_empty());
                lost[1] += before.iter().map(|(item, n)| n.saturating_sub(*own.get(item).unwrap_or(&0))).sum::<usize>();
            }
            tell(lost[0], "users");
            tell(lost[1], "interactions");
        }
        tell(old.ids().filter(|item| !items.contains(item)).count(), "items");
        told.push(format!("{} new items", items.iter().filter(|item| !old.knows(item)).count()));
        if !gone.is_empty() {
            told.push(format!("gone: {} that the bundle knew", gone.join(", ")));
        }
        if merged.repeats > 0 {
            told.push(format!("{} new interactions are with an item that their user had before", merged.repeats));
        }
        told.join("; ")
    }
}

/// Returns what a user did in all parts of a data set, oldest first, by the ids of items.
fn row_of(dataset: &Dataset, user: UserId) -> Vec<&str> {
    let parts = [&dataset.train, &dataset.valid, &dataset.test];
    parts.iter().flat_map(|part| part.row(user)).map(|item| dataset.catalog.id(*item)).collect()
}

/// Returns how often each item occurs.
fn counts<'a>(row: &[&'a str]) -> HashMap<&'a str, usize> {
    let mut found = HashMap::new();
    row.iter().for_each(|item| *found.entry(*item).or_default() += 1);
    found
}

/// Returns a hash of each beginning of a history; nothing for one of a single item, which says too little.
fn beginnings<'a>(row: impl Iterator<Item = &'a str>) -> impl Iterator<Item = Option<u64>> {
    let hash = |state: &mut (DefaultHasher, usize), item: &str| {
        item.hash(&mut state.0);
        state.1 += 1;
        Some((state.1, state.0.clone().finish()))
    };
    row.scan((DefaultHasher::new(), 0), hash).map(|(length, hash)| (length > 1).then_some(hash))
}

/// Finds out what a log holds.
fn found(old: &Bundle, new: &Histories) -> Result<LogHolds> {
    let ask =
        "say --everything if it takes the place of what the bundle knows, or --only-new if it holds nothing of it";
    let ids = |row: &[ItemId]| row.iter().map(|item| new.items[item.index() - 1].as_str()).collect::<Vec<&str>>();
    if old.manifest().names_users {
        let rows: HashMap<&str, HashMap<&str, usize>> =
            new.users.iter().map(String::as_str).zip(new.rows.rows().map(|row| counts(&ids(row)))).collect();
        let (mut all, mut shared, mut users) = (0, 0, 0);
        for (name, row) in old.histories() {
            all += row.len();
            let Some(own) = rows.get(name) else { continue };
            users += 1;
            shared += counts(&row).into_iter().map(|(item, n)| n.min(*own.get(item).unwrap_or(&0))).sum::<usize>();
        }
        if users == 0 {
            bail!("none of its {} users is a user of the bundle, such as {:?}; {ask}", new.users.len(), new.users[0]);
        }
        let [of_old, of_new] = [all, new.rows.total()].map(|all| shared as f64 / all.max(1) as f64);
        return match (of_old >= MOST, of_old <= FEW && of_new <= REPEATED) {
            (true, _) => Ok(LogHolds::Everything),
            (_, true) => Ok(LogHolds::NewOnly),
            _ => bail!(
                "holds {:.0} % of what the bundle knows, which is {:.0} % of the log; {ask}",
                100.0 * of_old,
                100.0 * of_new
            ),
        };
    }
    let known = |row: &[ItemId]| ids(row).into_iter().filter(|item| old.knows(item)).collect::<Vec<_>>();
    let begun: HashSet<u64> =
        new.rows.rows().flat_map(|row| beginnings(known(row).into_iter()).flatten().collect::<Vec<_>>()).collect();
    let all: Vec<u64> = old.histories().filter_map(|(_, row)| beginnings(row.into_iter()).last().flatten()).collect();
    let share = all.iter().filter(|hash| begun.contains(hash)).count() as f64 / all.len().max(1) as f64;
    if share < MOST {
        bail!(
            "begins with {:.0} % of the histories of the bundle, which does not know its users by name; say --everything if \
             it takes their place",
            100.0 * share
        );
    }
    Ok(LogHolds::Everything)
}

/// Puts new interactions behind the old ones. The second value is the number of those with an item that their user had.
fn followed(old: &Bundle, fresh: Rows) -> (Rows, usize) {
    let row = |(name, row): (&str, Vec<&str>)| (name.to_owned(), row.into_iter().map(str::to_owned).collect());
    let mut users: Rows = old.histories().map(row).collect();
    let mut repeats = 0;
    for (user, row) in fresh {
        let known = users.entry(user).or_default();
        let before: HashSet<&String> = known.iter().collect();
        repeats += row.iter().filter(|item| before.contains(item)).count();
        known.extend(row);
    }
    (users, repeats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_the_same_in_every_longer_history_and_one_item_is_none() {
        let hashes = |row: &[&'static str]| beginnings(row.iter().copied()).collect::<Vec<_>>();
        let (short, long) = (hashes(&["a", "b"]), hashes(&["a", "b", "a"]));
        assert_eq!((short[0], &short[..], long.len()), (None, &long[..2], 3));
        assert_ne!(hashes(&["ab", "c"])[1], hashes(&["a", "bc"])[1]);
    }
}
