//! The one training loop: AdamW, a state to go on from, replicas on several devices, and checkpoints.
mod adamw;
mod checkpoint;
mod fit;
mod init;
mod replicas;
mod state;

pub use checkpoint::{LedgerRow, ledger, load_module, save_module, trainable_params};
pub use fit::{Curve, CurvePoint, Fit, FitConfig, OptimConfig};
pub use init::{dropout_mask, normal, uniform, xavier_normal};
pub(crate) use replicas::mean;
