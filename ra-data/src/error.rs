//! What can go wrong with data, and what a person does about it.
use crate::{CurateConfig, CurateMethod, DataConfig};
use ra_core::{Check, Problem};
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
    /// Keys of a [`DataConfig`](crate::DataConfig) whose values cannot work.
    #[error("{}", told(.0))]
    Settings(Vec<Problem>),
    /// Keys of a [`CurateConfig`](crate::CurateConfig) whose values cannot work.
    #[error("{}", told(.0))]
    Curation(Vec<Problem>),
    /// Samples are to be chosen by a trained model, which [`curate`](crate::curate) has none of: see
    /// [`candidates`](crate::candidates).
    #[error("method {} reads a trained ID method, and there is none here; use random or paper", .0.name())]
    NeedsModel(CurateMethod),
    /// A bound of memory within which the work cannot be done.
    #[error("memory: {problem}")]
    Bound {
        /// What is needed.
        problem: String,
    },
    /// A log whose list of rows does not fit into memory.
    #[error(
        "reading interactions takes {needed} MiB at least, {available} MiB are free; raise min_rating, read a part of the \
         log, or write its tables within a bound of memory"
    )]
    LogTooLarge {
        /// What it takes at least, in MiB.
        needed: u64,
        /// What there is, in MiB.
        available: u64,
    },
    /// Arrays of users, items and times that are no log.
    #[error("users, items and times: {problem}")]
    Arrays {
        /// What is wrong with them.
        problem: &'static str,
    },
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
fn told(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

impl DataError {
    /// A key of [`DataConfig`](crate::DataConfig) with what is wrong with it.
    pub(crate) fn setting(key: &str, told: impl Into<String>) -> Self {
        Self::Settings(vec![Problem::new(key, told)])
    }

    /// A key of [`CurateConfig`](crate::CurateConfig) with what is wrong with it.
    pub(crate) fn curation(key: &str, told: impl Into<String>) -> Self {
        Self::Curation(vec![Problem::new(key, told)])
    }

    /// Refuses values that cannot work before any file is read.
    pub(crate) fn refuse_settings(config: &DataConfig) -> Result<()> {
        let problems = config.problems();
        if problems.is_empty() { Ok(()) } else { Err(Self::Settings(problems)) }
    }

    /// The same of how samples are chosen.
    pub(crate) fn refuse_curation(config: &CurateConfig) -> Result<()> {
        let problems = config.problems();
        if problems.is_empty() { Ok(()) } else { Err(Self::Curation(problems)) }
    }

    /// A file whose content is wrong as a whole.
    pub(crate) fn corrupt(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::File(ra_core::Error::corrupt(path, problem))
    }

    /// A broken row.
    pub(crate) fn row(path: impl Into<PathBuf>, row: usize, problem: impl Into<String>) -> Self {
        Self::Row { path: path.into(), row, problem: problem.into() }
    }
}
