//! Tab and comma separated text.
use crate::rows::{Rows, Wanted, positions};
use crate::source::Source;
use crate::{DataError, Result};
use arrow::array::{ArrayRef, AsArray, LargeStringArray, LargeStringBuilder};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use std::io::BufRead;
use std::sync::Arc;

/// Reads tab separated lines: no quoting, as in RecBole's files, so that a lone quote in a title is a quote.
pub(crate) fn read_tabs(source: &Source, wanted: &[Wanted]) -> Result<Rows> {
    let path = source.path();
    let mut reader = source.open()?;
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| -> Result<bool> {
        line.clear();
        let bytes = reader.read_until(b'\n', line).map_err(|e| source.failed(e))?;
        while line.last().is_some_and(|&b| b == b'\n' || b == b'\r') {
            line.pop();
        }
        Ok(bytes > 0)
    };
    if !next(&mut line)? {
        return Err(source.empty());
    }
    let header = String::from_utf8(line.clone()).map_err(|_| DataError::row(path, 1, "not UTF-8 text"))?;
    let header: Vec<&str> = header.trim_start_matches('\u{feff}').split('\t').collect();
    let positions = positions(path, wanted, &header)?;
    let mut builders: Vec<_> = wanted.iter().map(|_| LargeStringBuilder::new()).collect();
    let (mut numbers, mut row) = (Vec::new(), 1);
    while next(&mut line)? {
        row += 1;
        if line.is_empty() {
            continue;
        }
        let text = str::from_utf8(&line).map_err(|_| DataError::row(path, row, "not UTF-8 text"))?;
        let fields: Vec<&str> = text.split('\t').collect();
        if fields.len() != header.len() {
            let problem = format!("{} fields where the header has {}", fields.len(), header.len());
            return Err(DataError::row(path, row, problem));
        }
        for (builder, &position) in builders.iter_mut().zip(&positions) {
            builder.append_value(fields[position]);
        }
        numbers.push(row as u32);
    }
    Ok(Rows {
        path: path.into(),
        names: positions.iter().map(|&p| plain(header[p])).collect(),
        columns: builders.iter_mut().map(LargeStringBuilder::finish).collect(),
        numbers,
    })
}

/// Reads comma separated records, quoted where needed, through arrow.
pub(crate) fn read_commas(source: &Source, wanted: &[Wanted]) -> Result<Rows> {
    let path = source.path();
    if source.is_empty()? {
        return Err(source.empty());
    }
    let format = Format::default().with_header(true);
    let (schema, _) = format.infer_schema(source.open()?, Some(0)).map_err(|e| failed(source, e))?;
    let header: Vec<String> =
        schema.fields().iter().map(|f| f.name().trim_start_matches('\u{feff}').to_owned()).collect();
    let positions = positions(path, wanted, &header)?;
    // Everything as text: a number that does not parse is then an error of ours, with its row.
    let text = Schema::new(header.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>());
    let reader = ReaderBuilder::new(Arc::new(text)).with_format(format).build_buffered(source.open()?);
    let batches = reader.and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|e| failed(source, e))?;
    let column = |&position: &usize| -> Result<LargeStringArray> {
        let parts: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(position)).collect();
        concat(&parts).map_err(|e| failed(source, e))
    };
    let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
    Ok(Rows {
        path: path.into(),
        names: positions.iter().map(|&p| plain(&header[p])).collect(),
        columns: positions.iter().map(column).collect::<Result<_>>()?,
        numbers: (2..rows as u32 + 2).collect(),
    })
}

/// One text array out of many.
pub(crate) fn concat(parts: &[&ArrayRef]) -> Result<LargeStringArray, ArrowError> {
    if parts.is_empty() {
        return Ok(LargeStringArray::new_null(0));
    }
    // Arrow's csv reader knows the short kind of text only.
    let parts =
        parts.iter().map(|part| arrow::compute::cast(part, &DataType::LargeUtf8)).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<_> = parts.iter().map(|part| part.as_ref()).collect();
    Ok(arrow::compute::concat(&parts)?.as_string::<i64>().clone())
}

/// A column's name without the type that RecBole writes behind a colon.
fn plain(name: &str) -> String {
    name.split(':').next().unwrap_or(name).to_owned()
}

/// Arrow tells a broken row by its text alone: "incorrect number of fields for line 3, expected 2 got 1".
fn failed(source: &Source, error: ArrowError) -> DataError {
    let text = match error {
        ArrowError::IoError(_, error) => return source.failed(error),
        ArrowError::CsvError(text) => text,
        other => other.to_string(),
    };
    let line = text.split_once("for line ").map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect());
    match line.and_then(|digits: String| digits.parse().ok()) {
        Some(row) => DataError::row(source.path(), row, text),
        None => DataError::corrupt(source.path(), text),
    }
}
