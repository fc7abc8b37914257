//! The training loop: AdamW, resumable state, replicas on several devices, and checkpoints.
mod adamw;
mod checkpoint;
mod fit;
mod init;
mod replicas;
mod rows;
mod state;
mod steps;

pub use checkpoint::{load_grown_module, load_module, load_module_by_item, parameter_table, save_module};
pub use fit::{Fit, FitConfig, OptimConfig};
pub use init::{normal, uniform, xavier_normal};
pub(crate) use replicas::mean;
