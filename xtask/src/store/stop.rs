//! Aborts the process at a named point, so that tests can kill a run at the same moment on every machine.
//!
//! `RA_REC_STOP_AT` names a point as [`ra_core::point`] does, such as `rename report.json`, or a training step together
//! with the part in training: `sasrec/step 250`. The process aborts the first time it reaches that point. Nothing is
//! flushed, dropped or removed, as with `kill -9`. With `RA_REC_STOP_AT=list` it only reports the points that it
//! passes, as `point NAME` lines on stderr. (A kill after some milliseconds hits another moment on another machine, or
//! a process that has finished.)
use ra_core::POINTS;
use std::fmt::Debug;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;

const STOP_AT: &str = "RA_REC_STOP_AT";

/// The start of the name of the point at which a part of a run begins to train.
const BEGIN: &str = "begin ";

/// Records that `part` begins to train.
pub(crate) fn begin(part: &str) {
    ra_core::point(format_args!("{BEGIN}{part}"));
}

/// Returns the layer that stops the process, if the environment requests one.
pub(crate) fn layer<S>() -> Option<Box<dyn Layer<S> + Send + Sync>>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let stop = Stop { at: std::env::var(STOP_AT).ok()?, part: Mutex::default() };
    Some(stop.with_filter(Targets::new().with_target(POINTS, LevelFilter::TRACE)).boxed())
}

struct Stop {
    at: String,
    /// The part in training, because steps of all parts have the same names.
    part: Mutex<String>,
}

impl<S: Subscriber> Layer<S> for Stop {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut told = Message::default();
        event.record(&mut told);
        let mut part = self.part.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = told.0.strip_prefix(BEGIN) {
            *part = next.into();
        }
        let point = if told.0.starts_with("step ") { format!("{part}/{}", told.0) } else { told.0 };
        if self.at == "list" {
            let _ = writeln!(std::io::stderr(), "point {point}");
        } else if self.at == point {
            std::process::abort();
        }
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
