//! Data sets and samples for other people's tools.
use crate::{Column, Prepared, Result, write_columns};
use ra_core::{Sample, Sequences};
use std::path::Path;

/// Writes `interactions.parquet` and `items.parquet` (zstd) into `folder`.
///
/// | file | column | type | meaning |
/// |---|---|---|---|
/// | interactions | `user`, `item` | text | the log's own ids |
/// | | `user_index`, `item_index` | u32 | dense ids: users from 0, items from 1, 0 being padding |
/// | | `ts`, or `pos` | f64 | the time, in the unit of the file it was read from; `pos` where it is an order and no clock |
/// | | `part` | text | `train`, `valid` or `test` |
/// | items | `item`, `title` | text | |
/// | | `item_index` | u32 | |
///
/// Interactions stand user by user, oldest first, the parts one after the other. `ra-data` reads both files again.
///
/// # Errors
/// Names the path.
pub fn to_parquet(prepared: &Prepared, folder: &Path) -> Result<()> {
    let data = &prepared.dataset;
    let (mut users, mut items, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for (part, name) in [(&data.train, "train"), (&data.valid, "valid"), (&data.test, "test")] {
        for (user, row) in (0..).zip(part.rows()) {
            users.extend(row.iter().map(|_| user));
            items.extend_from_slice(row);
            parts.extend(row.iter().map(|_| name.to_owned()));
        }
    }
    let columns = [
        ("user", Column::Text(users.iter().map(|&u: &u32| data.users[u as usize].clone()).collect())),
        ("item", Column::Text(items.iter().map(|&i| data.catalog.id(i).to_owned()).collect())),
        ("user_index", Column::Ids(users)),
        ("item_index", Column::Ids(items)),
        (if prepared.order_only.is_some() { "pos" } else { "ts" }, Column::Numbers(prepared.times.concat())),
        ("part", Column::Text(parts)),
    ];
    write_columns(&folder.join("interactions.parquet"), &columns)?;
    let all = || data.catalog.all();
    let columns = [
        ("item", Column::Text(all().map(|i| data.catalog.id(i).to_owned()).collect())),
        ("title", Column::Text(data.catalog.titles().to_vec())),
        ("item_index", Column::Ids(all().collect())),
    ];
    write_columns(&folder.join("items.parquet"), &columns)
}

/// Writes samples as a Parquet file: `user` (text), `history` (list of u32, oldest first, at most `max_history`), `target`
/// (u32), in the order given; items are the `item_index` of [`to_parquet`].
///
/// # Errors
/// Names the path.
pub fn samples_to_parquet(prepared: &Prepared, samples: &[Sample], max_history: usize, path: &Path) -> Result<()> {
    let data = &prepared.dataset;
    let (histories, targets): (Vec<&[u32]>, Vec<u32>) = samples.iter().map(|&s| data.sample(s, max_history)).unzip();
    let columns = [
        ("user", Column::Text(samples.iter().map(|s| data.users[s.user as usize].clone()).collect())),
        ("history", Column::Lists(Sequences::from_rows(histories))),
        ("target", Column::Ids(targets)),
    ];
    write_columns(path, &columns)
}
