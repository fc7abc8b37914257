//! The errors of this crate.

/// The errors of matrices, reports and golden cases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Core(#[from] ra_core::Error),
    /// Matrices or lists have the wrong size or content.
    #[error("{what}: {problem}")]
    Input {
        /// The argument.
        what: String,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// Two reports cannot share a table.
    #[error("{left} and {right} were evaluated differently and do not belong in one table: {difference}")]
    Protocols {
        /// Name of the first report.
        left: String,
        /// Name of the second report.
        right: String,
        /// Where the protocols differ.
        difference: String,
    },
    /// A table cannot be written as JSON.
    #[error("comparison: cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A golden case is malformed.
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
