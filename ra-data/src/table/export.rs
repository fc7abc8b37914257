//! Data sets and samples as tables for other tools.
use crate::table::draft::{Draft, Form, INTERACTIONS, ITEMS, claim};
use crate::table::{Table, packed};
use crate::{Column, Prepared, Result, write_columns};
use arrow::array::{ArrayRef, Float64Array, ListBuilder, StringArray, UInt32Array, UInt32Builder};
use ra_core::{Catalog, ItemId, Sample, Sequences, UserId};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Rows written at once.
const BATCH: usize = 1 << 16;

pub(crate) const PARTS: [&str; 3] = ["train", "valid", "test"];

/// Writes `interactions.parquet` and `items.parquet` (zstd) into `folder`, with a marker that lists them. Replaces an
/// earlier export that has a marker; a file of the same name without one is left alone and is an error.
///
/// | file | column | type | meaning |
/// |---|---|---|---|
/// | interactions | `user`, `item` | text | the original ids of the log |
/// | | `user_index`, `item_index` | u32 | dense ids: users from 0, items from 1 (0 is padding) |
/// | | `ts`, or `pos` | f64 | the time in seconds since 1970; `pos` if it is an order without a clock |
/// | | `part` | text | `train`, `valid` or `test` |
/// | items | `item`, `title` | text | |
/// | | `item_index` | u32 | |
/// | | the fields of [`DataConfig::text`](crate::DataConfig) by their names | text | |
///
/// Interactions are sorted by user, then by part (training, validation, test), then oldest first. `ra-data` can read
/// both files back.
///
/// # Errors
/// Names the path.
pub fn to_parquet(prepared: &Prepared, folder: &Path) -> Result<()> {
    let draft = Draft::begin(&prepared.files, Form::Whole, folder)?;
    let data = &prepared.dataset;
    let path = draft.path().join(INTERACTIONS);
    let mut log = LogWriter::new(Vec::new(), &path, &data.users, &data.catalog, prepared.order_only.is_some());
    log.write([&data.train, &data.valid, &data.test], &prepared.times)?;
    ra_core::write_atomic(&path, &log.finish()?)?;
    items_to_parquet(&data.catalog, draft.path())?;
    draft.finish()
}

/// Writes the items table of [`to_parquet`].
pub(crate) fn items_to_parquet(catalog: &Catalog, folder: &Path) -> Result<()> {
    let mut columns = vec![
        ("item", Column::Text(catalog.all().map(|i| catalog.id(i).to_owned()).collect())),
        ("title", Column::Text(catalog.titles().to_vec())),
        ("item_index", Column::Ids(catalog.all().map(|item| item.0).collect())),
    ];
    for (name, texts) in catalog.fields() {
        // A field may be one of these.
        if columns.iter().all(|(own, _)| *own != name) {
            columns.push((name, Column::Text(texts.to_vec())));
        }
    }
    write_columns(&folder.join(ITEMS), &columns)
}

/// Passes the user, item, time and part of every row to the visitor, in the order of [`to_parquet`].
pub(crate) fn each_row(
    parts: [&Sequences; 3],
    times: &[Vec<f64>; 3],
    mut each: impl FnMut(UserId, ItemId, f64, usize) -> Result<()>,
) -> Result<()> {
    let mut places = [0; 3];
    for user in UserId::all(parts[0].len()) {
        for (part, sequences) in parts.iter().enumerate() {
            for &item in sequences.row(user) {
                each(user, item, times[part][places[part]], part)?;
                places[part] += 1;
            }
        }
    }
    Ok(())
}

/// Returns the name of the column of times, or of places in an order.
pub(crate) fn time_column(order_only: bool) -> &'static str {
    if order_only { "pos" } else { "ts" }
}

/// Writes the interactions table of [`to_parquet`], or a part of it.
pub(crate) struct LogWriter<'a, W: Write + Send> {
    table: Table<W>,
    users: &'a [String],
    catalog: &'a Catalog,
    time: &'static str,
    rows: (Vec<UserId>, Vec<ItemId>, Vec<f64>, Vec<&'static str>),
}

impl<'a, W: Write + Send> LogWriter<'a, W> {
    pub(crate) fn new(out: W, path: &Path, users: &'a [String], catalog: &'a Catalog, order_only: bool) -> Self {
        let time = time_column(order_only);
        Self { table: Table::new(out, path, packed()), users, catalog, time, rows: Default::default() }
    }

