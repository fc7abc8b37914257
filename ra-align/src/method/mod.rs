//! The method: hard prompts of titles, soft prompts of IDs in every layer, and two towers over one frozen language
//! model.
mod departures;
mod layerwise;
pub(crate) mod normalize;
mod prompt;
mod rarec;
mod text_tower;
mod towers;
mod tuning;

pub use departures::Departures;
pub use layerwise::{Layerwise, LayerwiseConfig};
pub use normalize::{IdNormalizer, encode_users, l2_normalize};
pub use prompt::{PromptConfig, Prompts};
pub use rarec::RaRec;
pub use text_tower::TextTower;
pub use towers::Towers;

pub(crate) use normalize::{encode_items, require_vectors};
pub(crate) use towers::Side;
pub(crate) use tuning::require_tunable;
