//! Rows with roles: what every reader is asked for and returns, for any file.
use crate::{DataError, Result, ids};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// The role of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    User,
    Item,
    Time,
    Rating,
    Title,
    /// A field of the template of texts.
    Field,
}

impl Role {
    /// Returns its name in messages and [`crate::Columns`].
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Item => "item",
            Self::Time => "time",
            Self::Rating => "rating",
            Self::Title => "title",
            Self::Field => "field",
        }
    }

    /// Returns how the setting that names its column is called.
    pub(crate) fn setting(self) -> String {
        match self {
            Self::Field => "text".into(),
            _ => format!("columns.{self}"),
        }
    }

    /// Returns what joins the parts of a list, if it takes lists.
    pub(crate) fn joint(self) -> Option<&'static str> {
        match self {
            Self::Title => Some(" "),
            Self::Field => Some(", "),
            _ => None,
        }
    }

    /// Returns whether its fields are ids, which must be exact to the digit.
    pub(crate) fn is_id(self) -> bool {
        matches!(self, Self::User | Self::Item)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A column to read.
#[derive(Debug, Clone)]
pub(crate) struct ColumnSpec {
    role: Role,
    /// The accepted names, best first.
    pub(crate) names: Vec<String>,
    /// Whether a file may lack the column.
    optional: bool,
}

impl ColumnSpec {
    /// Uses the name that the user chose, or else the usual ones.
    pub(crate) fn new(role: Role, chosen: Option<&String>, usual: &[&str]) -> Self {
        let names = match chosen {
            Some(name) => vec![name.clone()],
            None => usual.iter().map(|&name| name.to_owned()).collect(),
        };
        Self { role, names, optional: false }
    }

    /// Marks the column as one that a file may lack; its fields are then empty.
    pub(crate) fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Returns the position of this column in a header; of a typed name such as `user_id:token`, only the part before
    /// the colon counts.
    pub(crate) fn position<S: AsRef<str>>(&self, header: &[S]) -> Option<usize> {
        let is = |column: &str, name: &str| column == name || plain(column) == name;
        self.names.iter().find_map(|name| header.iter().position(|column| is(column.as_ref(), name)))
    }

    /// Reports the missing column, with the columns found and the names accepted.
    pub(crate) fn missing<S: AsRef<str>>(&self, path: impl Into<PathBuf>, found: &[S]) -> DataError {
        let list = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if self.role == Role::Field {
            let names: Vec<&str> = found.iter().map(|name| plain(name.as_ref())).collect();
            let problem = format!("no column for {{{}}} of `text`; there are {}", self.names.join(", "), list(names));
            return DataError::corrupt(path, problem);
        }
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

    /// Returns whether its fields are ids.
    pub(crate) fn is_id(&self) -> bool {
        self.role.is_id()
    }

    /// Returns whether it accepts a list, whose parts are then words of a text.
    pub(crate) fn takes_lists(&self) -> bool {
        self.role.joint().is_some()
    }
}

/// Returns a column's name without the type that RecBole appends after a colon.
pub(crate) fn plain(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// The positions and names of the wanted columns in a file.
#[derive(Debug)]
pub(crate) struct FoundColumns {
    pub(crate) positions: Vec<Option<usize>>,
    pub(crate) names: Vec<String>,
}

impl FoundColumns {
    /// Finds every wanted column in a header.
    pub(crate) fn find<S: AsRef<str>>(path: &Path, wanted: &[ColumnSpec], header: &[S]) -> Result<Self> {
        let positions: Vec<Option<usize>> = wanted.iter().map(|w| w.position(header)).collect();
        if let Some((lacking, _)) = wanted.iter().zip(&positions).find(|(w, p)| p.is_none() && !w.optional) {
            return Err(lacking.missing(path, header));
        }
        let name = |p: &Option<usize>| p.map_or_else(String::new, |p| plain(header[p].as_ref()).to_owned());
        Ok(Self { names: positions.iter().map(name).collect(), positions })
    }
}

/// The wanted fields of one row, as text, in the order requested; missing fields are empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) path: &'a Path,
    /// The names under which the columns were found.
    pub(crate) names: &'a [String],
    pub(crate) fields: &'a [&'a str],
    /// The row number, counted from 1 and including the header.
    pub(crate) row: usize,
}

impl<'a> Record<'a> {
    /// Returns the canonical spelling of a field that must hold an id.
    pub(crate) fn id(&self, column: usize) -> Result<&'a str> {
        ids::check(self.fields[column]).map_err(|problem| self.broken(format!("`{}` {problem}", self.names[column])))
    }

    /// Returns the number in a field that must hold a finite number.
    pub(crate) fn number(&self, column: usize) -> Result<f64> {
        let text = self.fields[column];
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| self.broken(format!("`{}` is \"{text}\", not a number", self.names[column])))
    }

    fn broken(&self, problem: String) -> DataError {
        DataError::row(self.path, self.row, problem)
    }
}

/// How the problem of a row begins whose bytes are in another encoding, and what helps.
pub(crate) const NOT_UTF8: &str = "not UTF-8 text";
pub(crate) const SAVE_AS_UTF8: &str = "save the file as UTF-8 (in Excel \"CSV UTF-8\", elsewhere `iconv -f WINDOWS-1252 -t \
                                       UTF-8 OLD > NEW`)";

/// Called with each row; a row that cannot be read comes as an error.
pub(crate) type RowVisitor<'a> = dyn FnMut(Result<Record<'_>>) -> Result<()> + 'a;

/// The rows that could not be read: how many, out of how many, and the first few with file and row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RejectedRows {
    /// The number of rows read.
    pub read: usize,
    /// The number of rows that could not be read.
    pub rows: usize,
    /// The problems of the first few.
    pub examples: Vec<String>,
}

/// The most examples to keep.
const EXAMPLES: usize = 5;

impl RejectedRows {
    /// Counts a row that cannot be read.
    pub(crate) fn count(&mut self, problem: String) {
        self.rows += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(problem);
        }
    }

    /// Counts rows that were read but later turned out to be unusable; if `strict`, the first of them is an error.
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

    /// Warns about the rows rejected since `before`.
    pub(crate) fn warn_since(&self, before: &Self) {
        let rows = self.rows - before.rows;
        if rows > 0 {
            let first = self.examples.get(before.examples.len()).map_or("", String::as_str);
            warn_left_out(rows, rows + self.read - before.read, first);
        }
    }
}

fn warn_left_out(rows: usize, of: usize, first: &str) {
    tracing::warn!(rows, of, first, "rows that cannot be read are left out; strict = true makes them errors");
}
