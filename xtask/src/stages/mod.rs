//! The stages of a run.
pub(crate) mod align;
pub(crate) mod evaluate;
pub(crate) mod id_models;
pub(crate) mod text;
