//! Methods over given item vectors, such as a language model's vectors of titles.
mod alpharec;
mod features;
mod unisrec;

pub use alpharec::{AlphaRec, AlphaRecConfig, FittedAlphaRec};
pub use features::FeatureMap;
pub use unisrec::{FittedUniSRec, UniSRec, UniSRecConfig};
