//! Turns tables into interactions and titles.
use crate::config::{DataConfig, TitleParts};
use crate::format::row::{ColumnSpec, RejectedRows, Role};
use crate::interactions::{Builder, Interactions};
use crate::source::file::doubt;
use crate::source::folder;
use crate::source::read::{Inputs, read};
use crate::time::calendar::{Calendar, Times};
use crate::time::is_order;
use crate::{DataError, Result, ids};
use foldhash::fast::RandomState;
use ra_core::ensure_host_memory;
use std::collections::HashMap;
use std::path::PathBuf;

const USER: [&str; 4] = ["user", "user_id", "reviewerID", "userId"];
const ITEM: [&str; 5] = ["item", "item_id", "parent_asin", "asin", "movieId"];
const TIME: [&str; 5] = ["ts", "pos", "timestamp", "time", "unixReviewTime"];
const TITLE: [&str; 2] = ["title", "movie_title"];
const RATING: [&str; 2] = ["rating", "overall"];

/// What [`scan`] found out about the interactions.
#[derive(Debug)]
pub(crate) struct ScanReport {
    /// The number of interactions that do not come from the file of test interactions.
    pub(crate) train_rows: usize,
    /// The time column, if it is an order without clock time.
    pub(crate) order_only: Option<String>,
    /// How to interpret their times.
    pub(crate) calendar: Calendar,
    /// The number of rows read, including those with a low rating.
    pub(crate) read: usize,
    /// The number of rows with a sufficient rating and a known time.
    pub(crate) rated: usize,
}

/// Returns the files that `config` names, and the folders it names in place of their files.
pub(crate) fn files(config: &DataConfig) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in [&config.interactions, &config.items, &config.test].into_iter().flatten() {
        files.extend(path.is_dir().then(|| path.clone()));
        files.extend(folder::files(path)?);
    }
    Ok(files)
}

/// Returns the columns of a log that `config` reads.
pub(crate) fn log_columns(config: &DataConfig) -> Vec<ColumnSpec> {
    let columns = &config.columns;
    let mut wanted = vec![
        ColumnSpec::new(Role::User, columns.user.as_ref(), &USER),
        ColumnSpec::new(Role::Item, columns.item.as_ref(), &ITEM),
        ColumnSpec::new(Role::Time, columns.time.as_ref(), &TIME),
    ];
    if config.min_rating.is_some() {
        wanted.push(ColumnSpec::new(Role::Rating, columns.rating.as_ref(), &RATING));
    }
    wanted
}

/// Returns the columns of a table of titles that `config` reads.
pub(crate) fn title_columns(config: &DataConfig) -> Vec<ColumnSpec> {
    let mut wanted = vec![ColumnSpec::new(Role::Item, config.columns.item.as_ref(), &ITEM)];
    match &config.columns.title {
        None => wanted.push(ColumnSpec::new(Role::Title, None, &TITLE)),
        Some(TitleParts::One(name)) => wanted.push(ColumnSpec::new(Role::Title, Some(name), &[])),
        Some(TitleParts::Several(names)) => {
            wanted.extend(names.iter().map(|name| ColumnSpec::new(Role::Title, Some(name), &[]).optional()));
        }
    }
    wanted
}

/// Reads the interactions with a sufficient rating into memory.
///
/// # Errors
/// [`DataError::LogTooLarge`] before the list of rows needs more memory than the machine has left.
pub(crate) fn read_interactions(
    inputs: Inputs<'_>,
    config: &DataConfig,
    rejected: &mut RejectedRows,
) -> Result<(Interactions, ScanReport)> {
    let mut builder = Builder::default();
    let told = scan(inputs, config, rejected, |user, item, time| {
        if let Some(bytes) = builder.growth() {
            room(bytes)?;
        }
        builder.push(user, item, time);
        Ok(())
    })?;
    let mut log = builder.finish();
    if told.calendar.changes() {
        log.rows.retain_mut(|row| match told.calendar.settled(row.time) {
            Some(time) => {
                row.time = time;
                true
            }
            None => false,
        });
    }
    Ok((log, told))
}

