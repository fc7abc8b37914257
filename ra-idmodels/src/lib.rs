//! ID-based recommenders, trained right: the backbones that RA-Rec aligns to a language model, and baselines beside it.
//!
//! The crate stands apart so that a team can train SASRec without touching a language model, and so that a method of
//! your own needs only [`ra_core::IdModel`] and [`train`].
//!
//! Methods: [`Popularity`] and [`Markov`], which count; [`Ease`], which solves; [`Mf`] and [`LightGcn`], which are two tables; [`SasRec`], [`Gru4Rec`],
//! [`Bert4Rec`] and [`ComiRec`], which read a history. Each is one file with one configuration and one paper.
//! [`AlphaRec`] and [`UniSRec`] map a language model's vectors of titles. [`ImportedVectors`] has vectors that were made elsewhere, in PyTorch, numpy or Spark.
//!
//! # Example
//! ```
//! use ra_core::{Backend, Catalog, Dataset, History, Recommender, Sequences, open_device};
//! use ra_idmodels::{IdConfig, Job, SasRecConfig, TrainConfig};
//!
//! let data = Dataset {
//!     name: "loop".into(),
//!     users: (0..8).map(|u| u.to_string()).collect(),
//!     catalog: Catalog::new((0..4).map(|i| i.to_string()).collect(), vec![String::new(); 4]),
//!     train: Sequences::from_rows((0..8u32).map(|u| (0..6).map(|t| (u + t) % 4 + 1).collect::<Vec<_>>())),
//!     valid: Sequences::from_rows(vec![vec![]; 8] as Vec<Vec<u32>>),
//!     test: Sequences::from_rows(vec![vec![]; 8] as Vec<Vec<u32>>),
//!     filter: "none".into(),
//!     split: "none".into(),
//! };
//! let train = TrainConfig { epochs: 60, lr: 0.01, patience: 0, ..TrainConfig::default() };
//! let config = IdConfig::SasRec(SasRecConfig { dim: 16, dropout: 0.0, train, ..SasRecConfig::default() });
//! let device = open_device(Backend::Cpu)?;
//! let trained = ra_idmodels::fit(&config, &Job::new(&data, &device))?;
//! let scores = trained.model.users(&[History { user: 0, items: &[1, 2] }]).matmul(trained.model.items(&[1, 2, 3, 4]).transpose());
//! assert_eq!(scores.argmax(1).into_scalar::<i64>(), 2); // item 3 follows item 2
//! # Ok::<(), ra_core::Error>(())
//! ```
#![recursion_limit = "256"]

mod batch;
mod checks;
mod count;
pub mod golden;
mod import;
mod loss;
mod method;
mod registry;
mod text;
mod train;
mod trained;

pub use batch::{Batches, Cloze, NextItem, Pairs, Prefixes};
pub use checks::Check;
pub use count::{Ease, EaseConfig, Markov, MarkovConfig, Popularity, PopularityConfig};
pub use import::{ImportConfig, ImportedVectors};
pub use loss::{Loss, binary_cross_entropy, bpr, gbce_weight, sampled_softmax, softmax_cross_entropy};
pub use method::{Bert4Rec, Bert4RecConfig, ComiRec, ComiRecConfig, Extraction, Gru4Rec, Gru4RecConfig, LightGcn};
pub use method::{LightGcnConfig, Mf, MfConfig, SasRec, SasRecConfig, SasRecVariant};
pub use registry::{IdConfig, IdMethod, fit, load};
pub use text::{AlphaRec, AlphaRecConfig, FeatureMap, FittedAlphaRec, FittedUniSRec, UniSRec, UniSRecConfig};
pub use train::{Job, TrainConfig, Validate, train};
pub use trained::Trained;
