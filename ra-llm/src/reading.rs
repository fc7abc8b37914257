//! How a text is encoded: what a model's own files ask for, and what the caller asks for.
use ra_core::Pooling;
use serde::Serialize;

/// How a text is encoded, as the caller or else the model's own files ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// How a text becomes one vector; `None` for the architecture's default.
    pub pooling: Option<Pooling>,
    /// The maximum length of a text in tokens; `None` for what the architecture can read.
    pub max_tokens: Option<usize>,
}

impl Reading {
    /// The maximum length for an architecture that can read `most` tokens.
    pub(crate) fn at_most(self, most: usize) -> usize {
        self.max_tokens.map_or(most, |asked| asked.min(most))
    }
}

/// The pooling that a model's own files ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestedPooling {
    Known(Pooling),
    /// A pooling that this crate does not support, by its name in the file.
    Unknown(String),
}
