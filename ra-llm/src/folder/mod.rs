//! A model as a folder: `config.json`, weights in safetensors, a tokenizer, and the files that sentence-transformers
//! adds.
pub(crate) mod adapter;
mod config;
mod dense;
pub(crate) mod document;
mod names;
pub(crate) mod prompts;
mod sentence_encoder;
mod weight_files;
pub(crate) mod write_adapter;

pub(crate) use config::read as read_config;
pub(crate) use dense::DenseFiles;
pub(crate) use sentence_encoder::{Folder, TableKind};
pub(crate) use weight_files::open as open_weights;
