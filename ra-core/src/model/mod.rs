//! The models' interfaces between crates: object-safe traits for frozen models, modules for trained ones.
mod aligner;
mod forward;
mod id_model;
mod language;
mod precision;
mod recommender;

pub use aligner::{Aligner, Prefix};
pub use id_model::{IdModel, Renumbering, SharedNegatives, TrainBatch};
pub use language::{
    BLOCKED, LanguageModel, LayerInput, LmSpec, PooledPath, PooledText, Pooling, TextBatch, Tokenizer, TunableMatrices,
    attention_bias, gather_rows,
};
pub use precision::Precision;
pub use recommender::{History, IdTable, Recommender, Validate, scores};
