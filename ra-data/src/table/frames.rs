//! Polars data frames, in and out (feature `polars`, Polars 0.55): prepares a log from a [`DataFrame`], and returns
//! data sets and samples as data frames.
//!
//! Frames and this crate's Arrow arrays share memory as far as their types allow:
//!
//! | | memory |
//! |---|---|
//! | numbers, dates, timestamps, booleans, categories, lists, and their null masks | shared |
//! | text from a frame | shared; views are copied if they are not aligned to 16 bytes |
//! | text of the types `Utf8` and `LargeUtf8` to a frame | shared; views (16 bytes per row) are created |
//! | nulls to a frame | copied, one bit per row |
//! | lists of the type `List` to a frame | elements shared, offsets copied |
//! | columns whose chunks end at different rows | copied by Polars to align the chunks |
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
use crate::ingest::log_columns;
use crate::items::item_columns;
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
    /// Uses the log alone.
    fn from(log: &'a DataFrame) -> Self {
        Self { log, items: None, test: None }
    }
}

/// [`prepare`](crate::prepare) for data frames. Columns have the same names as those of files; `config` must not name
/// files.
///
/// # Errors
/// Those of [`prepare`](crate::prepare); messages call the tables `log`, `items` and `test`.
pub fn prepare(name: &str, config: &DataConfig, frames: Frames<'_>) -> Result<Prepared> {
    let paths = [("interactions", &config.interactions), ("items", &config.items), ("test", &config.test)];
    if let Some((key, _)) = paths.into_iter().find(|(_, path)| path.is_some()) {
        return Err(DataError::setting(key, "names a file, but data frames are read; leave it out"));
    }
    DataError::refuse_settings(config)?;
    if (config.split == Split::Given) != frames.test.is_some() {
        let problem = match frames.test {
            Some(_) => {
                "is not \"given\", but there is a frame of test interactions: set it to \"given\", or leave the frame \
                 out"
            }
            None => "is \"given\", but there is no frame of test interactions: give one, or use another split",
        };
        return Err(DataError::setting("split", problem));
    }
    let read = |frame, path, wanted: &[ColumnSpec]| batches(frame, Path::new(path), Some(wanted));
    let log = read(frames.log, LOG, &log_columns(config))?;
    let test = frames.test.map(|test| read(test, TEST, &log_columns(config))).transpose()?;
    let items = frames.items.map(|items| read(items, ITEMS, &item_columns(config))).transpose()?;
    let inputs = Inputs {
        log: Some(Input::Columns(Path::new(LOG), &log)),
        test: test.as_deref().map(|test| Input::Columns(Path::new(TEST), test)),
        items: items.as_deref().map(|items| Input::Columns(Path::new(ITEMS), items)),
    };
    prepare_from(name, config, inputs, Vec::new())
}

/// The names of the tables in messages.
const LOG: &str = "log";
const TEST: &str = "test";
const ITEMS: &str = "items";

/// Returns a data frame as Arrow batches, one per chunk, without copying.
///
/// # Errors
/// Names a column of an unsupported type.
pub fn to_batches(frame: &DataFrame) -> Result<Vec<RecordBatch>> {
    batches(frame, Path::new("data frame"), None)
}

/// [`to_batches`] for all columns, or only the `wanted` ones.
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

/// Returns a batch as a data frame, without copying. Supports 32-bit and 64-bit numbers, text, and lists of these.
///
/// # Errors
/// Names a column of an unsupported type.
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

/// Returns every interaction with its time: the columns of [`to_parquet`](crate::to_parquet)'s `interactions.parquet`,
/// in the same order.
///
/// # Errors
/// None known: everything this crate creates fits into a data frame.
pub fn interactions(prepared: &Prepared) -> Result<DataFrame> {
    let time = time_column(prepared.order_only.is_some());
    let times = |rows: &Rows| Arc::new(Float64Array::from(rows.times.clone())) as ArrayRef;
    frame_of_rows(&prepared.dataset, &prepared.times, time, times)
}

/// Returns every interaction of a data set: `user`, `item` (text, the original ids), `user_index`, `item_index` (u32,
/// items from 1), `position` (u32, the place among the user's interactions of this part, from 0) and `part` (text:
/// `train`, `valid` or `test`), in the order of [`interactions`].
///
/// # Errors
/// As for [`interactions`].
pub fn dataset(dataset: &Dataset) -> Result<DataFrame> {
    let times = [&dataset.train, &dataset.valid, &dataset.test].map(|part| vec![0.0; part.total()]);
    frame_of_rows(dataset, &times, "position", |rows| Arc::new(UInt32Array::from(rows.positions())))
}

/// Interactions, one column per field.
#[derive(Default)]
struct Rows {
    users: Vec<u32>,
    items: Vec<u32>,
    times: Vec<f64>,
    parts: Vec<u32>,
}

impl Rows {
    /// Returns the place of each interaction among those of its user and part, which are adjacent.
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
    // Row 0 of the item texts is padding.
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

/// Returns the original id of every dense id; padding has an empty one.
fn item_ids(dataset: &Dataset) -> Vec<&str> {
    std::iter::once("").chain(dataset.catalog.all().map(|item| dataset.catalog.id(item))).collect()
}

/// Returns the items of a data set: `item`, `title` (text) and `item_index` (u32), and the fields of texts (text), as
/// in `items.parquet`.
///
/// # Errors
/// As for [`interactions`].
pub fn items(dataset: &Dataset) -> Result<DataFrame> {
    let catalog = &dataset.catalog;
    let text =
        |texts: &mut dyn Iterator<Item = &str>| -> ArrayRef { Arc::new(texts.map(Some).collect::<StringViewArray>()) };
    let mut columns = vec![
        ("item", text(&mut catalog.all().map(|item| catalog.id(item)))),
        ("title", text(&mut catalog.titles().iter().map(String::as_str))),
        ("item_index", Arc::new(UInt32Array::from_iter_values(catalog.all().map(|item| item.0)))),
    ];
    for (name, texts) in catalog.fields() {
        if columns.iter().all(|(own, _)| *own != name) {
            columns.push((name, text(&mut texts.iter().map(String::as_str))));
        }
    }
    frame_of(columns)
}

/// Returns samples by user and position: `user` (text), `history` (list of u32, oldest first, at most `max_history`),
/// `target` (u32) and `draw` (u32, the sample's place in the given order), as in `samples.parquet`.
///
/// # Errors
/// As for [`interactions`].
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

/// Returns the text of each index; the bytes of each text are stored once.
fn named<S: AsRef<str>>(texts: &[S], indices: &[u32]) -> Result<ArrayRef> {
    let texts = StringViewArray::from_iter_values(texts);
    take(&texts, &UInt32Array::from(indices.to_vec()), None)
        .map_err(|e| DataError::corrupt("data frame", e.to_string()))
}

fn frame_of(columns: Vec<(&str, ArrayRef)>) -> Result<DataFrame> {
    let batch = RecordBatch::try_from_iter(columns).map_err(|e| DataError::corrupt("data frame", e.to_string()))?;
    to_frame(&batch)
}
