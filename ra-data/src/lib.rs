//! Turns raw interaction logs into clean, split and curated data sets.
//!
//! Give it the path of a log and it returns a [`Dataset`](ra_core::Dataset): filtered and split, with dense ids for a
//! model beside the log's original ids. It contains no model and depends on no tensor library, so anybody can use it to
//! get leak-free, well-chosen data.
//!
//! | to | call |
//! |---|---|
//! | read, filter and split files | [`prepare`]; see [`DataConfig::interactions`] for the formats |
//! | do the same with arrays of numbers, without a file | [`split_indexed`] |
//! | do the same with data frames (feature `polars`) | `frames::prepare` |
//! | see what the data looks like | [`describe`] |
//! | find out what is wrong with it, and how that distorts metrics | [`audit`] |
//! | choose the samples that are worth training on | [`curate`]; [`candidates`] to choose with a trained model |
//! | read what users did, without a split, to recommend to them | [`histories`] |
//! | write tables for other tools | [`to_parquet`], [`samples_to_parquet`], [`write_columns`] |
//! | process a log that is larger than memory | [`to_parquet_within`] |
//! | process a log on many machines (feature `ballista`) | `cluster::to_parquet_on` |
//!
//! Errors name the file, the row and the remedy. An unreadable row is counted in [`Prepared::rejected`], or is an error
//! if [`DataConfig::strict`] is set.
//!
//! # Example
//! ```
//! use ra_core::UserId;
//! use ra_data::{DataConfig, audit, prepare};
//!
//! let dir = tempfile::tempdir()?;
//! let (log, titles) = (dir.path().join("log.tsv"), dir.path().join("items.tsv"));
//! std::fs::write(&log, "user\titem\tts\nann\theat\t4\nann\tronin\t1\nann\ttaxi\t2\nann\tronin\t3\nbob\theat\t5\n")?;
//! std::fs::write(&titles, "item\ttitle\nheat\tHeat (1995)\nronin\tRonin (1998)\ntaxi\tTaxi Driver (1976)\n")?;
//! let config = DataConfig { interactions: Some(log), items: Some(titles), ..DataConfig::default() };
//! let prepared = prepare("films", &config)?;
//! let data = &prepared.dataset;
//! assert_eq!(data.users, ["ann", "bob"]);
//! assert_eq!(data.catalog.title(data.test.row(UserId(0))[0]), "Heat (1995)"); // ann's latest is held out
//! assert_eq!(audit(&prepared).findings.len(), 14);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! - `polars`: logs from data frames, and data sets and samples as data frames, without copying (module `frames`)
//! - `ballista`: filters, splits and draws as SQL on DataFusion and Ballista (module `cluster`, binary `ra-cluster`)

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
mod histories;
mod ids;
mod ingest;
mod interactions;
mod items;
mod prepare;
mod source;
mod split;
mod table;
mod time;

pub use audit::{Audit, AuditFinding, PopularityFloor, Severity, audit};
pub use bounded::{ExportSummary, SampleExport, to_parquet_within};
pub use config::{Columns, DataConfig, Split, TimePoint, TitleParts};
pub use curate::{Budget, Candidates, CurateConfig, CurateMethod, Curated, candidates, curate, popularity_buckets};
pub use describe::{Description, NumberSummary, TextSummary, describe};
pub use error::{DataError, Result};
pub use format::row::RejectedRows;
pub use histories::{Histories, attribute, catalog, catalog_of_new, histories};
pub use prepare::{Prepared, prepare};
pub use source::lines::{TextLines, text_lines};
pub use split::indexed::{IndexedSplit, split_indexed};
pub use table::draft::check_export;
pub use table::export::{samples_to_parquet, to_parquet};
#[cfg(feature = "polars")]
pub use table::frames;
pub use table::read::{NumberColumns, column_names, read_columns, read_table};
pub use table::{Column, write_columns, write_parts};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
