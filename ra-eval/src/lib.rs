//! Ranks all items for every user, measures where the held-out ones come, says how sure a difference is, and reports it.
//!
//! Bring two matrices, or any model with the trait `ra_core::Recommender`; both are measured by the same lines of code, so
//! that the rows of a table compare. What is ranked, how ties count and whom the figures are of is declared in a
//! [`Protocol`], and two reports of other protocols do not share a table.
//!
//! # Example: two matrices
//! ```
//! use ra_core::ItemId;
//! use ra_eval::{EvalConfig, HeldOut, Metric, evaluate_vectors, paired_bootstrap};
//!
//! let users = [1.0, 0.0, 0.0, 1.0]; // [2 users, 2 numbers]
//! let items = [1.0, 2.0, 2.0, 3.0, 3.0, 1.0]; // [3 items, 2 numbers]; their ids are 1, 2, 3
//! let histories = [ItemId::list([1]), ItemId::list([2])]; // no candidates any more
//! let targets = [ItemId::list([3]), ItemId::list([1])]; // to be found
//!
//! let held_out = HeldOut::from_lists(3, &histories, &targets)?;
//! let config = EvalConfig { ks: vec![1], ..EvalConfig::default() };
//! let found = evaluate_vectors(&users, &items, &held_out, &config)?;
//! assert_eq!(found.metrics.get(&Metric::Hr(1)), Some(&1.0));
//!
//! // Another model, user by user: constant scores, under a tie rule that gives them nothing.
//! let other = evaluate_vectors(&[0.0; 4], &items, &held_out, &config)?;
//! let (own, theirs) = (&found.per_user[&Metric::Hr(1)], &other.per_user[&Metric::Hr(1)]);
//! assert_eq!(paired_bootstrap(own, theirs, 1000, 1).mean, 1.0);
//! # Ok::<(), ra_eval::EvalError>(())
//! ```
//!
//! # What is here
//! - **Whom to ask**: a [`HeldOut`] of a [`Dataset`](ra_core::Dataset) and a [`Part`] of its split, or of lists of ids.
//! - **Ranking**: [`evaluate_vectors`], [`evaluate_scores`] and, with the feature `tensor`, `evaluate` for a recommender.
//!   [`Ties`], [`Seen`] and [`Repeats`] are declared choices of an [`EvalConfig`]; sampled [`Candidates`] are there to show what
//!   they do to a figure. Scores are counted as they are made and never stored.
//! - **Metrics**: a [`Metric`] at every K, in an [`Evaluation`]; [`dcg`] and [`graded_ndcg`] for relevance in degrees.
//! - **Significance**: [`paired_bootstrap`], [`permutation_test`], [`holm`] and [`detectable`] say how sure a difference is;
//!   [`slices`] says where it is.
//! - **Reports**: a [`Report`] is one run as JSON, markdown, lines on a terminal and, with the feature `report`, one page that
//!   needs nothing else; [`compare`] sets several runs side by side, an [`Experiment`] one recipe in several settings.
//! - **Golden cases**: [`verify_case`] runs the same code on figures of other implementations.
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tensor` | yes | `evaluate` of recommenders, whose vectors are Burn's tensors; without it there is no tensor library |
//! | `matrix-unit` | yes | products of tensors on the matrix unit of an Intel processor (AMX), where there is one |
//! | `report` | yes | reports as pages with plots |
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
pub use protocol::{Candidates, EvalConfig, EvalRules, Protocol, Repeats, SELECTION, Seen, Ties};
pub use rank::{Evaluation, HeldOut, Part, evaluate_scores, evaluate_vectors, top_k};
#[cfg(feature = "tensor")]
pub use rank::{evaluate, evaluate_items, item_vectors};
pub use report::{
    AuditFinding, AuditLevel, Comparison, Experiment, LearningCurve, Published, Report, Row, RowKind, SampleList,
    SampleRecommendation, StageCost, compare, compare_unchecked, holm_correct,
};
pub use significance::{Interval, detectable, holm, paired_bootstrap, permutation_test};
pub use slices::{Slice, slices};

#[cfg(all(doctest, feature = "tensor"))]
#[doc = include_str!("../README.md")]
struct Readme;
