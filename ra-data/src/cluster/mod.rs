//! Filters, splits and draws as SQL, run by DataFusion in one process or by Ballista on many machines (feature
//! `ballista`). Every query is plain SQL over Parquet files in one folder that all machines see, so the standard
//! executors of any cluster work.

use crate::bounded::TableOutput;
use crate::config::{DataConfig, Split};
use crate::curate::words::words;
use crate::format::row::RejectedRows;
use crate::ingest::{self, ScanReport, scan};
use crate::items::read_catalog;
use crate::prepare::{Steps, anything_left, needs_clock, shared_ids, tell_doubts};
use crate::source::read::Inputs;
use crate::split::{counted_from, cuts, held};
use crate::table::draft::{Draft, Form, SAMPLES};
use crate::table::export::{SampleWriter, items_to_parquet};
use crate::table::{Table, cannot_write, packed};
use crate::time::calendar::UNKNOWN;
use crate::{
    Column, CurateConfig, CurateMethod, Curated, DataError, ExportSummary, Result, SampleExport, write_columns,
};
use arrow::array::types::{Float64Type, Int64Type};
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;
use ra_core::{Catalog, ItemId, Sample, UserId};
use sql::{Sql, failed, integers};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

mod sql;

/// The start of a row number expression. `row_number` itself is unsigned, and arithmetic with it would yield decimals.
const ROW: &str = "cast(row_number() OVER ";

/// Rows per file of the log and of the result.
const FILE: usize = 4 << 20;

/// Writes what [`crate::to_parquet_within`] writes, with queries that `context` runs. This process reads the files and
/// writes the tables, one batch at a time; users, items and their counts must fit into its memory. A given split needs
/// no computation and is refused.
///
/// # Errors
/// Those of [`crate::prepare`]; a failed query names its step.
pub async fn to_parquet_on(
    context: &SessionContext,
    name: &str,
    config: &DataConfig,
    samples: Option<SampleExport<'_>>,
    folder: &Path,
) -> Result<ExportSummary> {
    DataError::refuse_settings(config)?;
    config.check_one_pass()?;
    if config.split == Split::Given {
        let problem = "is \"given\", and given files are used as they are; there is nothing to compute";
        return Err(DataError::setting("split", problem));
    }
    samples.map_or(Ok(()), |samples| samples.check())?;
    let fail = |e| cannot_write(folder, e);
    let draft = Draft::begin(&ingest::files(config)?, Form::Parts, folder)?;
    let mut rejected = RejectedRows::default();
    let mut sql = Sql { context, folder: std::path::absolute(draft.path()).map_err(fail)?, step: 0 };
    let told = sql.read_log(config, &mut rejected).await?;
    needs_clock(config, told.order_only.as_ref())?;

    let mut steps = Steps::new(config, told.read, told.rated);
    let [users, items] = sql.filter(config, &mut steps).await?;
    let catalog = read_catalog(items, Inputs::files(config), config, &mut rejected)?;
    sql.split(config).await?;
    let mut output = TableOutput::new(draft.path(), &users, &catalog, told.order_only.is_some())?;
    let mut rows = 0;
    let query = "SELECT uid, iid, part, ts FROM parts ORDER BY uid, place";
    sql.each(query, |batch| {
        let (ids, times) = (|c| integers(batch, c), batch.column(3).as_primitive::<Float64Type>());
        let (user, item, part) = (ids(0)?, ids(1)?, ids(2)?);
        for at in 0..batch.num_rows() {
            rows += 1;
            if rows % FILE == 0 && at > 0 && user[at] != user[at - 1] {
                output.close()?;
            }
            output.push(UserId(user[at] as u32), ItemId(item[at] as u32), times.value(at), part[at] as usize)?;
        }
        Ok(())
    })
    .await?;
    let counted = output.finish(config)?;
    let interactions = counted.interactions();
    anything_left(name, config, &steps, counted.longest(), interactions[2])?;
    let different = sql.number("SELECT count(*) FROM (SELECT DISTINCT uid, iid, ts FROM parts)").await? as usize;
    let all = interactions.iter().sum::<usize>();
    tell_doubts(Inputs::files(config), config.strict, (all - different, all), shared_ids(&users, &catalog))?;
    let curated = match samples {
        None => None,
        Some(SampleExport { curate, max_history, seed }) => {
            sql.score(&catalog, max_history, curate, seed).await?;
            let path = draft.path().join(SAMPLES);
            Some(sql.draw(&users, max_history, curate, &path).await?)
        }
    };
    items_to_parquet(&catalog, draft.path())?;
    draft.finish()?;
    Ok(ExportSummary {
        fingerprint: counted.fingerprint.clone(),
        users: users.len(),
        items: catalog.len(),
        interactions,
        partitions: counted.partitions,
        rejected,
        curated,
    })
}

