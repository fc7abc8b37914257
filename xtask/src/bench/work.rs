//! What a step computes and moves, and what a benchmark returns.
use super::time::Seconds;

/// The operations and bytes of a step that follow from its shapes; nothing where they do not.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Work {
    /// Two for each multiply-add of its matrix products.
    pub(super) flops: Option<f64>,
    /// The bytes that it has to read, each counted once.
    pub(super) bytes: Option<f64>,
    /// Whether it uses one thread, however many there are.
    pub(super) on_one_thread: bool,
}

/// The result of a benchmark: the seconds of a step, and its work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    pub(super) seconds: Seconds,
    pub(super) work: Work,
}

impl From<Seconds> for Measured {
    fn from(seconds: Seconds) -> Self {
        Self { seconds, work: Work::default() }
    }
}

impl Measured {
    /// Returns seconds with the operations of the same step.
    pub(super) fn of_flops(seconds: Seconds, flops: f64) -> Self {
        Self { seconds, work: Work { flops: Some(flops), ..Work::default() } }
    }
}

/// The pairs of a token and one that it attends to, in a text of `tokens`: all, or if `causal` those up to itself.
pub(super) fn pairs(tokens: usize, causal: bool) -> usize {
    if causal { tokens * (tokens + 1) / 2 } else { tokens * tokens }
}
