//! Vectors made elsewhere: every format, every way to name rows, every way to be wrong.
use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, StringArray};
use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Float64Type};
use burn::tensor::{bf16, f16};
use npyz::WriterBuilder;
use ra_core::{
    Catalog, Dataset, Device, History, ItemId, Recommender, Sequences, UserId, testkit::contract::check_recommender,
};
use ra_idmodels::{IdConfig, ImportConfig, ImportedVectors, Job};
use safetensors::{Dtype, tensor::TensorView};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A data set with the items 10, 20, 30 and the users u, v.
fn data() -> Dataset {
    Dataset {
        name: "three".into(),
        users: vec!["u".into(), "v".into()],
        catalog: Catalog::new(["10", "20", "30"].map(String::from).to_vec(), vec![String::new(); 3]),
        train: Sequences::from_numbers([vec![1, 2, 3], vec![2]]),
        valid: Sequences::from_rows(vec![Vec::new(); 2]),
        test: Sequences::from_rows(vec![Vec::new(); 2]),
        filter: "none".into(),
        split: "none".into(),
    }
}

/// The vectors of the items, `[3, 2]`; every number is whole in half precision.
pub(crate) const ITEMS: [f32; 6] = [1.0, -2.0, 3.0, 0.5, -5.0, 6.0];

pub(crate) fn dir() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_path_buf();
    (dir, move |name: &str| root.join(name))
}

pub(crate) fn load(config: &ImportConfig) -> ra_core::Result<ImportedVectors> {
    config.read(&data(), &Device::flex())
}

pub(crate) fn items(items: &Path) -> ImportConfig {
    ImportConfig { items: items.into(), ..ImportConfig::default() }
}

fn vectors(model: &ImportedVectors) -> Vec<f32> {
    model.items(&ItemId::list([1, 2, 3])).into_data().iter().collect()
}

fn users(model: &impl Recommender, histories: &[&[ItemId]]) -> Vec<f32> {
    let histories: Vec<_> = (0..).map(UserId).zip(histories).map(|(user, items)| History { user, items }).collect();
    model.users(&histories).into_data().iter().collect()
}

/// Checks that the error names the file and contains each of `words`.
fn wrong(config: &ImportConfig, words: &[&str]) {
    let message = load(config).unwrap_err().to_string();
    assert!(message.contains(config.items.parent().unwrap().to_str().unwrap()), "{message}");
    words.iter().for_each(|word| assert!(message.contains(word), "{word}: {message}"));
}

pub(crate) fn bytes<const N: usize>(numbers: &[f32], number: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    numbers.iter().flat_map(|&x| number(x)).collect()
}

