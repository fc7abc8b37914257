//! Damaged files: an error or a smaller log, never a panic, and no more memory than the file is worth.
use super::{LOG, write};
use ra_core::SplitMix;
use ra_data::{Column, DataConfig, prepare, write_columns};
use std::path::{Path, PathBuf};

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

/// Flips, cuts, doubles and sets bytes.
fn mutate(bytes: &mut Vec<u8>, random: &mut SplitMix) {
    const TELLING: [u8; 12] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'\t', b'"', b'{', b'[', b'\'', b':'];
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match (bytes.is_empty(), random.below(6)) {
            (true, _) => bytes.push(random.below(256) as u8),
            (_, 0) => bytes[at] ^= 1 << random.below(8),
            (_, 1) => bytes[at] = TELLING[random.below(TELLING.len())],
            (_, 2) => bytes.truncate(at),
            (_, 3) => bytes.insert(at, random.below(256) as u8),
            (_, 4) => {
                let end = (at + 1 + random.below(16)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let end = (at + 1 + random.below(8)).min(bytes.len());
                bytes[at..end].fill(TELLING[random.below(TELLING.len())]);
            }
        }
    }
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or("0");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn try_mutations(cases: usize, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let seeds = seeds(dir.path());
    let originals: Vec<Vec<u8>> = seeds.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let (mut random, before) = (SplitMix::new(seed), peak_mib());
    let mut read = 0;
    for case in 0..cases {
        let which = case % seeds.len();
        let mut bytes = originals[which].clone();
        mutate(&mut bytes, &mut random);
        let path = dir.path().join(format!("case-{}", seeds[which].file_name().unwrap().to_string_lossy()));
        std::fs::write(&path, &bytes).unwrap();
        let config = DataConfig { interactions: Some(path.clone()), items: None, ..DataConfig::default() };
        let since = std::time::Instant::now();
        let found = std::panic::catch_unwind(|| prepare("case", &config).is_ok());
        match found {
            Ok(whole) => read += usize::from(whole),
            Err(_) => {
                let kept = std::env::temp_dir()
                    .join(format!("found-{seed}-{case}-{}", path.file_name().unwrap().to_string_lossy()));
                std::fs::write(&kept, &bytes).unwrap();
                panic!("case {case} of seed {seed} panics: {}", kept.display());
            }
        }
        if peak_mib() > before + 100 && std::env::var_os("RA_REC_TELL").is_some() {
            println!("GROWN {} {}", peak_mib(), path.display());
        }
        assert!(since.elapsed().as_secs() < 10, "case {case} of seed {seed} takes too long: {}", path.display());
    }
    let grown = peak_mib().saturating_sub(before);
    println!("{cases} mutated files of {} kinds, {read} of them still logs, {grown} MiB more", seeds.len());
    assert!(read > cases / 50 && read < cases, "mutations are neither all harmless nor all fatal: {read} of {cases}");
    assert!(grown < 512, "{grown} MiB for files of a kilobyte");
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    try_mutations(3_000, 1);
}

/// `RA_REC_CASES=1000000 cargo test --workspace --test it -- --ignored damaged_files_by_the_million`
#[test]
#[ignore = "minutes"]
fn damaged_files_by_the_million() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    try_mutations(number("RA_REC_CASES", 1_000_000) as usize, number("RA_REC_SEED", 2));
}
