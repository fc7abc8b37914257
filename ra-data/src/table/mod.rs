//! Tables for other tools, written and read with the documented schema.
use crate::{DataError, Result};
use arrow::array::{
    ArrayRef, Float32Builder, Float64Array, ListBuilder, RecordBatch, StringArray, UInt32Array, UInt32Builder,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use ra_core::Sequences;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) mod draft;
pub(crate) mod export;
#[cfg(feature = "polars")]
pub mod frames;
pub(crate) mod read;
#[cfg(feature = "polars")]
mod shared;
pub(crate) mod spill_folder;

/// A column of [`write_columns`].
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Text.
    Text(Vec<String>),
    /// Ids.
    Ids(Vec<u32>),
    /// Numbers.
    Numbers(Vec<f64>),
    /// Lists of ids.
    Lists(Sequences),
    /// Lists of numbers, such as vectors.
    Vectors(Vec<Vec<f32>>),
}

/// Writes columns of equal length as a Parquet file (zstd), atomically.
///
/// # Errors
/// Names the path.
pub fn write_columns(path: &Path, columns: &[(&str, Column)]) -> Result<()> {
    write_batches(path, std::iter::once(Ok(arrays(columns))))
}

/// Writes a Parquet file (zstd) of several parts with the same columns, atomically, with one part in memory at a time.
///
/// # Errors
/// Names the path; errors of the parts; if there is no part, because nothing says what the columns are.
pub fn write_parts<'a>(path: &Path, parts: impl Iterator<Item = Result<Vec<(&'a str, Column)>>>) -> Result<()> {
    let mut parts = parts.map(|part| Ok(arrays(&part?))).peekable();
    if parts.peek().is_none() {
        return Err(DataError::corrupt(path, "a table needs at least one part, which may have no rows"));
    }
    write_batches(path, parts)
}

fn write_batches<'a>(path: &Path, batches: impl Iterator<Item = Result<Vec<(&'a str, ArrayRef)>>>) -> Result<()> {
    let mut table = Table::new(ra_core::AtomicFile::create(path)?, path, packed());
    for batch in batches {
        table.write(batch?)?;
        table.flush()?;
    }
    Ok(table.finish()?.finish()?)
}

fn arrays<'a>(columns: &[(&'a str, Column)]) -> Vec<(&'a str, ArrayRef)> {
    columns.iter().map(|(name, column)| (*name, array(column))).collect()
}

fn array(column: &Column) -> ArrayRef {
    match column {
        Column::Text(values) => Arc::new(StringArray::from_iter_values(values)),
        Column::Ids(values) => Arc::new(UInt32Array::from(values.clone())),
        Column::Numbers(values) => Arc::new(Float64Array::from(values.clone())),
        Column::Lists(rows) => {
            let mut builder = ListBuilder::new(UInt32Builder::new());
            rows.rows().for_each(|row| builder.append_value(row.iter().map(|id| Some(id.0))));
            Arc::new(builder.finish())
        }
        Column::Vectors(rows) => {
            let mut builder = ListBuilder::new(Float32Builder::new());
            rows.iter().for_each(|row| builder.append_value(row.iter().copied().map(Some)));
            Arc::new(builder.finish())
        }
    }
}

/// Properties for tables that are kept.
pub(crate) fn packed() -> WriterProperties {
    WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build()
}

/// Properties for tables that are read once and thrown away.
pub(crate) fn plain() -> WriterProperties {
    let builder = WriterProperties::builder().set_dictionary_enabled(false);
    builder.set_statistics_enabled(parquet::file::properties::EnabledStatistics::None).build()
}

/// A Parquet file being written, one batch of rows at a time.
pub(crate) struct Table<W: Write + Send> {
    /// The columns are unknown before the first batch.
    writer: Result<ArrowWriter<W>, Option<W>>,
    path: PathBuf,
    properties: WriterProperties,
}

impl<W: Write + Send> Table<W> {
    /// Writes to `out`; `path` is only for errors.
    pub(crate) fn new(out: W, path: &Path, properties: WriterProperties) -> Self {
        Self { writer: Err(Some(out)), path: path.into(), properties }
    }

    fn fail(&self, problem: impl Display) -> DataError {
        DataError::corrupt(&self.path, format!("cannot be written as Parquet (is the disk full?): {problem}"))
    }

    /// Adds rows; the first batch decides the columns.
    pub(crate) fn write(&mut self, columns: Vec<(&str, ArrayRef)>) -> Result<()> {
        let batch = RecordBatch::try_from_iter(columns).map_err(|e| self.fail(e))?;
        if let Err(out) = &mut self.writer
            && let Some(out) = out.take()
        {
            let writer = ArrowWriter::try_new(out, batch.schema(), Some(self.properties.clone()));
            self.writer = Ok(writer.map_err(|e| self.fail(e))?);
        }
        let written = match &mut self.writer {
            Ok(writer) => writer.write(&batch).map_err(|e| e.to_string()),
            Err(_) => Err("an earlier batch failed".into()),
        };
        written.map_err(|problem| self.fail(problem))
    }

    /// Writes what is buffered in memory to the file.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let flushed = self.writer.as_mut().map_or(Ok(()), ArrowWriter::flush);
        flushed.map_err(|problem| self.fail(problem))
    }

    /// Closes the file; without any batch it stays empty.
    pub(crate) fn finish(self) -> Result<W> {
        let fail = |problem: &str| DataError::corrupt(&self.path, format!("cannot be written as Parquet: {problem}"));
        match self.writer {
            Ok(writer) => writer.into_inner().map_err(|e| fail(&e.to_string())),
            Err(out) => out.ok_or_else(|| fail("an earlier batch failed")),
        }
    }
}

/// Reports a file or folder that cannot be written.
pub(crate) fn cannot_write(path: &Path, error: std::io::Error) -> ra_core::Error {
    ra_core::Error::io(path, "cannot write (is the disk full or the folder read-only?)", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    #[test]
    fn a_table_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let columns = [
            ("user", Column::Text(vec!["ü".into(), "b".into()])),
            ("id", Column::Ids(vec![1, 2])),
            ("hr@10", Column::Numbers(vec![0.0, 1.0])),
        ];
        write_columns(&path, &columns).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let batch = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().next().unwrap().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns(), batch.schema().field(2).name().as_str()), (2, 3, "hr@10"));
        let uneven = [("a", Column::Ids(vec![1])), ("b", Column::Ids(vec![1, 2]))];
        assert!(write_columns(&path, &uneven).unwrap_err().to_string().contains("t.parquet"));
    }

    #[test]
    fn a_table_of_parts_has_the_rows_of_all_and_needs_a_part() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        assert!(write_parts(&path, std::iter::empty()).unwrap_err().to_string().contains("at least one part"));
        assert!(!path.exists(), "no empty file");
        for (parts, rows) in [(vec![vec![1, 2], vec![], vec![3]], vec![1, 2, 3]), (vec![vec![]], vec![])] {
            write_parts(&path, parts.into_iter().map(|ids| Ok(vec![("id", Column::Ids(ids))]))).unwrap();
            assert_eq!(crate::read_table(&path).unwrap()["id"], Column::Ids(rows));
        }
    }
}
