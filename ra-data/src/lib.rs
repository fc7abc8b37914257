//! From raw interaction logs to clean, split and curated data sets.
//!
//! The crate stands apart because clean, leak-free, well-chosen training data is worth having without any model, and
//! because nothing else in the workspace may depend on arrow, parquet or polars.
//!
//! - [`prepare`]: files (tsv, csv, jsonl, parquet, arrow, RecBole, MovieLens, Amazon's reviews; plain, `.gz`, `.zst`) to a
//!   [`ra_core::Dataset`]: filtered, split, with dense ids and the users' own; [`read`] tells times and unreadable rows too
//! - [`prepare_coded`]: the same from arrays of numbers, without a file
//! - [`curate`]: the samples worth training on
//! - [`describe`]: what the data looks like; [`audit`]: what is wrong with it, and what that does to a metric
//! - [`to_parquet`], [`samples_to_parquet`], [`write_columns`]: tables for other tools, which [`read_columns`] reads
//!   again; [`to_parquet_within`] the same from logs that are larger than memory; with the feature `ballista`, `cluster::to_parquet_on` by many machines
//!
//! # Example
//! ```
//! use ra_data::{DataConfig, prepare};
//!
//! let dir = tempfile::tempdir()?;
//! let (log, titles) = (dir.path().join("log.tsv"), dir.path().join("items.tsv"));
//! std::fs::write(&log, "user\titem\tts\nann\theat\t4\nann\tronin\t1\nann\ttaxi\t2\nann\tronin\t3\nbob\theat\t5\n")?;
//! std::fs::write(&titles, "item\ttitle\nheat\tHeat (1995)\nronin\tRonin (1998)\ntaxi\tTaxi Driver (1976)\n")?;
//! let config = DataConfig { interactions: Some(log), items: Some(titles), ..DataConfig::default() };
//! let data = prepare("films", &config)?;
//! assert_eq!(data.users, ["ann", "bob"]);
//! assert_eq!(data.catalog.title(data.test.row(0)[0]), "Heat (1995)"); // ann's latest is held out
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arrays;
mod arrow_file;
mod audit;
mod bounded;
mod calendar;
#[cfg(feature = "ballista")]
pub mod cluster;
mod coded;
mod config;
mod curate;
mod delimited;
mod describe;
mod draft;
mod error;
mod export;
mod filter;
mod first_bytes;
mod folder;
pub mod golden;
mod header;
mod ids;
mod ingest;
mod interactions;
mod json;
mod lists;
mod output;
mod partitions;
mod prepare;
mod prune;
mod python;
mod quotes;
mod read_columns;
mod records;
mod source;
mod spill;
mod split;
mod table;
mod time;
mod typed;
mod unpack;
mod words;

pub use audit::{Audit, Finding, Level, PopularityFloor, audit};
pub use bounded::{Bounded, to_parquet_within};
pub use coded::{Coded, prepare_coded};
pub use config::{Columns, DataConfig, Split, TitleParts, When};
pub use curate::{Budget, CurateConfig, CurateMethod, Curated, curate, popularity_buckets};
pub use describe::{Description, Spread, describe};
pub use draft::check_export;
pub use error::{DataError, Result};
pub use export::{samples_to_parquet, to_parquet};
pub use prepare::{Prepared, prepare, read};
pub use read_columns::{NumberColumns, read_columns};
pub use records::Skipped;
pub use table::{Column, write_columns};
