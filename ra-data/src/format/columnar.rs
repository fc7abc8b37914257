//! Parquet and Arrow: files with typed columns.
use crate::format::arrays::Texts;
use crate::format::arrow_file::{self, Kind};
use crate::format::header;
use crate::format::row::{ColumnSpec, FoundColumns, Record, Role, RowVisitor};
use crate::source::file::Source;
use crate::{DataError, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use std::io::{BufReader, Seek};
use std::path::Path;

/// Reads a Parquet file; numbers and times become text, so that ids and errors look the same in all formats.
pub(crate) fn read_parquet(source: &Source, wanted: &[ColumnSpec], visit: &mut RowVisitor<'_>) -> Result<()> {
    let path = source.path();
    let builder = ParquetRecordBatchReaderBuilder::try_new(source.file()?)
        .map_err(|e| unreadable(path, "Parquet", &e.to_string()))?;
    let header = names(builder.schema());
    let columns = FoundColumns::find(path, wanted, &header)?;
    refuse_codec(path, &builder)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns.positions.iter().flatten().copied());
    let reader = builder.with_projection(mask).build().map_err(|e| unreadable(path, "Parquet", &e.to_string()))?;
    show(source, "Parquet", wanted, &columns, &header, reader, visit)
}

/// Returns the column names of a Parquet file.
pub(crate) fn parquet_names(source: &Source) -> Result<Vec<String>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(source.file()?)
        .map_err(|e| unreadable(source.path(), "Parquet", &e.to_string()))?;
    Ok(names(builder.schema()))
}

