//! Configurations: tables that are read strictly and can check their own values.
mod flat;
mod problem;

pub use flat::{FlatKeys, read_flat};
pub use problem::{Check, Problem};
