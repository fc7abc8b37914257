//! What a user of this crate relies on: golden cases, equal results for every format, and one clear error per fault.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
mod audit;
mod bounded;
mod damaged;
mod export_safety;
mod readers;
mod settings;
mod strangers_rows;
mod strangers_text;
mod strangers_typed;
mod texts;
mod times;

use ra_core::{Dataset, ItemId, UserId};
use ra_data::{Budget, Columns, CurateConfig, CurateMethod, DataConfig, Result, Split, curate, golden, prepare};
use std::io::Write;
use std::path::{Path, PathBuf};

const LOG: &str = "user\titem\tpos\n2\tb\t0\n2\ta\t1\n2\tc\t2\n10\tc\t1\n10\ta\t0\n10\tb\t2\n10\ta\t3\n";
const TITLES: &str = "item\ttitle\na\tÜber \"A\", the first\nb\tBe bop\nc\tSea\n";

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    let file = std::fs::File::create(&path).unwrap();
    let mut out: Box<dyn Write> = match name.rsplit_once('.') {
        Some((_, "gz")) => Box::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast())),
        Some((_, "zst")) => Box::new(zstd::Encoder::new(file, 1).unwrap().auto_finish()),
        _ => Box::new(file),
    };
    out.write_all(text.as_bytes()).unwrap();
    path
}

fn config(log: PathBuf, titles: Option<PathBuf>) -> DataConfig {
    DataConfig { interactions: Some(log), items: titles, ..DataConfig::default() }
}

fn dataset(name: &str, config: &DataConfig) -> Result<Dataset> {
    Ok(prepare(name, config)?.dataset)
}

fn message(config: &DataConfig) -> String {
    dataset("test", config).unwrap_err().to_string()
}

#[test]
fn golden_cases_agree_in_every_key() {
    let dir = Path::new("tests/golden");
    for name in ["small", "k2"] {
        let read = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(dir.join(format!("{name}.{part}.json"))).unwrap()).unwrap()
        };
        let got = golden::verify_case(&read("input")).unwrap();
        for (key, want) in read("expected").as_object().unwrap() {
            assert_eq!(got.get(key), Some(want), "{name}: {key}");
        }
    }
}

#[test]
fn every_format_and_packing_gives_the_same_data_set() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let csv = |text: &str| {
        let quote = |field: &str| format!("\"{}\"", field.replace('"', "\"\""));
        text.lines().map(|l| l.split('\t').map(quote).collect::<Vec<_>>().join(",") + "\n").collect::<String>()
    };
    let jsonl = |text: &str| {
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
        let object = |line: &str| {
            let pairs = names.iter().zip(line.split('\t')).map(|(n, v)| match v.parse::<i64>() {
                Ok(number) if *n == "pos" => format!("{n:?}: {number}"),
                _ => format!("{n:?}: {}", serde_json::Value::from(v)),
            });
            format!("{{{}}}\n", pairs.collect::<Vec<_>>().join(", "))
        };
        lines.map(object).collect::<String>()
    };
    let typed = |text: &str| {
        let text = text.replacen("user\titem\tpos", "user_id:token\titem_id:token\ttimestamp:float", 1);
        text.replacen("item\ttitle", "item_id:token\tmovie_title:token_seq", 1)
    };
    let plain = dataset("test", &config(write(dir, "l.tsv", LOG), Some(write(dir, "t.tsv", TITLES)))).unwrap();
    assert_eq!(plain.users, ["2", "10"]);
    assert_eq!(plain.train.row(UserId(1)), ItemId::list([1, 3]), "10 read a, then c; b and a are held out");
    assert_eq!(plain.catalog.title(ItemId(1)), "Über \"A\", the first");
    let logs = [
        write(dir, "l.tsv.gz", LOG),
        write(dir, "l.tsv.zst", LOG),
        write(dir, "l.csv", &csv(LOG)),
        write(dir, "l.csv.gz", &csv(LOG)),
        write(dir, "l.jsonl", &jsonl(LOG)),
        write(dir, "l.inter", &typed(LOG)),
    ];
    for log in logs {
        let name = log.display().to_string();
        let titles = match name.as_str() {
            n if n.contains(".csv") => write(dir, "t.csv", &csv(TITLES)),
            n if n.contains(".jsonl") => write(dir, "t.jsonl", &jsonl(TITLES)),
            n if n.contains(".inter") => write(dir, "t.item", &typed(TITLES)),
            _ => write(dir, "t.tsv.zst", TITLES),
        };
        assert_eq!(dataset("test", &config(log, Some(titles))).unwrap(), plain, "{name}");
    }
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines: Vec<&str> = LOG.lines().collect();
    lines[1..].reverse();
    let forward = dataset("test", &config(write(dir.path(), "f.tsv", LOG), None)).unwrap();
    let backward = dataset("test", &config(write(dir.path(), "b.tsv", &(lines.join("\n") + "\n")), None)).unwrap();
    assert_eq!(forward, backward);
}

