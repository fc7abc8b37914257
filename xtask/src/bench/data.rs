//! Data preparation at the size of a real log; `docs/lab/peers/bench_data.py` times other tools on exactly the same
//! rows.
use super::time::least;
use super::work::Measured;
use anyhow::{Context, Result};
use ra_core::{Sequences, SplitMix};
use ra_data::{Column, DataConfig, popularity_buckets, prepare, split_indexed, write_columns};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

const ROWS: usize = 10_000_000;

/// Draws users and items with long tails and unordered times, like `docs/lab/peers/bench_data.py`.
fn log() -> (Vec<u32>, Vec<u32>, Vec<f64>) {
    let mut random = SplitMix::new(0);
    let mut tail = |power: f64, scale: f64, codes: u64| {
        let one = |random: &mut SplitMix| {
            let lomax = (1.0 - random.unit()).powf(-1.0 / power) - 1.0;
            ((lomax * scale) as u64 % codes) as u32
        };
        (0..ROWS).map(|_| one(&mut random)).collect::<Vec<u32>>()
    };
    let (users, items) = (tail(1.2, 20_000.0, 1_000_000), tail(1.0, 5_000.0, 300_000));
    let times = (0..ROWS).map(|_| random.below(1_000_000_000) as f64).collect();
    (users, items, times)
}

fn config() -> DataConfig {
    DataConfig { k_core: 5, ..DataConfig::default() }
}

/// Returns the result that other tools must also find.
fn told(parts: [&Sequences; 3], popularity: &[u32]) -> String {
    let counted = popularity[1..].iter().filter(|&&n| n > 0).count();
    let buckets: u64 = popularity_buckets(popularity, 5)
        .iter()
        .zip(popularity)
        .filter(|(_, n)| **n > 0)
        .map(|(&b, _)| u64::from(b))
        .sum();
    let [train, valid, test] = parts.map(Sequences::total);
    format!("{train} train, {valid} valid, {test} test, {counted} items, buckets' sum {buckets}")
}

pub(super) fn memory() -> Result<Measured> {
    let (users, items, times) = log();
    let mut first = true;
    let seconds = least(3, || {
        let coded = split_indexed(&users, &items, &times, &config())?;
        let found = told([&coded.train, &coded.valid, &coded.test], &coded.popularity);
        if std::mem::take(&mut first) {
            // Not part of the figures.
            tell!("{found}");
        }
        Ok(())
    })?;
    Ok(seconds.into())
}

/// Returns `RA_REC_BENCH/log.ENDING`, and writes it if it does not exist.
fn path(ending: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("RA_REC_BENCH").map_or_else(std::env::temp_dir, PathBuf::from);
    let path = folder.join(format!("log.{ending}"));
    if path.exists() {
        return Ok(path);
    }
    let (users, items, times) = log();
    if ending == "parquet" {
        let columns = [("user", Column::Ids(users)), ("item", Column::Ids(items)), ("ts", Column::Numbers(times))];
        write_columns(&path, &columns)?;
    } else {
        let made = || -> std::io::Result<()> {
            let mut out = zstd::Encoder::new(File::create(path.with_extension("tmp"))?, 1)?;
            out.write_all(b"user,item,ts\n")?;
            for ((user, item), time) in users.iter().zip(&items).zip(&times) {
                writeln!(out, "{user},{item},{time}")?;
            }
            out.finish()?;
            std::fs::rename(path.with_extension("tmp"), &path)
        };
        made().with_context(|| path.display().to_string())?;
    }
    Ok(path)
}

pub(super) fn file(ending: &str) -> Result<Measured> {
    let config = DataConfig { interactions: Some(path(ending)?), ..config() };
    let seconds = least(1, || {
        let data = prepare("bench", &config)?.dataset;
        tell!("{}", told([&data.train, &data.valid, &data.test], &data.popularity()));
        Ok(())
    })?;
    Ok(seconds.into())
}
