//! ID representation alignment (Yu et al., arXiv 2402.04527).
#![recursion_limit = "256"]

mod alignment;
mod cache;
mod config;
mod method;
mod select;
mod train;
mod validate;
mod variants;

pub use alignment::Alignment;
pub use cache::TextCache;
pub use config::{
    AlignConfig, AlignLoss, AlignTrain, DepartureConfig, IdSource, LossConfig, ModuleConfig, PairLoss, Placement,
    ProjectionKind, RegularizeConfig, Tuning, TuningConfig,
};
pub use method::{
    Departures, IdNormalizer, Layerwise, LayerwiseConfig, PromptConfig, Prompts, RaRec, TextTower, Towers,
    encode_users, l2_normalize,
};
pub use select::{coverage, highest_loss};
pub use train::{Candidates, Fit, Job, bpr_in_batch, bpr_sampled, distill, fit, info_nce, mmd, mse, softmax_in_batch};
pub use validate::Validate;
pub use variants::{
    ColdItemBoost, CrossFitted, PerturbedIds, TextForColdItems, check_cold, encode_titles, with_id_score, without_fold,
};
