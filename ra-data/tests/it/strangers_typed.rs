//! Parquet and Arrow as other people's tools write them: read like the plain log, or refused in one accurate line.
use super::{config, dataset, message, write};
use arrow::array::types::{Int64Type, TimestampMicrosecondType};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type};
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use ra_core::Dataset;
use ra_data::{Columns, DataConfig, Severity, audit, describe, prepare};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Midnight of 2014-01-01.
pub(super) const START: i64 = 1_388_534_400;
pub(super) const DAY: i64 = 86_400;

/// Twenty interactions of four users, ten days apart.
pub(super) fn rows() -> impl Iterator<Item = (String, String, i64)> {
    (0..20).map(|at| (format!("u{}", at % 4 + 1), format!("i{}", at * 3 % 8 + 1), START + 10 * DAY * at))
}

pub(super) fn csv(time: impl Fn(i64) -> String) -> String {
    rows().fold("user,item,ts\n".into(), |text, (user, item, at)| text + &format!("{user},{item},{}\n", time(at)))
}

pub(super) fn parquet_of(dir: &Path, name: &str, columns: [(&str, ArrayRef); 3], codec: Compression) -> PathBuf {
    let path = dir.join(name);
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_compression(codec).build();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

fn texts(of: impl Fn((String, String, i64)) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows().map(of)))
}

pub(super) fn users() -> ArrayRef {
    texts(|(user, ..)| user)
}

pub(super) fn items() -> ArrayRef {
    texts(|(_, item, _)| item)
}

fn times() -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows().map(|(.., at)| at)))
}

/// Writes the log as Parquet with this column in place of one of its own.
fn with(dir: &Path, place: usize, column: ArrayRef) -> PathBuf {
    let mut columns = [("user", users()), ("item", items()), ("ts", times())];
    columns[place].1 = column;
    parquet_of(dir, "l.parquet", columns, Compression::UNCOMPRESSED)
}

pub(super) fn plain(dir: &Path) -> Dataset {
    dataset("log", &config(write(dir, "plain.csv", &csv(|at| at.to_string())), None)).unwrap()
}

#[test]
fn every_codec_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let plain = plain(dir.path());
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let columns = [("user", users()), ("item", items()), ("ts", times())];
        let log = parquet_of(dir.path(), "codec.parquet", columns, codec);
        assert_eq!(dataset("log", &config(log, None)).unwrap(), plain, "{codec}");
    }
    let log = with(dir.path(), 2, times());
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() / 2]).unwrap();
    assert!(message(&config(log, None)).contains("not a whole Parquet file"));
}

#[test]
fn ids_are_read_from_any_scalar_type() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let plain = plain(dir);
    let item = |at: usize| rows().map(move |row| row.1.clone()).nth(at).unwrap();
    let dictionary: DictionaryArray<Int32Type> =
        (0..20).map(|at| Some(item(at))).collect::<Vec<_>>().iter().map(|t| t.as_deref()).collect();
    let bytes = BinaryArray::from_iter_values((0..20).map(|at| item(at).into_bytes()));
    let views = StringViewArray::from_iter_values((0..20).map(item));
    let view_values = DictionaryArray::<Int32Type>::new(
        dictionary.keys().clone(),
        cast(dictionary.values(), &DataType::Utf8View).unwrap(),
    );
    let columns: [ArrayRef; 5] = [
        Arc::new(dictionary.clone()),
        Arc::new(bytes),
        Arc::new(views),
        Arc::new(view_values),
        cast(&items(), &DataType::LargeUtf8).unwrap(),
    ];
    for column in columns {
        let kind = column.data_type().to_string();
        let batch = RecordBatch::try_from_iter([("user", users()), ("item", column), ("ts", times())]).unwrap();
        let path = dir.join("l.arrow");
        let mut file =
            arrow::ipc::writer::FileWriter::try_new(std::fs::File::create(&path).unwrap(), &batch.schema()).unwrap();
        file.write(&batch).unwrap();
        file.finish().unwrap();
        assert_eq!(dataset("log", &config(path, None)).unwrap(), plain, "{kind}");
    }
    // Numbers, as integers or decimals, give the digits of the plain log.
    let number = |at: i64| at * 3 % 8 + 1;
    let numbered = rows().zip(0..).fold("user,item,ts\n".to_owned(), |text, ((user, _, time), at)| {
        text + &format!("{user},{},{time}\n", number(at))
    });
    let numbered = dataset("log", &config(write(dir, "numbers.csv", &numbered), None)).unwrap();
    let integers = Int64Array::from_iter_values((0..20).map(number));
    let decimals = Decimal128Array::from_iter_values((0..20).map(|at| i128::from(number(at))))
        .with_precision_and_scale(20, 0)
        .unwrap();
    for column in [Arc::new(integers) as ArrayRef, Arc::new(decimals)] {
        assert_eq!(dataset("log", &config(with(dir, 1, column), None)).unwrap(), numbered);
    }
    // UUIDs become their 36 characters, whether or not the type is declared.
    let uuid = |at: i64| format!("00112233-4455-6677-8899-aabbccddee{:02x}", number(at));
    let text = rows().zip(0..).fold("user,item,ts\n".to_owned(), |text, ((user, _, time), at)| {
        text + &format!("{user},{},{time}\n", uuid(at))
    });
    let uuids = dataset("log", &config(write(dir, "uuids.csv", &text), None)).unwrap();
    let raw = |at: i64| {
        let hex = uuid(at).replace('-', "");
        (0..16).map(|byte| u8::from_str_radix(&hex[2 * byte..2 * byte + 2], 16).unwrap()).collect::<Vec<u8>>()
    };
    let column = FixedSizeBinaryArray::try_from_iter((0..20).map(raw)).unwrap();
    assert_eq!(dataset("log", &config(with(dir, 1, Arc::new(column)), None)).unwrap(), uuids);
}

