//! Tools for tests of your own implementations (feature `testkit`): the contracts of the traits, and damaged files.
#[cfg(feature = "tensor")]
pub mod contract;
pub mod damage;
mod skip;

pub use skip::{SKIPPED, skipped};
