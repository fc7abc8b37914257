//! Exact full-catalogue ranking, metrics and reports.
//!
//! It stands apart because it knows one trait only, [`ra_core::Recommender`]: an ID method, a text tower and RA-Rec are
//! measured by the same lines of code, and so is a model that you bring yourself.
//!
//! - [`evaluate`] ranks *all* items for every user; [`Ties`], [`Seen`] and [`Repeats`] are declared choices, and sampled
//!   [`Candidates`] are there to show what they do to a figure
//! - [`paired_bootstrap`], [`permutation_test`], [`holm`] and [`detectable`] say how sure a difference is; [`slices`] says where
//! - [`dcg`] and [`graded_ndcg`] are for relevance in degrees
//! - [`Report`] is one run as JSON, markdown and one self-contained page; [`compare`] sets several runs side by side,
//!   [`Experiment`] one recipe in several settings
//! - [`verify_case`] runs the same code on golden cases
//!
//! # Example: a table of vectors, ranked
//! ```
//! use ra_core::{Backend, Catalog, Dataset, IdTable, Sequences, Silent, open_device};
//! use ra_eval::{EvalConfig, Part, evaluate};
//! use burn::tensor::Tensor;
//!
//! let names = |names: &[&str]| -> Vec<String> { names.iter().map(|s| s.to_string()).collect() };
//! let dataset = Dataset {
//!     name: "tiny".into(),
//!     users: names(&["ann", "bob"]),
//!     catalog: Catalog::new(names(&["a", "b", "c"]), names(&["Alpha", "Beta", "Gamma"])),
//!     train: Sequences::from_rows([[1], [2]]),
//!     valid: Sequences::from_rows([[2], [3]]),
//!     test: Sequences::from_rows([[3], [1]]),
//!     filter: "none".into(),
//!     split: "leave_one_out".into(),
//! };
//! let device = open_device(Backend::Cpu)?;
//! let users = Tensor::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
//! let items = Tensor::from_floats([[0.0, 0.0], [1.0, 2.0], [2.0, 3.0], [3.0, 1.0]], &device); // row 0 is padding
//! let model = IdTable::new(users, items);
//!
//! let config = EvalConfig { ks: vec![1], ..EvalConfig::default() };
//! let valid = evaluate(&model, &dataset, Part::Valid, &config, None, &Silent);
//! // ann has seen a: b scores 2, c scores 3. bob has seen b: a scores 2, c scores 1.
//! assert_eq!(valid.metrics["hr@1"], 0.0);
//! let test = evaluate(&model, &dataset, Part::Test, &config, None, &Silent);
//! assert_eq!(test.metrics["hr@1"], 1.0);
//! # Ok::<(), ra_core::Error>(())
//! ```
#![recursion_limit = "256"]

mod error;
mod metrics;
mod protocol;
mod rank;
mod render;
mod report;
mod significance;
mod slices;

pub use error::EvalError;
pub use metrics::{GoldenCase, Metric, UnknownMetric, dcg, graded_ndcg, verify_case};
pub use protocol::{EvalConfig, EvalRules, Protocol, Repeats, SELECTION, Seen};
pub use rank::{Candidates, Evaluation, HeldOut, Part, Ties, evaluate_scores, evaluate_vectors, top_k};
#[cfg(feature = "tensor")]
pub use rank::{evaluate, evaluate_items, item_vectors};
pub use report::{
    AuditFinding, AuditLevel, Comparison, Experiment, LearningCurve, Published, Report, Row, RowKind, SampleList,
    SampleRecommendation, StageCost, compare, compare_unchecked, holm_correct,
};
pub use significance::{Interval, detectable, holm, paired_bootstrap, permutation_test};
pub use slices::{Slice, slices};
