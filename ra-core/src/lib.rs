//! The shared vocabulary of RA-Rec: the types and traits that the other crates have in common.
//!
//! ID methods, language models, data readers and evaluation can be written, used and replaced without knowing each
//! other: each leaf crate depends on this one and on no other leaf.
//!
//! - data: [`Dataset`], [`Sequences`], [`Sample`], [`History`]
//! - frozen models, as object-safe traits: [`Recommender`], [`LanguageModel`], [`Tokenizer`]
//! - trained models, as generic modules: [`IdModel`], [`Aligner`], driven by [`Fit`]
//! - the one loop over a language model's layers: [`run_layers`], and [`encode`] on top of it
//! - the contracts that every implementation must meet: `testkit::contract` (feature `testkit`)
//!
//! # Example: a recommender in ten lines
//! ```
//! use ra_core::{Backend, Device, History, IdTable, ItemId, Recommender, UserId, open_device};
//! use burn::tensor::Tensor;
//!
//! let device: Device = open_device(Backend::Cpu)?;
//! let users = Tensor::from_floats([[1.0, 0.0], [0.0, 1.0]], &device); // [users, dim]
//! let items = Tensor::from_floats([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]], &device); // [items + 1, dim], row 0: padding
//! let table = IdTable::new(users, items);
//! let scores = table
//!     .users(&[History { user: UserId(1), items: &[ItemId(1)] }])
//!     .matmul(table.items(&ItemId::list([1, 2])).transpose());
//! assert_eq!(scores.into_data().try_to_vec::<f32>().unwrap(), vec![0.0, 3.0]);
//! # Ok::<(), ra_core::Error>(())
//! ```
#![recursion_limit = "256"]

mod config;
mod data;
mod error;
mod io;
mod progress;
mod random;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

#[cfg(feature = "tensor")]
mod device;
#[cfg(feature = "tensor")]
mod encode;
#[cfg(feature = "tensor")]
mod host;
#[cfg(feature = "tensor")]
mod int_tensor;
#[cfg(feature = "tensor")]
pub mod kernels;
#[cfg(feature = "tensor")]
mod model;
#[cfg(feature = "tensor")]
mod train;

/// Burn, as this crate builds it. To derive `burn::module::Module` for your own module, depend on the package `burn` in
/// exactly this version.
#[cfg(feature = "tensor")]
pub use burn;

// For `flat_config!`.
#[doc(hidden)]
pub use serde;

pub use config::*;
pub use data::*;
pub use error::{Error, Result};
pub use io::*;
pub use progress::{NoProgress, POINTS, Progress, ProgressOf, point};
pub use random::{SplitMix, normal_numbers, rng, splitmix64};

#[cfg(feature = "tensor")]
pub use {
    burn::tensor::{Device, Tensor},
    device::{Backend, device_name, in_host_memory, open_device, open_devices},
    encode::*,
    host::host_numbers,
    int_tensor::{indices, int_tensor},
    model::*,
    train::*,
};

#[cfg(all(doctest, feature = "tensor"))]
#[doc = include_str!("../README.md")]
struct Readme;
