//! Polars's data frames, in and out (feature `polars`, of Polars 0.55): a log from a [`DataFrame`], data sets and samples
//! as such.
//!
//! Frames and this crate's Arrow arrays share their memory as far as their types allow:
//!
//! | | memory |
//! |---|---|
//! | numbers, dates, instants, booleans, categories, lists; which of them are null | shared |
//! | text in a frame | shared, its views copied where they do not lie on sixteen bytes |
//! | text of the types `Utf8` and `LargeUtf8` into a frame | shared, its views (16 bytes a row) made |
//! | nulls into a frame | copied, a bit a row |
//! | lists of the type `List` into a frame | elements shared, where each begins and ends copied |
//! | columns whose chunks end at different rows | copied by Polars, so that they end at the same ones |
//!
//! # Example
//! ```
//! use polars::prelude::df;
//! use ra_core::UserId;
//! use ra_data::{DataConfig, frames};
//!
//! let log = df!("user" => ["ann", "ann", "ann", "ann"], "item" => [7, 9, 7, 8], "ts" => [10, 20, 30, 40])?;
//! let data = frames::prepare("films", &DataConfig::default(), (&log).into())?.dataset;
//! assert_eq!(data.catalog.id(data.test.row(UserId(0))[0]), "8"); // the latest is held out
//! assert_eq!(frames::dataset(&data)?.shape(), (4, 6));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use super::shared::{from_polars, to_polars};
use crate::format::row::{ColumnSpec, FoundColumns};
use crate::ingest::{log_columns, title_columns};
use crate::prepare::prepare_from;
use crate::source::read::{Input, Inputs};
use crate::table::export::{PARTS, each_row, in_order, time_column};
use crate::{DataConfig, DataError, Prepared, Result, Split};
use arrow::array::{
    ArrayRef, Float64Array, LargeListBuilder, RecordBatch, StringViewArray, UInt32Array, UInt32Builder,
};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema};
use polars::prelude::{Column, CompatLevel, DataFrame, Series};
use ra_core::{Dataset, Sample};
use std::path::Path;
use std::sync::Arc;

/// The tables of a data set as data frames.
#[derive(Debug, Clone, Copy)]
pub struct Frames<'a> {
    /// The interactions.
    pub log: &'a DataFrame,
    /// The titles of items.
    pub items: Option<&'a DataFrame>,
    /// The interactions to test on, for [`Split::Given`].
    pub test: Option<&'a DataFrame>,
}

impl<'a> From<&'a DataFrame> for Frames<'a> {
    /// A log and nothing else.
    fn from(log: &'a DataFrame) -> Self {
        Self { log, items: None, test: None }
    }
}

/// [`prepare`](crate::prepare) of data frames. Columns are known by the same names as those of files; `config` names no
/// file.
///
/// # Errors
/// As [`prepare`](crate::prepare); messages call the tables `log`, `items` and `test`.
pub fn prepare(name: &str, config: &DataConfig, frames: Frames<'_>) -> Result<Prepared> {
    let paths = [("interactions", &config.interactions), ("items", &config.items), ("test", &config.test)];
    if let Some((key, _)) = paths.into_iter().find(|(_, path)| path.is_some()) {
        return Err(DataError::setting(key, "names a file, and data frames are read; leave it out"));
    }
    DataError::refuse_settings(config)?;
    if (config.split == Split::Given) != frames.test.is_some() {
        let problem = match frames.test {
            Some(_) => {
                "is not \"given\", and there is a frame of test interactions: set it to \"given\", or leave the frame out"
            }
            None => "is \"given\", and there is no frame of test interactions: give one, or take another split",
        };
        return Err(DataError::setting("split", problem));
    }
    let read = |frame, path, wanted: &[ColumnSpec]| batches(frame, Path::new(path), Some(wanted));
    let log = read(frames.log, LOG, &log_columns(config))?;
    let test = frames.test.map(|test| read(test, TEST, &log_columns(config))).transpose()?;
    let items = frames.items.map(|items| read(items, ITEMS, &title_columns(config))).transpose()?;
    let inputs = Inputs {
        log: Some(Input::Columns(Path::new(LOG), &log)),
        test: test.as_deref().map(|test| Input::Columns(Path::new(TEST), test)),
        items: items.as_deref().map(|items| Input::Columns(Path::new(ITEMS), items)),
    };
    prepare_from(name, config, inputs, Vec::new())
}

