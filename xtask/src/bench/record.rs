//! What `bench --json` prints: the figures, and where and how they were measured.
use super::limits::Limits;
use super::work::Measured;
use crate::machine::Machine;
use ra_core::{Backend, Precision};
use serde::{Deserialize, Serialize};

/// The figures of one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(super) machine: Machine,
    /// The threads of the pool.
    pub(super) threads: usize,
    /// The number format of a language model's matrices.
    pub(super) precision: Precision,
    pub(super) backend: Backend,
    /// The commit of the project, if it is known.
    pub(super) commit: Option<String>,
    /// The limits of the machine; nothing if a GPU computes.
    pub(super) limits: Option<Limits>,
    pub(crate) figures: Vec<Figure>,
}

/// One measured step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(super) name: String,
    pub(super) what: String,
    /// The process CPU seconds per step.
    pub(super) cpu_s: f64,
    /// The wall seconds per step.
    pub(crate) wall_s: f64,
    pub(super) steps_per_cpu_s: f64,
    /// The peak memory while it ran; for a language model, after it was loaded.
    pub(super) peak_mib: Option<u64>,
    /// The operations of a step, if they are known: two for each multiply-add.
    pub(super) flops: Option<f64>,
    /// The bytes that a step has to read, if they are known.
    pub(super) bytes: Option<f64>,
    /// Operations per wall second, as a share of the limit of the threads that compute.
    pub(super) flops_share: Option<f64>,
    /// Bytes per wall second, likewise.
    pub(super) bytes_share: Option<f64>,
    /// The same step on one thread, for `--scaling`.
    pub(super) one_thread: Option<OneThread>,
}

/// A step on one thread beside the same step on all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct OneThread {
    pub(super) cpu_s: f64,
    pub(super) wall_s: f64,
    /// The share of the time of `threads` that does work: see [`efficiency`].
    pub(super) efficiency: f64,
}

/// Returns wall(1) / (n wall(n)): 1 if `threads` threads are as many times as fast as one.
pub(super) fn efficiency(one_wall_s: f64, wall_s: f64, threads: usize) -> f64 {
    one_wall_s / (threads as f64 * wall_s)
}

impl Figure {
    pub(super) fn new(name: &str, what: &str, measured: &Measured, limits: Option<&Limits>) -> Self {
        let Measured { seconds: (cpu_s, wall_s), work } = *measured;
        let (flops_limit, bytes_limit) = limits
            .map(|limits| (limits.flops_per_s.of(work.on_one_thread), limits.bytes_per_s.of(work.on_one_thread)))
            .unzip();
        let share = |done: Option<f64>, limit: Option<f64>| Some(done? / wall_s / limit?);
        Self {
            name: name.into(),
            what: what.into(),
            cpu_s,
            wall_s,
            steps_per_cpu_s: 1.0 / cpu_s,
            peak_mib: None,
            flops: work.flops,
            bytes: work.bytes,
            flops_share: share(work.flops, flops_limit),
            bytes_share: share(work.bytes, bytes_limit),
            one_thread: None,
        }
    }

    /// Returns rates and their shares of the limits: `125.3 GFLOP/s (66 %)`. Empty if nothing is known.
    pub(super) fn rates(&self) -> String {
        let rate = |done: Option<f64>, unit: &str, share: Option<f64>| {
            let rate = giga(done? / self.wall_s);
            Some(share.map_or_else(|| format!("{rate} {unit}"), |share| format!("{rate} {unit} ({})", percent(share))))
        };
        let rates = [rate(self.flops, "GFLOP/s", self.flops_share), rate(self.bytes, "GB/s", self.bytes_share)];
        rates.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Formats a rate in billions.
pub(super) fn giga(rate: f64) -> String {
    format!("{:.1}", rate / 1e9)
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// Formats seconds in milliseconds.
pub(super) fn ms(seconds: f64) -> String {
    let ms = 1e3 * seconds;
    if ms.abs() < 10.0 { format!("{ms:.3} ms") } else { format!("{ms:.1} ms") }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::limits::Limit;
    use super::super::work::Work;
    use super::*;

    /// A record of two threads with one figure for each name and its wall seconds.
    pub(in super::super) fn record(walls: &[(&str, f64)]) -> Record {
        let limit = |one_thread: f64| Limit { one_thread, all_threads: 2.0 * one_thread };
        let limits = Limits { flops_per_s: limit(1e11), bytes_per_s: limit(1e10), array_mib: 64 };
        let machine = Machine {
            processor: Some("Xeon".into()),
            cores: 2,
            architecture: "x86_64".into(),
            instructions: "AVX-512".into(),
            load: Some([0.5, 1.0, 1.5]),
        };
        let figure = |&(name, wall): &(&str, f64)| {
            Figure::new(name, "a step", &Measured::of_flops((2.0 * wall, wall), 1e10), Some(&limits))
        };
        Record {
            machine,
            threads: 2,
            precision: Precision::F32,
            backend: Backend::Cpu,
            commit: None,
            limits: Some(limits),
            figures: walls.iter().map(figure).collect(),
        }
    }

    #[test]
    fn a_share_is_that_of_the_threads_that_compute() {
        let limits = record(&[]).limits;
        let work = Work { flops: Some(1e10), bytes: Some(4e9), on_one_thread: false };
        let figure = |on_one_thread: bool, limits: Option<&Limits>| {
            let measured = Measured { seconds: (0.4, 0.2), work: Work { on_one_thread, ..work } };
            Figure::new("a", "b", &measured, limits)
        };
        let all = figure(false, limits.as_ref());
        assert_eq!((all.flops_share, all.bytes_share), (Some(0.25), Some(1.0)));
        assert_eq!(all.rates(), "50.0 GFLOP/s (25 %), 20.0 GB/s (100 %)");
        let one = figure(true, limits.as_ref());
        assert_eq!((one.flops_share, one.bytes_share), (Some(0.5), Some(2.0)));
        assert_eq!(figure(false, None).rates(), "50.0 GFLOP/s, 20.0 GB/s", "a rate without a limit has no share");
        let unknown = Figure::new("a", "b", &(1.0, 1.0).into(), limits.as_ref());
        assert_eq!((unknown.flops, unknown.flops_share, unknown.rates()), (None, None, String::new()));
    }

    #[test]
    fn two_threads_that_halve_the_time_are_used_in_full() {
        assert_eq!(efficiency(0.8, 0.4, 2), 1.0);
        assert_eq!(efficiency(0.8, 0.8, 2), 0.5);
        assert_eq!(efficiency(0.9, 0.1, 16), 0.5625);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut written = record(&[("align-two", 0.123_456_789)]);
        written.figures[0].one_thread = Some(OneThread { cpu_s: 0.2, wall_s: 0.2, efficiency: 0.8 });
        let json = serde_json::to_string(&written).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), written);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        for key in ["name", "what", "cpu_s", "wall_s", "steps_per_cpu_s", "peak_mib", "flops", "bytes", "flops_share"] {
            assert!(value["figures"][0].get(key).is_some(), "{key}");
        }
        assert_eq!(
            (&value["threads"], &value["precision"], &value["backend"]),
            (&2.into(), &"f32".into(), &"cpu".into())
        );
        assert_eq!(value["machine"]["processor"], "Xeon");
    }
}