pub(crate) fn safetensors(path: &Path, tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) {
    let views =
        tensors.iter().map(|(n, dtype, shape, data)| (*n, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn npy(path: &Path, shape: [u64; 2], kind: &str, order: npyz::Order, numbers: &[f32]) {
    fn write<T: npyz::Serialize>(path: &Path, shape: [u64; 2], kind: &str, order: npyz::Order, all: Vec<T>) {
        let kind = npyz::DType::Plain(kind.parse().unwrap());
        let file = std::fs::File::create(path).unwrap();
        let options = npyz::WriteOptions::<T>::new().dtype(kind).shape(&shape).order(order);
        let mut out = options.writer(file).begin_nd().unwrap();
        out.extend(all).unwrap();
        out.finish().unwrap();
    }
    if kind.ends_with('8') {
        write::<f64>(path, shape, kind, order, numbers.iter().map(|&x| f64::from(x)).collect());
    } else {
        write::<f32>(path, shape, kind, order, numbers.to_vec());
    }
}

/// Writes a file as numpy does, with any header.
fn numpy(path: &Path, kind: &str, shape: &str, numbers: &[u8]) {
    let header = format!("{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    std::fs::write(path, [&b"\x93NUMPY\x01\x00\x76\x00"[..], header.as_bytes(), numbers].concat()).unwrap();
}

pub(crate) fn plain(path: &Path, rows: u64, numbers: &[f32]) {
    npy(path, [rows, numbers.len() as u64 / rows], "<f4", npyz::Order::C, numbers);
}

pub(crate) type Columns<'a> = Vec<(&'a str, ArrayRef)>;

pub(crate) fn batch(columns: Columns<'_>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

pub(crate) fn parquet(path: &Path, batch: &RecordBatch) {
    let file = std::fs::File::create(path).unwrap();
    let mut out = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    out.write(batch).unwrap();
    out.close().unwrap();
}

/// Writes an Arrow file; Feather files are compressed, as by pandas.
pub(crate) fn ipc(path: &Path, batch: &RecordBatch) {
    let file = std::fs::File::create(path).unwrap();
    let packed = (path.extension().unwrap() == "feather").then_some(arrow::ipc::CompressionType::LZ4_FRAME);
    let options = arrow::ipc::writer::IpcWriteOptions::default().try_with_compression(packed).unwrap();
    let mut out = arrow::ipc::writer::FileWriter::try_new_with_options(file, &batch.schema(), options).unwrap();
    out.write(batch).unwrap();
    out.finish().unwrap();
}

pub(crate) fn texts(ids: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(ids.to_vec()))
}

fn lists(rows: &[Option<Vec<f64>>]) -> ArrayRef {
    let rows = rows.iter().map(|row| row.as_ref().map(|row| row.iter().copied().map(Some)));
    Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows))
}

pub(crate) fn fixed(numbers: &[f32], dim: i32) -> ArrayRef {
    let field = Arc::new(Field::new("item", DataType::Float32, true));
    Arc::new(FixedSizeListArray::new(field, dim, Arc::new(Float32Array::from(numbers.to_vec())), None))
}

/// The same vectors in the order 30, 10, 20.
const TURNED: [f32; 6] = [-5.0, 6.0, 1.0, -2.0, 3.0, 0.5];

#[test]
fn matrices_of_every_kind_are_read() {
    let (_dir, at) = dir();
    let path = at("items.safetensors");
    for (dtype, data) in [
        (Dtype::F32, bytes(&ITEMS, f32::to_le_bytes)),
        (Dtype::F64, bytes(&ITEMS, |x| f64::from(x).to_le_bytes())),
        (Dtype::F16, bytes(&ITEMS, |x| f16::from_f32(x).to_le_bytes())),
        (Dtype::BF16, bytes(&ITEMS, |x| bf16::from_f32(x).to_le_bytes())),
    ] {
        let bias = bytes(&[7.0], f32::to_le_bytes);
        let step = bytes(&[7.0, 7.0, 7.0, 7.0], f32::to_le_bytes);
        // A one-dimensional tensor and integers next to the matrix do not make it ambiguous.
        safetensors(
            &path,
            &[("bias", Dtype::F32, &[1], bias), ("e", dtype, &[3, 2], data), ("n", Dtype::I32, &[2, 2], step)],
        );
        assert_eq!(vectors(&load(&items(&path)).unwrap()), ITEMS, "{dtype:?}");
    }
    let path = at("items.npy");
    let columns = [1.0, 3.0, -5.0, -2.0, 0.5, 6.0];
    for kind in ["<f4", ">f4", "<f8", ">f8"] {
        npy(&path, [3, 2], kind, npyz::Order::C, &ITEMS);
        assert_eq!(vectors(&load(&items(&path)).unwrap()), ITEMS, "{kind}");
        npy(&path, [3, 2], kind, npyz::Order::Fortran, &columns);
        assert_eq!(vectors(&load(&items(&path)).unwrap()), ITEMS, "{kind}, by column");
    }
    // Half precision, as numpy writes it; the crate that writes the others does not.
    numpy(&path, "'<f2'", "(3, 2)", &bytes(&ITEMS, |x| f16::from_f32(x).to_le_bytes()));
    assert_eq!(vectors(&load(&items(&path)).unwrap()), ITEMS, "half precision");
    // More numbers than are read at a time, by row and by column.
    let many: Vec<f32> = (0..3 * 70_000).map(|x| x as f32).collect();
    plain(&path, 3, &many);
    assert_eq!(vectors(&load(&items(&path)).unwrap()), many);
    let turned: Vec<f32> = (0..70_000).flat_map(|k| [0, 1, 2].map(|row| many[row * 70_000 + k])).collect();
    npy(&path, [3, 70_000], "<f4", npyz::Order::Fortran, &turned);
    assert_eq!(vectors(&load(&items(&path)).unwrap()), many);
}

#[test]
fn tables_of_every_kind_are_matched_by_id() {
    let (_dir, at) = dir();
    let wide: Vec<Option<Vec<f64>>> =
        TURNED.chunks(2).map(|row| Some(row.iter().map(|&x| f64::from(x)).collect())).collect();
    let column =
        |k: usize| -> ArrayRef { Arc::new(Float64Array::from_iter(TURNED.chunks(2).map(|row| f64::from(row[k])))) };
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![30, 10, 20]));
    let ids = texts(&["30", "10", "20"]);
    let tables = [
        batch(vec![("item_id", ids.clone()), ("features", lists(&wide))]),
        batch(vec![("vector", fixed(&TURNED, 2)), ("id", numbers.clone()), ("other", fixed(&[0.0; 9], 3))]),
        batch(vec![("embedding", fixed(&TURNED, 2)), ("rating", column(0)), ("item", ids.clone())]),
        batch(vec![("x0", column(0)), ("item", numbers.clone()), ("count", numbers), ("x1", column(1))]),
    ];
    for (index, table) in tables.iter().enumerate() {
        parquet(&at("items.parquet"), table);
        assert_eq!(vectors(&load(&items(&at("items.parquet"))).unwrap()), ITEMS, "parquet {index}");
        for name in ["items.arrow", "items.ipc", "items.feather"] {
            ipc(&at(name), table);
            assert_eq!(vectors(&load(&items(&at(name))).unwrap()), ITEMS, "{name} {index}");
        }
        // Spark writes a folder, in which empty parts are normal.
        let folder = at(&format!("{index}.parquet"));
        std::fs::create_dir(&folder).unwrap();
        for (part, (from, rows)) in [(0, 2), (2, 0), (2, 1)].into_iter().enumerate() {
            parquet(&folder.join(format!("part-{part}.snappy.parquet")), &table.slice(from, rows));
        }
        assert_eq!(vectors(&load(&items(&folder)).unwrap()), ITEMS, "folder {index}");
    }
}