/// What messages call the tables.
const LOG: &str = "log";
const TEST: &str = "test";
const ITEMS: &str = "items";

/// A data frame as Arrow's batches, one for each of its chunks, over the same memory.
///
/// # Errors
/// Names a column of a type that is not read.
pub fn to_batches(frame: &DataFrame) -> Result<Vec<RecordBatch>> {
    batches(frame, Path::new("data frame"), None)
}

/// [`to_batches`], of all columns or of those that are `wanted`.
fn batches(frame: &DataFrame, path: &Path, wanted: Option<&[ColumnSpec]>) -> Result<Vec<RecordBatch>> {
    let failed = |problem: String| DataError::corrupt(path, problem);
    let names: Vec<&str> = frame.columns().iter().map(|column| column.name().as_str()).collect();
    let mut places: Vec<usize> = match wanted {
        Some(wanted) => FoundColumns::find(path, wanted, &names)?.positions.into_iter().flatten().collect(),
        None => (0..names.len()).collect(),
    };
    places.sort_unstable();
    places.dedup();
    let columns: Vec<Column> = places.iter().map(|&place| frame.columns()[place].clone()).collect();
    let mut frame = DataFrame::new(frame.height(), columns).map_err(|e| failed(e.to_string()))?;
    frame.align_chunks();
    let batch = |chunk: Vec<(&str, ArrayRef)>| {
        let fields = chunk.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let arrays = chunk.into_iter().map(|(_, array)| array).collect();
        RecordBatch::try_new(schema, arrays).map_err(|e| failed(e.to_string()))
    };
    let chunks = frame.iter_chunks(CompatLevel::newest(), false).map(|chunk| {
        let arrays = chunk.arrays().iter().zip(&places).map(|(array, &place)| {
            let name = names[place];
            Ok((name, from_polars(array.as_ref()).map_err(|problem| failed(format!("column `{name}` {problem}")))?))
        });
        batch(arrays.collect::<Result<_>>()?)
    });
    chunks.collect()
}

/// A batch as a data frame, over the same memory. Numbers of 32 and 64 bits, text, and lists of them have a place in one.
///
/// # Errors
/// Names a column of another type.
pub fn to_frame(batch: &RecordBatch) -> Result<DataFrame> {
    let failed = |problem: String| DataError::corrupt("data frame", problem);
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, array)| {
        let array = to_polars(array).map_err(|problem| failed(format!("column `{}` {problem}", field.name())))?;
        let series = Series::from_arrow(field.name().as_str().into(), array).map_err(|e| failed(e.to_string()))?;
        Ok(Column::from(series))
    });
    let columns = columns.collect::<Result<Vec<Column>>>()?;
    DataFrame::new(batch.num_rows(), columns).map_err(|e| failed(e.to_string()))
}

/// Every interaction with its time: the columns of [`to_parquet`](crate::to_parquet)'s `interactions.parquet`, in its
/// order.
///
/// # Errors
/// None that is known: what this crate makes has a place in a data frame.
pub fn interactions(prepared: &Prepared) -> Result<DataFrame> {
    let time = time_column(prepared.order_only.is_some());
    let times = |rows: &Rows| Arc::new(Float64Array::from(rows.times.clone())) as ArrayRef;
    frame_of_rows(&prepared.dataset, &prepared.times, time, times)
}

/// Every interaction of a data set: `user`, `item` (text, the log's own ids), `user_index`, `item_index` (u32, items from
/// 1), `position` (u32, the place among the user's interactions of this part, from 0) and `part` (text: `train`, `valid`
/// or `test`); in the order of [`interactions`].
///
/// # Errors
/// As [`interactions`].
pub fn dataset(dataset: &Dataset) -> Result<DataFrame> {
    let times = [&dataset.train, &dataset.valid, &dataset.test].map(|part| vec![0.0; part.total()]);
    frame_of_rows(dataset, &times, "position", |rows| Arc::new(UInt32Array::from(rows.positions())))
}

/// Interactions, a column a field.
#[derive(Default)]
struct Rows {
    users: Vec<u32>,
    items: Vec<u32>,
    times: Vec<f64>,
    parts: Vec<u32>,
}

