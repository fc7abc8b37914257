//! Rows with roles: what every reader is asked for, and what it gives, whatever file it reads.
use crate::{DataError, Result, ids};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    User,
    Item,
    Time,
    Rating,
    Title,
}

impl Role {
    /// As messages and [`crate::Columns`] have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Item => "item",
            Self::Time => "time",
            Self::Rating => "rating",
            Self::Title => "title",
        }
    }

    /// Whether its fields name somebody or something, so that each is one value, exact to the digit.
    pub(crate) fn is_id(self) -> bool {
        matches!(self, Self::User | Self::Item)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A column that a reader is asked for.
#[derive(Debug, Clone)]
pub(crate) struct ColumnSpec {
    role: Role,
    /// The names that will do, best first.
    pub(crate) names: Vec<String>,
    /// Whether a file may be without it.
    optional: bool,
}

impl ColumnSpec {
    /// The name the user chose, or else the usual ones.
    pub(crate) fn new(role: Role, chosen: Option<&String>, usual: &[&str]) -> Self {
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
            role: self.role.name(),
            found: list(found.iter().map(AsRef::as_ref).collect()),
            accepted: list(self.names.iter().map(String::as_str).collect()),
        }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn is_optional(&self) -> bool {
        self.optional
    }

    /// Whether its fields are ids.
    pub(crate) fn is_id(&self) -> bool {
        self.role.is_id()
    }

    /// Whether a list will do: its parts are words of a text.
    pub(crate) fn takes_lists(&self) -> bool {
        self.role == Role::Title
    }
}

/// A column's name without the type that RecBole writes behind a colon.
pub(crate) fn plain(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// Where the wanted columns of a file are, and under which names.
#[derive(Debug)]
pub(crate) struct FoundColumns {
    pub(crate) positions: Vec<Option<usize>>,
    pub(crate) names: Vec<String>,
}

impl FoundColumns {
    /// Finds every wanted column of a header.
    pub(crate) fn find<S: AsRef<str>>(path: &Path, wanted: &[ColumnSpec], header: &[S]) -> Result<Self> {
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
pub(crate) type RowVisitor<'a> = dyn FnMut(Result<Record<'_>>) -> Result<()> + 'a;

/// Rows that could not be read: how many, of how many, and the first of them with file and row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RejectedRows {
    /// Rows that were read.
    pub read: usize,
    /// Rows that could not be.
    pub rows: usize,
    /// What is wrong with the first few.
    pub examples: Vec<String>,
}

/// Examples that are shown.
const EXAMPLES: usize = 5;

impl RejectedRows {
    /// Counts a row that cannot be read.
    pub(crate) fn count(&mut self, problem: String) {
        self.rows += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(problem);
        }
    }

    /// Counts rows that were read and, as was found later, cannot be used; the first of them is an error where
    /// `strict`.
    pub(crate) fn unreadable(&mut self, rows: usize, first: DataError, strict: bool) -> Result<()> {
        if strict {
            return Err(first);
        }
        self.read -= rows;
        self.rows += rows;
        let first = first.to_string();
        warn_left_out(rows, self.read + self.rows, &first);
        if self.examples.len() < EXAMPLES {
            self.examples.push(first);
        }
        Ok(())
    }

    /// Tells of the rows that were rejected since `before`.
    pub(crate) fn warn_since(&self, before: &Self) {
        let rows = self.rows - before.rows;
        if rows > 0 {
            let first = self.examples.get(before.examples.len()).map_or("", String::as_str);
            warn_left_out(rows, rows + self.read - before.read, first);
        }
    }
}

fn warn_left_out(rows: usize, of: usize, first: &str) {
    tracing::warn!(rows, of, first, "rows that cannot be read are left out; strict makes them errors");
}
