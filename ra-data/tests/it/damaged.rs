//! Damaged files: an error or a smaller log, never a panic, and no more memory than the file justifies. To test a
//! million of them: `RA_REC_CASES=1000000 cargo test --workspace --test it -- damaged`.
use super::{LOG, dataset, write};
use ra_core::testkit::damage::{Trial, fuzz_reader};
use ra_data::{Column, DataConfig, write_columns};
use std::path::{Path, PathBuf};

/// A trial of a reader that counts its memory.
fn trial(cases: usize) -> Trial {
    Trial::new(cases, |name| std::env::var(name).ok(), |read| allocation_counter::measure(read).bytes_max)
}

/// A small file of every format.
fn seeds(dir: &Path) -> Vec<PathBuf> {
    let rows: Vec<Vec<&str>> = LOG.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    let lines = |each: &dyn Fn(&[&str]) -> String| rows.iter().map(|row| each(row) + "\n").collect::<String>();
    let json =
        lines(&|r| format!("{{\"user\": {}, \"item\": \"{}\", \"pos\": {}, \"x\": [1, {{}}]}}", r[0], r[1], r[2]));
    let python =
        lines(&|r| format!("{{'user': '{}', u'item': \"{}\", 'pos': {}, 'x': [[True, None]]}}", r[0], r[1], r[2]));
    let parquet = dir.join("seed.parquet");
    let field = |at: usize| rows.iter().map(|row| row[at].to_owned()).collect::<Vec<_>>();
    let numbers = field(2).iter().map(|at| at.parse().unwrap()).collect();
    let columns =
        [("user", Column::Text(field(0))), ("item", Column::Text(field(1))), ("pos", Column::Numbers(numbers))];
    write_columns(&parquet, &columns).unwrap();
    let read =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&parquet).unwrap());
    let batch = read.unwrap().build().unwrap().next().unwrap().unwrap();
    let arrow = dir.join("seed.arrow");
    let mut writer =
        arrow::ipc::writer::FileWriter::try_new(std::fs::File::create(&arrow).unwrap(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    vec![
        write(dir, "seed.tsv", LOG),
        write(dir, "seed.csv", &LOG.replace('\t', ",").replacen("2,b", "2,\"b\"", 1)),
        write(dir, "seed.jsonl", &json),
        write(dir, "python.json", &python),
        write(dir, "seed.dat", &lines(&|r| format!("{}::{}::5::{}", r[0], r[1], r[2]))),
        write(dir, "seed.txt", "2 b a c\n10 a c b a\n"),
        write(dir, "seed.tsv.gz", LOG),
        write(dir, "seed.tsv.zst", LOG),
        parquet,
        arrow,
    ]
}

#[test]
fn damaged_files_are_errors_or_smaller_logs() {
    let dir = tempfile::tempdir().unwrap();
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let files: Vec<(String, Vec<u8>)> =
        seeds(dir.path()).iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect();
    let read = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(format!("case-{name}"));
        std::fs::write(&path, bytes).unwrap();
        dataset("case", &DataConfig { interactions: Some(path), ..DataConfig::default() }).is_ok()
    };
    let taken = fuzz_reader(&files, trial(3_000), read);
    println!("{taken} damaged logs are still logs");
}
