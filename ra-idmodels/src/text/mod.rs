//! Methods over given item vectors, such as a language model's vectors of titles.
mod alpharec;
mod features;
mod ground;
mod text_knn;
mod unisrec;

pub use alpharec::{AlphaRec, AlphaRecConfig, FittedAlphaRec};
pub use features::FeatureMap;
pub use ground::{GroundConfig, Grounded};
pub use text_knn::{TextKnn, TextKnnConfig};
pub use unisrec::{FittedUniSRec, UniSRec, UniSRecConfig};
