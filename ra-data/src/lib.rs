//! From raw interaction logs to clean, split and curated data sets.
//!
//! The crate stands apart because clean, leak-free, well-chosen training data is worth having without any model, and
//! because nothing else in the workspace may depend on arrow, parquet or polars.
//!
//! - [`prepare`]: files (tsv, csv, jsonl, parquet, arrow, RecBole, MovieLens, Amazon's reviews; plain, `.gz`, `.zst`) to a
//!   [`ra_core::Dataset`]: filtered, split, with dense ids and the users' own; [`read`] tells times and unreadable rows too
//! - [`split_indexed`]: the same from arrays of numbers, without a file
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
//! let data = prepare("films", &config)?.dataset;
//! assert_eq!(data.users, ["ann", "bob"]);
//! assert_eq!(data.catalog.title(data.test.row(0)[0]), "Heat (1995)"); // ann's latest is held out
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod audit;
mod bounded;
#[cfg(feature = "ballista")]
pub mod cluster;
mod config;
mod curate;
mod describe;
mod error;
mod filter;
mod format;
pub mod golden;
mod ids;
mod ingest;
mod interactions;
mod prepare;
mod source;
mod split;
mod table;
mod time;

pub use audit::{Audit, AuditFinding, PopularityFloor, Severity, audit};
pub use bounded::{ExportSummary, SampleExport, to_parquet_within};
pub use config::{Columns, DataConfig, Split, TimePoint, TitleParts};
pub use curate::{Budget, Candidates, CurateConfig, CurateMethod, Curated, candidates, curate, popularity_buckets};
pub use describe::{Description, NumberSummary, describe};
pub use error::{DataError, Result};
pub use format::row::RejectedRows;
pub use prepare::{Prepared, prepare};
pub use split::indexed::{IndexedSplit, split_indexed};
pub use table::draft::check_export;
pub use table::export::{samples_to_parquet, to_parquet};
pub use table::read::{NumberColumns, read_columns};
pub use table::{Column, write_columns};
