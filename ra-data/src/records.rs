//! Rows of text fields, whatever file they came from.
use crate::header::{Layout, layout};
use crate::source::{Opened, Source, Text, doubt};
use crate::{DataError, Result, delimited, folder, ids, json, lists, typed};
use ra_core::guarded;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A column that a reader is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// What it is for.
    role: &'static str,
    /// The names that will do, best first.
    pub(crate) names: Vec<String>,
    /// Whether a file may be without it.
    optional: bool,
}

impl Wanted {
    /// The name the user chose, or else the usual ones.
    pub(crate) fn new(role: &'static str, chosen: Option<&String>, usual: &[&str]) -> Self {
        let names = match chosen {
            Some(name) => vec![name.clone()],
            None => usual.iter().map(|&name| name.to_owned()).collect(),
        };
        Self { role, names, optional: false }
    }

    /// A column that a file may be without; its fields are then empty.
    pub(crate) fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Where this column is in a header; of a typed name such as `user_id:token` the part before the colon counts.
    pub(crate) fn position<S: AsRef<str>>(&self, header: &[S]) -> Option<usize> {
        let is = |column: &str, name: &str| column == name || plain(column) == name;
        self.names.iter().find_map(|name| header.iter().position(|column| is(column.as_ref(), name)))
    }

    /// The error that says which columns there are and which would do.
    pub(crate) fn missing<S: AsRef<str>>(&self, path: impl Into<PathBuf>, found: &[S]) -> DataError {
        let list = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        DataError::Column {
            path: path.into(),
            role: self.role,
            found: list(found.iter().map(AsRef::as_ref).collect()),
            accepted: list(self.names.iter().map(String::as_str).collect()),
        }
    }

    /// What the column is for, such as `user`.
    pub(crate) fn role(&self) -> &'static str {
        self.role
    }

    pub(crate) fn is_optional(&self) -> bool {
        self.optional
    }

    /// Whether its fields name somebody or something, so that each is one value, exact to the digit.
    pub(crate) fn is_id(&self) -> bool {
        matches!(self.role, "user" | "item")
    }

    /// Whether a list will do: its parts are words of a text.
    pub(crate) fn takes_lists(&self) -> bool {
        self.role == "title"
    }
}

/// A column's name without the type that RecBole writes behind a colon.
pub(crate) fn plain(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// Where the wanted columns of a file are, and under which names.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) positions: Vec<Option<usize>>,
    pub(crate) names: Vec<String>,
}

impl Columns {
    /// Finds every wanted column of a header.
    pub(crate) fn find<S: AsRef<str>>(path: &Path, wanted: &[Wanted], header: &[S]) -> Result<Self> {
        let positions: Vec<Option<usize>> = wanted.iter().map(|w| w.position(header)).collect();
        if let Some((lacking, _)) = wanted.iter().zip(&positions).find(|(w, p)| p.is_none() && !w.optional) {
            return Err(lacking.missing(path, header));
        }
        let name = |p: &Option<usize>| p.map_or_else(String::new, |p| plain(header[p].as_ref()).to_owned());
        Ok(Self { names: positions.iter().map(name).collect(), positions })
    }
}

/// The wanted fields of one row, as text, in the order they were asked for; what is not there is empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) path: &'a Path,
    /// The names under which the columns were found.
    pub(crate) names: &'a [String],
    pub(crate) fields: &'a [&'a str],
    /// Counted from 1 with the header included.
    pub(crate) row: usize,
}

impl<'a> Record<'a> {
    /// A field that must hold an id, in the one way it is written.
    pub(crate) fn id(&self, column: usize) -> Result<&'a str> {
        ids::check(self.fields[column]).map_err(|problem| self.broken(format!("`{}` {problem}", self.names[column])))
    }

    /// A field that must hold a finite number.
    pub(crate) fn number(&self, column: usize) -> Result<f64> {
        let text = self.fields[column];
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| self.broken(format!("`{}` is \"{text}\", not a number", self.names[column])))
    }

    fn broken(&self, problem: String) -> DataError {
        DataError::row(self.path, self.row, problem)
    }
}

