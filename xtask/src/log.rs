//! Warnings to the terminal, everything to the run folder's `log.jsonl`.
use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Opened once the run folder is known; before that, events reach the terminal only.
static FILE: OnceLock<File> = OnceLock::new();

/// Starts listening; called once, before anything can be worth telling.
pub(crate) fn listen() {
    let file = || -> Box<dyn Write> {
        match FILE.get() {
            Some(file) => Box::new(file),
            None => Box::new(std::io::sink()),
        }
    };
    let json = tracing_subscriber::fmt::layer().json().with_writer(file).with_filter(LevelFilter::INFO);
    let terminal = tracing_subscriber::fmt::layer().without_time().with_target(false).with_writer(std::io::stderr);
    let started = tracing_subscriber::registry().with(json).with(terminal.with_filter(LevelFilter::WARN)).try_init();
    debug_assert!(started.is_ok(), "listening starts once");
}

/// Appends events to `path` from now on.
pub(crate) fn write_to(path: &Path) -> Result<()> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.with_context(|| format!("{}: cannot write", path.display()))?;
    // A second run in one process would go on in the first one's log.
    let _ = FILE.set(file);
    Ok(())
}
