//! Errors that a user can fix: each says what is wrong, where, and what to do.
use std::path::PathBuf;

/// A result whose error a user can act on.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with files, devices and numbers that every crate shares.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {action}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as in "cannot read".
        action: &'static str,
        /// What the system says. It is part of the message, so it is no `source`: a chain of errors would say it twice.
        cause: std::io::Error,
    },
    /// A file's content is not what it should be.
    #[error("{}: {problem}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The back end is not part of this build.
    #[error("backend {wanted}: not in this build; build with `--features {wanted}` (built in: {built})")]
    Backend {
        /// The back end asked for.
        wanted: &'static str,
        /// Those that are built in.
        built: String,
    },
    /// The machine has no device of this kind.
    #[error("backend {wanted}: this machine shows no device for it; {remedy}")]
    NoDevice {
        /// The back end asked for.
        wanted: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// There is a device, but no operation runs on it.
    #[error("backend {wanted}: no kernel runs on {device}: its compiler is missing or its driver is too old; {remedy}")]
    NoKernels {
        /// The back end asked for.
        wanted: &'static str,
        /// What the device calls itself.
        device: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Fewer devices than asked for can work together.
    #[error(
        "backend {wanted}: {asked} devices asked for, {usable} can be used together{why}; ask for at \
             most {usable}"
    )]
    Devices {
        /// The back end.
        wanted: &'static str,
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        usable: usize,
        /// Why, in brackets, where that is not their number.
        why: &'static str,
    },
    /// Several devices were asked for and cannot exchange what they computed.
    #[error("backend {wanted}: {needs} is needed for {asked} devices together: {remedy}, or ask for one device")]
    Exchange {
        /// The back end.
        wanted: &'static str,
        /// How many were asked for.
        asked: usize,
        /// What is missing.
        needs: &'static str,
        /// What to do to have them all.
        remedy: &'static str,
    },
    /// A language model's matrices cannot be kept in the numbers asked for.
    #[error("precision {wanted}: {problem}; ask for f32")]
    Precision {
        /// The numbers asked for.
        wanted: &'static str,
        /// What stands against it.
        problem: String,
    },
    /// A text cannot be cut into tokens.
    #[error("the text {text:?} cannot be cut into tokens: {problem}")]
    Text {
        /// The text, a title for instance; its beginning where it is long.
        text: String,
        /// What the tokenizer says.
        problem: String,
    },
    /// Something that is needed was not given.
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
    /// A stage takes more memory than there is.
    #[error("{stage}: takes {needed} MiB at least, {available} MiB are free; {remedy}")]
    Memory {
        /// The stage that was not begun.
        stage: String,
        /// What it takes at least, in MiB.
        needed: u64,
        /// What there is, in MiB.
        available: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// A loss or gradient is no longer a finite number.
    #[error(
        "{stage}: {what} at step {step}; lower the learning rate or look for NaN in what was loaded. What was written down \
         before is whole"
    )]
    NotFinite {
        /// The stage that stopped.
        stage: String,
        /// The step at which it stopped.
        step: usize,
        /// The loss, or the parameter, that is none.
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