#[test]
fn what_is_no_id_is_refused_with_its_column_and_type() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let field = |name: &str, kind: DataType| Arc::new(Field::new(name, kind, true));
    let objects = StructArray::from(vec![(field("id", DataType::Utf8), users())]);
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>((0..20).map(|at| Some(vec![Some(at)])));
    let short = FixedSizeBinaryArray::try_from_iter((0..20u8).map(|at| [at; 4])).unwrap();
    let bytes = BinaryArray::from_iter_values((0..20u8).map(|at| [0xff, at]));
    let truth = BooleanArray::from((0..20).map(|at| at % 2 == 0).collect::<Vec<_>>());
    let single = Float32Array::from_iter_values((0..20).map(|at| at as f32 * 1e6));
    let double = Float64Array::from_iter_values((0..20).map(|at| at as f64 * 1e15));
    let times = Float32Array::from_iter_values((0..20).map(|at| 1.4e9 + at as f32 * 1e5));
    let cases: [(usize, ArrayRef, &str); 9] = [
        (2, Arc::new(times), "column `ts` (time) holds times that have lost seconds in so short a float (Float32)"),
        (1, Arc::new(single), "column `item` (item) holds floats that may have lost digits (Float32)"),
        (0, Arc::new(double), "column `user` (user) holds floats that may have lost digits (Float64)"),
        (0, Arc::new(objects), "column `user` (user) holds objects (Struct"),
        (0, Arc::new(lists), "column `user` (user) holds lists (List"),
        (1, Arc::new(short), "column `item` (item) holds raw bytes (FixedSizeBinary(4)); cast it to text"),
        (1, Arc::new(bytes), "column `item` (item) holds bytes that are not UTF-8 text (Binary); cast it to text"),
        (1, Arc::new(truth.clone()), "column `item` (item) holds true and false (Boolean)"),
        (2, Arc::new(truth), "column `ts` (time) holds true and false (Boolean)"),
    ];
    for (place, column, told) in cases {
        let error = message(&config(with(dir, place, column), None));
        assert!(error.contains(told) && error.contains("l.parquet") && !error.contains("whole"), "{error}");
    }
}

#[test]
fn a_row_with_lists_is_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let plain = plain(dir);
    let user = |at: usize| format!("u{}", at + 1);
    let own = |at: usize| rows().filter(move |row| row.0 == user(at));
    let mut items = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    (0..4).for_each(|at| items.append_value(own(at).map(|row| Some(row.1))));
    let items: ArrayRef = Arc::new(items.finish());
    let times = ListArray::from_iter_primitive::<TimestampMicrosecondType, _, _>(
        (0..4).map(|at| Some(own(at).map(|row| Some(row.2 * 1_000_000)).collect::<Vec<_>>())),
    );
    let users: ArrayRef = Arc::new(StringArray::from_iter_values((0..4).map(user)));
    let large = |column: &ArrayRef| {
        let DataType::List(field) = column.data_type() else { panic!("{column:?}") };
        cast(column, &DataType::LargeList(Arc::clone(field))).unwrap()
    };
    let times: ArrayRef = Arc::new(times);
    for (items, times) in [(items.clone(), times.clone()), (large(&items), large(&times))] {
        let columns = [("user", users.clone()), ("item_id-list", items), ("timestamp-list", times)];
        let log = parquet_of(dir, "sessions.parquet", columns, Compression::SNAPPY);
        let names =
            Columns { item: Some("item_id-list".into()), time: Some("timestamp-list".into()), ..Columns::default() };
        assert_eq!(dataset("log", &DataConfig { columns: names, strict: true, ..config(log, None) }).unwrap(), plain);
    }
    // A single time holds for all items of a basket; rows whose lists differ in length are unreadable.
    let days: ArrayRef = Arc::new(Date32Array::from(vec![16_000, 16_001, 16_002, 16_003]));
    let baskets = parquet_of(
        dir,
        "baskets.parquet",
        [("user", users.clone()), ("item", items.clone()), ("ts", days)],
        Compression::SNAPPY,
    );
    assert_eq!(dataset("log", &config(baskets, None)).unwrap().interactions(), 20);
    let mut gaps = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    (0..4).for_each(|at| gaps.append(at != 1));
    let columns = [("user", users.clone()), ("item", Arc::new(gaps.finish()) as ArrayRef), ("ts", times.clone())];
    let gaps = parquet_of(dir, "gaps.parquet", columns, Compression::SNAPPY);
    assert!(message(&config(gaps, None)).contains("none of its 4 rows can be read; the first"));
    let short = ListArray::from_iter_primitive::<Int64Type, _, _>((0..4).map(|at| Some(vec![Some(START); 4 + at % 2])));
    let uneven = parquet_of(
        dir,
        "uneven.parquet",
        [("user", users), ("item", items), ("ts", Arc::new(short))],
        Compression::SNAPPY,
    );
    let told = prepare("log", &config(uneven, None)).unwrap().rejected;
    assert_eq!(told.rows, 2);
    assert!(told.examples[0].contains("row 1: its lists have different lengths"), "{told:?}");
}