impl Sql<'_> {
    /// Writes the log as Parquet files with `u`, `i`, `ts` and `place`, the row's place in the log.
    async fn read_log(&mut self, config: &DataConfig, rejected: &mut RejectedRows) -> Result<ScanReport> {
        let folder = self.folder.join("log");
        std::fs::create_dir_all(&folder).map_err(|e| ra_core::Error::io(&folder, "cannot make", e))?;
        let mut rows: (Vec<String>, Vec<String>, Vec<f64>) = Default::default();
        let mut first = 0;
        let mut write = |(users, items, times): (Vec<String>, Vec<String>, Vec<f64>)| -> Result<()> {
            let path = folder.join(format!("{first:012}.parquet"));
            let file = File::create(&path).map_err(|e| cannot_write(&path, e))?;
            let places = Int64Array::from_iter_values(first..first + times.len() as i64);
            first += times.len() as i64;
            let mut table = Table::new(file, &path, packed());
            table.write(vec![
                ("u", Arc::new(StringArray::from(users)) as ArrayRef),
                ("i", Arc::new(StringArray::from(items))),
                ("ts", Arc::new(Float64Array::from(times))),
                ("place", Arc::new(places)),
            ])?;
            table.finish().map(drop)
        };
        let told = scan(Inputs::files(config), config, rejected, |user, item, time| {
            rows.0.push(user.to_owned());
            rows.1.push(item.to_owned());
            rows.2.push(time);
            if rows.2.len() < FILE { Ok(()) } else { write(std::mem::take(&mut rows)) }
        })?;
        if !rows.2.is_empty() {
            write(rows)?;
        }
        self.register("log", &folder).await?;
        if told.calendar.days {
            let problem = "holds days as numbers such as 20140101, which can only be read in memory; write them as \
                           dates";
            return Err(DataError::setting("columns.time", problem));
        }
        if told.calendar.unknown {
            let unknown: Vec<String> = UNKNOWN.iter().map(|time| format!("{time:?}")).collect();
            let known = format!("SELECT u, i, ts, place FROM log WHERE ts NOT IN ({})", unknown.join(", "));
            self.keep("log", &known).await?;
        }
        Ok(told)
    }

    /// Filters `log` and numbers its users and items: `numbered` has `uid` (from 0), `iid` (from 1), `ts` and `place`.
    /// Returns the ids in order.
    async fn filter(&mut self, config: &DataConfig, steps: &mut Steps) -> Result<[Vec<String>; 2]> {
        let mut orders = Vec::new();
        for id in ["u", "i"] {
            // If all ids are numbers, including those filtered out later, they are sorted as numbers.
            let words = format!("SELECT count(*) FROM log WHERE NOT regexp_like({id}, '^[0-9]{{1,19}}$')");
            let numbers = self.number(&words).await? == 0.0;
            orders.push(if numbers { format!("arrow_cast({id}, 'UInt64'), {id}") } else { id.to_owned() });
        }
        if config.dedupe {
            let first = "SELECT u, i, ts, place FROM (SELECT *, row_number() OVER (PARTITION BY u, i ORDER BY ts, place) \
                         AS nth FROM log) WHERE nth = 1";
            self.keep("log", first).await?;
            steps.deduped(self.number("SELECT count(*) FROM log").await? as usize);
        }
        let k = config.k_core;
        let core = format!(
            "SELECT l.u, l.i, l.ts, l.place FROM log l \
             JOIN (SELECT u FROM log GROUP BY u HAVING count(*) >= {k}) a ON l.u = a.u \
             JOIN (SELECT i FROM log GROUP BY i HAVING count(*) >= {k}) b ON l.i = b.i"
        );
        let mut rows = self.number("SELECT count(*) FROM log").await?;
        while k > 1 && rows > 0.0 {
            self.keep("log", &core).await?;
            let left = self.number("SELECT count(*) FROM log").await?;
            if left == rows {
                break;
            }
            rows = left;
        }
        steps.cored(config, rows as usize);
        let [mut users, mut items] = [Vec::new(), Vec::new()];
        let sides = [("users", "u", "uid", 1, &mut users), ("items", "i", "iid", 0, &mut items)];
        for ((table, id, number, minus, ids), order) in sides.into_iter().zip(orders) {
            let query = format!(
                "SELECT {id}, {ROW}(ORDER BY {order}) AS BIGINT) - {minus} AS {number} FROM (SELECT DISTINCT {id} FROM log)"
            );
            self.keep(table, &query).await?;
            *ids = self.texts(&format!("SELECT {id} FROM {table} ORDER BY {number}")).await?;
        }
        let numbered =
            "SELECT a.uid, b.iid, l.ts, l.place FROM log l JOIN users a ON l.u = a.u JOIN items b ON l.i = b.i";
        self.keep("numbered", numbered).await?;
        Ok([users, items])
    }

    /// Splits `numbered`: `parts` has `uid`, `iid`, `ts`, `place` (within the user, from 0) and `part` (0, 1 or 2).
    async fn split(&mut self, config: &DataConfig) -> Result<()> {
        let held = |share: f64| format!("floor({share:?} * n)");
        let part = match config.split {
            Split::LeaveOneOut | Split::LeaveLastN | Split::Given => {
                let n = if config.split == Split::LeaveLastN { config.leave_n } else { 1 };
                let (one, two) = (n, 2 * n);
                format!(
                    "CASE WHEN n <= {two} THEN 0 WHEN place >= n - {one} THEN 2 WHEN place >= n - {two} THEN 1 ELSE 0 END"
                )
            }
            Split::Ratio => {
                let (test, valid) = (held(config.ratio_test), held(config.ratio_valid));
                format!(
                    "CASE WHEN place >= n - {test} THEN 2 WHEN place >= n - {test} - least({valid}, n - {test}) THEN 1 \
                     ELSE 0 END"
                )
            }
            Split::Temporal => {
                let [valid, test] = self.cuts(config).await?.map(|cut| match cut {
                    cut if cut.is_finite() => format!("ts >= {cut:?}"),
                    _ => "false".into(),
                });
                format!("CASE WHEN {test} THEN 2 WHEN {valid} THEN 1 ELSE 0 END")
            }
        };
        let placed = format!(
            "SELECT uid, iid, ts, {ROW}(PARTITION BY uid ORDER BY ts, place) AS BIGINT) - 1 AS place, \
             count(*) OVER (PARTITION BY uid) AS n FROM numbered"
        );
        self.keep("parts", &format!("SELECT uid, iid, ts, place, {part} AS part FROM ({placed})")).await
    }

    async fn cuts(&self, config: &DataConfig) -> Result<[f64; 2]> {
        let rows = self.number("SELECT count(*) FROM numbered").await? as usize;
        let tested = match counted_from(config) {
            Some(at) => self.number(&format!("SELECT count(*) FROM numbered WHERE ts >= {at:?}")).await? as usize,
            None => 0,
        };
        let mut latest = HashMap::new();
        for n in held(config, rows, tested).into_iter().chain([1, rows]).filter(|&n| n > 0) {
            let query = format!("SELECT ts FROM numbered ORDER BY ts DESC LIMIT 1 OFFSET {}", n - 1);
            latest.insert(n, self.number(&query).await?);
        }
        cuts(config, rows, tested, |n| Ok(latest[&n]))
    }

    /// Writes every sample that is not noise: `samples` has `uid`, `place`, `length` and `popularity` (its cell),
    /// `number` (among all samples) and `key`, which sorts the samples of a cell.
    async fn score(&mut self, catalog: &Catalog, history: usize, curate: &CurateConfig, seed: u64) -> Result<()> {
        let paper = curate.method == CurateMethod::Paper;
        let (buckets, longest) = (curate.pop_buckets.max(1), curate.max_len_bucket);
        let length = format!("least(cast(floor(log2(least(p.place, {history}))) AS BIGINT), {longest})");
        let (length, popularity) = if paper { (length.as_str(), "b.bucket") } else { ("0", "0") };
        self.keep(
            "buckets",
            &format!(
                "SELECT iid, ({ROW}(ORDER BY c DESC, iid) AS BIGINT) - 1) * {buckets} / count(*) OVER () AS bucket \
                 FROM (SELECT iid, count(*) AS c FROM parts WHERE part = 0 GROUP BY iid)"
            ),
        )
        .await?;
        self.keep(
            "firsts",
            "SELECT uid, sum(n) OVER (ORDER BY uid) - n AS before FROM \
             (SELECT uid, count(*) - 1 AS n FROM parts WHERE part = 0 GROUP BY uid)",
        )
        .await?;
        let noise = if paper && curate.denoise && curate.min_overlap > 0 {
            let mut columns: (Vec<u32>, Vec<String>) = Default::default();
            for item in catalog.all() {
                for word in words(catalog.title(item), curate.strip_years) {
                    columns.0.push(item.0);
                    columns.1.push(word);
                }
            }
            let folder = self.folder.join("words");
            let columns = [("iid", Column::Ids(columns.0)), ("word", Column::Text(columns.1))];
            write_columns(&folder.join("words.parquet"), &columns)?;
            self.register("words", &folder).await?;
            // A word of the target counts if it last occurred within the length of a history.
            let gaps = "SELECT p.uid, p.place, p.place - lag(p.place) OVER (PARTITION BY p.uid, w.word ORDER BY p.place) \
                        AS gap FROM parts p JOIN words w ON p.iid = w.iid WHERE p.part = 0";
            format!(
                "JOIN (SELECT uid, place FROM ({gaps}) WHERE gap <= {history} GROUP BY uid, place HAVING count(*) >= {}) k \
                 ON p.uid = k.uid AND p.place = k.place",
                curate.min_overlap
            )
        } else {
            String::new()
        };
        let unsigned = |number: u64| format!("arrow_cast({number}, 'UInt64')");
        let number = "arrow_cast(f.before + p.place - 1, 'UInt64')";
        let mixed = |z: &str, shift: u64| format!("({z} ^ ({z} >> {}))", unsigned(shift));
        // SplitMix64, see `ra_core::splitmix64`.
        let z0 = format!("(({number} ^ {}) + {})", unsigned(seed), unsigned(0x9E37_79B9_7F4A_7C15));
        let z1 = format!("({} * {})", mixed("z0", 30), unsigned(0xBF58_476D_1CE4_E5B9));
        let z2 = format!("({} * {})", mixed("z1", 27), unsigned(0x94D0_49BB_1331_11EB));
        let scored = format!(
            "SELECT p.uid, p.place, {length} AS length, {popularity} AS popularity, {number} AS number, {z0} AS z0 \
             FROM parts p JOIN buckets b ON p.iid = b.iid JOIN firsts f ON p.uid = f.uid {noise} \
             WHERE p.part = 0 AND p.place > 0"
        );
        let z1 = format!("SELECT *, {z1} AS z1 FROM ({scored})");
        let z2 = format!("SELECT *, {z2} AS z2 FROM ({z1})");
        let key = mixed("z2", 31);
        self.keep("samples", &format!("SELECT uid, place, length, popularity, number, {key} AS key FROM ({z2})")).await
    }

    /// Draws from `samples` and writes the result.
    async fn draw(&mut self, users: &[String], longest: usize, curate: &CurateConfig, path: &Path) -> Result<Curated> {
        let total = self.number("SELECT count(*) FROM parts WHERE part = 0 AND place > 0").await? as usize;
        let rounds = format!(
            "SELECT uid, place, length, popularity, \
             {ROW}(PARTITION BY length, popularity ORDER BY key, number) AS BIGINT) AS round FROM samples"
        );
        let first =
            format!("SELECT * FROM ({rounds}) ORDER BY round, length, popularity LIMIT {}", curate.budget.of(total)?);
        let drawn = format!(
            "SELECT uid, place, {ROW}(ORDER BY round, length, popularity) AS BIGINT) - 1 AS draw FROM ({first})"
        );
        self.keep("drawn", &drawn).await?;
        let mut cells = BTreeMap::new();
        self.each("SELECT length, popularity, count(*) FROM samples GROUP BY length, popularity", |batch| {
            let (length, popularity, count) = (integers(batch, 0)?, integers(batch, 1)?, integers(batch, 2)?);
            for at in 0..batch.num_rows() {
                cells.insert((length[at] as u32, popularity[at] as u32), count[at] as usize);
            }
            Ok(())
        })
        .await?;
        let file = File::create(path).map_err(|e| cannot_write(path, e))?;
        let (mut table, mut chosen) = (SampleWriter::new(file, path), Vec::new());
        let histories = "SELECT d.uid, d.place, d.draw, h.items FROM drawn d JOIN (SELECT uid, \
                         array_agg(iid ORDER BY place) AS items FROM parts WHERE part = 0 GROUP BY uid) h \
                         ON d.uid = h.uid ORDER BY d.uid, d.place";
        self.each(histories, |batch| {
            let (user, place, draw) = (integers(batch, 0)?, integers(batch, 1)?, integers(batch, 2)?);
            let lists = batch.column(3).as_list::<i32>();
            for at in 0..batch.num_rows() {
                let items = cast(&lists.value(at), &DataType::Int64).map_err(|e| failed("histories", e))?;
                let items = ItemId::list(items.as_primitive::<Int64Type>().values().iter().map(|&i| i as u32));
                let sample = Sample { user: UserId(user[at] as u32), position: place[at] as u32 };
                let (history, target) = sample.cut(&items, longest);
                table.push(&users[sample.user.index()], history, target, draw[at] as u32)?;
                chosen.push((draw[at], sample));
            }
            Ok(())
        })
        .await?;
        table.finish()?;
        chosen.sort_unstable();
        let samples = chosen.into_iter().map(|(_, sample)| sample).collect();
        Ok(Curated::of(curate, samples, total, cells))
    }
}
