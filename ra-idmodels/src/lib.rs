//! ID-based recommenders: models that learn only from who interacted with what.
//!
//! Use this crate alone to train SASRec, LightGCN or a baseline on a CPU or a GPU and rank a catalogue with it, or feed
//! the result to the alignment of RA-Rec. It knows neither language models nor interaction files: a method is fitted to
//! a [`Dataset`](ra_core::Dataset) and returns a [`Recommender`](ra_core::Recommender).
//!
//! # Methods
//! Each method is one file: a configuration, which is also the method ([`IdMethod`]), a module, its loss, and the paper
//! it follows. [`IdConfig`] chooses among them by `kind`, as a table of an experiment file does.
//!
//! | `kind` | configuration | what it is |
//! |---|---|---|
//! | `sasrec` | [`SasRecConfig`] | self-attention over the history |
//! | `bsarec` | [`BsaRecConfig`] | self-attention beside a filter of frequencies |
//! | `hstu` | [`HstuConfig`] | attention by a SiLU in place of a softmax, gated |
//! | `gru4rec` | [`Gru4RecConfig`] | a recurrent network over the history |
//! | `bert4rec` | [`Bert4RecConfig`] | bidirectional attention, trained to fill in hidden items |
//! | `comirec` | [`ComiRecConfig`] | several interests per user |
//! | `mf` | [`MfConfig`] | matrix factorization with BPR |
//! | `lightgcn` | [`LightGcnConfig`] | matrix factorization smoothed over the graph of users and items |
//! | `ease` | [`EaseConfig`] | a linear map between items, in closed form |
//! | `title-ease` | [`TitleEaseConfig`] | the same, with the words of titles in its matrix, also for larger catalogues |
//! | `title-svd` | [`TitleSvdConfig`] | one vector for each item from users and words of titles, without training |
//! | `markov` | [`MarkovConfig`] | the items that followed the last item |
//! | `lexical` | [`LexicalConfig`] | items with titles like those of the history |
//! | `item-knn` | [`ItemKnnConfig`] | items that occur near those of the history |
//! | `title-pairs` | [`TitlePairsConfig`] | the same, shared with the items of similar titles |
//! | `text-knn` | [`TextKnnConfig`] | items whose given vectors, such as those of titles, are near those of the history |
//! | `pop` | [`PopularityConfig`] | the same ranking for every user |
//! | `recent` | [`RecentConfig`] | popularity among everybody's newest items |
//! | `alpharec` | [`AlphaRecConfig`] | items mapped from given vectors, such as those of titles; a user is their mean |
//! | `unisrec` | [`UniSRecConfig`] | SASRec over items mapped from given vectors |
//! | `alphafuse` | [`AlphaFuseConfig`] | SASRec over items whose vectors are given in part and learned in part |
//! | `import` | [`ImportConfig`] | vectors made elsewhere, in PyTorch, numpy or Spark |
//!
//! # A method of your own
//! [`train`] trains a module with a loss ([`IdModel`](ra_core::IdModel)) on [`NextItem`], [`Prefixes`], [`EachPrefix`],
//! [`Pairs`], [`Cloze`] or your own [`Batches`]. With [`LearnedMethod`] on its configuration, [`fit`] and [`load`] accept it like
//! those above; see `examples/own_method.rs` for a complete one.
//!
//! # Guarantees
//! The same seed gives the same bits on the same machine. An interrupted training resumes from [`Job::state`] as if it
//! had never stopped. A checkpoint holds the parameters of the module and nothing else.
//!
//! # Example
//! ```
//! use ra_core::{Backend, Dataset, History, ItemId, OptimConfig, Recommender, Sequences, UserId, open_device};
//! use ra_idmodels::{Job, SasRecConfig, TrainConfig, fit};
//!
//! // Eight users walk around a ring of four items.
//! let walk = |user: u32| (0..6).map(|step| (user + step) % 4 + 1).collect::<Vec<_>>();
//! let data = Dataset::from_sequences("loop", 4, Sequences::from_numbers((0..8).map(walk)));
//! let optim = OptimConfig { lr: 0.01, ..OptimConfig::default() };
//! let train = TrainConfig { epochs: 60, optim, ..TrainConfig::default() };
//! let config = SasRecConfig { dim: 16, dropout: 0.0, train, ..SasRecConfig::default() };
//! let device = open_device(Backend::Cpu)?;
//! let model = fit(&config, &Job::new(&data, &device))?.model;
//! let users = model.users(&[History { user: UserId(0), items: &ItemId::list([1, 2]) }]);
//! let scores = users.matmul(model.items(&ItemId::list(1..=4)).transpose());
//! assert_eq!(scores.argmax(1).into_scalar::<i64>(), 2); // item 3 follows item 2
//! # Ok::<(), ra_core::Error>(())
//! ```
#![recursion_limit = "256"]

mod batch;
mod checks;
mod choose;
mod count;
mod eigen;
pub mod golden;
mod import;
mod loss;
mod method;
mod procrustes;
mod registry;
mod text;
mod train;
mod trained;

pub use batch::{Batches, Cloze, EachPrefix, NextItem, Pairs, Prefixes, WithShared};
pub use count::{
    Ease, EaseConfig, ItemKnn, ItemKnnConfig, Lexical, LexicalConfig, Markov, MarkovConfig, Popularity,
    PopularityConfig, RecentConfig, Similarity, TitleEase, TitleEaseConfig, TitlePairs, TitlePairsConfig, TitleSvd,
    TitleSvdConfig,
};
pub use import::{ImportConfig, ImportedVectors};
pub use loss::{
    Loss, MOST_FOR_SOFTMAX, binary_cross_entropy, bpr, gbce_weight, sampled_softmax, shared_softmax,
    softmax_cross_entropy,
};
pub use method::{Bert4Rec, Bert4RecConfig, BsaRec, BsaRecConfig, ComiRec, ComiRecConfig, Extraction, Gru4Rec};
pub use method::{
    Gru4RecConfig, Hstu, HstuConfig, LightGcn, LightGcnConfig, Mf, MfConfig, SasRec, SasRecConfig, SasRecInit,
    SasRecVariant,
};
pub use procrustes::procrustes;
pub use registry::{IdConfig, IdMethod, LearnedMethod, fit, load};
pub use text::{
    AlphaFuse, AlphaFuseConfig, AlphaRec, AlphaRecConfig, FeatureMap, FittedAlphaRec, FittedUniSRec, GroundConfig,
    Grounded, TextKnn, TextKnnConfig, UniSRec, UniSRecConfig,
};
pub use train::{Job, Start, TrainConfig, train};
pub use trained::Trained;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
