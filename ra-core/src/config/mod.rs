//! Configurations: tables whose keys are read strictly, and which say themselves what cannot work.
mod flat;
mod problem;

pub use flat::{FlatKeys, read_flat};
pub use problem::{Check, Problem};
