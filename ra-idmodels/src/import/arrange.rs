//! Rearranges vectors by id, from the order of a file to the order of a data set.
use super::vectors::{Format, VectorFile, Vectors, few};
use super::{matrix, table};
use ra_core::{Error, Result, catch_panic};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Reads a whole file, with the ids of its rows if it has any.
fn read(file: &VectorFile<'_>) -> Result<Vectors> {
    let mut vectors = match Format::of(file.path).map_err(|problem| file.corrupt(problem))? {
        Format::Safetensors => matrix::safetensors(file)?,
        Format::Npy => matrix::npy(file)?,
        Format::Parquet => catch_panic(file.path, || table::parquet(file))?,
        Format::Arrow => catch_panic(file.path, || table::arrow(file))?,
    };
    if vectors.dim == 0 {
        return Err(file.corrupt("there are no vectors in it"));
    }
    if let Some(path) = file.ids {
        let (ids, rows) = (lines(path)?, vectors.rows());
        if ids.len() != rows {
            let (file, lines) = (file.path.display(), ids.len());
            return Err(Error::corrupt(
                path,
                format!(
                    "{lines} ids, but {rows} rows in {file}: line k is the id of row k (if row 0 is padding, the first \
                     line is a placeholder such as [PAD])"
                ),
            ));
        }
        vectors.ids = Some(ids);
    }
    Ok(vectors)
}

/// Reads a file and returns the vectors of `wanted` in its order, `[wanted.len(), dim]`, and `dim`.
pub(super) fn arrange(file: &VectorFile<'_>, wanted: &[&str]) -> Result<(Vec<f32>, usize)> {
    let vectors = read(file)?;
    let rows = match &vectors.ids {
        Some(ids) => by_id(file, ids, wanted)?,
        None => by_order(file, vectors.rows(), wanted)?,
    };
    let dim = vectors.dim;
    let mut values = Vec::with_capacity(wanted.len() * dim);
    for (id, row) in wanted.iter().zip(rows) {
        let vector = &vectors.values[row * dim..][..dim];
        if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
            let (kind, value) = (file.kind, vector[at]);
            return Err(file.corrupt(format!("the vector of {kind} {id} (row {row}) has {value} at {at}, as f32")));
        }
        values.extend_from_slice(vector);
    }
    Ok((values, dim))
}

fn by_id(file: &VectorFile<'_>, ids: &[String], wanted: &[&str]) -> Result<Vec<usize>> {
    let kind = file.kind;
    let mut rows = HashMap::with_capacity(ids.len());
    let twice: Vec<&String> =
        ids.iter().enumerate().filter(|(row, id)| rows.insert(id.as_str(), *row).is_some()).map(|x| x.1).collect();
    if !twice.is_empty() {
        return Err(file.corrupt(format!(
            "{} of its rows repeat an id: {}; keep one row per id",
            twice.len(),
            few(&twice)
        )));
    }
    let missing: Vec<&&str> = wanted.iter().filter(|id| !rows.contains_key(**id)).collect();
    if !missing.is_empty() {
        let (n, all, those) = (missing.len(), wanted.len(), few(&missing));
        let have = few(&ids.iter().collect::<Vec<_>>());
        return Err(file.corrupt(format!(
            "{n} of the data set's {all} {kind}s have no vector here: {those}; each needs one: add them, or remove \
             them from the data (ids in the file: {have})"
        )));
    }
    let unknown = ids.len().saturating_sub(wanted.len());
    if unknown > 0 {
        tracing::warn!(path = %file.path.display(), rows = unknown, "vectors of {kind}s that the data set does not have");
    }
    Ok(wanted.iter().filter_map(|id| rows.get(id).copied()).collect())
}

/// Checks the number of rows, which is all there is to check without ids.
fn by_order(file: &VectorFile<'_>, rows: usize, wanted: &[&str]) -> Result<Vec<usize>> {
    let (kind, n) = (file.kind, wanted.len());
    let Some(padding) = rows.checked_sub(n).filter(|&more| more <= 1) else {
        return Err(file.corrupt(format!(
            "{rows} rows without ids, but the data set has {n} {kind}s: without ids, there must be exactly {n} rows in \
             the data set's own order, or {} with padding in row 0; list the ids in a text file, one per line, and set \
             {kind}_ids to it, or use a Parquet file with a column {kind}_id",
            n + 1
        )));
    };
    tracing::warn!(
        path = %file.path.display(), rows, padding,
        "no ids: rows are taken in the data set's own order; name them as {kind}_ids to be sure"
    );
    Ok((padding..rows).collect())
}

/// Reads the ids of a text file, one per line.
fn lines(path: &Path) -> Result<Vec<String>> {
    let fail = |e| Error::io(path, "cannot read as UTF-8 text", e);
    let text = BufReader::new(File::open(path).map_err(fail)?);
    let mut ids = Vec::new();
    for (line, number) in text.lines().zip(1usize..) {
        let line = line.map_err(fail)?;
        // Editors on Windows begin a file with a byte order mark.
        let id = line.trim_start_matches('\u{feff}').trim();
        if id.is_empty() {
            return Err(Error::corrupt(
                path,
                format!("line {number} is empty: give one id per line, line k for row k"),
            ));
        }
        ids.push(id.to_string());
    }
    Ok(ids)
}
