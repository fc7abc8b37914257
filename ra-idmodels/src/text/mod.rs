//! Methods over given item vectors, such as a language model's vectors of titles.
mod alphafuse;
mod alpharec;
mod features;
pub(crate) mod principal;
mod unisrec;

pub use alphafuse::{AlphaFuse, AlphaFuseConfig};
pub use alpharec::{AlphaRec, AlphaRecConfig, FittedAlphaRec};
pub use features::FeatureMap;
pub use unisrec::{FittedUniSRec, UniSRec, UniSRecConfig};
