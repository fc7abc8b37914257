//! From the order of a file to the order of a data set, by id.
use super::{Format, Vectors, matrix, table};
use ra_core::{Error, Problem, Result};
use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::panic::AssertUnwindSafe;
use std::path::Path;

/// One file of vectors and what the recipe says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side<'a> {
    /// `item` or `user`.
    pub(super) kind: &'static str,
    /// The key of the recipe that names the file.
    pub(super) key: &'static str,
    pub(super) file: &'a Path,
    pub(super) ids: Option<&'a Path>,
    pub(super) tensor: Option<&'a str>,
}

impl Side<'_> {
    /// What cannot work; the file is not opened.
    pub(super) fn problem(&self) -> Option<Problem> {
        let Self { kind, key, file, .. } = self;
        let format = match Format::of(file) {
            Ok(format) => format,
            Err(problem) => return Some(Problem::new(*key, format!("is {}: {problem}", file.display()))),
        };
        if self.tensor.is_some() && format != Format::Safetensors {
            let told = format!("names a tensor of a .safetensors file, {key} is {}", file.display());
            return Some(Problem::new(format!("{key}_tensor"), told));
        }
        let ids = format!("{kind}_ids");
        match self.ids {
            Some(path) if path.as_os_str().is_empty() => Some(Problem::new(ids, "is empty, it must be a file")),
            Some(_) if format.has_ids() => {
                let told = format!("is for .safetensors and .npy: {} carries its own ids", file.display());
                Some(Problem::new(ids, told))
            }
            _ => None,
        }
    }

    fn corrupt(&self, problem: impl Into<String>) -> Error {
        Error::corrupt(self.file, problem)
    }

    /// The readers of tables still panic over some wrong bytes; a broken file is an error like any other.
    fn contained(&self, read: fn(&Self) -> Result<Vectors>) -> Result<Vectors> {
        std::panic::catch_unwind(AssertUnwindSafe(|| read(self)))
            .unwrap_or_else(|_| Err(self.corrupt("the file is broken, its reader cannot go on; write it again")))
    }

    fn read(&self) -> Result<Vectors> {
        let mut vectors = match Format::of(self.file).map_err(|problem| self.corrupt(problem))? {
            Format::Safetensors => matrix::safetensors(self)?,
            Format::Npy => matrix::npy(self)?,
            Format::Parquet => self.contained(table::parquet)?,
            Format::Arrow => self.contained(table::arrow)?,
        };
        if vectors.dim == 0 {
            return Err(self.corrupt("there are no vectors in it"));
        }
        if let Some(path) = self.ids {
            let (ids, rows) = (lines(path)?, vectors.rows());
            if ids.len() != rows {
                let (file, lines) = (self.file.display(), ids.len());
                return Err(Error::corrupt(
                    path,
                    format!(
                        "{lines} ids, but {rows} rows in {file}: line k is the id of row k (where row 0 is padding, the \
                         first line is a word for it, such as [PAD])"
                    ),
                ));
            }
            vectors.ids = Some(ids);
        }
        Ok(vectors)
    }
}

/// Reads a file and gives `[wanted.len(), dim]`, the vectors of `wanted` in its order, and `dim`.
pub(super) fn arrange(side: &Side<'_>, wanted: &[&str]) -> Result<(Vec<f32>, usize)> {
    let vectors = side.read()?;
    let rows = match &vectors.ids {
        Some(ids) => by_id(side, ids, wanted)?,
        None => by_order(side, vectors.rows(), wanted)?,
    };
    let dim = vectors.dim;
    let mut values = Vec::with_capacity(wanted.len() * dim);
    for (id, row) in wanted.iter().zip(rows) {
        let vector = &vectors.values[row * dim..][..dim];
        if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
            let (kind, value) = (side.kind, vector[at]);
            return Err(side.corrupt(format!("the vector of {kind} {id} (row {row}) has {value} at {at}, as f32")));
        }
        values.extend_from_slice(vector);
    }
    Ok((values, dim))
}

fn by_id(side: &Side<'_>, ids: &[String], wanted: &[&str]) -> Result<Vec<usize>> {
    let kind = side.kind;
    let mut rows = HashMap::with_capacity(ids.len());
    let twice: Vec<&String> =
        ids.iter().enumerate().filter(|(row, id)| rows.insert(id.as_str(), *row).is_some()).map(|x| x.1).collect();
    if !twice.is_empty() {
        return Err(side.corrupt(format!(
            "{} of its ids occur before: {}; keep one row each",
            twice.len(),
            few(&twice)
        )));
    }
    let missing: Vec<&&str> = wanted.iter().filter(|id| !rows.contains_key(**id)).collect();
    if !missing.is_empty() {
        let (n, all, those) = (missing.len(), wanted.len(), few(&missing));
        let have = few(&ids.iter().collect::<Vec<_>>());
        return Err(side.corrupt(format!(
            "{n} of the data set's {all} {kind}s have no vector here: {those}; every one needs a vector: add them, or take \
             them out of the data (the ids of the file are: {have})"
        )));
    }
    let unknown = ids.len().saturating_sub(wanted.len());
    if unknown > 0 {
        tracing::warn!(path = %side.file.display(), rows = unknown, "vectors of {kind}s that the data set does not have");
    }
    Ok(wanted.iter().filter_map(|id| rows.get(id).copied()).collect())
}

/// Without ids the number of rows is all there is to check, so it must be right.
fn by_order(side: &Side<'_>, rows: usize, wanted: &[&str]) -> Result<Vec<usize>> {
    let (kind, n) = (side.kind, wanted.len());
    let Some(padding) = rows.checked_sub(n).filter(|&more| more <= 1) else {
        return Err(side.corrupt(format!(
            "{rows} rows without ids, but the data set has {n} {kind}s: rows are taken in the data set's own order only \
             when there are exactly {n}, or {} with padding in row 0; name the ids in a text file, one a line, as \
             {kind}_ids, or make it a Parquet file with a column {kind}_id",
            n + 1
        )));
    };
    tracing::warn!(
        path = %side.file.display(), rows, padding,
        "no ids: rows are taken in the data set's own order; name them as {kind}_ids to be sure"
    );
    Ok((padding..rows).collect())
}

/// The first five.
pub(super) fn few(names: &[impl Display]) -> String {
    let mut text: Vec<String> = names.iter().take(5).map(ToString::to_string).collect();
    if names.len() > 5 {
        text.push("...".into());
    }
    text.join(", ")
}

/// The ids of a text file, one a line.
fn lines(path: &Path) -> Result<Vec<String>> {
    let fail = |e| Error::io(path, "cannot read as UTF-8 text", e);
    let file = BufReader::new(File::open(path).map_err(fail)?);
    let mut ids = Vec::new();
    for (line, number) in file.lines().zip(1usize..) {
        let line = line.map_err(fail)?;
        // Editors on Windows begin a file with a mark.
        let id = line.trim_start_matches('\u{feff}').trim();
        if id.is_empty() {
            return Err(Error::corrupt(path, format!("line {number} is empty: one id a line, line k for row k")));
        }
        ids.push(id.to_string());
    }
    Ok(ids)
}
