//! Progress on the terminal: a bar with the remaining time, or plain lines if there is no terminal.
use crate::context::Output;
use indicatif::{ProgressBar, ProgressStyle};
use ra_core::Progress;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two plain lines of one stage.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Draws the progress of the running stage.
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

impl Output for Bars {
    fn say(&self, line: &str) {
        say!("{line}");
    }
}

impl Stage {
    /// Returns the line to print without a terminal, `now` that this much is done; nothing until the next line is due.
    fn line(&mut self, done: u64, note: &str, now: Instant) -> Option<String> {
        if now.duration_since(self.told) < PLAIN_EVERY {
            return None;
        }
        self.told = now;
        let spent = now.duration_since(self.since).as_secs_f64();
        let rate = done as f64 / spent;
        let note = if note.is_empty() { String::new() } else { format!(", {note}") };
        if self.total == 0 {
            return Some(format!("{}: {done} so far, {rate:.1}/s{note}", self.name));
        }
        let share = (done as f64 / self.total as f64).min(1.0);
        let left = spent * (1.0 / share - 1.0);
        let left = if done == 0 { String::new() } else { format!(", {rate:.1}/s, about {left:.0} s left") };
        Some(format!("{}: {:.0} %{left}{note}", self.name, 100.0 * share))
    }
}

impl Progress for Bars {
    fn start(&self, stage: &str, total: u64) {
        let bar = self.terminal.then(|| {
            let style = match total {
                0 => ProgressStyle::with_template("{prefix:<22} {spinner} {pos} {per_sec} {elapsed} {msg}"),
                _ => {
                    ProgressStyle::with_template("{prefix:<22} {wide_bar} {pos}/{len} {per_sec} {elapsed}<{eta} {msg}")
                }
            };
            let bar = ProgressBar::new(total).with_prefix(stage.to_string());
            // Keeps the clock running during long steps.
            bar.enable_steady_tick(Duration::from_millis(500));
            if let Ok(style) = style { bar.with_style(style) } else { bar }
        });
        if bar.is_none() {
            tell!("{stage} ..");
        }
        let now = Instant::now();
        self.with(|s| *s = Some(Stage { name: stage.into(), total, since: now, told: now, bar }));
    }

    fn update(&self, done: u64, note: &str) {
        self.with(|stage| {
            let Some(stage) = stage else { return };
            if let Some(bar) = &stage.bar {
                bar.set_position(done);
                bar.set_message(note.to_string());
            } else if let Some(line) = stage.line(done, note, Instant::now()) {
                tell!("{line}");
            }
        });
    }

    fn finish(&self) {
        self.with(|stage| {
            let Some(stage) = stage.take() else { return };
            if let Some(bar) = &stage.bar {
                bar.finish_and_clear();
            }
            tell!("{}: done in {:.1} s", stage.name, stage.since.elapsed().as_secs_f64());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_come_every_five_seconds_with_rate_and_time_left() {
        let since = Instant::now();
        let after = |seconds| since + Duration::from_secs(seconds);
        let mut stage = Stage { name: "align".into(), total: 200, since, told: since, bar: None };
        assert_eq!(stage.line(10, "loss 2.1", after(4)), None);
        assert_eq!(stage.line(0, "", after(5)).unwrap(), "align: 0 %");
        assert_eq!(stage.line(20, "", after(9)), None);
        assert_eq!(stage.line(50, "loss 1.7", after(10)).unwrap(), "align: 25 %, 5.0/s, about 30 s left, loss 1.7");
        assert_eq!(stage.line(300, "", after(20)).unwrap(), "align: 100 %, 15.0/s, about 0 s left");
        let mut search = Stage { name: "blend".into(), total: 0, since, told: since, bar: None };
        assert_eq!(search.line(50, "", after(10)).unwrap(), "blend: 50 so far, 5.0/s");
    }

    #[test]
    fn calls_out_of_order_do_no_harm() {
        let bars = Bars { terminal: false, stage: Mutex::new(None) };
        bars.update(3, "no stage");
        bars.finish();
        bars.start("empty", 0);
        bars.start("next", 2);
        bars.update(1, "");
        bars.finish();
    }
}
