//! Ranks of held-out items: scores, candidates, ties.
//!
//! Scores come from two matrices or one ([`evaluate_vectors`], [`evaluate_scores`]) or from a recommender. The users,
//! the candidates and the treatment of ties are the same for all of them.
mod candidates;
mod evaluation;
mod held_out;
mod index;
mod matrices;
mod query;
pub(crate) mod ranking;
#[cfg(feature = "tensor")]
mod recommender;

pub use evaluation::Evaluation;
pub use held_out::{HeldOut, Part};
pub use index::{MOST_INDEXES, VectorIndex, VectorQuery, top_k_candidates, top_k_of};
pub use matrices::{ScoreJudge, evaluate_scores, evaluate_vectors};
pub use ranking::top_k;
#[cfg(feature = "tensor")]
pub use recommender::{evaluate, evaluate_items, item_vectors};
