//! Parquet and Arrow: files whose fields have types.
use crate::arrow_file::{self, Kind};
use crate::records::{Columns, Record, Visit, Wanted};
use crate::source::Source;
use crate::{DataError, Result};
use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::io::{BufReader, Seek};

/// Reads a Parquet file; numbers and times become text, so that ids and errors look as in any other format.
pub(crate) fn read_parquet(source: &Source, wanted: &[Wanted], visit: &mut Visit<'_>) -> Result<()> {
    let path = source.path();
    let corrupt = |problem: String| DataError::corrupt(path, format!("not a whole Parquet file: {problem}"));
    let builder = ParquetRecordBatchReaderBuilder::try_new(source.file()?).map_err(|e| corrupt(e.to_string()))?;
    let header: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let columns = Columns::find(path, wanted, &header)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns.positions.iter().flatten().copied());
    let reader = builder.with_projection(mask).build().map_err(|e| corrupt(e.to_string()))?;
    show(source, &columns, &header, reader, visit)
}

/// Reads Arrow's own file, of the kind with a footer or of the kind that streams.
pub(crate) fn read_arrow(source: &Source, wanted: &[Wanted], visit: &mut Visit<'_>) -> Result<()> {
    let path = source.path();
    let corrupt = |problem: String| DataError::corrupt(path, format!("not a whole Arrow file: {problem}"));
    let mut file = source.file()?;
    let fail = |e| ra_core::Error::io(path, "cannot read", e);
    let kind = arrow_file::check(&mut file).map_err(fail)?.map_err(corrupt)?;
    file.rewind().map_err(fail)?;
    let file = BufReader::new(file);
    let names = |schema: SchemaRef| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    match kind {
        Kind::Footed => {
            let reader = FileReader::try_new(file, None).map_err(|e| corrupt(e.to_string()))?;
            let header = names(reader.schema());
            show(source, &Columns::find(path, wanted, &header)?, &header, reader, visit)
        }
        Kind::Streamed => {
            let reader = StreamReader::try_new(file, None).map_err(|e| corrupt(e.to_string()))?;
            let header = names(reader.schema());
            show(source, &Columns::find(path, wanted, &header)?, &header, reader, visit)
        }
    }
}

fn show(
    source: &Source,
    columns: &Columns,
    header: &[String],
    batches: impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>>,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let path = source.path();
    let corrupt = |e: ArrowError| DataError::corrupt(path, format!("not a whole file: {e}"));
    let mut row = 0;
    for batch in batches {
        let batch = batch.map_err(corrupt)?;
        let texts = columns.positions.iter().map(|p| match p.and_then(|p| batch.column_by_name(&header[p])) {
            Some(column) => text(column).map(Some),
            None => Ok(None),
        });
        let texts: Vec<Option<LargeStringArray>> = texts.collect::<std::result::Result<_, _>>().map_err(corrupt)?;
        for index in 0..batch.num_rows() {
            row += 1;
            let own: Vec<&str> = texts.iter().map(|column| field(column.as_ref(), index)).collect();
            visit(Ok(Record { path, names: &columns.names, fields: &own, row }))?;
        }
    }
    Ok(())
}

fn field(column: Option<&LargeStringArray>, index: usize) -> &str {
    match column {
        Some(column) if !column.is_null(index) => column.value(index),
        _ => "",
    }
}

/// A column as text; a point in time as its count of seconds, milliseconds or what the file has.
fn text(column: &ArrayRef) -> std::result::Result<LargeStringArray, ArrowError> {
    let text = match column.data_type() {
        DataType::Timestamp(..) | DataType::Date64 => cast(&cast(column, &DataType::Int64)?, &DataType::LargeUtf8),
        DataType::Date32 => cast(&cast(column, &DataType::Int32)?, &DataType::LargeUtf8),
        _ => cast(column, &DataType::LargeUtf8),
    }?;
    Ok(text.as_string::<i64>().clone())
}
