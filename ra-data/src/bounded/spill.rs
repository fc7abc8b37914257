//! Rows of a log on disk, for logs that do not fit into memory.
use crate::interactions::Row;
use crate::table::{Table, cannot_write, plain};
use crate::{DataError, Result};
use arrow::array::types::{Float64Type, UInt32Type};
use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, UInt32Array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A Parquet file of rows being written; buffers at most `block` rows.
pub(crate) struct SpillWriter {
    table: Table<File>,
    path: PathBuf,
    block: usize,
    held: Vec<Row>,
    rows: usize,
}

impl SpillWriter {
    pub(crate) fn new(path: PathBuf, block: usize) -> Result<Self> {
        let fail = |e| cannot_write(&path, e);
        let file = File::create(&path).map_err(fail)?;
        Ok(Self { table: Table::new(file, &path, plain()), path, block, held: Vec::new(), rows: 0 })
    }

    pub(crate) fn push(&mut self, row: Row) -> Result<()> {
        self.held.push(row);
        if self.held.len() < self.block { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        self.rows += self.held.len();
        let ids = |id: fn(&Row) -> u32| Arc::new(self.held.iter().map(id).collect::<UInt32Array>()) as ArrayRef;
        let times = Arc::new(self.held.iter().map(|row| row.time).collect::<Float64Array>());
        let columns =
            vec![("user", ids(|r| r.user)), ("item", ids(|r| r.item)), ("index", ids(|r| r.index)), ("time", times)];
        self.table.write(columns)?;
        self.table.flush()?;
        self.held.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<SpillFile> {
        self.flush()?;
        self.table.finish()?;
        ra_core::point(format_args!("spilled {}", self.path.file_name().unwrap_or_default().display()));
        Ok(SpillFile { path: self.path, rows: self.rows })
    }
}

/// A Parquet file of rows.
#[derive(Debug)]
pub(crate) struct SpillFile {
    path: PathBuf,
    pub(crate) rows: usize,
}

impl SpillFile {
    /// Returns the rows in blocks, in the order they were written.
    pub(crate) fn blocks(&self) -> Result<impl Iterator<Item = Result<Vec<Row>>>> {
        let fail = |problem: &dyn Display| DataError::corrupt(&self.path, format!("cannot be read again: {problem}"));
        let file = File::open(&self.path).map_err(|e| fail(&e))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| fail(&e))?;
        let reader = builder.with_batch_size(1 << 16).build().map_err(|e| fail(&e))?;
        Ok(reader.map(move |batch| Ok(rows(&batch.map_err(|e| fail(&e))?))))
    }

    /// Returns all rows.
    pub(crate) fn load(&self) -> Result<Vec<Row>> {
        let mut all = Vec::with_capacity(self.rows);
        for block in self.blocks()? {
            all.extend(block?);
        }
        Ok(all)
    }

    /// Replaces the content by `rows`.
    pub(crate) fn replace(&mut self, rows: &[Row], block: usize) -> Result<()> {
        let mut again = SpillWriter::new(self.path.clone(), block)?;
        rows.iter().try_for_each(|&row| again.push(row))?;
        *self = again.finish()?;
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let ids = |column: usize| batch.column(column).as_primitive::<UInt32Type>().values();
    let (users, items, indices) = (ids(0), ids(1), ids(2));
    let times = batch.column(3).as_primitive::<Float64Type>().values();
    let row = |at: usize| Row { user: users[at], item: items[at], index: indices[at], time: times[at] };
    (0..batch.num_rows()).map(row).collect()
}
