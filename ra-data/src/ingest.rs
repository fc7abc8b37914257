//! From files to interactions and titles.
use crate::config::{DataConfig, TitleParts};
use crate::interactions::{Builder, Interactions};
use crate::records::{Skipped, Wanted};
use crate::{DataError, Result};
use std::collections::HashMap;
use std::path::Path;

const USER: [&str; 4] = ["user", "user_id", "reviewerID", "userId"];
const ITEM: [&str; 5] = ["item", "item_id", "parent_asin", "asin", "movieId"];
const TIME: [&str; 5] = ["ts", "pos", "timestamp", "time", "unixReviewTime"];
const TITLE: [&str; 2] = ["title", "movie_title"];
const RATING: [&str; 2] = ["rating", "overall"];

/// Names of time columns that give an order and no clock time.
const ORDER_ONLY: [&str; 3] = ["pos", "position", "place in the file"];

/// Interactions as read, and what is known about their time.
#[derive(Debug)]
pub(crate) struct Log {
    /// The interactions, rated well enough.
    pub(crate) interactions: Interactions,
    /// How many of them are not of the file of test interactions.
    pub(crate) train_rows: usize,
    /// The time column, where it is an order without clock time.
    pub(crate) order_only: Option<String>,
}

/// Reads the interactions of `config`: those of `path`, then those to test on, if they have a file of their own.
pub(crate) fn read_interactions(path: &Path, config: &DataConfig, skipped: &mut Skipped) -> Result<Log> {
    let columns = &config.columns;
    let mut wanted = vec![
        Wanted::new("user", columns.user.as_ref(), &USER),
        Wanted::new("item", columns.item.as_ref(), &ITEM),
        Wanted::new("time", columns.time.as_ref(), &TIME),
    ];
    if config.min_rating.is_some() {
        wanted.push(Wanted::new("rating", columns.rating.as_ref(), &RATING));
    }
    let (mut builder, mut time, mut train_rows) = (Builder::default(), String::new(), 0);
    for (path, trains) in [(Some(path), true), (config.test.as_deref(), false)] {
        let Some(path) = path else { continue };
        let before = builder.len();
        skipped.read(path, &wanted, config.strict, |row| {
            let liked = match config.min_rating {
                Some(least) => row.number(3)? >= least,
                None => true,
            };
            let (user, item, at) = (row.id(0)?, row.id(1)?, row.time(2)?);
            if time.is_empty() {
                time.clone_from(&row.names[2]);
            }
            if builder.len() == u32::MAX as usize {
                return Err(DataError::corrupt(path, "more interactions than the 4,294,967,295 that have a number"));
            }
            if liked {
                builder.push(user, item, at);
            }
            Ok(())
        })?;
        if time.is_empty() {
            let problem = match skipped.examples.first() {
                Some(first) => format!("none of its {} rows can be read; the first: {first}", skipped.rows),
                None => "nothing follows the header".into(),
            };
            return Err(DataError::corrupt(path, format!("no interactions: {problem}")));
        }
        if trains {
            train_rows = builder.len() - before;
        }
    }
    let order_only = Some(time).filter(|name| ORDER_ONLY.contains(&name.as_str()));
    Ok(Log { interactions: builder.finish(), train_rows, order_only })
}

/// Reads titles by item id; of several rows for one item the first counts. What HTML writes as `&amp;` becomes `&`.
pub(crate) fn read_titles(path: &Path, config: &DataConfig, skipped: &mut Skipped) -> Result<HashMap<String, String>> {
    let mut wanted = vec![Wanted::new("item", config.columns.item.as_ref(), &ITEM)];
    match &config.columns.title {
        None => wanted.push(Wanted::new("title", None, &TITLE)),
        Some(TitleParts::One(name)) => wanted.push(Wanted::new("title", Some(name), &[])),
        Some(TitleParts::Several(names)) => {
            wanted.extend(names.iter().map(|name| Wanted::new("title", Some(name), &[]).optional()));
        }
    }
    let mut titles: HashMap<String, String> = HashMap::new();
    let mut repeated = 0;
    skipped.read(path, &wanted, config.strict, |row| {
        let id = row.id(0)?;
        if titles.contains_key(id) {
            repeated += 1;
            return Ok(());
        }
        let parts: Vec<&str> = row.fields[1..].iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
        // Of a single column not even the space around it is changed.
        let title = if row.fields.len() == 2 { row.fields[1].to_owned() } else { parts.join(" ") };
        titles.insert(id.to_owned(), html_escape::decode_html_entities(&title).into_owned());
        Ok(())
    })?;
    if repeated > 0 {
        tracing::warn!(path = %path.display(), rows = repeated, "items occur more than once; the first title is kept");
    }
    Ok(titles)
}
