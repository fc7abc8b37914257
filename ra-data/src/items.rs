//! Turns a table of items into a catalogue: titles, and the fields of texts.
use crate::config::{DataConfig, TitleParts};
use crate::format::row::{ColumnSpec, Record, RejectedRows, Role};
use crate::format::{json, python};
use crate::ingest::ITEM;
use crate::source::file::doubt;
use crate::source::folder;
use crate::source::read::{Input, Inputs, read};
use crate::{DataError, Result, ids};
use foldhash::fast::RandomState;
use ra_core::{Catalog, ItemId, TextTemplate};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

const TITLE: [&str; 2] = ["title", "movie_title"];

/// Returns the columns of a table of items that `config` reads: the id, the title in one or more columns, and the
/// fields of the template of texts.
pub(crate) fn item_columns(config: &DataConfig) -> Vec<ColumnSpec> {
    let mut wanted = vec![id_column(config)];
    wanted.extend(title_columns(config));
    wanted.extend(fields(config).into_iter().map(|name| ColumnSpec::new(Role::Field, Some(&name.to_owned()), &[])));
    wanted
}

fn id_column(config: &DataConfig) -> ColumnSpec {
    ColumnSpec::new(Role::Item, config.columns.item.as_ref(), &ITEM)
}

fn title_columns(config: &DataConfig) -> Vec<ColumnSpec> {
    let column = |name: Option<&String>| ColumnSpec::new(Role::Title, name, &TITLE);
    match &config.columns.title {
        None if config.text.as_ref().is_some_and(|text| !text.has_title()) => vec![column(None).optional()],
        None => vec![column(None)],
        Some(TitleParts::One(name)) => vec![column(Some(name))],
        Some(TitleParts::Several(names)) => names.iter().map(|name| column(Some(name)).optional()).collect(),
    }
}

/// Returns the names of the fields that `config` asks for beside the title.
fn fields(config: &DataConfig) -> Vec<&str> {
    config.text.as_ref().map(TextTemplate::fields).unwrap_or_default()
}

/// Returns the catalogue of the items with these ids.
pub(crate) fn read_catalog(
    ids: Vec<String>,
    inputs: Inputs<'_>,
    config: &DataConfig,
    rejected: &mut RejectedRows,
) -> Result<Catalog> {
    read_catalog_of_new(ids, &|_| false, inputs, config, rejected)
}

/// Returns the catalogue of the items with these ids. The table need not say anything about items that are `known`.
pub(crate) fn read_catalog_of_new(
    ids: Vec<String>,
    known: &dyn Fn(&str) -> bool,
    inputs: Inputs<'_>,
    config: &DataConfig,
    rejected: &mut RejectedRows,
) -> Result<Catalog> {
    let ItemRows { titles, fields } = match inputs.items {
        // The caller reports what the filters left of the log.
        Some(input) if !ids.is_empty() => read_rows(&ids, known, input, config, rejected)?,
        _ => ItemRows {
            titles: vec![String::new(); ids.len()],
            fields: vec![vec![String::new(); ids.len()]; fields(config).len()],
        },
    };
    let catalog = Catalog::new(ids, titles);
    let catalog = match &config.text {
        Some(template) => catalog.with_texts(template.clone(), fields),
        None => catalog,
    };
    if let Some(input) = inputs.items {
        tell_silent(&catalog, known, input.path(), config.strict)?;
    }
    Ok(catalog)
}

/// Reports items without a text that are not `known`.
fn tell_silent(catalog: &Catalog, known: &dyn Fn(&str) -> bool, path: &Path, strict: bool) -> Result<()> {
    let what = if catalog.template().is_some() { "text" } else { "title" };
    let asked: Vec<ItemId> = catalog.all().filter(|item| !known(catalog.id(*item))).collect();
    let silent = asked.iter().filter(|item| !catalog.has_text(**item)).count();
    if silent > 0 && silent == asked.len() {
        return doubt(strict, path, format!("none of the items has a {what}: rows that read it get an empty one"));
    }
    if silent > 0 {
        tracing::warn!(items = silent, of = asked.len(), "items have no {what}: rows that read it get an empty one");
    }
    Ok(())
}

