//! What a user can fix.

/// What can go wrong with matrices, reports and golden cases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Core(#[from] ra_core::Error),
    /// Matrices or lists do not fit each other.
    #[error("{what}: {problem}")]
    Input {
        /// The argument.
        what: String,
        /// What is wrong, and what belongs there.
        problem: String,
    },
    /// Two reports may not stand in one table.
    #[error("{left} and {right} were evaluated differently and do not belong in one table: {difference}")]
    Protocols {
        /// Name of the first report.
        left: String,
        /// Name of the other one.
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

impl EvalError {
    pub(crate) fn input(what: &str, problem: impl Into<String>) -> Self {
        Self::Input { what: what.into(), problem: problem.into() }
    }
}
