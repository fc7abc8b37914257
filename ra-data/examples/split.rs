//! Splits a csv file: `cargo run -p ra-data --example split [LOG.csv]`.
#![allow(clippy::print_stdout)]
use ra_core::UserId;
use ra_data::{DataConfig, Split, describe, prepare, to_parquet};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let log = match std::env::args().nth(1) {
        Some(path) => PathBuf::from(path),
        None => {
            let path = dir.path().join("log.csv");
            let rows = (0..400).map(|k| format!("u{},film {},{}\n", k % 20, k * k % 31, 1_400_000_000 + 3600 * k));
            std::fs::write(&path, rows.fold("user,item,ts\n".to_owned(), |text, row| text + &row))?;
            path
        }
    };
    let config = DataConfig { interactions: Some(log), k_core: 3, split: Split::LeaveOneOut, ..DataConfig::default() };
    let prepared = prepare("my shop", &config)?;
    let data = &prepared.dataset;
    println!("{}", describe(&prepared));
    let held_out: Vec<&str> = data.test.row(UserId(0)).iter().map(|&item| data.catalog.id(item)).collect();
    println!("{} is tested on {held_out:?}", data.users[0]);
    to_parquet(&prepared, &dir.path().join("split"))?; // interactions.parquet and items.parquet
    Ok(())
}