#[test]
fn a_broken_row_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text, told) in [
        ("few.tsv", "user\titem\tpos\n1\t2\t3\n1\t2\n", "row 3: 2 fields where the header has 3"),
        ("time.tsv", "user\titem\tpos\n1\t2\tsoon\n", "row 2: `pos` is \"soon\", not a number"),
        ("nan.tsv", "user\titem\tpos\n1\t2\tNaN\n", "row 2"),
        ("empty_id.tsv", "user\titem\tpos\n1\t2\t3\n\t2\t4\n", "row 3: `user` is empty"),
        ("few.csv", "user,item,pos\n1,2,3\n1,2\n", "row 3"),
        ("column.tsv", "who\titem\tpos\n1\t2\t3\n", "no user column: found `who`, `item`, `pos`; accepted: `user`"),
        ("empty.tsv", "", "empty"),
        ("header.tsv", "user\titem\tpos\n", "nothing follows the header"),
        ("bad.jsonl", "{\"user\": 1, \"item\": 2, \"pos\": 3}\n{\"user\": 1,\n", "bad.jsonl"),
        ("bad.parquet", "PAR1 but no more", "bad.parquet"),
    ] {
        let path = write(dir.path(), name, text);
        let error = message(&DataConfig { strict: true, ..config(path, None) });
        assert!(error.contains(told) && error.contains(name), "{name}: {error}");
    }
    let absent = message(&config(dir.path().join("absent.tsv"), None));
    assert!(absent.contains("absent.tsv"), "{absent}");
}

#[test]
fn a_truncated_archive_is_an_error_and_not_a_shorter_log() {
    let dir = tempfile::tempdir().unwrap();
    let long: String = LOG
        .lines()
        .take(1)
        .map(String::from)
        .chain((0..5000).map(|k| format!("{}\t{}\t{k}", k % 97, k * 31 % 53)))
        .collect::<Vec<_>>()
        .join("\n");
    for name in ["l.tsv.gz", "l.tsv.zst"] {
        let path = write(dir.path(), name, &long);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
        let error = message(&config(path, None));
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn filters_that_leave_nobody_say_which_key_to_lower() {
    let dir = tempfile::tempdir().unwrap();
    let log = write(dir.path(), "l.tsv", LOG);
    let error = message(&DataConfig { k_core: 9, ..config(log.clone(), None) });
    assert!(error.contains("no user is left") && error.contains("k_core = 9"), "{error}");
    let error = message(&DataConfig { split: Split::Temporal, ..config(log.clone(), None) });
    assert!(error.contains("`pos`") && error.contains("leave_one_out"), "{error}");
    let columns = Columns { time: Some("when".into()), ..Columns::default() };
    assert!(message(&DataConfig { columns, ..config(log, None) }).contains("`when`"));
    assert!(message(&DataConfig::default()).contains("interactions names no file"));
}

#[test]
fn curation_is_a_function_of_the_seed_and_explains_itself() {
    let dir = tempfile::tempdir().unwrap();
    let rows = (0..400).map(|k| format!("{}\t{}\t{k}\n", k % 20, (k * k + k / 7) % 31)).collect::<String>();
    let titles = (0..31).map(|i| format!("{i}\tword{} thing{}\n", i % 3, i % 5)).collect::<String>();
    let log = write(dir.path(), "l.tsv", &format!("user\titem\tpos\n{rows}"));
    let data =
        dataset("test", &config(log, Some(write(dir.path(), "t.tsv", &format!("item\ttitle\n{titles}"))))).unwrap();
    let paper = CurateConfig { method: CurateMethod::Paper, budget: Budget::Share(0.25), ..CurateConfig::default() };
    let chosen_by = |config: &CurateConfig, seed| curate(&data, config, 50, seed).unwrap();
    let chosen = chosen_by(&paper, 7);
    assert_eq!(chosen, chosen_by(&paper, 7));
    assert_ne!(chosen.samples, chosen_by(&paper, 8).samples);
    assert_eq!(chosen.samples.len(), (0.25 * chosen.total as f64).round() as usize);
    assert_eq!(chosen.cells.values().sum::<usize>(), chosen.total - chosen.denoised);
    let count =
        |method, budget| chosen_by(&CurateConfig { method, budget, ..CurateConfig::default() }, 7).samples.len();
    assert_eq!(count(CurateMethod::Random, Budget::Count(33)), 33);
    assert_eq!(count(CurateMethod::All, Budget::Count(33)), chosen.total);
}
