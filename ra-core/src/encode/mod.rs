//! The one loop over a language model's layers, and how a text becomes one vector.
pub mod attention;
pub(crate) mod layers;

pub use layers::{
    Encoded, encode, encode_from, encode_pooled, encode_with_tokens, mean_rows, pool, pooled_text, run_layers,
};
