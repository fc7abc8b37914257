//! From a table to rows: finds its files, identifies each, and picks the reader.
use crate::format::header::{Layout, layout};
use crate::format::row::{ColumnSpec, NOT_UTF8, Record, RejectedRows, RowVisitor, SAVE_AS_UTF8};
use crate::format::{columnar, delimited, json, lists};
use crate::source::file::{Opened, Source, Text, doubt};
use crate::source::folder;
use crate::{DataConfig, DataError, Result, ids};
use arrow::array::RecordBatch;
use ra_core::catch_panic;
use std::path::Path;

/// A table to read rows from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input<'a> {
    /// The files that a path stands for.
    Files(&'a Path),
    /// Columns in memory, and their name in messages.
    #[cfg_attr(not(feature = "polars"), expect(dead_code, reason = "data frames are read by a feature"))]
    Columns(&'a Path, &'a [RecordBatch]),
}

impl<'a> Input<'a> {
    /// Returns its name in messages.
    pub(crate) fn path(self) -> &'a Path {
        match self {
            Self::Files(path) | Self::Columns(path, _) => path,
        }
    }
}

/// The tables of a data set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inputs<'a> {
    pub(crate) log: Option<Input<'a>>,
    pub(crate) test: Option<Input<'a>>,
    pub(crate) items: Option<Input<'a>>,
}

impl<'a> Inputs<'a> {
    /// Uses the files that `config` names.
    pub(crate) fn files(config: &'a DataConfig) -> Self {
        let [log, test, items] =
            [&config.interactions, &config.test, &config.items].map(|path| path.as_deref().map(Input::Files));
        Self { log, test, items }
    }
}

/// This many rows at least, and this share of them, are not UTF-8 before their file is taken to be in another encoding.
const MANY: usize = 10;
const SHARE: usize = 10;

/// Reads the wanted columns of `input`. A row that cannot be read is an error if `strict`; otherwise it is counted in
/// `rejected`. Many rows that are not UTF-8 are an error in any case: the file is in another encoding.
pub(crate) fn read(
    input: Input<'_>,
    wanted: &[ColumnSpec],
    strict: bool,
    rejected: &mut RejectedRows,
    mut each: impl FnMut(&Record<'_>) -> Result<()>,
) -> Result<()> {
    let before = rejected.clone();
    let path = input.path();
    let ids: Vec<usize> = (0..wanted.len()).filter(|&column| wanted[column].is_id()).collect();
    let mut odd = vec![ids::Odd::default(); wanted.len()];
    // Rows that are not UTF-8: how many, and where the first of them is.
    let mut foreign = (0, None);
    let mut visit = |record: Result<Record<'_>>| match record.and_then(|record| each(&record).map(|()| record)) {
        Ok(record) => {
            ids.iter().for_each(|&column| odd[column].count(record.fields[column]));
            rejected.read += 1;
            Ok(())
        }
        Err(error @ DataError::Row { .. }) if !strict => {
            rejected.count(error.to_string());
            if let DataError::Row { path, row, problem } = error
                && problem.starts_with(NOT_UTF8)
            {
                foreign.0 += 1;
                foreign.1.get_or_insert((path, row));
            }
            Ok(())
        }
        Err(error) => Err(error),
    };
    match input {
        Input::Files(path) => read_files(path, wanted, strict, &mut visit)?,
        Input::Columns(path, batches) => {
            columnar::read_batches(&Source::new(path, strict), batches, wanted, &mut visit)?;
        }
    }
    let rows = rejected.read + rejected.rows - before.read - before.rows;
    if let (count, Some((path, row))) = foreign
        && count >= MANY.max(rows.div_ceil(SHARE))
    {
        let problem = format!("{count} of {rows} rows are {NOT_UTF8}, the first in row {row}; {SAVE_AS_UTF8}");
        return Err(DataError::corrupt(path, problem));
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
    rejected.warn_since(&before);
    Ok(())
}

/// Reads every file that `path` stands for.
fn read_files(path: &Path, wanted: &[ColumnSpec], strict: bool, visit: &mut RowVisitor<'_>) -> Result<()> {
    let sources = folder::sources(path, wanted, strict)?;
    let (files, mut empty) = (sources.len(), 0);
    for source in sources {
        match source.open()? {
            Opened::Nothing => {
                empty += 1;
                // Spark writes one part per worker, even for workers without rows.
                if empty == files { Err(source.empty()) } else { Ok(()) }
            }
            Opened::Text(text) => read_text(&source, text, wanted, visit),
            Opened::Parquet => catch_panic(source.path(), || columnar::read_parquet(&source, wanted, visit)),
            Opened::Arrow => catch_panic(source.path(), || columnar::read_arrow(&source, wanted, visit)),
        }?;
    }
    Ok(())
}

/// Reads text in the layout that its first rows reveal.
fn read_text(source: &Source, text: Text, wanted: &[ColumnSpec], visit: &mut RowVisitor<'_>) -> Result<()> {
    match layout(source, text.head(), wanted)? {
        Layout::Table { separator, columns, width } => {
            delimited::read_table(source, text, separator, width, &columns, wanted, visit)
        }
        Layout::Bare { separator, columns, width } => {
            delimited::read_bare(source, text, separator, &columns, width, visit)
        }
        Layout::Lists { columns, header } => lists::read_lists(source, text, &columns, header, visit),
        Layout::Json => json::read_json(source, text, wanted, visit),
    }
}
