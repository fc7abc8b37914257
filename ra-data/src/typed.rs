//! JSON lines and Parquet: files whose fields have types.
use crate::delimited::concat;
use crate::rows::{Rows, Wanted, positions};
use crate::source::Source;
use crate::{DataError, Result};
use arrow::array::{ArrayRef, LargeStringBuilder, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::io::BufRead;

/// Reads one JSON object a line; a key that a row lacks is empty, a key that every row lacks is an error.
pub(crate) fn read_json_lines(source: &Source, wanted: &[Wanted]) -> Result<Rows> {
    let path = source.path();
    if source.is_empty()? {
        return Err(source.empty());
    }
    let mut builders: Vec<_> = wanted.iter().map(|_| LargeStringBuilder::new()).collect();
    let mut names: Vec<Option<String>> = vec![None; wanted.len()];
    let (mut numbers, mut found) = (Vec::new(), BTreeSet::new());
    for (line, row) in source.open()?.split(b'\n').zip(1usize..) {
        let line = line.map_err(|e| source.failed(e))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let object: Map<String, Value> =
            serde_json::from_slice(&line).map_err(|e| DataError::row(path, row, format!("not a JSON object: {e}")))?;
        for ((builder, wanted), name) in builders.iter_mut().zip(wanted).zip(&mut names) {
            match wanted.names.iter().find_map(|name| object.get_key_value(name.as_str())) {
                Some((key, value)) => {
                    append(builder, value);
                    name.get_or_insert_with(|| key.clone());
                }
                None => builder.append_null(),
            }
        }
        if names.iter().any(Option::is_none) && found.len() < 64 {
            found.extend(object.into_iter().map(|(key, _)| key));
        }
        numbers.push(row as u32);
    }
    let found: Vec<String> = found.into_iter().collect();
    let name = |(name, wanted): (Option<String>, &Wanted)| name.ok_or_else(|| wanted.missing(path, &found));
    Ok(Rows {
        path: path.into(),
        names: names.into_iter().zip(wanted).map(name).collect::<Result<_>>()?,
        columns: builders.iter_mut().map(LargeStringBuilder::finish).collect(),
        numbers,
    })
}

fn append(builder: &mut LargeStringBuilder, value: &Value) {
    match value {
        Value::Null => builder.append_null(),
        Value::String(text) => builder.append_value(text),
        other => builder.append_value(other.to_string()),
    }
}

/// Reads a Parquet file; numbers and times become text, so that ids and errors look as in any other format.
pub(crate) fn read_parquet(source: &Source, wanted: &[Wanted]) -> Result<Rows> {
    let path = source.path();
    let corrupt = |problem: String| DataError::corrupt(path, format!("not a whole Parquet file: {problem}"));
    let file = source.file()?;
    if file.metadata().is_ok_and(|meta| meta.len() == 0) {
        return Err(source.empty());
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| corrupt(e.to_string()))?;
    let header: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let positions = positions(path, wanted, &header)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), positions.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(|e| corrupt(e.to_string()))?;
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().map_err(|e| corrupt(e.to_string()))?;
    let column = |&position: &usize| {
        let parts = batches.iter().filter_map(|batch| batch.column_by_name(&header[position])).map(text);
        let parts: Vec<ArrayRef> = parts.collect::<Result<_, _>>()?;
        concat(&parts.iter().collect::<Vec<_>>())
    };
    let columns: Result<Vec<_>, ArrowError> = positions.iter().map(column).collect();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    Ok(Rows {
        path: path.into(),
        names: positions.iter().map(|&p| header[p].clone()).collect(),
        columns: columns.map_err(|e| corrupt(e.to_string()))?,
        numbers: (1..=rows as u32).collect(),
    })
}

/// A column as text; a point in time as its count of seconds, milliseconds or what the file has.
fn text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Timestamp(..) | DataType::Date64 => cast(&cast(column, &DataType::Int64)?, &DataType::LargeUtf8),
        DataType::Date32 => cast(&cast(column, &DataType::Int32)?, &DataType::LargeUtf8),
        _ => cast(column, &DataType::LargeUtf8),
    }
}
