//! Ranks all items for every user, measures the ranks of the held-out ones, tests differences for significance, and
//! reports the results.
//!
//! The input is two matrices, or any model with the trait `ra_core::Recommender`. Both are measured by the same code,
//! so the rows of a table are comparable. A [`Protocol`] declares what is ranked, how ties count and which users are
//! evaluated; two reports with different protocols do not share a table.
//!
//! # Example: two matrices
//! ```
//! use ra_core::ItemId;
//! use ra_eval::{EvalConfig, HeldOut, Metric, evaluate_vectors, paired_bootstrap};
//!
//! let users = [1.0, 0.0, 0.0, 1.0]; // [2 users, 2 numbers]
//! let items = [1.0, 2.0, 2.0, 3.0, 3.0, 1.0]; // [3 items, 2 numbers]; their ids are 1, 2, 3
//! let histories = [ItemId::list([1]), ItemId::list([2])]; // no longer candidates
//! let targets = [ItemId::list([3]), ItemId::list([1])]; // the items to find
//!
//! let held_out = HeldOut::from_lists(3, &histories, &targets)?;
//! let config = EvalConfig { ks: vec![1], ..EvalConfig::default() };
//! let found = evaluate_vectors(&users, &items, &held_out, &config)?;
//! assert_eq!(found.metrics.get(&Metric::Hr(1)), Some(&1.0));
//!
//! // Compare with another model, user by user: its scores are constant, and the tie rule gives it nothing.
//! let other = evaluate_vectors(&[0.0; 4], &items, &held_out, &config)?;
//! let (own, theirs) = (&found.per_user[&Metric::Hr(1)], &other.per_user[&Metric::Hr(1)]);
//! assert_eq!(paired_bootstrap(own, theirs, 1000, 1).mean, 1.0);
//! # Ok::<(), ra_eval::EvalError>(())
//! ```
//!
//! # Contents
//! - **Held-out data**: a [`HeldOut`] from a [`Dataset`](ra_core::Dataset) and a [`Part`] of its split, or from lists
//!   of ids.
//! - **Ranking**: [`evaluate_vectors`], [`evaluate_scores`] and, with the feature `tensor`, `evaluate` for a
//!   recommender. An [`EvalConfig`] declares [`Ties`], [`Seen`] and [`Repeats`]; sampled [`Candidates`] exist to show
//!   their effect on a metric. Scores are counted as they are computed and never stored.
//! - **Metrics**: a [`Metric`] at every K, in an [`Evaluation`]; [`dcg`] and [`graded_ndcg`] for graded relevance.
//! - **Choosing models**: [`criterion`] is a weighted sum of [`Measure`]s, metrics of all targets or of an [`ItemGroup`].
//! - **Significance**: [`paired_bootstrap`], [`permutation_test`], [`holm`] and [`detectable`] tell how certain a
//!   difference is; [`slices`] tells on which items and users it occurs.
//! - **Reports**: a [`Report`] is one run as JSON, Markdown, lines on a terminal and, with the feature `report`, one
//!   self-contained page; [`compare`] puts several runs side by side, and an [`Experiment`] one recipe in several
//!   settings.
//! - **Golden cases**: [`verify_case`] runs the same code on the results of other implementations.
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tensor` | yes | `evaluate` for recommenders (as Burn tensors); without it, no tensor library is built |
//! | `matrix-unit` | yes | tensor products on the matrix unit of an Intel processor (AMX), if it has one |
//! | `report` | yes | reports as pages with plots |
#![recursion_limit = "256"]

mod criterion;
mod error;
mod metrics;
mod protocol;
mod rank;
mod render;
mod report;
mod significance;
mod slices;

pub use criterion::{criterion, unmeasured};
pub use error::EvalError;
pub use metrics::{GoldenCase, ItemGroup, Measure, Metric, UnknownMetric, dcg, graded_ndcg, verify_case};
pub use protocol::{Candidates, EvalConfig, EvalRules, Protocol, Repeats, SELECTION, Seen, Ties};
pub use rank::{
    Evaluation, HeldOut, MOST_INDEXES, Part, ScoreJudge, VectorIndex, VectorQuery, evaluate_scores, evaluate_vectors,
    top_k, top_k_candidates, top_k_of,
};
#[cfg(feature = "tensor")]
pub use rank::{evaluate, evaluate_items, item_vectors};
#[cfg(feature = "report")]
pub use render::TablePage;
pub use report::{
    AuditFinding, AuditLevel, Comparison, Experiment, LearningCurve, PERMUTATIONS, Published, RESAMPLES, Report, Row,
    RowKind, SampleList, SampleRecommendation, StageCost, compare, compare_unchecked, holm_correct,
};
pub use significance::{Interval, detectable, holm, paired_bootstrap, permutation_test};
pub use slices::{Slice, slices};

#[cfg(all(doctest, feature = "tensor"))]
#[doc = include_str!("../README.md")]
struct Readme;
