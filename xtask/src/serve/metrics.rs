//! What a service counts, for Prometheus.
use crate::bundle::{Answer, Bundle};
use anyhow::Result;
use prometheus::{Encoder, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The limits of the buckets of times, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 5.0];

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    fallbacks: IntCounter,
    recommended: IntCounter,
    popularity: IntCounter,
    coverage: Gauge,
    items: Gauge,
    drift: Gauge,
    loads: IntCounter,
    /// Bundles that were refused while the service ran.
    pub(super) refused: IntCounter,
    /// The ids of the items that were recommended since the bundle was loaded.
    shown: Mutex<HashSet<String>>,
}

impl Metrics {
    pub(super) fn new() -> Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> Result<IntCounter> {
            let made = IntCounter::new(name, help)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let gauge = |name: &str, help: &str| -> Result<Gauge> {
            let made = Gauge::new(name, help)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let fallbacks = counter("ra_rec_fallbacks_total", "Recommendations by popularity for want of a known history")?;
        let recommended = counter("ra_rec_recommended_items_total", "Items in answers")?;
        let popularity =
            counter("ra_rec_recommended_popularity_total", "Training interactions of the items in answers, summed")?;
        let coverage =
            gauge("ra_rec_coverage_ratio", "Share of the items that were recommended since the bundle was loaded")?;
        let items = gauge("ra_rec_items", "Items of the bundle")?;
        let drift = gauge(
            "ra_rec_canary_drift_ratio",
            "Largest difference of a canary's score, relative to its answer's spread",
        )?;
        let loads = counter("ra_rec_bundle_loads_total", "Bundles put in place, the first one included")?;
        let refused = counter("ra_rec_bundle_refusals_total", "Bundles that were refused while the old one stayed")?;
        let options = Opts::new("ra_rec_requests_total", "Requests by route and status");
        let requests = IntCounterVec::new(options, &["route", "status"])?;
        registry.register(Box::new(requests.clone()))?;
        let options =
            HistogramOpts::new("ra_rec_request_seconds", "Time of requests in seconds").buckets(BUCKETS.into());
        let seconds = HistogramVec::new(options, &["route"])?;
        registry.register(Box::new(seconds.clone()))?;
        let shown = Mutex::default();
        Ok(Self {
            registry,
            requests,
            seconds,
            fallbacks,
            recommended,
            popularity,
            coverage,
            items,
            drift,
            loads,
            refused,
            shown,
        })
    }

    /// Records a new bundle, which is in its place already.
    pub(super) fn loaded(&self, drift: f32) {
        self.drift.set(f64::from(drift));
        self.loads.inc();
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.coverage.set(0.0);
    }

    /// Records the number of items.
    pub(super) fn items(&self, items: usize) {
        self.items.set(items as f64);
    }

    /// Records an answer.
    pub(super) fn answered(&self, bundle: &Bundle, answer: &Answer) {
        if answer.fallback.is_some() {
            self.fallbacks.inc();
        }
        self.recommended.inc_by(answer.recommended.len() as u64);
        let popularity = answer.recommended.iter().map(|named| u64::from(bundle.popularity_of(&named.item))).sum();
        self.popularity.inc_by(popularity);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for named in &answer.recommended {
            if !shown.contains(&named.item) {
                shown.insert(named.item.clone());
            }
        }
        self.coverage.set(shown.len() as f64 / bundle.items().max(1) as f64);
    }

    /// Records a request.
    pub(super) fn request(&self, route: &str, status: u16, time: Duration) {
        self.requests.with_label_values(&[route, &status.to_string()]).inc();
        self.seconds.with_label_values(&[route]).observe(time.as_secs_f64());
    }

    /// Returns all numbers in Prometheus's text format.
    pub(super) fn text(&self) -> Result<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8(text)?)
    }
}
