//! The log of an older bundle and a new one, as one.
use super::UpdateConfig;
use crate::bundle::Bundle;
use anyhow::Result;
use ra_core::{ItemId, UserId};
use ra_data::{Column, Columns, DataConfig, Histories, TitleParts, histories, write_columns};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// The column of groups in the merged items.
pub(super) const GROUP: &str = "group";

/// The share of the older histories that a log must begin with to be taken for the whole log.
const MOST: f64 = 0.5;

/// What a new log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogHolds {
    /// Everything, the interactions that the bundle knows included: it takes their place.
    Everything,
    /// New interactions alone, which follow those of the bundle.
    NewOnly,
}

/// A merged log.
#[derive(Debug)]
#[non_exhaustive]
pub struct Merged {
    /// What the new log holds.
    pub holds: LogHolds,
    /// What every user did, oldest first, by name.
    pub users: BTreeMap<String, Vec<String>>,
    /// The title of every item, by id.
    pub titles: BTreeMap<String, String>,
    /// The group of every item, if they have groups.
    pub groups: Option<BTreeMap<String, String>>,
    /// The users who did something that the bundle does not know.
    pub changed: Vec<String>,
    /// Whether the bundle knows users by name.
    pub names_users: bool,
    /// The numbers of users and items that the bundle does not know.
    new: [usize; 2],
}

impl Merged {
    /// Reads the new log and merges it with what the bundle knows.
    ///
    /// # Errors
    /// As [`ra_data::histories`].
    pub(super) fn new(old: &Bundle, config: &UpdateConfig) -> Result<Self> {
        let own = old.data_config();
        let (min_rating, dedupe) = (own.min_rating, own.dedupe);
        let read = DataConfig {
            interactions: Some(config.log.clone()),
            items: config.items.clone(),
            columns: own.columns.clone(),
            min_rating,
            dedupe,
            ..DataConfig::default()
        };
        let read = columns_of(read, &config.sets)?;
        let new = histories(&read)?;
        let names_users = old.manifest().names_users;
        let holds = config.holds.unwrap_or_else(|| found(old, &new));
        let id = |item: &ItemId| new.items[item.index() - 1].clone();
        let fresh = UserId::all(new.users.len())
            .map(|user| (new.users[user.index()].clone(), new.rows.row(user).iter().map(id).collect::<Vec<String>>()));
        let (users, changed) = match holds {
            LogHolds::Everything => replaced(old, fresh.collect()),
            LogHolds::NewOnly => followed(old, fresh.collect()),
        };
        let known_users: HashSet<&str> = old.histories().map(|(name, _)| name).collect();
        let items: HashSet<&String> = users.values().flatten().collect();
        let new_items = items.iter().filter(|item| !old.knows(item)).count();
        let new_users = new.users.iter().filter(|user| !known_users.contains(user.as_str())).count();
        let given: HashMap<&str, &str> =
            new.items.iter().map(String::as_str).zip(new.titles.iter().map(String::as_str)).collect();
        let grouped = config.group.as_ref().map(|column| groups(&read, column)).transpose()?;
        let (mut titles, mut own_groups) = (BTreeMap::new(), BTreeMap::new());
        for item in items {
            let (title, group) = old.title_and_group(item).unwrap_or_default();
            let newer = given.get(item.as_str()).filter(|title| !title.trim().is_empty());
            titles.insert(item.clone(), newer.map_or(title, |title| title).to_owned());
            let newer = grouped.as_ref().and_then(|groups| groups.get(item)).map(String::as_str);
            own_groups.insert(item.clone(), newer.unwrap_or(group).to_owned());
        }
        let has_groups = grouped.is_some() || old.has_groups();
        let groups = has_groups.then_some(own_groups);
        Ok(Self { holds, users, titles, groups, changed, names_users, new: [new_users, new_items] })
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
        Ok(write_columns(items, &columns)?)
    }

    /// Returns whether any item has a title.
    pub(super) fn has_titles(&self) -> bool {
        self.titles.values().any(|title| !title.trim().is_empty()) || self.groups.is_some()
    }

