//! Methods over given item vectors, such as a language model's vectors of titles.
mod alphafuse;
mod alpharec;
mod features;
mod ground;
pub(crate) mod principal;
mod text_knn;
mod unisrec;

pub use alphafuse::{AlphaFuse, AlphaFuseConfig};
pub use alpharec::{AlphaRec, AlphaRecConfig, FittedAlphaRec};
pub use features::FeatureMap;
pub use ground::{GroundConfig, Grounded};
pub use text_knn::{TextKnn, TextKnnConfig};
pub use unisrec::{FittedUniSRec, UniSRec, UniSRecConfig};
