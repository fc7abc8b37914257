//! ID representation alignment (RA-Rec, Yu et al., arXiv 2402.04527): pretrained ID embeddings enter every layer of a
//! frozen language model as soft prompts, and only a small alignment module is trained.
//!
//! This crate is the method itself. It knows no files, no weights and no particular ID method or language model, only
//! the traits of [`ra_core`]: it takes a [`Recommender`](ra_core::Recommender), a
//! [`LanguageModel`](ra_core::LanguageModel), a [`Tokenizer`](ra_core::Tokenizer) and a
//! [`Dataset`](ra_core::Dataset), and returns a recommender.
//!
//! # Example
//! ```
//! use ra_align::{AlignConfig, AlignTrain, Alignment};
//! use ra_core::{Dataset, LanguageModel, Recommender, Result, Tokenizer};
//!
//! fn align(
//!     ids: impl Recommender,
//!     lm: impl LanguageModel,
//!     tokenizer: &dyn Tokenizer,
//!     dataset: &Dataset,
//! ) -> Result<impl Recommender> {
//!     let two_layers = AlignConfig::recommended().with(|config| config.module.first_layer = -2);
//!     let train = AlignTrain { steps: 300, ..AlignTrain::recommended() };
//!     let fit = Alignment::new(ids, lm, tokenizer, dataset).config(two_layers).train(train).fit()?;
//!     Ok(fit.model)
//! }
//! ```
//! `examples/own_parts.rs` does this with its own ID method and language model.
//!
//! # Map
//! | what | where | equation of the paper |
//! |---|---|---|
//! | hard prompts of titles | [`Prompts`] | |
//! | projection and instruction of a layer | [`Layerwise`] | `p^(l) = W^(l) e + b^(l)`, `d^(l) = [c^(l) ; p^(l)]` |
//! | a tower for users and one for items: all trained parameters | [`Towers`] | |
//! | the layers that read a prefix | [`ra_core::encode`] | `K = W_k [d^(l) ; a]`, `V = W_v [d^(l) ; a]` |
//! | the constants of each text, computed once | [`TextCache`] | |
//! | the text-only baseline, the frozen half of RA-Rec | [`TextTower`] | |
//! | the recommender | [`RaRec`] | `y(u, i) = <h_u, h_i>` |
//! | losses over pairs | [`bpr_in_batch`], [`bpr_sampled`], [`softmax_in_batch`] | `L_p = -ln sigma(y_ui+ - y_ui-)` |
//! | losses between a layer's prefix and its text | [`info_nce`], [`mmd`], [`mse`] | `L_ua`, `L_ia` |
//! | training | [`Alignment`], [`Job`], [`fit()`] | `L = L_p + lambda (L_ua + L_ia)` |
//! | the choice of training samples | [`coverage`], [`highest_loss`] | |
//!
//! The crate also holds departures from the method and its rivals: the ID method's own score ([`with_id_score`]), ID
//! vectors of training users from models that never saw them ([`CrossFitIds`]), items without training interactions
//! ([`TextForColdItems`], [`ColdItemBoost`]), permuted IDs for ablations ([`PerturbedIds`]), titles alone
//! ([`encode_titles`]), blends of several recommenders ([`Blend`]), and tuning of the language model itself ([`Tuning`]).
#![recursion_limit = "256"]

mod alignment;
mod cache;
mod config;
mod method;
mod select;
mod train;
mod validate;
mod variants;

pub use alignment::Alignment;
pub use cache::TextCache;
pub use config::{
    AlignConfig, AlignLoss, AlignTrain, DepartureConfig, IdSource, LossConfig, ModuleConfig, PairLoss, Placement,
    ProjectionKind, RegularizeConfig, Tuning, TuningConfig,
};
pub use method::{
    Departures, IdNormalizer, Layerwise, LayerwiseConfig, PromptConfig, Prompts, RaRec, TextTower, Towers,
    encode_users, l2_normalize,
};
pub use select::{coverage, highest_loss};
pub use train::{
    Candidates, FitResult, Job, bpr_in_batch, bpr_sampled, distill, fit, info_nce, mmd, mse, softmax_in_batch,
};
pub use variants::{
    AnyBlend, Blend, BlendSearch, BlendWeights, ColdItemBoost, CrossFitIds, PerturbedIds, ScoreMetric, Scores,
    TextForColdItems, check_cold, encode_titles, encode_titles_in, with_id_score, without_fold,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
