//! What a user can fix.

/// What can go wrong with reports, settings and golden cases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Core(#[from] ra_core::Error),
    /// A setting makes no sense.
    #[error("[eval] {key}: {problem}")]
    Config {
        /// The key in the recipe.
        key: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Two reports may not stand in one table.
    #[error("{left} and {right} were evaluated differently and do not belong in one table: {difference}")]
    Protocols {
        /// The first report's recipe.
        left: String,
        /// The other report's recipe.
        right: String,
        /// Where the protocols differ.
        difference: String,
    },
    /// A table cannot be written as JSON.
    #[error("comparison: cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A golden case is not laid out as it should be.
    #[error("golden case: {key}: {problem}")]
    Golden {
        /// The key or tensor.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}