    /// Says what was merged.
    pub(super) fn told(&self) -> String {
        let interactions: usize = self.users.values().map(Vec::len).sum();
        let [users, items] = self.new;
        let holds = match self.holds {
            LogHolds::Everything => "the log holds what the bundle knows, and takes its place",
            LogHolds::NewOnly => "the log holds new interactions, which follow those of the bundle",
        };
        let users = match (self.names_users, self.holds) {
            (true, _) => format!("{users} new users"),
            (false, LogHolds::Everything) => "users are not known by name".into(),
            (false, LogHolds::NewOnly) => {
                "the bundle does not know users by name, so all users of the log are new ones".into()
            }
        };
        format!(
            "{holds}: {} users, {interactions} interactions; {} users with new ones; {users}; {items} new items",
            self.users.len(),
            self.changed.len()
        )
    }
}

/// Returns a configuration with the columns of the log that settings name.
fn columns_of(config: DataConfig, sets: &[String]) -> Result<DataConfig> {
    let mut table = toml::Table::new();
    table.insert("columns".into(), toml::Value::try_from(&config.columns)?);
    for (key, value) in sets.iter().filter_map(|set| set.split_once('=')) {
        if let (Some(column), Some(toml::Value::Table(columns))) =
            (key.trim().strip_prefix("data.columns."), table.get_mut("columns"))
        {
            columns.insert(column.into(), value.trim().trim_matches('"').into());
        }
    }
    let columns: Columns = table.remove("columns").unwrap_or_else(|| toml::Table::new().into()).try_into()?;
    Ok(DataConfig { columns, ..config })
}

/// Returns the group of each item of the new log.
fn groups(read: &DataConfig, column: &str) -> Result<HashMap<String, String>> {
    let columns = Columns { title: Some(TitleParts::One(column.into())), ..read.columns.clone() };
    let found = histories(&DataConfig { columns, ..read.clone() })?;
    Ok(found.items.into_iter().zip(found.titles).collect())
}

/// Finds out what a log holds: everything, if it begins with most of the histories that the bundle knows.
fn found(old: &Bundle, new: &Histories) -> LogHolds {
    let hash = |state: &DefaultHasher| state.clone().finish();
    let mut beginnings = HashSet::new();
    for row in new.rows.rows() {
        let mut state = DefaultHasher::new();
        // The bundle may have left out rare items.
        for item in row.iter().map(|item| &new.items[item.index() - 1]).filter(|item| old.knows(item)) {
            item.hash(&mut state);
            beginnings.insert(hash(&state));
        }
    }
    let (mut all, mut known) = (0, 0);
    for (_, row) in old.histories().filter(|(_, row)| row.len() > 1) {
        let mut state = DefaultHasher::new();
        row.iter().for_each(|item| item.hash(&mut state));
        all += 1;
        known += usize::from(beginnings.contains(&hash(&state)));
    }
    if all > 0 && known as f64 >= MOST * all as f64 { LogHolds::Everything } else { LogHolds::NewOnly }
}

type Rows = BTreeMap<String, Vec<String>>;

/// Takes the new log in place of the old one. A user changed whose history the bundle does not hold, or whose newest item it
/// does not know. Other unknown items may be rare ones that the bundle left out.
fn replaced(old: &Bundle, fresh: Rows) -> (Rows, Vec<String>) {
    let known: HashSet<Vec<&str>> = old.histories().map(|(_, row)| row).collect();
    let has_changed = |row: &Vec<String>| {
        let own: Vec<&str> = row.iter().map(String::as_str).filter(|item| old.knows(item)).collect();
        !known.contains(&own) || row.last().is_some_and(|item| !old.knows(item))
    };
    let changed = fresh.iter().filter(|(_, row)| has_changed(row)).map(|(user, _)| user.clone()).collect();
    (fresh, changed)
}

/// Puts new interactions behind the old ones. Where a new row begins with what an old one ends with, that is kept once.
fn followed(old: &Bundle, fresh: Rows) -> (Rows, Vec<String>) {
    let mut users = Rows::new();
    for (number, (name, row)) in (1..).zip(old.histories()) {
        let mut own = if name.is_empty() { format!("#{number}") } else { name.to_owned() };
        while name.is_empty() && fresh.contains_key(&own) {
            own.insert(0, '#');
        }
        users.insert(own, row.into_iter().map(str::to_owned).collect());
    }
    let mut changed = Vec::new();
    for (user, row) in fresh {
        let known = users.entry(user.clone()).or_default();
        let shared = |n: &usize| known[known.len() - n..] == row[..*n];
        let overlap = (0..=known.len().min(row.len())).rev().find(shared).unwrap_or(0);
        if overlap < row.len() {
            changed.push(user);
        }
        known.extend_from_slice(&row[overlap..]);
    }
    (users, changed)
}
