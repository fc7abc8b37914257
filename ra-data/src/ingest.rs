//! Turns tables into interactions.
use crate::config::DataConfig;
use crate::format::row::{ColumnSpec, RejectedRows, Role};
use crate::interactions::{Builder, Interactions};
use crate::source::file::doubt;
use crate::source::folder;
use crate::source::read::{Inputs, read};
use crate::time::calendar::{Calendar, Times};
use crate::time::is_order;
use crate::{DataError, Result};
use ra_core::ensure_host_memory;
use std::path::PathBuf;

const USER: [&str; 4] = ["user", "user_id", "reviewerID", "userId"];
pub(crate) const ITEM: [&str; 5] = ["item", "item_id", "parent_asin", "asin", "movieId"];
const TIME: [&str; 5] = ["ts", "pos", "timestamp", "time", "unixReviewTime"];
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
