//! ID representation alignment (Yu et al., arXiv 2402.04527): pretrained ID embeddings enter every layer of a frozen
//! language model as soft prompts, and a small alignment module is all that is trained.
//!
//! The crate stands apart because it is the method itself: it knows neither files nor weights nor any particular ID
//! method or language model, only the traits of `ra-core`.
//!
//! - [`Layerwise`]: the alignment module; [`Towers`]: one for users, one for items, and nothing else
//! - [`Extra`], [`Tuning`]: what departs from the paper, and rivals that tune the language model itself
//! - [`Prompts`]: hard prompts from titles; [`TextCache`]: what a prompt contributes, computed once
//! - [`Altered`]: IDs put out of order, [`title_vectors`]: titles alone; for ablations and rivals
//! - [`CrossFitted`]: ID vectors of training users from models that never saw them
//! - [`fit`]: training; [`RaRec`]: the result, a [`ra_core::Recommender`] like any other
//!
//! # Example
//! ```
//! use ra_align::{LayerwiseConfig, ProjectionKind};
//! use ra_core::{Aligner, Backend, LmSpec, Pooling, ledger, open_device, trainable_params};
//! use burn::tensor::Tensor;
//!
//! let device = open_device(Backend::Cpu)?;
//! let minilm = LmSpec { layers: 6, width: 384, max_tokens: 512, causal: false, pooling: Pooling::First };
//! let projection = ProjectionKind::Dense;
//! let config = LayerwiseConfig { projection, dim: 64, n_tok: 1, n_ctx: 4, first_layer: 0, init_std: 0.1 };
//! let tower = config.init(&minilm, "user", 1, &device);
//! let prefix = tower.prefix(Tensor::ones([2, 1, 64], &device)); // two users, a vector each
//! assert_eq!(prefix.layer(5).unwrap().dims(), [2, 5, 384]); // four instruction rows, one projected row
//! assert_eq!(trainable_params(&ledger(&tower)), 6 * (384 * 64 + 384 + 4 * 384));
//! # Ok::<(), ra_core::Error>(())
//! ```
#![recursion_limit = "256"]

mod alter;
mod cache;
mod choose;
mod chunked;
mod cold;
mod config;
mod cross_fit;
mod extra;
mod id_score;
mod layerwise;
mod loss;
mod order;
mod prompt;
mod rarec;
mod standardize;
mod store;
mod teacher;
mod title;
mod train;

pub use alter::{Altered, IdSource};
pub use cache::TextCache;
pub use cold::{ColdByText, LiftedCold, check_cold};
pub use config::{AlignConfig, AlignLoss, AlignTrain, PairLoss, Placement};
pub use cross_fit::{CrossFitted, without_fold};
pub use extra::{Extra, Tuning};
pub use id_score::with_id_score;
pub use layerwise::{Layerwise, LayerwiseConfig, ProjectionKind};
pub use loss::{Candidates, bpr_in_batch, bpr_sampled, distill, info_nce, mmd, mse, softmax_in_batch, unit};
pub use prompt::{PromptConfig, Prompts};
pub use rarec::{RaRec, TextTower, Towers};
pub use standardize::{IdScale, user_vectors};
pub use title::title_vectors;
pub use train::{Job, Metric, Validate, fit};