/// What a table says of each item.
struct ItemRows {
    titles: Vec<String>,
    /// One list per field of the template.
    fields: Vec<Vec<String>>,
}

/// Reads titles and fields. If an item has several rows, the first title that is not empty counts, and so does the
/// first text of each field; an item without a row has none of them. HTML entities such as `&amp;` are decoded.
fn read_rows(
    ids: &[String],
    known: &dyn Fn(&str) -> bool,
    input: Input<'_>,
    config: &DataConfig,
    rejected: &mut RejectedRows,
) -> Result<ItemRows> {
    let mut titles: Vec<Option<String>> = vec![None; ids.len()];
    let mut fields = vec![vec![String::new(); ids.len()]; fields(config).len()];
    let places = places(ids);
    let (wanted, of_titles) = (columns_in(input, config)?, 1..1 + title_columns(config).len());
    let mut told = Told::new(wanted.len());
    read(input, &wanted, config.strict, rejected, |row| {
        told.columns(row);
        let id = row.id(0)?;
        let Some(&place) = places.get(id) else {
            told.stranger(id);
            return Ok(());
        };
        let title = title_of(&row.fields[of_titles.clone()]);
        match &titles[place] {
            Some(first) if !first.trim().is_empty() => {
                told.repeated += 1;
                // A row without a title contradicts no other.
                told.conflicting += usize::from(*first != title && !title.trim().is_empty());
            }
            // The first title that is not empty is kept.
            earlier => {
                told.repeated += usize::from(earlier.is_some());
                titles[place] = Some(title);
            }
        }
        for (field, text) in fields.iter_mut().zip(&row.fields[of_titles.end..]) {
            if field[place].is_empty() {
                field[place] = sensible(text);
            }
        }
        Ok(())
    })?;
    told.refuse_lacking(input, &wanted, config)?;
    let asked: Vec<(&String, bool)> =
        ids.iter().zip(titles.iter().map(Option::is_some)).filter(|(id, _)| !known(id)).collect();
    told.doubts(&asked, input.path(), config.strict)?;
    let mut titles: Vec<String> = titles.into_iter().map(Option::unwrap_or_default).collect();
    // A column of nothing but such words holds no titles.
    let is_nothing = |title: &String| title.trim().is_empty() || ids::stands_for_nothing(title.trim());
    if titles.iter().all(is_nothing) {
        titles.iter_mut().for_each(String::clear);
    }
    Ok(ItemRows { titles, fields })
}

fn places(ids: &[String]) -> HashMap<&str, usize, RandomState> {
    ids.iter().map(String::as_str).zip(0..).collect()
}

/// Returns the columns to read. Of a table in several files, each file may lack a field.
fn columns_in(input: Input<'_>, config: &DataConfig) -> Result<Vec<ColumnSpec>> {
    let is_split = match input {
        Input::Files(path) => folder::files(path)?.len() > 1,
        Input::Columns(..) => false,
    };
    let may_lack = |column: ColumnSpec| match column.role() {
        Role::Field if is_split => column.optional(),
        _ => column,
    };
    Ok(item_columns(config).into_iter().map(may_lack).collect())
}

/// Returns the title in its columns. A single column is kept exactly, including surrounding space.
fn title_of(columns: &[&str]) -> String {
    let title = match columns {
        [one] => (*one).to_owned(),
        several => {
            let parts = several.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join(" ")
        }
    };
    html_escape::decode_html_entities(&title).into_owned()
}

/// Returns a field as a person would write it: `12.0` as 12, lists with commas, and nothing for words such as `nan`.
fn sensible(text: &str) -> String {
    let text = html_escape::decode_html_entities(text.trim()).into_owned();
    if ids::stands_for_nothing(&text) {
        return String::new();
    }
    listed(&text).unwrap_or_else(|| ids::canonical(&text).to_owned())
}

