//! What can go wrong with data, and what a person does about it.
use std::path::PathBuf;

/// A result whose error names the file, the row or the key to look at.
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// What can go wrong between raw files and samples.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file cannot be read or written, or is not what its name says.
    #[error(transparent)]
    File(#[from] ra_core::Error),
    /// A key of the `[data]` table has a value that cannot work.
    #[error("data.{key}: {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Keys of the `[data]` table, each with what is wrong with it and what is allowed.
    #[error("{}", told(.0))]
    Settings(Vec<(String, String)>),
    /// A file has no column for something that is needed.
    #[error(
        "{}: no {role} column: found {found}; accepted: {accepted}; name another one by `columns.{role}`",
        path.display()
    )]
    Column {
        /// The file.
        path: PathBuf,
        /// What the column is for, such as `user`.
        role: &'static str,
        /// The columns that are there.
        found: String,
        /// The names that would do.
        accepted: String,
    },
    /// One row of a file is broken.
    #[error("{}: row {row}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1 with the header line included.
        row: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// Filters or the split left nothing to work with.
    #[error("{dataset}: {problem}")]
    NothingLeft {
        /// The data set.
        dataset: String,
        /// What is missing, and what to do.
        problem: String,
    },
    /// A golden case is not of the layout expected.
    #[error("golden case: {0}")]
    Case(String),
}

/// Every key with its problem, in one line.
fn told(problems: &[(String, String)]) -> String {
    let told: Vec<String> = problems.iter().map(|(key, problem)| format!("data.{key}: {problem}")).collect();
    told.join("; ")
}

impl DataError {
    /// A file whose content is wrong as a whole.
    pub(crate) fn corrupt(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::File(ra_core::Error::corrupt(path, problem))
    }

    /// A broken row.
    pub(crate) fn row(path: impl Into<PathBuf>, row: usize, problem: impl Into<String>) -> Self {
        Self::Row { path: path.into(), row, problem: problem.into() }
    }
}
