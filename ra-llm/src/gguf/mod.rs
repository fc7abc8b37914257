//! A model as GGUF, with everything in it: one file or several parts.
mod config;
mod file;
mod names;
mod parts;
pub(crate) mod tokenizer;

pub(crate) use config::{config, pooling};
pub(crate) use file::Gguf;
pub(crate) use names::{dense, weights};
pub(crate) use parts::find;