#[test]
fn rows_of_a_matrix_are_named_by_a_text_file_or_by_their_number() {
    let (_dir, at) = dir();
    let (path, ids) = (at("items.npy"), at("items.txt"));
    // An item outside the catalogue is left out, even if its vector is not a number.
    plain(&path, 4, &[&[f32::NAN, 9.0][..], &TURNED].concat());
    std::fs::write(&ids, "\u{feff}[PAD]\r\n30\r\n10\r\n20\r\n").unwrap();
    let named = ImportConfig { item_ids: Some(ids.clone()), ..items(&path) };
    assert_eq!(vectors(&load(&named).unwrap()), ITEMS);
    // Without ids, row 0 of one row too many is padding.
    plain(&path, 4, &[&[9.0, 9.0][..], &ITEMS].concat());
    assert_eq!(vectors(&load(&items(&path)).unwrap()), ITEMS);
    for rows in [2, 5] {
        plain(&path, rows, &vec![1.0; rows as usize * 2]);
        wrong(&items(&path), &[&format!("{rows} rows"), "3 items", "or 4", "set item_ids"]);
    }
    plain(&path, 3, &TURNED);
    wrong(&named, &["4 ids", "3 rows", "[PAD]"]);
    for (text, words) in [
        ("30\n10\n30\n", ["1 of its rows", "30"]),
        ("30\n\n20\n", ["line 2", "empty"]),
        ("30\n10\n21\n", ["1 of the data set's 3 items", "20"]),
        ("a\nb\nc\n", ["10, 20, 30", "a, b, c"]),
    ] {
        std::fs::write(&ids, text).unwrap();
        wrong(&named, &words);
    }
    std::fs::write(&ids, b"\xff\xfe1\n").unwrap();
    wrong(&named, &["items.txt", "UTF-8"]);
    std::fs::remove_file(&ids).unwrap();
    wrong(&named, &["items.txt", "cannot read"]);
}

