//! What a long stage tells whoever started it.

/// Receives the progress of one stage at a time; a command line draws it, a library user may ignore it with
/// [`NoProgress`].
pub trait Progress: Sync {
    /// A stage of `total` units begins.
    fn start(&self, stage: &str, total: u64);
    /// `done` units of the current stage are finished; `note` is a short state such as a loss.
    fn update(&self, done: u64, note: &str);
    /// The current stage is over.
    fn finish(&self);
}

/// The target of what [`point`] says.
pub const POINTS: &str = "ra_core::point";

/// Says that the process stands at a point that has a name, such as `rename report.json`. Tests of what a kill does stop the
/// process there; whoever does not listen to [`POINTS`] pays for one comparison.
pub fn point(name: std::fmt::Arguments<'_>) {
    tracing::trace!(target: POINTS, "{name}");
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _: &str, _: u64) {}
    fn update(&self, _: u64, _: &str) {}
    fn finish(&self) {}
}