/// Refuses a list of rows that does not fit into the free memory.
fn room(bytes: usize) -> Result<()> {
    match ensure_host_memory("read interactions", bytes as u64, "") {
        Err(ra_core::Error::Memory { needed, available, .. }) => Err(DataError::LogTooLarge { needed, available }),
        other => Ok(other?),
    }
}

/// Passes every interaction with a sufficient rating to the visitor: user, item, and time in seconds, yet to be settled
/// by [`ScanReport::calendar`]. Test interactions from a separate file come last.
pub(crate) fn scan(
    inputs: Inputs<'_>,
    config: &DataConfig,
    rejected: &mut RejectedRows,
    mut each: impl FnMut(&str, &str, f64) -> Result<()>,
) -> Result<ScanReport> {
    let missing = || DataError::setting("interactions", "names no file; give its path");
    let log = inputs.log.ok_or_else(missing)?;
    let wanted = log_columns(config);
    let (mut rows, mut time, mut train_rows) = (0, String::new(), 0);
    let (mut times, before) = (Times::default(), rejected.read);
    for (input, trains) in [(Some(log), true), (inputs.test, false)] {
        let Some(input) = input else { continue };
        let path = input.path();
        read(input, &wanted, config.strict, rejected, |row| {
            let liked = match config.min_rating {
                Some(least) => row.number(3)? >= least,
                None => true,
            };
            let (user, item, at) = (row.id(0)?, row.id(1)?, row.time(2)?);
            if time.is_empty() {
                time.clone_from(&row.names[2]);
            }
            if rows == u32::MAX as usize {
                return Err(DataError::corrupt(path, "more than 4,294,967,295 interactions, which is the limit"));
            }
            if liked {
                rows += 1;
                times.count(at, row, 2);
                each(user, item, at.0)?;
            }
            Ok(())
        })?;
        if time.is_empty() {
            let problem = match rejected.examples.first() {
                Some(first) => format!("none of its {} rows can be read; the first: {first}", rejected.rows),
                None => "nothing follows the header".into(),
            };
            return Err(DataError::corrupt(path, format!("no interactions: {problem}")));
        }
        if trains {
            train_rows = rows;
        }
    }
    let path = log.path();
    if let Some(problem) = times.refused(&time) {
        return Err(DataError::corrupt(path, problem));
    }
    times.doubts(&time).into_iter().try_for_each(|problem| doubt(config.strict, path, problem))?;
    let (calendar, unreadable, read) = (times.calendar(), times.unreadable(), rejected.read - before);
    if let Some(first) = times.first_unreadable() {
        rejected.unreadable(unreadable, first, config.strict)?;
    }
    let order_only = Some(time).filter(|name| is_order(name));
    Ok(ScanReport { train_rows, order_only, calendar, read, rated: rows - unreadable })
}

