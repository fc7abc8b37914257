//! Tables: Parquet and Arrow, with a column of ids.
use super::vectors::{VectorFile, Vectors, few};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, read_footer_length};
use arrow::ipc::root_as_footer;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ra_core::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The number of rows decoded at a time.
const BATCH: usize = 1024;

/// Reads a Parquet file, or the parts of a folder by name, as Spark writes a table.
pub(super) fn parquet(vectors: &VectorFile<'_>) -> Result<Vectors> {
    let mut table = Rows::default();
    for path in &parts(vectors.path)? {
        let corrupt = |e: String| Error::corrupt(path, format!("not a whole Parquet file: {e}"));
        let file = File::open(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| corrupt(e.to_string()))?;
        let columns = Columns::find(builder.schema(), vectors, path)?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns.positions());
        let reader = builder.with_projection(mask).with_batch_size(BATCH).build();
        for batch in reader.map_err(|e| corrupt(e.to_string()))? {
            table.append(&columns, &batch.map_err(|e| corrupt(e.to_string()))?, path)?;
        }
    }
    Ok(table.finish())
}

fn parts(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let fail = |e| Error::io(path, "cannot list", e);
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let part = entry.map_err(fail)?.path();
        if part.extension().is_some_and(|e| e == "parquet") {
            parts.push(part);
        }
    }
    parts.sort();
    if parts.is_empty() {
        return Err(Error::corrupt(path, "a folder without .parquet files"));
    }
    Ok(parts)
}

/// Reads an Arrow IPC file, which is also the format of Feather version 2.
pub(super) fn arrow(vectors: &VectorFile<'_>) -> Result<Vectors> {
    let path = vectors.path;
    let corrupt = |e: ArrowError| Error::corrupt(path, format!("not a whole Arrow IPC file: {e}"));
    let file = File::open(path).map_err(|e| Error::io(path, "cannot read", e))?;
    let mut file = BufReader::new(file);
    check_blocks(&mut file).map_err(corrupt)?;
    let reader = FileReader::try_new(file, None).map_err(corrupt)?;
    let columns = Columns::find(&reader.schema(), vectors, path)?;
    let mut table = Rows::default();
    for batch in reader {
        table.append(&columns, &batch.map_err(corrupt)?, path)?;
    }
    Ok(table.finish())
}

/// Checks the sizes that the footer claims against the size of the file, because the reader allocates whatever they
/// say.
fn check_blocks(file: &mut BufReader<File>) -> Result<(), ArrowError> {
    let broken = |problem: &str| ArrowError::IpcError(problem.into());
    let length = file.seek(SeekFrom::End(0))?;
    let mut tail = [0; 10];
    let Some(end) = length.checked_sub(10) else { return Err(broken("it is too short")) };
    file.seek(SeekFrom::Start(end))?;
    file.read_exact(&mut tail)?;
    let size = read_footer_length(tail)?;
    let Some(start) = end.checked_sub(size as u64) else { return Err(broken("its footer is longer than the file")) };
    let mut footer = vec![0; size];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut footer)?;
    let footer = root_as_footer(&footer).map_err(|e| broken(&e.to_string()))?;
    for block in footer.recordBatches().into_iter().chain(footer.dictionaries()).flatten() {
        let parts = [block.offset(), i64::from(block.metaDataLength()), block.bodyLength()];
        let end = parts.into_iter().try_fold(0u64, |sum, part| sum.checked_add(u64::try_from(part).ok()?));
        if end.is_none_or(|end| end > length) {
            return Err(broken("its footer names a part beyond its end"));
        }
    }
    file.rewind()?;
    Ok(())
}

/// The columns to read, by position and name.
#[derive(Debug)]
struct Columns {
    id: (usize, String),
    /// One column of lists, or one column per dimension.
    values: Vec<(usize, String)>,
    lists: bool,
}

impl Columns {
    fn find(schema: &Schema, file: &VectorFile<'_>, path: &Path) -> Result<Self> {
        let kind = file.kind;
        let fields: Vec<(usize, &Field)> = schema.fields().iter().map(|f| f.as_ref()).enumerate().collect();
        let all = || {
            let shown: Vec<String> = fields.iter().map(|(_, f)| format!("{} {}", f.name(), f.data_type())).collect();
            few(&shown)
        };
        let names = ["id".to_string(), kind.to_string(), format!("{kind}_id")];
        let ids: Vec<_> = fields.iter().filter(|(_, f)| names.contains(f.name())).collect();
        let &[&(id, field)] = ids.as_slice() else {
            let found = if ids.is_empty() { "no column of ids" } else { "more than one column of ids" };
            let problem = format!("{found}: there must be one of {}; there are: {}", names.join(", "), all());
            return Err(Error::corrupt(path, problem));
        };
        if !is_id(field.data_type()) {
            let (name, found) = (field.name(), field.data_type());
            return Err(Error::corrupt(path, format!("ids in column {name} are {found}, expected text or integers")));
        }
        let named = |(at, field): (usize, &Field)| (at, field.name().clone());
        let lists: Vec<_> = fields.iter().copied().filter(|(_, f)| is_list(f.data_type())).map(named).collect();
        let preferred = ["vector", "embedding"].into_iter().find_map(|name| lists.iter().find(|list| list.1 == name));
        let id = named((id, field));
        if let Some(list) = preferred.or_else(|| lists.first().filter(|_| lists.len() == 1)) {
            return Ok(Self { id, values: vec![list.clone()], lists: true });
        }
        if !lists.is_empty() {
            let names: Vec<&String> = lists.iter().map(|list| &list.1).collect();
            let problem = format!("{} columns of lists: {}; call the right one vector", lists.len(), few(&names));
            return Err(Error::corrupt(path, problem));
        }
        let values: Vec<_> = fields.iter().copied().filter(|(_, f)| f.data_type().is_floating()).map(named).collect();
        if values.is_empty() {
            let problem = "no vectors: there must be a column of lists of floating-point numbers, or one column of \
                           floating-point numbers per dimension; there are: ";
            return Err(Error::corrupt(path, format!("{problem}{}", all())));
        }
        Ok(Self { id, values, lists: false })
    }

