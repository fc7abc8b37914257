//! Reads tables written by [`crate::write_columns`].
use crate::format::columnar;
use crate::source::file::Source;
use crate::{Column, DataError, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchReader};
use arrow::datatypes::{DataType, Float32Type, Float64Type, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ra_core::{Sequences, catch_panic};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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

/// Reads the names of the columns of a Parquet file, without its rows.
///
/// # Errors
/// Names the path.
pub fn column_names(path: &Path) -> Result<Vec<String>> {
    catch_panic(path, || columnar::parquet_names(&Source::new(path, false)))
}

/// Reads every column of a Parquet file that [`write_columns`](crate::write_columns) can write; others are left out.
///
/// # Errors
/// Names the path. A missing value is an error.
pub fn read_table(path: &Path) -> Result<BTreeMap<String, Column>> {
    let fail = |e: String| DataError::corrupt(path, format!("cannot be read as Parquet: {e}"));
    let file = std::fs::File::open(path).map_err(|e| fail(e.to_string()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
    let reader = reader.map_err(|e| fail(e.to_string()))?;
    // A table without rows has columns all the same.
    let empty = RecordBatch::new_empty(reader.schema());
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    for batch in std::iter::once(Ok(empty)).chain(reader) {
        let batch = batch.map_err(|e| fail(e.to_string()))?;
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            let name = field.name();
            let lists = array.as_list_opt::<i32>();
            let nulls = array.null_count() + lists.map_or(0, |lists| lists.values().null_count());
            if nulls > 0 {
                return Err(DataError::corrupt(path, format!("column `{name}` has {nulls} missing values")));
            }
            let Some(more) = column(array) else { continue };
            match columns.entry(name.clone()) {
                Entry::Vacant(place) => _ = place.insert(more),
                Entry::Occupied(mut known) => append(known.get_mut(), more),
            }
        }
    }
    Ok(columns)
}

/// Returns the values of an array without missing values; nothing if its type is another.
fn column(array: &ArrayRef) -> Option<Column> {
    Some(match array.data_type() {
        DataType::Utf8 => Column::Text(array.as_string::<i32>().iter().flatten().map(str::to_owned).collect()),
        DataType::UInt32 => Column::Ids(array.as_primitive::<UInt32Type>().values().to_vec()),
        DataType::Float64 => Column::Numbers(array.as_primitive::<Float64Type>().values().to_vec()),
        DataType::List(item) if *item.data_type() == DataType::UInt32 => {
            let rows = array.as_list::<i32>().iter().flatten();
            Column::Lists(Sequences::from_numbers(rows.map(|row| row.as_primitive::<UInt32Type>().values().to_vec())))
        }
        DataType::List(item) if *item.data_type() == DataType::Float32 => {
            let rows = array.as_list::<i32>().iter().flatten();
            Column::Vectors(rows.map(|row| row.as_primitive::<Float32Type>().values().to_vec()).collect())
        }
        _ => return None,
    })
}

/// Appends the rows of a later batch of the same column.
fn append(known: &mut Column, more: Column) {
    match (known, more) {
        (Column::Text(all), Column::Text(more)) => all.extend(more),
        (Column::Ids(all), Column::Ids(more)) => all.extend(more),
        (Column::Numbers(all), Column::Numbers(more)) => all.extend(more),
        (Column::Vectors(all), Column::Vectors(more)) => all.extend(more),
        (Column::Lists(all), Column::Lists(more)) => *all = Sequences::from_rows(all.rows().chain(more.rows())),
        // A Parquet column has one type.
        _ => {}
    }
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
    #[test]
    fn a_table_comes_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let rows = 3000;
        let columns = [
            ("item", Column::Text((0..rows).map(|n| format!("i{n}")).collect())),
            ("n", Column::Ids((0..rows).collect())),
            ("x", Column::Numbers((0..rows).map(f64::from).collect())),
            ("list", Column::Lists(Sequences::from_numbers((0..rows).map(|n| vec![n; n as usize % 3])))),
            ("vector", Column::Vectors((0..rows).map(|n| vec![n as f32, 0.5]).collect())),
        ];
        write_columns(&path, &columns).unwrap();
        let found = read_table(&path).unwrap();
        assert_eq!(found.len(), columns.len());
        for (name, column) in columns {
            assert_eq!(found[name], column, "{name}");
        }
        write_columns(&path, &[("item", Column::Text(Vec::new())), ("x", Column::Vectors(Vec::new()))]).unwrap();
        let found = read_table(&path).unwrap();
        assert_eq!(found["item"], Column::Text(Vec::new()));
        assert_eq!(found["x"], Column::Vectors(Vec::new()));
        std::fs::write(&path, "not parquet").unwrap();
        assert!(read_table(&path).unwrap_err().to_string().contains("t.parquet"));
    }
}
