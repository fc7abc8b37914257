//! Progress reports of long stages.

/// Receives the progress of one stage at a time. A command line draws it; a library user may ignore it with
/// [`NoProgress`].
pub trait Progress: Sync {
    /// A stage of `total` units begins.
    fn start(&self, stage: &str, total: u64);
    /// `done` units of the current stage are finished; `note` is a short status such as the loss.
    fn update(&self, done: u64, note: &str);
    /// The current stage is over.
    fn finish(&self);
}

/// The tracing target of [`point`]'s events.
pub const POINTS: &str = "ra_core::point";

/// Emits a trace event that the process has reached a named point, such as `rename report.json`. Tests of crash safety
/// kill the process there. If nobody listens to [`POINTS`], the cost is one comparison.
pub fn point(name: std::fmt::Arguments<'_>) {
    tracing::trace!(target: POINTS, "{name}");
}

/// Ignores all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _: &str, _: u64) {}
    fn update(&self, _: u64, _: &str) {}
    fn finish(&self) {}
}
