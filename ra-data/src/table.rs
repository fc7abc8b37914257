//! Tables for other people's tools.
use crate::{DataError, Result};
use arrow::array::{ArrayRef, Float64Array, ListBuilder, RecordBatch, StringArray, UInt32Array, UInt32Builder};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use ra_core::Sequences;
use std::path::Path;
use std::sync::Arc;

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
}

/// Writes columns of one length as a Parquet file (zstd), atomically.
///
/// # Errors
/// Names the path.
pub fn write_columns(path: &Path, columns: &[(&str, Column)]) -> Result<()> {
    let array = |column: &Column| -> ArrayRef {
        match column {
            Column::Text(values) => Arc::new(StringArray::from_iter_values(values)),
            Column::Ids(values) => Arc::new(UInt32Array::from(values.clone())),
            Column::Numbers(values) => Arc::new(Float64Array::from(values.clone())),
            Column::Lists(rows) => {
                let mut builder = ListBuilder::new(UInt32Builder::new());
                rows.rows().for_each(|row| builder.append_value(row.iter().map(|&id| Some(id))));
                Arc::new(builder.finish())
            }
        }
    };
    let fail = |e: String| DataError::corrupt(path, format!("cannot be written as Parquet: {e}"));
    let batch = RecordBatch::try_from_iter(columns.iter().map(|(name, column)| (*name, array(column))));
    let batch = batch.map_err(|e| fail(e.to_string()))?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(|e| fail(e.to_string()))?;
    writer.write(&batch).map_err(|e| fail(e.to_string()))?;
    writer.close().map_err(|e| fail(e.to_string()))?;
    Ok(ra_core::write_atomic(path, &bytes)?)
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
}
