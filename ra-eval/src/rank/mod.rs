//! Where held-out items rank: scores, candidates, ties.
mod candidates;
mod evaluate;
mod ranking;
mod score;

pub use candidates::Candidates;
pub use evaluate::{Evaluation, Part, evaluate, evaluate_items, evaluated_users, held_out_users, item_vectors};
pub(crate) use ranking::{Ranked, rank_row};
pub use ranking::{Ties, top_k};