#[test]
fn users_are_looked_up_or_are_means_of_their_newest_items() {
    let (_dir, at) = dir();
    let (path, table) = (at("items.npy"), at("users.parquet"));
    plain(&path, 3, &ITEMS);
    let all = ItemId::list([1, 2, 3]);
    let rows = [vec![1, 2], vec![], vec![3, 3, 1]].map(ItemId::list);
    let histories = rows.each_ref().map(Vec::as_slice);
    for (history, means) in [
        (0, [2.0, -0.75, 0.0, 0.0, -3.0, 10.0 / 3.0]),
        (1, [3.0, 0.5, 0.0, 0.0, 1.0, -2.0]),
        (2, [2.0, -0.75, 0.0, 0.0, -2.0, 2.0]),
    ] {
        let model = load(&ImportConfig { history, ..items(&path) }).unwrap();
        let found = users(&model, &histories);
        assert!(found.iter().zip(means).all(|(f, m)| (f - m).abs() < 1e-6), "{history}: {found:?}");
        let histories: Vec<_> = histories.iter().map(|items| History { user: UserId(0), items }).collect();
        check_recommender(&model, &histories, &all);
        assert_eq!(model.items(&[ItemId::PADDING]).into_data().iter::<f32>().collect::<Vec<_>>(), [0.0, 0.0]);
    }
    let with = |ids: &[&str], numbers: &[f32], dim| {
        parquet(&table, &batch(vec![("user_id", texts(ids)), ("vector", fixed(numbers, dim))]));
        ImportConfig { users: Some(table.clone()), ..items(&path) }
    };
    let config = with(&["v", "w", "u"], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2);
    let config = IdConfig::Import(config);
    let (data, device) = (data(), Device::flex());
    let job = Job::new(&data, &device);
    let fitted = ra_idmodels::fit(&config, &job).unwrap();
    let nowhere = at("checkpoint");
    fitted.save(&nowhere).unwrap();
    assert!(fitted.parameters.is_empty() && !nowhere.exists());
    let loaded = ra_idmodels::load(&config, &job, &nowhere).unwrap();
    for model in [&fitted.model, &loaded.model] {
        assert_eq!(users(model, &[&[], &[ItemId(1)]]), [5.0, 6.0, 1.0, 2.0]);
        check_recommender(
            &**model,
            &[History { user: UserId(1), items: &[] }, History { user: UserId(0), items: &[ItemId(2)] }],
            &all,
        );
    }
    wrong(&with(&["v", "w"], &[0.0; 4], 2), &["users.parquet", "1 of the data set's 2 users", ": u;"]);
    wrong(&with(&["v", "u"], &[0.0; 6], 3), &["users.parquet", "3 numbers", "items.npy 2"]);
}

