//! Errors that a user can fix: each says what is wrong, where, and what to do.
use std::path::PathBuf;

/// A result whose error a user can act on.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of files, devices and numbers that all crates share.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {action}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The action that failed, such as "cannot read".
        action: &'static str,
        /// The operating system's error. The message includes it, so it is not a `source`: an error chain would print
        /// it twice.
        cause: std::io::Error,
    },
    /// A file has the wrong content.
    #[error("{}: {problem}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The back end is not part of this build.
    #[error("backend {wanted}: not in this build; rebuild with `--features {wanted}` (built in: {built})")]
    Backend {
        /// The requested back end.
        wanted: &'static str,
        /// The back ends that are built in.
        built: String,
    },
    /// The machine has no device for this back end.
    #[error("backend {wanted}: this machine has no device for it; {remedy}")]
    NoDevice {
        /// The requested back end.
        wanted: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// There is a device, but it cannot run any kernel.
    #[error("backend {wanted}: no kernel runs on {device}: its compiler is missing or its driver is too old; {remedy}")]
    NoKernels {
        /// The requested back end.
        wanted: &'static str,
        /// The device's name.
        device: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Fewer devices than requested can work together.
    #[error(
        "backend {wanted}: {asked} devices requested, but only {usable} can be used together{why}; request at most \
         {usable}"
    )]
    Devices {
        /// The back end.
        wanted: &'static str,
        /// The number of devices requested.
        asked: usize,
        /// The number of devices that can be used together.
        usable: usize,
        /// The reason, in parentheses, if it is not their number.
        why: &'static str,
    },
    /// Several devices were requested, but they cannot exchange their results.
    #[error("backend {wanted}: {asked} devices need {needs} to work together: {remedy}, or request one device")]
    Exchange {
        /// The back end.
        wanted: &'static str,
        /// The number of devices requested.
        asked: usize,
        /// What is missing.
        needs: &'static str,
        /// What to do to get what is missing.
        remedy: &'static str,
    },
    /// A language model's matrices cannot be kept in the requested precision.
    #[error("precision {wanted}: {problem}; use f32")]
    Precision {
        /// The requested precision.
        wanted: &'static str,
        /// What prevents it.
        problem: String,
    },
    /// A text cannot be tokenized.
    #[error("the text {text:?} cannot be tokenized: {problem}")]
    Text {
        /// The text, such as a title; only its beginning if it is long.
        text: String,
        /// The tokenizer's error.
        problem: String,
    },
    /// Something required was not given.
    #[error("{what} is needed: {remedy}")]
    Missing {
        /// What is missing.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// Settings that cannot work.
    #[error("{0}")]
    Settings(String),
    /// A stage needs more memory than is free.
    #[error("{stage}: needs at least {needed} MiB, but {available} MiB are free; {remedy}")]
    Memory {
        /// The stage that was not started.
        stage: String,
        /// The least memory that it needs, in MiB.
        needed: u64,
        /// The free memory, in MiB.
        available: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// A loss or gradient is not a finite number.
    #[error(
        "{stage}: {what} at step {step}; lower the learning rate, or look for NaN in the loaded files. Files written \
         before are intact"
    )]
    NotFinite {
        /// The stage that stopped.
        stage: String,
        /// The step at which it stopped.
        step: usize,
        /// The loss or parameter that is not finite.
        what: String,
    },
}

impl Error {
    /// An [`Error::Io`] at `path`.
    pub fn io(path: impl Into<PathBuf>, action: &'static str, cause: std::io::Error) -> Self {
        Self::Io { path: path.into(), action, cause }
    }

    /// An [`Error::Corrupt`] at `path`.
    pub fn corrupt(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Corrupt { path: path.into(), problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn what_the_system_says_is_said_once() {
        let error = Error::io("a.tsv", "cannot read", std::io::ErrorKind::NotFound.into());
        assert_eq!(error.to_string(), "a.tsv: cannot read: entity not found");
        assert!(error.source().is_none());
    }
}
