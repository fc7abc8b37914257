//! Additions to the method and comparisons with it: the ID method's own score, cross-fitted, perturbed and cold IDs,
//! titles alone, and blends of several recommenders.
mod blend;
mod cold;
mod cross_fit;
pub(crate) mod id_score;
mod perturb;
mod titles;

pub use blend::{AnyBlend, Blend, BlendSearch, BlendWeights, ScoreMetric, Scores};
pub use cold::{ColdItemBoost, TextForColdItems, check_cold};
pub use cross_fit::{CrossFitIds, without_fold};
pub use id_score::with_id_score;
pub use perturb::PerturbedIds;
pub use titles::{encode_titles, encode_titles_in};