#[test]
fn what_a_file_lacks_is_said() {
    let (_dir, at) = dir();
    let path = at("items.safetensors");
    let data = bytes(&ITEMS, f32::to_le_bytes);
    let two = [
        ("item.weight", Dtype::F32, &[3, 2][..], data.clone()),
        ("position.weight", Dtype::F32, &[2, 3], data.clone()),
    ];
    safetensors(&path, &two);
    wrong(&items(&path), &["2 matrices", "as items_tensor", "item.weight [3, 2]", "position.weight [2, 3]"]);
    let named = |name: &str| ImportConfig { items_tensor: Some(name.into()), ..items(&path) };
    assert_eq!(vectors(&load(&named("item.weight")).unwrap()), ITEMS);
    wrong(&named("items"), &["no tensor items", "item.weight [3, 2]"]);
    safetensors(&path, &[("flat", Dtype::F32, &[6], data.clone()), ("whole", Dtype::I32, &[3, 2], data)]);
    wrong(&items(&path), &["no tensor of two dimensions", "flat [6]"]);
    wrong(&named("flat"), &["[6]", "[rows, dim]"]);
    wrong(&named("whole"), &["I32", "BF16"]);

    let path = at("items.npy");
    let numbers = bytes(&ITEMS, |x| f64::from(x).to_le_bytes());
    for (kind, shape, words) in [
        ("'<i8'", "(3, 2)", ["<i8", "astype"]),
        ("'<c8'", "(3, 2)", ["<c8", "astype"]),
        ("'<f8'", "(6,)", ["[6]", "[rows, dim]"]),
        ("'<f8'", "(9, 2)", ["not whole", "[9, 2]"]),
        ("'<f8'", "(4294967296, 4294967296)", ["not whole", "its 48 bytes"]),
        ("'<f8'", "(18446744073709551615, 1)", ["not whole", "its 48 bytes"]),
        ("'<f8'", "(0, 2)", ["0 rows", "3 items"]),
        ("'<f8'", "(3, 0)", ["no vectors", ""]),
        ("'<f8'", "(-1, 2)", ["not a whole npy file", "negative"]),
        ("[('a', '<f4'), ('b', '<f4')]", "(3, 2)", ["not of records", ""]),
        ("((((((", "(3, 2)", ["not of records", ""]),
    ] {
        numpy(&path, kind, shape, &numbers);
        wrong(&items(&path), &words);
    }
    plain(&path, 3, &[1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0]);
    wrong(&items(&path), &["item 20", "row 1", "NaN"]);

    let path = at("items.parquet");
    let ids = || texts(&["10", "20", "30"]);
    let gap = |row| lists(&[Some(vec![1.0, 2.0]), row, Some(vec![1.0, 2.0])]);
    let cases: Vec<(Columns<'_>, Vec<&str>)> = vec![
        (vec![("key", ids()), ("vector", fixed(&ITEMS, 2))], vec!["no column of ids", "item_id", "key Utf8"]),
        (vec![("user_id", ids()), ("vector", fixed(&ITEMS, 2))], vec!["no column of ids", "user_id Utf8"]),
        (vec![("id", ids()), ("item", ids()), ("vector", fixed(&ITEMS, 2))], vec!["more than one column of ids"]),
        (vec![("id", Arc::new(Float64Array::from(vec![1.0; 3])))], vec!["column id", "Float64", "text or integers"]),
        (vec![("id", new_null_array(&DataType::Utf8, 3)), ("vector", fixed(&ITEMS, 2))], vec!["row 0 has no id"]),
        (vec![("id", ids()), ("title", ids())], vec!["no vectors", "title Utf8"]),
        (vec![("id", ids()), ("a", fixed(&ITEMS, 2)), ("b", fixed(&ITEMS, 2))], vec!["2 columns of lists", "a, b"]),
        (vec![("id", ids()), ("vector", gap(None))], vec!["20", "row 1", "no value"]),
        (vec![("id", ids()), ("vector", gap(Some(vec![1.0])))], vec!["20 has 1 numbers", "10 2"]),
        (vec![("id", ids()), ("vector", gap(Some(vec![1.0, 1e300])))], vec!["item 20", "inf"]),
        (vec![("id", ids()), ("x", new_null_array(&DataType::Float32, 3))], vec!["10", "no value"]),
        (vec![("id", texts(&["10", "10", "20"])), ("vector", fixed(&ITEMS, 2))], vec!["repeat an id", "10"]),
        (vec![("id", texts(&[])), ("vector", fixed(&[], 2))], vec!["no vectors"]),
    ];
    for (columns, words) in cases {
        let table = batch(columns);
        parquet(&path, &table);
        wrong(&items(&path), &words);
        ipc(&at("items.arrow"), &table);
        wrong(&items(&at("items.arrow")), &words);
    }
    std::fs::create_dir(at("empty.parquet")).unwrap();
    wrong(&items(&at("empty.parquet")), &["without .parquet files"]);
    wrong(&items(&at("none.npy")), &["none.npy", "cannot read"]);
}

#[test]
fn a_broken_file_is_an_error() {
    let (_dir, at) = dir();
    let table = batch(vec![("id", texts(&["10", "20", "30"])), ("vector", fixed(&ITEMS, 2))]);
    plain(&at("items.npy"), 3, &ITEMS);
    safetensors(&at("items.safetensors"), &[("e", Dtype::F32, &[3, 2], bytes(&ITEMS, f32::to_le_bytes))]);
    parquet(&at("items.parquet"), &table);
    ipc(&at("items.arrow"), &table);
    for name in ["items.npy", "items.safetensors", "items.parquet", "items.arrow"] {
        let config = items(&at(name));
        assert_eq!(vectors(&load(&config).unwrap()), ITEMS, "{name}");
        let whole = std::fs::read(at(name)).unwrap();
        // Creates a new file, because overwriting one waits for the disk.
        let write = |bytes: &[u8]| {
            std::fs::remove_file(at(name)).unwrap();
            std::fs::write(at(name), bytes).unwrap();
        };
        for length in 0..whole.len() {
            write(&whole[..length]);
            let error = load(&config).expect_err(&format!("{name} of {length} bytes"));
            assert!(error.to_string().contains(name), "{error}");
        }
        // A wrong byte may go unnoticed, but it must not end the program.
        for position in 0..whole.len() {
            for wrong in [0, 0xff, whole[position] ^ 1, whole[position] ^ 0x80] {
                let mut bytes = whole.clone();
                bytes[position] = wrong;
                write(&bytes);
                drop(load(&config));
            }
        }
    }
}
