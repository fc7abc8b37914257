//! Rows of text columns, whatever file they came from.
use crate::{DataError, Result};
use arrow::array::{Array, LargeStringArray};
use std::path::PathBuf;

/// A column that a reader is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// What it is for.
    pub(crate) role: &'static str,
    /// The names that will do, best first.
    pub(crate) names: Vec<String>,
}

impl Wanted {
    /// The name the user chose, or else the usual ones.
    pub(crate) fn new(role: &'static str, chosen: Option<&String>, usual: &[&str]) -> Self {
        let names = match chosen {
            Some(name) => vec![name.clone()],
            None => usual.iter().map(|&name| name.to_owned()).collect(),
        };
        Self { role, names }
    }

    /// Where this column is in a header; of a typed name such as `user_id:token` the part before the colon counts.
    pub(crate) fn position<S: AsRef<str>>(&self, header: &[S]) -> Option<usize> {
        let is = |column: &str, name: &str| column == name || column.split(':').next() == Some(name);
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
}

/// Finds every wanted column of a header.
pub(crate) fn positions<S: AsRef<str>>(path: &std::path::Path, wanted: &[Wanted], header: &[S]) -> Result<Vec<usize>> {
    wanted.iter().map(|w| w.position(header).ok_or_else(|| w.missing(path, header))).collect()
}

/// The wanted columns as text, in the order they were asked for, and the row of the file each line came from.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The file.
    pub(crate) path: PathBuf,
    /// The name under which each column was found, its type stripped.
    pub(crate) names: Vec<String>,
    /// One array a column, all of one length.
    pub(crate) columns: Vec<LargeStringArray>,
    /// Row numbers, counted from 1 with the header included.
    pub(crate) numbers: Vec<u32>,
}

impl Rows {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// A field; what is null is empty.
    pub(crate) fn text(&self, column: usize, index: usize) -> &str {
        let column = &self.columns[column];
        if column.is_null(index) { "" } else { column.value(index) }
    }

    /// A field that must hold something.
    pub(crate) fn id(&self, column: usize, index: usize) -> Result<&str> {
        let text = self.text(column, index);
        if text.trim().is_empty() {
            return Err(self.broken(index, format!("`{}` is empty", self.names[column])));
        }
        Ok(text)
    }

    /// A field that must hold a finite number.
    pub(crate) fn number(&self, column: usize, index: usize) -> Result<f64> {
        let text = self.text(column, index);
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| self.broken(index, format!("`{}` is \"{text}\", not a number", self.names[column])))
    }

    fn broken(&self, index: usize, problem: String) -> DataError {
        DataError::row(&self.path, self.numbers[index] as usize, problem)
    }
}
