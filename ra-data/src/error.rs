//! The errors of data preparation, each with its remedy.
use crate::{CurateConfig, CurateMethod, DataConfig};
use ra_core::{Check, Problem};
use std::path::PathBuf;

/// A result whose error names the file, the row or the key at fault.
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// An error between raw files and samples.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// An error of [`ra_core`], such as a file that cannot be read or written.
    #[error(transparent)]
    Core(#[from] ra_core::Error),
    /// Keys of a [`DataConfig`](crate::DataConfig) have invalid values.
    #[error("{}", told(.0))]
    Settings(Vec<Problem>),
    /// Keys of a [`CurateConfig`](crate::CurateConfig) have invalid values.
    #[error("{}", told(.0))]
    Curation(Vec<Problem>),
    /// The method needs a trained model, which [`curate`](crate::curate) does not have; use
    /// [`candidates`](crate::candidates).
    #[error("method {} needs a trained ID method, which is not available here; use random or paper", .0.name())]
    NeedsModel(CurateMethod),
    /// The work cannot be done within the given memory bound.
    #[error("memory: {problem}")]
    Bound {
        /// What is needed.
        problem: String,
    },
    /// The rows of the log do not fit into memory.
    #[error(
        "reading the interactions takes at least {needed} MiB, but only {available} MiB are free; raise min_rating, \
         read a part of the log, or write its tables within a memory bound"
    )]
    LogTooLarge {
        /// The least memory needed, in MiB.
        needed: u64,
        /// The free memory, in MiB.
        available: u64,
    },
    /// Arrays of users, items and times that do not form a log.
    #[error("users, items and times: {problem}")]
    Arrays {
        /// What is wrong with them.
        problem: &'static str,
    },
    /// A file lacks a required column.
    #[error(
        "{}: no {role} column: found {found}; accepted: {accepted}; name another one by `columns.{role}`",
        path.display()
    )]
    Column {
        /// The file.
        path: PathBuf,
        /// What the column is for, such as `user`.
        role: &'static str,
        /// The columns that the file has.
        found: String,
        /// The accepted column names.
        accepted: String,
    },
    /// A row of a file cannot be read.
    #[error("{}: row {row}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row number, counted from 1 and including the header line.
        row: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The filters or the split left nothing to work with.
    #[error("{dataset}: {problem}")]
    NothingLeft {
        /// The name of the data set.
        dataset: String,
        /// What is missing, and what to do.
        problem: String,
    },
    /// A golden case does not have the expected layout.
    #[error("golden case: {0}")]
    Case(String),
}

/// Joins all problems into one line.
fn told(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

impl DataError {
    /// Reports a problem with a key of [`DataConfig`](crate::DataConfig).
    pub(crate) fn setting(key: &str, told: impl Into<String>) -> Self {
        Self::Settings(vec![Problem::new(key, told)])
    }

    /// Reports a problem with a key of [`CurateConfig`](crate::CurateConfig).
    pub(crate) fn curation(key: &str, told: impl Into<String>) -> Self {
        Self::Curation(vec![Problem::new(key, told)])
    }

    /// Refuses invalid settings before any file is read.
    pub(crate) fn refuse_settings(config: &DataConfig) -> Result<()> {
        let problems = config.problems();
        if problems.is_empty() { Ok(()) } else { Err(Self::Settings(problems)) }
    }

    /// Refuses invalid curation settings before any file is read.
    pub(crate) fn refuse_curation(config: &CurateConfig) -> Result<()> {
        let problems = config.problems();
        if problems.is_empty() { Ok(()) } else { Err(Self::Curation(problems)) }
    }

    /// Reports a file whose content is wrong as a whole.
    pub(crate) fn corrupt(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Core(ra_core::Error::corrupt(path, problem))
    }

    /// Reports a broken row.
    pub(crate) fn row(path: impl Into<PathBuf>, row: usize, problem: impl Into<String>) -> Self {
        Self::Row { path: path.into(), row, problem: problem.into() }
    }
}
