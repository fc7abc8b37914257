//! From files to interactions and titles.
use crate::config::DataConfig;
use crate::interactions::Interactions;
use crate::rows::{Rows, Wanted};
use crate::source::{Format, Source};
use crate::{DataError, Result, delimited, typed};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

const USER: [&str; 2] = ["user", "user_id"];
const ITEM: [&str; 3] = ["item", "item_id", "parent_asin"];
const TIME: [&str; 4] = ["ts", "pos", "timestamp", "time"];
const TITLE: [&str; 2] = ["title", "movie_title"];
const RATING: [&str; 2] = ["rating", "overall"];

/// Names of time columns that give an order and no clock time.
const ORDER_ONLY: [&str; 2] = ["pos", "position"];

/// Interactions as read, and what is known about their time.
#[derive(Debug)]
pub(crate) struct Log {
    /// The interactions, rated well enough.
    pub(crate) interactions: Interactions,
    /// The time column, where it is an order without clock time.
    pub(crate) order_only: Option<String>,
}

/// Reads the interactions of `config`.
pub(crate) fn read_interactions(path: &Path, config: &DataConfig) -> Result<Log> {
    let source = Source::new(path)?;
    if source.format() == Format::Lists {
        return read_lists(&source);
    }
    let columns = &config.columns;
    let mut wanted = vec![
        Wanted::new("user", columns.user.as_ref(), &USER),
        Wanted::new("item", columns.item.as_ref(), &ITEM),
        Wanted::new("time", columns.time.as_ref(), &TIME),
    ];
    if config.min_rating.is_some() {
        wanted.push(Wanted::new("rating", columns.rating.as_ref(), &RATING));
    }
    let rows = read(path, &wanted)?;
    if rows.len() == 0 {
        return Err(DataError::corrupt(path, "no interactions: nothing follows the header"));
    }
    let mut kept = Vec::with_capacity(rows.len());
    for index in 0..rows.len() {
        let liked = match config.min_rating {
            Some(least) => rows.number(3, index)? >= least,
            None => true,
        };
        let row = (rows.id(0, index)?, rows.id(1, index)?, rows.number(2, index)?);
        if liked {
            kept.push(row);
        }
    }
    let order_only = Some(&rows.names[2]).filter(|name| ORDER_ONLY.contains(&name.as_str())).cloned();
    Ok(Log { interactions: Interactions::from_rows(&kept), order_only })
}

/// Reads `user item item ..` lines, as LightGCN and S3-Rec have them; the order is that of the line.
fn read_lists(source: &Source) -> Result<Log> {
    let mut text = String::new();
    source.open()?.read_to_string(&mut text).map_err(|e| source.failed(e))?;
    let mut rows = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let Some(user) = words.next() {
            rows.extend((0u32..).zip(words).map(|(place, item)| (user, item, f64::from(place))));
        }
    }
    if rows.is_empty() {
        return Err(DataError::corrupt(source.path(), "no interactions: each line is a user and then their items"));
    }
    Ok(Log { interactions: Interactions::from_rows(&rows), order_only: Some("place in the line".into()) })
}

/// Reads titles by item id; of several rows for one item the first counts.
pub(crate) fn read_titles(path: &Path, config: &DataConfig) -> Result<HashMap<String, String>> {
    let wanted = [
        Wanted::new("item", config.columns.item.as_ref(), &ITEM),
        Wanted::new("title", config.columns.title.as_ref(), &TITLE),
    ];
    let rows = read(path, &wanted)?;
    let mut titles = HashMap::with_capacity(rows.len());
    let mut repeated = 0;
    for index in 0..rows.len() {
        let id = rows.id(0, index)?;
        if titles.contains_key(id) {
            repeated += 1;
        } else {
            titles.insert(id.to_owned(), rows.text(1, index).to_owned());
        }
    }
    if repeated > 0 {
        tracing::warn!(path = %path.display(), rows = repeated, "items occur more than once; the first title is kept");
    }
    Ok(titles)
}

/// Reads the wanted columns of any file whose format its name tells.
fn read(path: &Path, wanted: &[Wanted]) -> Result<Rows> {
    let source = Source::new(path)?;
    match source.format() {
        Format::Tabs => delimited::read_tabs(&source, wanted),
        Format::Commas => delimited::read_commas(&source, wanted),
        Format::JsonLines => typed::read_json_lines(&source, wanted),
        Format::Parquet => typed::read_parquet(&source, wanted),
        Format::Lists => Err(DataError::corrupt(
            path,
            "a txt file holds interactions only; give titles as tsv, csv, jsonl or parquet",
        )),
    }
}
