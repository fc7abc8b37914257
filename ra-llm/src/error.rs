//! Errors of model folders.
use std::path::PathBuf;

/// A result whose error a user can act on.
pub type Result<T, E = LlmError> = std::result::Result<T, E>;

/// An error of a model folder or file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LlmError {
    /// A file is missing, unreadable or invalid.
    #[error(transparent)]
    Core(#[from] ra_core::Error),
    /// The folder holds an architecture that is not built in.
    #[error(
        "{}: architecture {found:?} is not supported (supported: {supported}); for another model, implement \
         ra_core::LanguageModel",
        path.display()
    )]
    Architecture {
        /// The configuration file.
        path: PathBuf,
        /// The `model_type` found.
        found: String,
        /// The supported architectures.
        supported: &'static str,
    },
    /// The folder holds an adapter, without the model that it belongs to.
    #[error(
        "{}: is an adapter of {model}, not a model; load that model, with this folder as its adapter",
        path.display()
    )]
    AdapterAlone {
        /// The folder.
        path: PathBuf,
        /// The model, as the adapter names it.
        model: String,
    },
    /// The model's own files ask for an unsupported pooling, and the caller did not choose one.
    #[error(
        "{}: it asks for the pooling {asked}, which is not supported; choose first, last, mean, max, mean_sqrt_len or \
         weighted instead",
        path.display()
    )]
    Pooling {
        /// The file that asks for it.
        path: PathBuf,
        /// The pooling's name in that file.
        asked: String,
    },
    /// Tensors are missing, left over or of the wrong shape or type.
    #[error("{}: the weights do not fit the configuration: {problems}", path.display())]
    Weights {
        /// The weight file.
        path: PathBuf,
        /// All problems, by tensor.
        problems: String,
    },
}
