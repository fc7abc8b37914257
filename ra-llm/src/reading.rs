//! How a text is read: what a model's own files ask for, and what the caller does.
use ra_core::Pooling;
use serde::Serialize;

/// How a text is read: what the caller, or else the model's own files, ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// How a text becomes one vector; the architecture's own way where nobody asks.
    pub pooling: Option<Pooling>,
    /// Longest text in tokens; what the architecture can read where nobody asks.
    pub max_tokens: Option<usize>,
}

impl Reading {
    /// The longest text of an architecture that can read `most` tokens.
    pub(crate) fn at_most(self, most: usize) -> usize {
        self.max_tokens.map_or(most, |asked| asked.min(most))
    }
}

/// The pooling that a model's own files ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestedPooling {
    Known(Pooling),
    /// One that this crate has no code for, by the name it has there.
    Unknown(String),
}