    /// Adds the rows of all users, with the times of each part.
    fn write(&mut self, parts: [&Sequences; 3], times: &[Vec<f64>; 3]) -> Result<()> {
        each_row(parts, times, |user, item, time, part| self.push(user, item, time, part))
    }

    /// Adds a row of part 0, 1 or 2.
    pub(crate) fn push(&mut self, user: UserId, item: ItemId, time: f64, part: usize) -> Result<()> {
        self.rows.0.push(user);
        self.rows.1.push(item);
        self.rows.2.push(time);
        self.rows.3.push(PARTS[part]);
        if self.rows.0.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        let (users, items, times, parts) = std::mem::take(&mut self.rows);
        let text =
            |values: &mut dyn Iterator<Item = &str>| -> ArrayRef { Arc::new(StringArray::from_iter_values(values)) };
        self.table.write(vec![
            ("user", text(&mut users.iter().map(|&user| self.users[user.index()].as_str()))),
            ("item", text(&mut items.iter().map(|&item| self.catalog.id(item)))),
            ("user_index", Arc::new(UInt32Array::from_iter_values(users.iter().map(|user| user.0)))),
            ("item_index", Arc::new(UInt32Array::from_iter_values(items.iter().map(|item| item.0)))),
            (self.time, Arc::new(Float64Array::from(times))),
            ("part", text(&mut parts.into_iter())),
        ])
    }

    pub(crate) fn finish(mut self) -> Result<W> {
        self.flush()?;
        self.table.finish()
    }
}

/// Writes samples as a Parquet file: `user` (text), `history` (list of u32, oldest first, at most `max_history`),
/// `target` (u32) and `draw` (u32, the sample's place in the given order). Rows are sorted by user and time; items are
/// the `item_index` of [`to_parquet`]. The folder of `path` is marked as an export folder, so the next [`to_parquet`]
/// into it removes this file.
///
/// # Errors
/// Names the path; a file that belongs to somebody else is not replaced.
pub fn samples_to_parquet(prepared: &Prepared, samples: &[Sample], max_history: usize, path: &Path) -> Result<()> {
    claim(path, &prepared.files)?;
    let data = &prepared.dataset;
    let mut table = SampleWriter::new(Vec::new(), path);
    for (sample, draw) in in_order(samples) {
        let (history, target) = data.sample(sample, max_history);
        table.push(&data.users[sample.user.index()], history, target, draw)?;
    }
    Ok(ra_core::write_atomic(path, &table.finish()?)?)
}

/// Sorts samples by user and position, with their place in the draw.
pub(crate) fn in_order(samples: &[Sample]) -> Vec<(Sample, u32)> {
    let mut placed: Vec<(Sample, u32)> = samples.iter().copied().zip(0..).collect();
    placed.sort_unstable();
    placed
}

/// Writes the table of [`samples_to_parquet`].
pub(crate) struct SampleWriter<W: Write + Send> {
    table: Table<W>,
    users: Vec<String>,
    histories: ListBuilder<UInt32Builder>,
    rest: (Vec<u32>, Vec<u32>),
}

impl<W: Write + Send> SampleWriter<W> {
    pub(crate) fn new(out: W, path: &Path) -> Self {
        let histories = ListBuilder::new(UInt32Builder::new());
        Self { table: Table::new(out, path, packed()), users: Vec::new(), histories, rest: Default::default() }
    }

    pub(crate) fn push(&mut self, user: &str, history: &[ItemId], target: ItemId, draw: u32) -> Result<()> {
        self.users.push(user.to_owned());
        self.histories.append_value(history.iter().map(|item| Some(item.0)));
        self.rest.0.push(target.0);
        self.rest.1.push(draw);
        if self.users.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        let (targets, draws) = std::mem::take(&mut self.rest);
        self.table.write(vec![
            ("user", Arc::new(StringArray::from_iter_values(std::mem::take(&mut self.users))) as ArrayRef),
            ("history", Arc::new(self.histories.finish())),
            ("target", Arc::new(UInt32Array::from(targets))),
            ("draw", Arc::new(UInt32Array::from(draws))),
        ])
    }

    pub(crate) fn finish(mut self) -> Result<W> {
        self.flush()?;
        self.table.finish()
    }
}
