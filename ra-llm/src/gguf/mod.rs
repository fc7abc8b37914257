//! A model as GGUF, with everything in it: one file or several parts.
mod file;
mod model;
mod parts;
pub(crate) mod tokenizer;

pub(crate) use file::Gguf;
pub(crate) use model::{config, pooling, weights};
pub(crate) use parts::find;
