//! Reads tables written by [`crate::write_columns`].
use crate::{DataError, Result};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::path::Path;

/// Columns of numbers by name.
pub type NumberColumns = BTreeMap<String, Vec<f64>>;

/// Reads the text column `key` and all number columns of a Parquet file.
///
/// # Errors
/// Names the path, and the missing column.
pub fn read_columns(path: &Path, key: &str) -> Result<(Vec<String>, NumberColumns)> {
    let fail = |e: String| DataError::corrupt(path, format!("cannot be read as Parquet: {e}"));
    let file = std::fs::File::open(path).map_err(|e| fail(e.to_string()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
    let (mut keys, mut numbers) = (None, NumberColumns::new());
    for batch in reader.map_err(|e| fail(e.to_string()))? {
        let batch = batch.map_err(|e| fail(e.to_string()))?;
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            match field.data_type() {
                DataType::Utf8 if field.name() == key => keys
                    .get_or_insert_with(Vec::new)
                    .extend(column.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned())),
                DataType::Float64 => numbers
                    .entry(field.name().clone())
                    .or_default()
                    .extend(column.as_primitive::<Float64Type>().iter().map(|number| number.unwrap_or(f64::NAN))),
                _ => {}
            }
        }
    }
    let keys = keys.ok_or_else(|| DataError::corrupt(path, format!("has no column `{key}` of text")))?;
    Ok((keys, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, write_columns};

    #[test]
    fn what_was_written_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let users = vec!["ü".to_owned(), "b".to_owned()];
        let columns = [("user", Column::Text(users.clone())), ("hr@10", Column::Numbers(vec![0.25, 1.0]))];
        write_columns(&path, &columns).unwrap();
        let (found, numbers) = read_columns(&path, "user").unwrap();
        assert_eq!((found, numbers), (users, BTreeMap::from([("hr@10".to_owned(), vec![0.25, 1.0])])));
        assert!(read_columns(&path, "item").unwrap_err().to_string().contains("`item`"));
        assert!(read_columns(&dir.path().join("no"), "user").unwrap_err().to_string().contains("no"));
    }
}