/// Returns the column names of an Arrow file.
pub(crate) fn arrow_names(source: &Source) -> Result<Vec<String>> {
    let failed = |e: ArrowError| unreadable(source.path(), "Arrow", &e.to_string());
    Ok(match arrow(source)? {
        (Kind::Footed, file) => names(&FileReader::try_new(file, None).map_err(failed)?.schema()),
        (Kind::Streamed { .. }, file) => names(&StreamReader::try_new(file, None).map_err(failed)?.schema()),
    })
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// Refuses unsupported codecs by name.
fn refuse_codec(path: &Path, builder: &ParquetRecordBatchReaderBuilder<std::fs::File>) -> Result<()> {
    let chunks = builder.metadata().row_groups().iter().flat_map(|group| group.columns());
    match chunks.map(|chunk| chunk.compression()).find(|codec| matches!(codec, Compression::LZO)) {
        Some(codec) => {
            let problem = format!("compressed with {codec}, which is not supported; use zstd, snappy or gzip");
            Err(DataError::corrupt(path, problem))
        }
        None => Ok(()),
    }
}

/// Reports a file that its reader could not read.
fn unreadable(path: &Path, format: &str, problem: &str) -> DataError {
    let lacks = ["NYI", "not supported", "Unsupported", "unsupported", "Not yet implemented", "Disabled feature"];
    let problem = match lacks.iter().any(|words| problem.contains(words)) {
        true => format!("uses a feature of {format} that is not supported: {problem}; rewrite it with common settings"),
        false => format!("not a whole {format} file: {problem}"),
    };
    DataError::corrupt(path, problem)
}

/// Reads an Arrow file, with a footer or as a stream.
pub(crate) fn read_arrow(source: &Source, wanted: &[ColumnSpec], visit: &mut RowVisitor<'_>) -> Result<()> {
    let path = source.path();
    let failed = |e: ArrowError| unreadable(path, "Arrow", &e.to_string());
    match arrow(source)? {
        (Kind::Footed, file) => {
            let reader = FileReader::try_new(file, None).map_err(failed)?;
            let header = names(&reader.schema());
            show(source, "Arrow", wanted, &FoundColumns::find(path, wanted, &header)?, &header, reader, visit)
        }
        (Kind::Streamed { ends }, file) => {
            if !ends {
                source.doubt("has no end marker: is it cut short? Its first batches are read".into())?;
            }
            let reader = StreamReader::try_new(file, None).map_err(failed)?;
            let header = names(&reader.schema());
            show(source, "Arrow", wanted, &FoundColumns::find(path, wanted, &header)?, &header, reader, visit)
        }
    }
}

/// Opens an Arrow file and returns its kind, after checking that it is as long as it claims.
fn arrow(source: &Source) -> Result<(Kind, BufReader<std::fs::File>)> {
    let fail = |e| ra_core::Error::io(source.path(), "cannot read", e);
    let corrupt = |problem: String| source.wrong(format!("not a whole Arrow file: {problem}"));
    let mut file = source.file()?;
    let kind = arrow_file::check(&mut file).map_err(fail)?.map_err(corrupt)?;
    file.rewind().map_err(fail)?;
    Ok((kind, BufReader::new(file)))
}

/// Reads columns that are already in memory.
pub(crate) fn read_batches(
    source: &Source,
    batches: &[RecordBatch],
    wanted: &[ColumnSpec],
    visit: &mut RowVisitor<'_>,
) -> Result<()> {
    let header = batches.first().map(|batch| names(&batch.schema())).unwrap_or_default();
    let columns = FoundColumns::find(source.path(), wanted, &header)?;
    // Ids are converted to text slice by slice.
    let slices = batches.iter().flat_map(|batch| {
        let starts = (0..batch.num_rows()).step_by(SLICE);
        starts.map(|start| Ok(batch.slice(start, SLICE.min(batch.num_rows() - start))))
    });
    show(source, "Arrow", wanted, &columns, &header, slices, visit)
}

/// Rows of in-memory columns per slice.
const SLICE: usize = 1 << 16;

/// Passes every row to the visitor; for a session, every element.
fn show(
    source: &Source,
    format: &str,
    wanted: &[ColumnSpec],
    columns: &FoundColumns,
    header: &[String],
    batches: impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>>,
    visit: &mut RowVisitor<'_>,
) -> Result<()> {
    let path = source.path();
    let of_log = wanted.iter().any(|column| column.role() == Role::User);
    let item = wanted.iter().position(|column| column.role() == Role::Item);
    let mut row = 0;
    header::tell_twice(source, wanted, columns, header)?;
    for batch in batches {
        let batch = batch.map_err(|e| unreadable(path, format, &e.to_string()))?;
        let texts = wanted.iter().zip(&columns.positions).map(|(wanted, place)| {
            match place.and_then(|place| Some((&header[place], batch.column_by_name(&header[place])?))) {
                Some((name, column)) => Texts::of(column, name, wanted.role(), of_log),
                None => Ok(Texts::Scalars(None)),
            }
        });
        let texts: Vec<Texts> =
            texts.collect::<std::result::Result<_, _>>().map_err(|problem| DataError::corrupt(path, problem))?;
        if let (0, Some(item)) = (row, item.filter(|&item| matches!(texts[item], Texts::Lists(..)))) {
            let name = &columns.names[item];
            tracing::warn!(path = %path.display(), "`{name}` holds lists: each element counts as one interaction");
        }
        for index in 0..batch.num_rows() {
            row += 1;
            let mut lengths = texts.iter().filter_map(|column| column.length(index));
            let elements = match (lengths.next(), item.and_then(|item| texts[item].length(index))) {
                (None, _) => 1,
                (Some(length), Some(_)) if length > 0 && lengths.all(|other| other == length) => length,
                (_, items) => {
                    let problem = match items {
                        Some(0) => "its list of items is empty",
                        _ => "its lists have different lengths, or a list stands beside a single item",
                    };
                    visit(Err(DataError::row(path, row, problem)))?;
                    continue;
                }
            };
            for element in 0..elements {
                let own: Vec<&str> = texts.iter().map(|column| column.get(index, element)).collect();
                visit(Ok(Record { path, names: &columns.names, fields: &own, row }))?;
            }
        }
    }
    Ok(())
}
