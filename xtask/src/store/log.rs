//! Logging: warnings go to the terminal, all events to the run folder's `log.jsonl`, learning curves also to its
//! `tensorboard/`.
//!
//! A run owns its log: two runs in one process write to separate files.
use super::stop;
use super::tensorboard::Events;
use crate::terminal;
use anyhow::{Context, Result};
use std::fmt::Debug;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context as Around, SubscriberExt};
use tracing_subscriber::{Layer, Registry, fmt};

type Layers = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// Starts listening. Call it once, before any event of interest. Outside a run, events reach only the terminal.
pub(crate) fn listen() {
    let started = tracing::subscriber::set_global_default(Registry::default().with(terminal()));
    debug_assert!(started.is_ok(), "listening starts once");
}

fn terminal() -> Layers {
    // A terminal that has gone is not a reason to stop, nor to report an error that nobody reads.
    let warnings = fmt::layer().without_time().with_target(false).with_writer(|| terminal::Warnings);
    std::iter::once(warnings.with_filter(LevelFilter::WARN).boxed()).chain(stop::layer()).collect()
}

/// The log of a run. It records the events on the thread of the run until it is dropped; events of other threads reach
/// only the terminal.
pub(crate) struct Log {
    curves: Arc<Mutex<Curves>>,
    _listening: DefaultGuard,
}

/// A file of learning curves, and the part in training, which names them.
struct Curves {
    events: Events,
    part: String,
}

impl Log {
    /// Appends to the file `log` and adds `events` to `tensorboard`, a new file.
    pub(crate) fn open(log: &Path, tensorboard: &Path) -> Result<Self> {
        let cannot = |path: &Path| format!("{}: cannot write", path.display());
        let file = File::options().create(true).append(true).open(log).with_context(|| cannot(log))?;
        let events = Events::create(tensorboard).with_context(|| cannot(tensorboard))?;
        let curves = Arc::new(Mutex::new(Curves { events, part: String::new() }));
        let mut layers = terminal();
        let json = fmt::layer().json().with_writer(Arc::new(file)).log_internal_errors(false);
        layers.push(json.with_filter(LevelFilter::INFO).boxed());
        layers.push(Points(curves.clone()).with_filter(LevelFilter::INFO).boxed());
        let _listening = tracing::subscriber::set_default(Registry::default().with(layers));
        Ok(Self { curves, _listening })
    }

    /// Labels curves with `part` from now on, because the training stages of all methods have the same name.
    pub(crate) fn begin(&self, part: &str) {
        self.curves.lock().unwrap_or_else(PoisonError::into_inner).part = part.into();
        stop::begin(part);
    }
}

/// Forwards the points of learning curves from the training loop.
struct Points(Arc<Mutex<Curves>>);

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

impl<S: Subscriber> Layer<S> for Points {
    fn on_event(&self, event: &Event<'_>, _: Around<'_, S>) {
        let mut point = Point::default();
        event.record(&mut point);
        let (Some(stage), Some(step)) = (point.stage, point.step) else { return };
        let Curves { events, part } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = if part.is_empty() { &stage } else { &*part };
        // A full disk also affects files that matter more, which report it.
        point.numbers.iter().for_each(|(name, value)| drop(events.scalar(&format!("{part}/{name}"), step, *value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_in_one_process_have_logs_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let tell = |run: &str, loss: f64| {
            let log = Log::open(&path(&format!("{run}.jsonl")), &path(&format!("{run}.events"))).unwrap();
            log.begin(run);
            tracing::info!(stage = "align", step = 3u64, loss, "{run} trains");
            // A run within a run: later events belong to the outer one again.
            if run == "one" {
                let inner = Log::open(&path("inner.jsonl"), &path("inner.events")).unwrap();
                tracing::info!("inner");
                drop(inner);
            }
            tracing::info!("{run} ends");
        };
        std::thread::scope(|scope| {
            scope.spawn(|| tell("one", 1.5));
            scope.spawn(|| tell("two", 2.5));
        });
        let read = |name: &str| String::from_utf8_lossy(&std::fs::read(path(name)).unwrap()).into_owned();
        for (own, other) in [("one", "two"), ("two", "one")] {
            let log = read(&format!("{own}.jsonl"));
            assert_eq!(log.lines().count(), 2, "{log}");
            assert!(log.contains(&format!("{own} trains")) && log.contains(&format!("{own} ends")), "{log}");
            let curves = read(&format!("{own}.events"));
            assert!(curves.contains(&format!("{own}/loss")) && !curves.contains(&format!("{other}/loss")));
        }
        assert_eq!(read("inner.jsonl").lines().count(), 1);
    }
}