/// Returns the titles of the items with these ids. If an item has several rows, the first counts; an item without a row
/// gets an empty title. HTML entities such as `&amp;` are decoded.
pub(crate) fn read_titles(
    ids: &[String],
    inputs: Inputs<'_>,
    config: &DataConfig,
    rejected: &mut RejectedRows,
) -> Result<Vec<String>> {
    // The caller reports what the filters left of the log.
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut titles: Vec<Option<String>> = vec![None; ids.len()];
    let Some(input) = inputs.items else { return Ok(vec![String::new(); ids.len()]) };
    let path = input.path();
    let places: HashMap<&str, usize, RandomState> = ids.iter().map(String::as_str).zip(0..).collect();
    let wanted = title_columns(config);
    let (mut repeated, mut conflicting, mut strangers, mut unknown) = (0, 0, Vec::new(), 0usize);
    let mut found = vec![false; wanted.len()];
    read(input, &wanted, config.strict, rejected, |row| {
        found.iter_mut().zip(row.names).for_each(|(found, name)| *found |= !name.is_empty());
        let id = row.id(0)?;
        let Some(&place) = places.get(id) else {
            unknown += 1;
            if strangers.len() < 2 {
                strangers.push(id.to_owned());
            }
            return Ok(());
        };
        let parts: Vec<&str> = row.fields[1..].iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
        // A single column is kept exactly, including surrounding space.
        let title = if row.fields.len() == 2 { row.fields[1].to_owned() } else { parts.join(" ") };
        let title = html_escape::decode_html_entities(&title).into_owned();
        match &titles[place] {
            Some(first) if !first.trim().is_empty() => {
                repeated += 1;
                // A row without a title contradicts no other.
                conflicting += usize::from(*first != title && !title.trim().is_empty());
            }
            // The first title that is not empty is kept.
            earlier => {
                repeated += usize::from(earlier.is_some());
                titles[place] = Some(title);
            }
        }
        Ok(())
    })?;
    if let (Some(lacking), true) = (found.iter().position(|found| !found), found[0]) {
        let name = wanted[lacking].names.join(", ");
        return Err(DataError::corrupt(
            path,
            format!("no column `{name}`, which `columns.title` names; name an existing column, or leave it out"),
        ));
    }
    if unknown > 0 {
        tracing::warn!(path = %path.display(), rows = unknown, "items that the log does not have are left out");
    }
    if conflicting > 0 {
        let problem = format!("{conflicting} rows give an item a different title than its first one, which is kept");
        doubt(config.strict, path, problem)?;
    } else if repeated > 0 {
        tracing::warn!(path = %path.display(), rows = repeated, "items occur more than once; the first title is kept");
    }
    let found = titles.iter().flatten().count();
    // If only some items have titles but all of these are in the log, nothing suggests another data set.
    if found == 0 || (2 * found < titles.len() && !strangers.is_empty()) {
        let list = |ids: &[String]| ids.iter().take(2).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        let problem = format!(
            "has {found} of the {} items of the log, such as {}; items that are not in the log: {}; do both files \
             belong to the same data set, with the same kind of ids?",
            titles.len(),
            list(ids),
            if strangers.is_empty() { "none".into() } else { list(&strangers) },
        );
        doubt(config.strict, path, problem)?;
    }
    let mut titles: Vec<String> = titles.into_iter().map(Option::unwrap_or_default).collect();
    // A column of nothing but such words holds no titles.
    let is_nothing = |title: &String| title.trim().is_empty() || ids::stands_for_nothing(title.trim());
    if titles.iter().all(is_nothing) {
        titles.iter_mut().for_each(String::clear);
        doubt(config.strict, path, "none of the items has a title: the language model reads empty titles".into())?;
    }
    let untitled = titles.iter().filter(|title| title.trim().is_empty()).count();
    if (1..titles.len()).contains(&untitled) {
        tracing::warn!(
            items = untitled,
            of = titles.len(),
            "items without a title: the language model reads an empty one"
        );
    }
    Ok(titles)
}

/// Returns the text in a column about the items with these ids; the first that is not empty counts.
pub(crate) fn read_attribute(
    ids: &[String],
    column: &str,
    inputs: Inputs<'_>,
    config: &DataConfig,
) -> Result<Vec<String>> {
    let mut found = vec![String::new(); ids.len()];
    let Some(input) = inputs.items else { return Ok(found) };
    let places: HashMap<&str, usize, RandomState> = ids.iter().map(String::as_str).zip(0..).collect();
    let name = column.to_owned();
    let wanted = [
        ColumnSpec::new(Role::Item, config.columns.item.as_ref(), &ITEM),
        ColumnSpec::new(Role::Title, Some(&name), &[]).optional(),
    ];
    let mut exists = false;
    read(input, &wanted, config.strict, &mut RejectedRows::default(), |row| {
        exists |= !row.names[1].is_empty();
        if let Some(&place) = places.get(row.id(0)?)
            && found[place].is_empty()
        {
            found[place] = row.fields[1].trim().to_owned();
        }
        Ok(())
    })?;
    if !exists {
        return Err(DataError::corrupt(input.path(), format!("no column `{column}`; name one that is there")));
    }
    Ok(found)
}
