//! Progress on the terminal: a bar with the time left, or plain lines where there is no terminal.
use indicatif::{ProgressBar, ProgressStyle};
use ra_core::Progress;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two plain lines of one stage.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Draws the stage that is running.
#[derive(Debug)]
pub(crate) struct Bars {
    terminal: bool,
    stage: Mutex<Option<Stage>>,
}

#[derive(Debug)]
struct Stage {
    name: String,
    total: u64,
    since: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), stage: Mutex::new(None) }
    }

    fn with(&self, act: impl FnOnce(&mut Option<Stage>)) {
        act(&mut self.stage.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Progress for Bars {
    fn start(&self, stage: &str, total: u64) {
        let bar = self.terminal.then(|| {
            let style = ProgressStyle::with_template("{prefix:<22} {wide_bar} {pos}/{len} {elapsed}<{eta} {msg}");
            let bar = ProgressBar::new(total).with_prefix(stage.to_string());
            if let Ok(style) = style { bar.with_style(style) } else { bar }
        });
        let now = Instant::now();
        self.with(|s| *s = Some(Stage { name: stage.into(), total, since: now, told: now, bar }));
    }

    fn update(&self, done: u64, note: &str) {
        self.with(|stage| {
            let Some(stage) = stage else { return };
            if let Some(bar) = &stage.bar {
                bar.set_position(done);
                bar.set_message(note.to_string());
            } else if stage.told.elapsed() >= PLAIN_EVERY {
                stage.told = Instant::now();
                let share = done as f64 / stage.total.max(1) as f64;
                let left = stage.since.elapsed().as_secs_f64() * (1.0 / share.max(1e-9) - 1.0);
                eprintln!("{}: {:.0} %, about {left:.0} s left, {note}", stage.name, 100.0 * share);
            }
        });
    }

    fn finish(&self) {
        self.with(|stage| {
            let Some(stage) = stage.take() else { return };
            if let Some(bar) = &stage.bar {
                bar.finish_and_clear();
            }
            let seconds = stage.since.elapsed().as_secs_f64();
            if seconds >= 1.0 {
                eprintln!("{}: done in {seconds:.1} s", stage.name);
            }
        });
    }
}