/// What is done with each row; a row that cannot be read comes as its error.
pub(crate) type Visit<'a> = dyn FnMut(Result<Record<'_>>) -> Result<()> + 'a;

/// Rows that could not be read: how many, of how many, and the first of them with file and row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Rows that were read.
    pub read: usize,
    /// Rows that could not be.
    pub rows: usize,
    /// What is wrong with the first few.
    pub examples: Vec<String>,
}

/// Examples that are shown.
const EXAMPLES: usize = 5;

impl Skipped {
    /// Counts rows that were read and, as was found later, cannot be used; the first of them is an error where
    /// `strict`.
    pub(crate) fn unreadable(&mut self, rows: usize, first: DataError, strict: bool) -> Result<()> {
        if strict {
            return Err(first);
        }
        self.read -= rows;
        self.rows += rows;
        let first = first.to_string();
        tracing::warn!(
            rows,
            of = self.read + self.rows,
            first,
            "rows that cannot be read are left out; strict makes them errors"
        );
        if self.examples.len() < EXAMPLES {
            self.examples.push(first);
        }
        Ok(())
    }

    /// Reads the wanted columns of all files that `path` stands for. A row that cannot be read is an error where
    /// `strict`, and counted otherwise.
    pub(crate) fn read(
        &mut self,
        path: &Path,
        wanted: &[Wanted],
        strict: bool,
        mut each: impl FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let before = self.clone();
        let sources = folder::sources(path, wanted, strict)?;
        let (files, mut empty) = (sources.len(), 0);
        let ids: Vec<usize> = (0..wanted.len()).filter(|&column| wanted[column].is_id()).collect();
        let mut odd = vec![ids::Odd::default(); wanted.len()];
        for source in sources {
            let mut visit = |record: Result<Record<'_>>| match record.and_then(|record| each(&record).map(|()| record))
            {
                Ok(record) => {
                    ids.iter().for_each(|&column| odd[column].count(record.fields[column]));
                    self.read += 1;
                    Ok(())
                }
                Err(error @ DataError::Row { .. }) if !strict => {
                    self.rows += 1;
                    if self.examples.len() < EXAMPLES {
                        self.examples.push(error.to_string());
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            };
            match source.open()? {
                Opened::Nothing => {
                    empty += 1;
                    // Spark writes a part for every worker, also for those without a row.
                    if empty == files { Err(source.empty()) } else { Ok(()) }
                }
                Opened::Text(text) => read_text(&source, text, wanted, &mut visit),
                Opened::Parquet => guarded(source.path(), || typed::read_parquet(&source, wanted, &mut visit)),
                Opened::Arrow => guarded(source.path(), || typed::read_arrow(&source, wanted, &mut visit)),
            }?;
        }
        for (wanted, odd) in wanted.iter().zip(&odd) {
            let (role, decimals) = (wanted.role(), odd.decimals());
            if let Some(problem) = odd.refused(role) {
                return Err(DataError::corrupt(path, problem));
            }
            if decimals > 0 {
                tracing::warn!(path = %path.display(), "ids of {decimals} rows ({role}) are decimals such as 1.0, read as 1");
            }
            odd.doubts(role).into_iter().try_for_each(|problem| doubt(strict, path, problem))?;
        }
        if self.rows > before.rows {
            let (rows, of) = (self.rows - before.rows, self.rows - before.rows + self.read - before.read);
            let first = self.examples.get(before.examples.len()).cloned().unwrap_or_default();
            tracing::warn!(rows, of, first, "rows that cannot be read are left out; strict makes them errors");
        }
        Ok(())
    }
}

/// Reads text by what its first rows say.
fn read_text(source: &Source, text: Text, wanted: &[Wanted], visit: &mut Visit<'_>) -> Result<()> {
    match layout(source, text.head(), wanted)? {
        Layout::Table { separator, columns, width } => {
            delimited::read_table(source, text, (separator, width), &columns, wanted, visit)
        }
        Layout::Bare { separator, columns, width } => {
            delimited::read_bare(source, text, separator, &columns, width, visit)
        }
        Layout::Lists { columns, header } => lists::read_lists(source, text, &columns, header, visit),
        Layout::Json => json::read_json(source, text, wanted, visit),
    }
}