impl Rows {
    /// The place of each among those of its user and part, which stand together.
    fn positions(&self) -> Vec<u32> {
        let (mut position, mut before) = (0, None);
        let place = |of: (u32, u32)| {
            position = if before == Some(of) { position + 1 } else { 0 };
            before = Some(of);
            position
        };
        self.users.iter().copied().zip(self.parts.iter().copied()).map(place).collect()
    }
}

fn frame_of_rows(
    dataset: &Dataset,
    times: &[Vec<f64>; 3],
    extra: &str,
    column: impl Fn(&Rows) -> ArrayRef,
) -> Result<DataFrame> {
    let mut rows = Rows::default();
    each_row([&dataset.train, &dataset.valid, &dataset.test], times, |user, item, time, part| {
        rows.users.push(user.0);
        rows.items.push(item.0);
        rows.times.push(time);
        rows.parts.push(part as u32);
        Ok(())
    })?;
    let extra_column = column(&rows);
    let Rows { users, items, parts, .. } = rows;
    let item_texts = item_ids(dataset);
    // Row 0 of the items' texts is padding's.
    let columns = vec![
        ("user", named(&dataset.users, &users)?),
        ("item", named(&item_texts, &items)?),
        ("user_index", Arc::new(UInt32Array::from(users)) as ArrayRef),
        ("item_index", Arc::new(UInt32Array::from(items))),
        (extra, extra_column),
        ("part", named(&PARTS, &parts)?),
    ];
    frame_of(columns)
}

/// The own id of every dense one, padding's empty.
fn item_ids(dataset: &Dataset) -> Vec<&str> {
    std::iter::once("").chain(dataset.catalog.all().map(|item| dataset.catalog.id(item))).collect()
}

/// The items of a data set: `item`, `title` (text) and `item_index` (u32), as in `items.parquet`.
///
/// # Errors
/// As [`interactions`].
pub fn items(dataset: &Dataset) -> Result<DataFrame> {
    let catalog = &dataset.catalog;
    let text =
        |texts: &mut dyn Iterator<Item = &str>| -> ArrayRef { Arc::new(texts.map(Some).collect::<StringViewArray>()) };
    frame_of(vec![
        ("item", text(&mut catalog.all().map(|item| catalog.id(item)))),
        ("title", text(&mut catalog.titles().iter().map(String::as_str))),
        ("item_index", Arc::new(UInt32Array::from_iter_values(catalog.all().map(|item| item.0)))),
    ])
}

/// Samples by user and position: `user` (text), `history` (list of u32, oldest first, at most `max_history`), `target`
/// (u32) and `draw` (u32, the sample's place in the order given), as in `samples.parquet`.
///
/// # Errors
/// As [`interactions`].
pub fn samples(dataset: &Dataset, samples: &[Sample], max_history: usize) -> Result<DataFrame> {
    let mut histories = LargeListBuilder::new(UInt32Builder::new());
    let (mut users, mut targets, mut draws) = (Vec::new(), Vec::new(), Vec::new());
    for (sample, draw) in in_order(samples) {
        let (history, target) = dataset.sample(sample, max_history);
        histories.append_value(history.iter().map(|item| Some(item.0)));
        users.push(sample.user.0);
        targets.push(target.0);
        draws.push(draw);
    }
    frame_of(vec![
        ("user", named(&dataset.users, &users)?),
        ("history", Arc::new(histories.finish())),
        ("target", Arc::new(UInt32Array::from(targets))),
        ("draw", Arc::new(UInt32Array::from(draws))),
    ])
}

/// The text of each index; the bytes of a text are there once.
fn named<S: AsRef<str>>(texts: &[S], indices: &[u32]) -> Result<ArrayRef> {
    let texts = StringViewArray::from_iter_values(texts);
    take(&texts, &UInt32Array::from(indices.to_vec()), None)
        .map_err(|e| DataError::corrupt("data frame", e.to_string()))
}

fn frame_of(columns: Vec<(&str, ArrayRef)>) -> Result<DataFrame> {
    let batch = RecordBatch::try_from_iter(columns).map_err(|e| DataError::corrupt("data frame", e.to_string()))?;
    to_frame(&batch)
}
