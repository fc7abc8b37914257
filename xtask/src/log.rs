//! Warnings to the terminal, everything to the run folder's `log.jsonl`, learning curves to its `tensorboard/` as well.
use crate::tensorboard::Events;
use crate::terminal;
use anyhow::{Context, Result};
use std::fmt::Debug;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context as Around, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Of the run that is going on; before there is one, events reach the terminal only.
static FILES: Mutex<Option<Files>> = Mutex::new(None);

struct Files {
    log: Arc<File>,
    curves: Events,
    /// What is being trained: names the curves.
    part: String,
}

/// Starts listening; called once, before anything can be worth telling.
pub(crate) fn listen() {
    let file = || -> Box<dyn Write> {
        match &*FILES.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(files) => Box::new(files.log.clone()),
            None => Box::new(std::io::sink()),
        }
    };
    let json = tracing_subscriber::fmt::layer().json().with_writer(file).with_filter(LevelFilter::INFO);
    let terminal =
        tracing_subscriber::fmt::layer().without_time().with_target(false).with_writer(|| terminal::Warnings);
    let terminal = terminal.with_filter(LevelFilter::WARN);
    let started =
        tracing_subscriber::registry().with(json).with(Curves.with_filter(LevelFilter::INFO)).with(terminal).try_init();
    debug_assert!(started.is_ok(), "listening starts once");
}

/// Appends events to the files of a run folder from now on.
pub(crate) fn write_to(folder: &Path) -> Result<()> {
    let path = folder.join("log.jsonl");
    let file = File::options().create(true).append(true).open(&path);
    let log = Arc::new(file.with_context(|| format!("{}: cannot write", path.display()))?);
    let path = folder.join("tensorboard");
    let curves = Events::create(&path).with_context(|| format!("{}: cannot write", path.display()))?;
    *FILES.lock().unwrap_or_else(PoisonError::into_inner) = Some(Files { log, curves, part: String::new() });
    Ok(())
}

/// Curves are those of `part` from now on: every method trains in a stage of the same name.
pub(crate) fn begin(part: &str) {
    if let Some(files) = &mut *FILES.lock().unwrap_or_else(PoisonError::into_inner) {
        files.part = part.into();
    }
}

/// Passes the points of learning curves on, as the training loop tells them.
struct Curves;

#[derive(Default)]
struct Point {
    stage: Option<String>,
    step: Option<u64>,
    numbers: Vec<(&'static str, f64)>,
}

impl Visit for Point {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.numbers.push((field.name(), value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "step" {
            self.step = Some(value);
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "stage" {
            self.stage = Some(value.into());
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl<S: Subscriber> Layer<S> for Curves {
    fn on_event(&self, event: &Event<'_>, _: Around<'_, S>) {
        let mut point = Point::default();
        event.record(&mut point);
        let (Some(stage), Some(step)) = (point.stage, point.step) else { return };
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Files { curves, part, .. }) = &mut *files else { return };
        let part = if part.is_empty() { &stage } else { &*part };
        // A full disk shows in files that matter more.
        point.numbers.iter().for_each(|(name, value)| drop(curves.scalar(&format!("{part}/{name}"), step, *value)));
    }
}
