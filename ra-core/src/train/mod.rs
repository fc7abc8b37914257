//! The one training loop: AdamW, a state to go on from, replicas on several devices, and checkpoints.
mod adamw;
mod checkpoint;
mod fit;
mod init;
mod replicas;
mod state;

pub use checkpoint::{load_module, parameter_table, save_module};
pub use fit::{Fit, FitConfig, OptimConfig};
pub use init::{normal, uniform, xavier_normal};
pub(crate) use replicas::mean;
