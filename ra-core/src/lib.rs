//! The shared vocabulary of RA-Rec: what every other crate speaks, and nothing that only one of them needs.
//!
//! It stands apart so that an ID method, a language model, a data reader and an evaluation can be written, used and
//! replaced without knowing each other: a leaf crate depends on this one and on no other leaf.
//!
//! - data: [`Dataset`], [`Sequences`], [`Sample`], [`History`]
//! - frozen things, object-safe: [`Recommender`], [`LanguageModel`], [`Tokenizer`]
//! - trained things, generic modules: [`IdModel`], [`Aligner`], driven by [`fit`]
//! - the one loop over a language model's layers: [`run_layers`], and [`encode`] on top of it
//! - the contracts that any implementation must meet: [`contract`]
//!
//! # Example: a recommender in ten lines
//! ```
//! use ra_core::{Device, History, IdTable, Recommender, open_device, Backend};
//! use burn::tensor::Tensor;
//!
//! let device: Device = open_device(Backend::Cpu)?;
//! let users = Tensor::from_floats([[1.0, 0.0], [0.0, 1.0]], &device); // [users, dim]
//! let items = Tensor::from_floats([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]], &device); // [items + 1, dim], row 0 is padding
//! let table = IdTable::new(users, items);
//! let scores = table.users(&[History { user: 1, items: &[1] }]).matmul(table.items(&[1, 2]).transpose());
//! assert_eq!(scores.into_data().try_to_vec::<f32>().unwrap(), vec![0.0, 3.0]);
//! # Ok::<(), ra_core::Error>(())
//! ```
#![recursion_limit = "256"]

mod adamw;
mod align;
pub mod attention;
mod checkpoint;
pub mod contract;
pub mod damage;
mod dataset;
mod device;
mod encode;
mod error;
mod files;
mod fit;
pub mod fused;
mod id_model;
mod language;
mod memory;
mod ours;
mod precision;
mod problem;
mod progress;
mod random;
mod recommend;
mod replicas;
mod state;
mod text;

pub use align::{Aligner, Prefix};
pub use burn::tensor::{Device, Tensor};
pub use checkpoint::{LedgerRow, ledger, load_module, save_module, trainable_params};
pub use dataset::{Catalog, Dataset, DatasetHash, PADDING, Sample, Sequences};
pub use device::{Backend, device_name, in_host_memory, open_device, open_devices};
pub use encode::{
    Encoded, encode, encode_from, encode_pooled, encode_with_tokens, mean_rows, pool, pooled_text, run_layers,
};
pub use error::{Error, Result};
pub use files::{
    Fingerprint, Fingerprinter, fingerprint, fingerprint_file, guarded, is_unfinished, lfs_pointer, lfs_pointer_error,
    read_bytes, read_json, write_atomic, write_json,
};
pub use fit::{Curve, CurvePoint, FitConfig, Validation, fit};
pub use id_model::{IdModel, TrainBatch};
pub use language::{
    LanguageModel, LayerInput, LmSpec, PooledText, Pooling, TextBatch, Tokenizer, attention_bias, take_rows,
};
pub use memory::{available_mib, check_host_room, check_room, peak_mib};
pub use ours::{MARKER, OutputFolder, refuse_inputs, refuse_inputs_within};
pub use precision::Precision;
pub use problem::Problem;
pub use progress::{POINTS, Progress, Silent, point};
pub use random::{SplitMix, dropout_mask, normal, normal_numbers, rng, splitmix64, uniform, xavier_normal};
pub use recommend::{History, IdTable, Recommender, scores};
pub use text::{BYTE_ORDER_MARK, other_encoding, read_text};
