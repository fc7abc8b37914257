//! What can be wrong with a model folder.
use std::path::PathBuf;

/// A result whose error a user can act on.
pub type Result<T, E = LlmError> = std::result::Result<T, E>;

/// What can be wrong with a model folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LlmError {
    /// A file is missing, unreadable or not what it should be.
    #[error(transparent)]
    File(#[from] ra_core::Error),
    /// The folder holds an architecture that is not built in.
    #[error("{}: architecture {found:?} is not supported (supported: {supported}); other models implement ra_core::LanguageModel", path.display())]
    Architecture {
        /// The configuration file.
        path: PathBuf,
        /// The `model_type` found.
        found: String,
        /// Those that are.
        supported: &'static str,
    },
    /// The model's own files ask for a pooling that is not built in, and the caller for none.
    #[error("{}: it asks for the pooling {asked}, which is not supported; choose first, last or mean instead", path.display())]
    Pooling {
        /// The file that asks.
        path: PathBuf,
        /// What it asks for, by its name there.
        asked: String,
    },
    /// Tensors are missing, left over or of the wrong shape or type.
    #[error("{}: the weights do not fit the configuration: {problems}", path.display())]
    Weights {
        /// The weight file.
        path: PathBuf,
        /// Every problem, by tensor.
        problems: String,
    },
}
