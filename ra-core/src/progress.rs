//! Progress reports of long stages.

/// Receives the progress of one stage at a time. A command line draws it; a library user may ignore it with
/// [`NoProgress`].
pub trait Progress: Sync {
    /// A stage of `total` units begins; 0 if nobody knows how many.
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

/// Reports progress with the name of what a stage works for, such as `rank (sasrec)`.
pub struct ProgressOf<'a> {
    name: &'a str,
    progress: &'a dyn Progress,
}

impl<'a> ProgressOf<'a> {
    /// Reports to `progress` what is done for `name`.
    pub fn new(name: &'a str, progress: &'a dyn Progress) -> Self {
        Self { name, progress }
    }
}

impl std::fmt::Debug for ProgressOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgressOf").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Progress for ProgressOf<'_> {
    fn start(&self, stage: &str, total: u64) {
        self.progress.start(&format!("{stage} ({})", self.name), total);
    }
    fn update(&self, done: u64, note: &str) {
        self.progress.update(done, note);
    }
    fn finish(&self) {
        self.progress.finish();
    }
}