#[test]
fn pairs_are_counted_once_and_doubts_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let strict = |log: PathBuf, titles: Option<PathBuf>| DataConfig { strict: true, ..config(log, titles) };
    let repeats =
        write(dir, "repeats.csv", &(0..8).fold("user,item,ts\n".into(), |t: String, at| t + &format!("u,a,{at}\n")));
    assert_eq!(describe(&prepare("log", &config(repeats.clone(), None)).unwrap()).sparsity, 0.0);
    let told = message(&DataConfig { dedupe: true, ..config(repeats, None) });
    assert!(told.contains("of 8 interactions dedupe left 1") && told.contains("needs 3 interactions"), "{told}");

    plain(dir);
    let log = dir.join("plain.csv");
    let finding = |config: &DataConfig, name: &str| {
        let found = audit(&prepare("log", config).unwrap());
        found.findings.into_iter().find(|finding| finding.name == name).map(|f| (f.count, f.level)).unwrap()
    };
    assert_eq!(finding(&config(log.clone(), None), "empty titles"), (Some(8), Severity::Warning));
    let strangers = write(dir, "titles.csv", "item,title\n1,One\n2,Two\n3,Three\n");
    let told = message(&strict(log.clone(), Some(strangers.clone())));
    assert!(
        told.contains("has 0 of the 8 items of the log, such as `i1`, `i2`") && told.contains("`1`, `2`"),
        "{told}"
    );
    assert!(prepare("log", &config(log.clone(), Some(strangers))).is_ok());

    let swapped = csv(|at| at.to_string()).replace(",i", ",u").replacen("utem", "item", 1);
    let swapped = write(dir, "people.csv", &swapped);
    assert_eq!(finding(&config(swapped.clone(), None), "shared ids"), (Some(4), Severity::Warning));
    assert!(message(&strict(swapped, None)).contains("4 of 4 users have the id of an item"));
    let numbers = write(
        dir,
        "numbers.csv",
        &csv(|at| at.to_string()).replace(['u', 'i'], "").replacen("ser,tem", "user,item", 1),
    );
    assert_eq!(finding(&strict(numbers, None), "shared ids"), (Some(0), Severity::Fine));
    let described = |start: usize| {
        let rows = (0..8).fold("user,item,ts\n".into(), |t: String, at| t + &format!("u,i{at},{}\n", start + at));
        describe(&prepare("log", &config(write(dir, "days.csv", &rows), None)).unwrap()).to_string()
    };
    let asks = "are they days of a spreadsheet (45300 is 2024-01-09)?";
    assert!(described(45_300).contains(asks), "{}", described(45_300));
    assert!(!described(300).contains("spreadsheet") && !described(1_400_000_000).contains("spreadsheet"));
    assert_eq!(finding(&config(log.clone(), None), "blanks in ids"), (Some(0), Severity::Fine));
    // Quotes keep the blanks of an id.
    let blanks = std::fs::read_to_string(&log).unwrap().replacen(",i1,", ",\" i1\",", 1);
    let blanks = write(dir, "blanks.csv", &blanks);
    assert_eq!(finding(&config(blanks, None), "blanks in ids"), (Some(1), Severity::Warning));

    let text = csv(|at| at.to_string());
    let twice = write(dir, "twice.csv", &(text.clone() + text.split_once('\n').unwrap().1));
    assert_eq!(finding(&config(twice.clone(), None), "rows twice"), (Some(20), Severity::Warning));
    let bounded = ra_data::to_parquet_within("log", &strict(twice.clone(), None), None, 1 << 22, &dir.join("out"));
    assert!(bounded.unwrap_err().to_string().contains("was a log read twice"));
    assert!(message(&strict(twice, None)).contains("was a log read twice"));
}