    fn positions(&self) -> impl Iterator<Item = usize> {
        std::iter::once(&self.id).chain(&self.values).map(|column| column.0)
    }
}

fn is_id(kind: &DataType) -> bool {
    let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match kind {
        DataType::Dictionary(_, values) => is_text(values),
        other => is_text(other) || other.is_integer(),
    }
}

fn is_list(kind: &DataType) -> bool {
    match kind {
        DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => {
            inner.data_type().is_floating()
        }
        _ => false,
    }
}

/// The rows read so far.
#[derive(Debug, Default)]
struct Rows {
    ids: Vec<String>,
    dim: usize,
    values: Vec<f32>,
}

impl Rows {
    fn append(&mut self, columns: &Columns, batch: &RecordBatch, path: &Path) -> Result<()> {
        let corrupt = |problem: String| Error::corrupt(path, problem);
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| corrupt(format!("column {name} is not in every part of the file")))
        };
        let before = self.ids.len();
        let ids = column(&columns.id.1)?;
        let ids = cast(ids, &DataType::LargeUtf8).map_err(|e| corrupt(format!("ids: {e}")))?;
        let Some(ids) = ids.as_string_opt::<i64>() else { return Err(corrupt("ids are not text".into())) };
        for (row, id) in ids.iter().enumerate() {
            let row = before + row;
            let id = id.ok_or_else(|| corrupt(format!("row {row} has no id in column {}", columns.id.1)))?;
            self.ids.push(id.to_string());
        }
        let values = columns.values.iter().map(|(_, name)| column(name)).collect::<Result<Vec<_>>>()?;
        match (columns.lists, values.as_slice()) {
            (true, &[lists]) => self.append_lists(lists, before, path),
            _ => self.append_columns(&values, before, path),
        }
    }

    fn append_lists(&mut self, lists: &ArrayRef, before: usize, path: &Path) -> Result<()> {
        let (values, bounds): (&ArrayRef, Vec<(usize, usize)>) = match lists.data_type() {
            DataType::FixedSizeList(..) => {
                let lists = lists.as_fixed_size_list();
                let width = lists.value_length() as usize;
                (lists.values(), (0..lists.len()).map(|row| (row * width, (row + 1) * width)).collect())
            }
            DataType::LargeList(_) => {
                let lists = lists.as_list::<i64>();
                (lists.values(), lists.value_offsets().windows(2).map(|w| (w[0] as usize, w[1] as usize)).collect())
            }
            _ => {
                let lists = lists.as_list::<i32>();
                (lists.values(), lists.value_offsets().windows(2).map(|w| (w[0] as usize, w[1] as usize)).collect())
            }
        };
        let values = floats(values, path)?;
        let values = values.as_primitive::<Float32Type>();
        for (row, (from, to)) in bounds.into_iter().enumerate() {
            let id = &self.ids[before + row];
            if lists.is_null(row) || values.slice(from, to - from).null_count() > 0 {
                return Err(Error::corrupt(path, format!("the vector of {id} (row {}) has no value", before + row)));
            }
            if before + row == 0 {
                self.dim = to - from;
            }
            if to - from != self.dim {
                let (first, problem) = (&self.ids[0], format!("{id} has {} numbers", to - from));
                return Err(Error::corrupt(path, format!("the vector of {problem}, that of {first} {}", self.dim)));
            }
            self.values.extend_from_slice(&values.values()[from..to]);
        }
        Ok(())
    }

    fn append_columns(&mut self, columns: &[&ArrayRef], before: usize, path: &Path) -> Result<()> {
        let columns = columns.iter().map(|column| floats(column, path)).collect::<Result<Vec<_>>>()?;
        if before > 0 && self.dim != columns.len() {
            let problem = format!("{} columns of numbers, the parts before have {}", columns.len(), self.dim);
            return Err(Error::corrupt(path, problem));
        }
        self.dim = columns.len();
        for (row, id) in self.ids.iter().enumerate().skip(before) {
            for column in &columns {
                if column.is_null(row - before) {
                    return Err(Error::corrupt(path, format!("the vector of {id} (row {row}) has no value")));
                }
                self.values.push(column.as_primitive::<Float32Type>().value(row - before));
            }
        }
        Ok(())
    }

    fn finish(self) -> Vectors {
        Vectors { ids: Some(self.ids), dim: self.dim, values: self.values }
    }
}

fn floats(values: &ArrayRef, path: &Path) -> Result<ArrayRef> {
    cast(values, &DataType::Float32).map_err(|e| Error::corrupt(path, format!("vectors: {e}")))
}
