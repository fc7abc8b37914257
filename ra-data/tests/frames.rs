//! Data frames are read like files and hold the same content, in the memory of the arrays that they were made from.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
use arrow::array::types::{Float64Type, Int64Type, UInt32Type};
use arrow::array::{Array, AsArray, RecordBatch, StringViewArray, UInt32Array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use polars::prelude::{DataFrame, NamedFrom, Series, df};
use polars_arrow::array::{PrimitiveArray, Utf8ViewArray};
use ra_core::{ItemId, UserId};
use ra_data::frames::{self, Frames};
use ra_data::{Budget, CurateConfig, CurateMethod, DataConfig, Split, curate, prepare, samples_to_parquet, to_parquet};
use std::path::Path;
use std::sync::Arc;

/// The same log as text and as a frame: users and items in no order.
fn log() -> (String, DataFrame) {
    let rows: Vec<(String, i64, i64)> =
        (0..300).map(|k| (format!("a rather long user {}", k * 7 % 20), k * k % 23, 1_400_000_000 + k)).collect();
    let text = rows.iter().map(|(user, item, ts)| format!("{user}\t{item}\t{ts}\n")).collect::<String>();
    let (users, rest): (Vec<String>, Vec<(i64, i64)>) = rows.into_iter().map(|(user, i, t)| (user, (i, t))).unzip();
    let (items, times): (Vec<i64>, Vec<i64>) = rest.into_iter().unzip();
    (format!("user\titem\tts\n{text}"), df!("user" => users, "item" => items, "ts" => times).unwrap())
}

fn titles() -> (String, DataFrame) {
    let titles: Vec<String> = (0..22).map(|item| format!("The film with the number {item}")).collect();
    let text = titles.iter().zip(0..).map(|(title, item)| format!("{item}\t{title}\n")).collect::<String>();
    let items: Vec<i64> = (0..22).collect();
    (format!("item\ttitle\n{text}"), df!("item" => items, "title" => titles).unwrap())
}

fn table(path: &Path) -> DataFrame {
    let file = std::fs::File::open(path).unwrap();
    let batches: Vec<RecordBatch> =
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    frames::to_frame(&batches[0]).unwrap()
}

#[test]
fn a_frame_is_read_as_a_file_is_and_holds_what_one_holds() {
    let dir = tempfile::tempdir().unwrap();
    let ((text, log), (title_text, titles)) = (log(), titles());
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let (interactions, items) = (write("l.tsv", &text), write("t.tsv", &title_text));
    let files = DataConfig { interactions, items, ..DataConfig::default() };
    for split in [Split::LeaveOneOut, Split::Temporal] {
        let whole = prepare("log", &DataConfig { split, k_core: 2, ..files.clone() }).unwrap();
        let of_frames = DataConfig { split, k_core: 2, ..DataConfig::default() };
        // In several chunks, which do not end at the same rows.
        let mut chunked = log.head(Some(100));
        chunked.vstack_mut(&log.slice(100, 200)).unwrap();
        chunked.with_column(log.column("item").unwrap().clone()).unwrap();
        for log in [&log, &chunked] {
            let prepared = frames::prepare("log", &of_frames, Frames { items: Some(&titles), ..log.into() }).unwrap();
            assert_eq!(prepared, whole);
        }
        let out = dir.path().join("out");
        to_parquet(&whole, &out).unwrap();
        assert_eq!(frames::interactions(&whole).unwrap(), table(&out.join("interactions.parquet")));
        assert_eq!(frames::items(&whole.dataset).unwrap(), table(&out.join("items.parquet")));
        let random =
            CurateConfig { method: CurateMethod::Random, budget: Budget::Count(40), ..CurateConfig::default() };
        let samples = curate(&whole.dataset, &random, 4, 1).unwrap().samples;
        samples_to_parquet(&whole, &samples, 4, &out.join("samples.parquet")).unwrap();
        assert_eq!(frames::samples(&whole.dataset, &samples, 4).unwrap(), table(&out.join("samples.parquet")));
    }
}

#[test]
fn positions_count_within_a_part() {
    let (_, log) = log();
    let data = frames::prepare("log", &DataConfig::default(), (&log).into()).unwrap().dataset;
    let frame = frames::dataset(&data).unwrap();
    let batch = &frames::to_batches(&frame).unwrap()[0];
    let numbers = |name| batch.column_by_name(name).unwrap().as_primitive::<UInt32Type>().values().to_vec();
    let (users, items, positions) = (numbers("user_index"), numbers("item_index"), numbers("position"));
    let parts = batch.column_by_name("part").unwrap().as_string_view();
    for row in 0..batch.num_rows() {
        let part = match parts.value(row) {
            "train" => &data.train,
            "valid" => &data.valid,
            _ => &data.test,
        };
        assert_eq!(part.row(UserId(users[row]))[positions[row] as usize], ItemId(items[row]));
    }
    assert_eq!(batch.num_rows(), data.interactions());
}

#[test]
fn memory_is_shared_in_both_directions() {
    let (_, log) = log();
    let batch = &frames::to_batches(&log).unwrap()[0];
    let series = |frame: &DataFrame, name: &str| frame.column(name).unwrap().as_materialized_series().clone();
    let of_polars = |series: &Series| {
        let array = series.chunks()[0].as_any().downcast_ref::<PrimitiveArray<i64>>().unwrap();
        array.values().as_slice().as_ptr() as usize
    };
    let items = batch.column_by_name("item").unwrap().as_primitive::<Int64Type>();
    assert_eq!(items.values().as_ptr() as usize, of_polars(&series(&log, "item")), "numbers");
    let users = series(&log, "user");
    let users = users.chunks()[0].as_any().downcast_ref::<Utf8ViewArray>().unwrap();
    let texts = batch.column_by_name("user").unwrap().as_string_view();
    assert!(texts.data_buffers().len() == users.data_buffers().len() && !users.data_buffers().is_empty());
    for (own, other) in texts.data_buffers().iter().zip(users.data_buffers().iter()) {
        assert_eq!(own.as_ptr(), other.as_slice().as_ptr(), "text");
    }
    let views = users.views().as_slice().as_ptr() as usize;
    assert!(
        !views.is_multiple_of(16) || texts.views().as_ptr() as usize == views,
        "views, where they lie on sixteen bytes"
    );

    let numbers = UInt32Array::from(vec![1, 2, 3]);
    let texts = StringViewArray::from_iter_values(["a text of more than twelve bytes", "b", "c"]);
    let batch = RecordBatch::try_from_iter([
        ("number", Arc::new(numbers.clone()) as Arc<dyn Array>),
        ("text", Arc::new(texts.clone())),
    ]);
    let frame = frames::to_frame(&batch.unwrap()).unwrap();
    let own = series(&frame, "number");
    let own = own.chunks()[0].as_any().downcast_ref::<PrimitiveArray<u32>>().unwrap();
    assert_eq!(own.values().as_slice().as_ptr(), numbers.values().as_ptr());
    let own = series(&frame, "text");
    let own = own.chunks()[0].as_any().downcast_ref::<Utf8ViewArray>().unwrap();
    assert_eq!(own.views().as_slice().as_ptr() as usize, texts.views().as_ptr() as usize);
    assert_eq!(own.data_buffers()[0].as_slice().as_ptr(), texts.data_buffers()[0].as_ptr());
}

#[test]
fn nulls_lists_and_what_is_wrong_are_told_as_of_files() {
    let sessions = Series::new("item".into(), [Series::new("".into(), [1i64, 2]), Series::new("".into(), [3i64, 4])]);
    let times = Series::new("ts".into(), [Some(5.5), None]);
    let frame = df!("user" => ["u", "v"], "item" => sessions, "ts" => times).unwrap();
    let batch = &frames::to_batches(&frame).unwrap()[0];
    assert_eq!(batch.column(1).as_list::<i64>().value(1).as_primitive::<Int64Type>().values(), &[3, 4]);
    let times = batch.column(2).as_primitive::<Float64Type>();
    assert!(times.value(0) == 5.5 && times.is_null(1));
    assert_eq!(frames::to_frame(batch).unwrap(), frame, "nulls and lists go both ways");

    let error =
        |config: &DataConfig, frame: &DataFrame| frames::prepare("log", config, frame.into()).unwrap_err().to_string();
    let who = df!("who" => ["u"], "item" => [1], "ts" => [1]).unwrap();
    assert!(error(&DataConfig::default(), &who).contains("log: no user column: found `who`, `item`, `ts`"));
    let flags = df!("user" => [true], "item" => [1], "ts" => [1]).unwrap();
    assert!(error(&DataConfig::default(), &flags).contains("column `user` (user) holds true and false"));
    let strict = DataConfig { strict: true, ..DataConfig::default() };
    let empty = df!("user" => ["u", ""], "item" => [1, 2], "ts" => [1, 2]).unwrap();
    assert!(error(&strict, &empty).contains("log: row 2: `user` is empty"));
    let file = DataConfig { interactions: Some("l.tsv".into()), ..DataConfig::default() };
    assert!(error(&file, &who).contains("interactions names a file"));
    let (_, log) = log();
    let given = DataConfig { split: Split::Given, ..DataConfig::default() };
    assert!(error(&given, &log).contains("there is no frame of test interactions"));
    let both = frames::prepare("log", &DataConfig::default(), Frames { test: Some(&log), ..(&log).into() });
    assert!(both.unwrap_err().to_string().contains("set it to \"given\", or leave the frame out"));
}