/// Returns a list that was written as text with commas: `['a', 'b']`, `'a', 'b'` or `a|b`.
fn listed(text: &str) -> Option<String> {
    let within = |open: char, close: char| text.len() > 1 && text.starts_with(open) && text.ends_with(close);
    let list = match text {
        _ if within('[', ']') => python::parse(text),
        // One text in quotes is no list.
        _ if within('\'', '\'') || within('"', '"') => {
            python::parse(&format!("[{text}]")).filter(|list| list.as_array().is_some_and(|parts| parts.len() > 1))
        }
        _ if text.contains('|') => Some(text.split('|').map(|part| Value::from(part.trim())).collect()),
        _ => None,
    };
    list.map(|list| json::joined(&list, ", "))
}

/// What is odd about a table of items.
#[derive(Default)]
struct Told {
    /// Whether each column was found in any file.
    found: Vec<bool>,
    repeated: usize,
    conflicting: usize,
    /// Rows of items that are not in the log, and the first of these.
    unknown: usize,
    strangers: Vec<String>,
}

impl Told {
    fn new(columns: usize) -> Self {
        Self { found: vec![false; columns], ..Self::default() }
    }

    fn columns(&mut self, row: &Record<'_>) {
        self.found.iter_mut().zip(row.names).for_each(|(found, name)| *found |= !name.is_empty());
    }

    fn stranger(&mut self, id: &str) {
        self.unknown += 1;
        if self.strangers.len() < 2 {
            self.strangers.push(id.to_owned());
        }
    }

    /// Refuses a column that no file has.
    fn refuse_lacking(&self, input: Input<'_>, wanted: &[ColumnSpec], config: &DataConfig) -> Result<()> {
        let is_asked = |column: &ColumnSpec| column.role() != Role::Title || config.columns.title.is_some();
        let lacking = self.found.iter().zip(wanted).find(|(found, column)| !**found && is_asked(column));
        let (Some((_, column)), true) = (lacking, self.found[0]) else { return Ok(()) };
        let name = column.names.join(", ");
        if column.role() == Role::Field {
            // Read as a column that must be there, it is an error that lists those that are.
            let needed = [id_column(config), ColumnSpec::new(Role::Field, Some(&name), &[])];
            read(input, &needed, config.strict, &mut RejectedRows::default(), |_| Ok(()))?;
        }
        let setting = column.role().setting();
        Err(DataError::corrupt(
            input.path(),
            format!("no column `{name}`, which `{setting}` names; name an existing column, or leave it out"),
        ))
    }

    /// Reports what distorts metrics unless it is intended: `asked` are the ids of the items, and whether each has a
    /// row.
    fn doubts(&self, asked: &[(&String, bool)], path: &Path, strict: bool) -> Result<()> {
        let Self { repeated, conflicting, unknown, strangers, .. } = self;
        if *unknown > 0 {
            tracing::warn!(
                path = %path.display(),
                rows = unknown,
                "items are left out: the log does not have them, or its filters left them out"
            );
        }
        if *conflicting > 0 {
            let problem =
                format!("{conflicting} rows give an item a different title than its first one, which is kept");
            doubt(strict, path, problem)?;
        } else if *repeated > 0 {
            tracing::warn!(
                path = %path.display(),
                rows = repeated,
                "items occur more than once; the first title is kept"
            );
        }
        // If only some items have titles but all of these are in the log, nothing suggests another data set.
        let found = asked.iter().filter(|(_, is_there)| *is_there).count();
        if !asked.is_empty() && (found == 0 || (2 * found < asked.len() && !strangers.is_empty())) {
            let list = |ids: &mut dyn Iterator<Item = &String>| {
                ids.take(2).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
            };
            let problem = format!(
                "has {found} of the {} items of the log, such as {}; items that are not in the log: {}; do both files \
                 belong to the same data set, with the same kind of ids?",
                asked.len(),
                list(&mut asked.iter().map(|(id, _)| *id)),
                if strangers.is_empty() { "none".into() } else { list(&mut strangers.iter()) },
            );
            doubt(strict, path, problem)?;
        }
        Ok(())
    }
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
    let places = places(ids);
    let wanted = [id_column(config), ColumnSpec::new(Role::Title, Some(&column.to_owned()), &[]).optional()];
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
