//! `cargo xtask bench`: the published performance figures, measured through the same calls as a run.
//!
//! The figure is process CPU time per step, including batches, loss, gradients and optimizer; on a shared machine it is
//! more reliable than wall time. Rates are per wall second, beside what the machine can do at most. Benchmarks run
//! within a pool of `--threads` threads; `--threads 1` compares with PyTorch on one thread.
mod align;
mod compare;
mod data;
mod limits;
mod lm;
mod rank;
mod record;
mod time;
mod titles;
mod work;

pub(crate) use compare::compare;
pub(crate) use record::Record;

use crate::machine::{self, Machine};
use align::{Step, TWO_LAYERS};
use anyhow::{Context, Result, bail, ensure};
use limits::Limits;
use ra_core::{Backend, Catalog, Dataset, Device, Precision, Sequences, SplitMix, open_device};
use ra_idmodels::{IdConfig, Job, LightGcnConfig, Loss, SasRecConfig};
use rank::Search;
use rayon::{ThreadPool, ThreadPoolBuilder};
use record::{Figure, OneThread, efficiency, giga, ms, percent};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use time::{Seconds, beyond, least};
use work::{Measured, pairs};

/// The stack of a thread, that of a main thread elsewhere: a whole benchmark runs on one of the pool.
const STACK: usize = 8 << 20;

/// The arguments of the command line.
#[derive(Debug)]
pub(crate) struct BenchArgs {
    /// Benchmarks, or the first letters of several; none means all.
    pub(crate) names: Vec<String>,
    pub(crate) backend: Backend,
    pub(crate) precision: Precision,
    /// The threads of the pool; by default as for a run.
    pub(crate) threads: Option<NonZeroUsize>,
    /// Whether each benchmark also runs on one thread.
    pub(crate) scaling: bool,
    pub(crate) json: bool,
}

/// The device of a benchmark, and the number format of a language model's matrices.
#[derive(Debug)]
struct At {
    device: Device,
    precision: Precision,
    /// The folder that contains `models/`.
    root: PathBuf,
}

/// A benchmark: its name, its description, and its function.
type Bench = (&'static str, &'static str, fn(&At) -> Result<Measured>);

static BENCHES: [Bench; 38] = [
    ("sasrec-bce", "SASRec, d 64, 2 blocks, batch 128 of length 50, 12,000 items, BCE with one negative", |at| {
        sasrec(Loss::Bce, 1, &[50], at)
    }),
    ("sasrec-softmax", "the same with the softmax over all items", |at| sasrec(Loss::Softmax, 0, &[50], at)),
    ("sasrec-gbce", "the same with gBCE and 256 negatives", |at| sasrec(Loss::Gbce, 256, &[50], at)),
    ("sasrec-shared", "the same with 1,024 negatives shared by all rows, half by popularity, logQ correction", |at| {
        sasrec(Loss::SharedSoftmax, 1024, &[50], at)
    }),
    ("sasrec-million", "sasrec-shared with a million items", |at| {
        sasrec_of(1_000_000, Loss::SharedSoftmax, 1024, &[50], at)
    }),
    ("sasrec-million-gbce", "sasrec-gbce with a million items", |at| sasrec_of(1_000_000, Loss::Gbce, 256, &[50], at)),
    ("sasrec-short", "softmax on histories of 3 to 12 items, as in real logs", |at| {
        sasrec(Loss::Softmax, 0, &[3, 4, 5, 7, 12], at)
    }),
    ("lightgcn", "LightGCN, d 64, 3 layers, batch 2048, 29,858 users, 40,981 items, 810,128 interactions", lightgcn),
    ("minilm-text", "MiniLM's shape, 32 texts of 64 tokens, every state of the last layer", |at| {
        lm::forward(&lm::MINILM, at)
    }),
    ("minilm-vector", "the same, the last layer at the pooled row alone", |at| lm::vector(&lm::MINILM, at)),
    ("minilm-prompt", "one text of 85 tokens, every state of the last layer", |at| lm::forward(&lm::PROMPT, at)),
    ("minilm-hybrid", "minilm-text, forward and backward to 8 prefix rows per layer", |at| {
        lm::backward(&lm::MINILM, true, at)
    }),
    ("minilm-pooled", "minilm-hybrid, the last layer at the pooled row alone", |at| {
        lm::backward(&lm::MINILM, false, at)
    }),
    ("many-pooled", "minilm-pooled with 1,024 texts, for a GPU", |at| lm::backward(&lm::MANY, false, at)),
    (
        "encode-titles",
        "encoding a catalogue of 2,000 titles of 5 to 11 words with MiniLM's shape, nothing cached",
        titles::encode,
    ),
    ("smollm2-text", "SmolLM2-135M's shape, 8 texts of 64 tokens", |at| lm::forward(&lm::SMOLLM2, at)),
    ("smollm2-vector", "the same, the last layer at the pooled row alone", |at| lm::vector(&lm::SMOLLM2, at)),
    ("smollm2-hybrid", "the same, forward and backward to 8 prefix rows per layer", |at| {
        lm::backward(&lm::SMOLLM2, true, at)
    }),
    ("smollm2-pooled", "the same, the last layer at the pooled row alone", |at| lm::backward(&lm::SMOLLM2, false, at)),
    (
        "align-all",
        "alignment on MiniLM's shape, every layer, 32 samples: both towers, loss, gradients, optimizer",
        |at| align::step(&Step { first_layer: 0, batch: 32, extra_negatives: 0, ..TWO_LAYERS }, at),
    ),
    ("align-two", "the same in the last two layers, 256 samples and 256 negatives", |at| align::step(&TWO_LAYERS, at)),
    ("align-short", "the same, histories of three titles and 64 negatives", |at| {
        align::step(&Step { titles: 3, extra_negatives: 64, ..TWO_LAYERS }, at)
    }),
    ("align-chunks", "align-two with the graph of 32 texts at a time", |at| {
        align::step(&Step { chunk: 32, ..TWO_LAYERS }, at)
    }),
    ("align-last", "align-two in the last layer alone", |at| align::step(&Step { first_layer: -1, ..TWO_LAYERS }, at)),
    ("rank-64", "exact ranking, one user per step: 1,000 users, 1 M items, 64 dimensions, the best 100", |at| {
        rank::users(1000, 1_000_000, 64, at)
    }),
    ("rank-384", "the same with 384 dimensions", |at| rank::users(1000, 1_000_000, 384, at)),
    ("rank-fewer-items", "a tenth of the items, 64 dimensions", |at| rank::users(1000, 100_000, 64, at)),
    ("rank-fewer-users", "a quarter of the users, 1 M items, 64 dimensions", |at| rank::users(250, 1_000_000, 64, at)),
    (
        "serve-scan",
        "the best 100 of 1 M items of 384 numbers for one request on one thread: the median request",
        |_| rank::request(Search::Index, 1_000_000, 384, 0.5),
    ),
    ("serve-scan-p99", "the same, the slowest request of a hundred", |_| {
        rank::request(Search::Index, 1_000_000, 384, 0.99)
    }),
    ("serve-small", "the same with 17,000 items, the median request", |_| {
        rank::request(Search::Index, 17_000, 384, 0.5)
    }),
    ("serve-all", "serve-scan by all scores in f32, the median request", |_| {
        rank::request(Search::All, 1_000_000, 384, 0.5)
    }),
    ("data-memory", "10 M interactions in memory: 5-core, leave-one-out, popularity buckets", |_| data::memory()),
    ("data-parquet", "the same from a Parquet file, ids as text", |_| data::file("parquet")),
    ("data-csv", "the same from a csv.zst file", |_| data::file("csv.zst")),
    ("smollm2-load", "loading models/smollm2, a GGUF file", |at| lm::load("smollm2", at)),
    ("minilm-tokens", "tokenizing 1,000 titles of 8 words with models/minilm", |at| lm::tokens("minilm", at)),
    ("smollm2-tokens", "tokenizing 1,000 titles of 8 words with models/smollm2", |at| lm::tokens("smollm2", at)),
];

/// Measures the chosen benchmarks, and prints a line for each or one JSON object.
///
/// # Errors
/// If no benchmark has a name, if the back end cannot be opened, if threads cannot be started, or if a benchmark fails.
pub(crate) fn bench(asked: &BenchArgs, root: &Path) -> Result<()> {
    let BenchArgs { backend, precision, json, .. } = *asked;
    let chosen = chosen(&asked.names)?;
    let at = At { device: open_device(backend)?, precision, root: root.into() };
    let pool = pool(asked.threads)?;
    let threads = pool.current_num_threads();
    let one = if asked.scaling { Some(one_thread(backend, threads)?) } else { None };
    let machine = Machine::here();
    // Those of a GPU are not known.
    let limits = (backend == Backend::Cpu).then(|| pool.install(Limits::measure));
    if !json {
        head(&machine, threads, limits.as_ref()).iter().for_each(|line| say!("{line}"));
    }
    let mut figures = Vec::new();
    for (name, what, run) in chosen {
        let timed = |pool: &ThreadPool| {
            // The peak of an earlier benchmark does not count.
            machine::forget_peak();
            pool.install(|| run(&at)).with_context(|| format!("bench {name}"))
        };
        let measured = timed(&pool)?;
        let mut figure =
            Figure { peak_mib: machine::peak_mib(), ..Figure::new(name, what, &measured, limits.as_ref()) };
        if let Some(one) = one.as_ref().filter(|_| !measured.work.on_one_thread) {
            let (cpu_s, wall_s) = timed(one)?.seconds;
            figure.one_thread =
                Some(OneThread { cpu_s, wall_s, efficiency: efficiency(wall_s, figure.wall_s, threads) });
        }
        if !json {
            say!("{}", line(&figure));
        }
        figures.push(figure);
    }
    if json {
        let commit = Some(machine::commit(root)).filter(|commit| commit != "unknown");
        let record = Record { machine, threads, precision, backend, commit, limits, figures };
        say!("{}", serde_json::to_string_pretty(&record)?);
    }
    Ok(())
}

/// Returns the benchmarks that begin with one of `names`, or all.
fn chosen(names: &[String]) -> Result<Vec<&'static Bench>> {
    let begins = |bench: &Bench, name: &String| bench.0.starts_with(name.as_str());
    if let Some(unknown) = names.iter().find(|name| !BENCHES.iter().any(|bench| begins(bench, name))) {
        bail!("no bench {unknown:?}; there are {}", BENCHES.map(|bench| bench.0).join(", "));
    }
    let is_chosen = |bench: &&Bench| names.is_empty() || names.iter().any(|name| begins(bench, name));
    Ok(BENCHES.iter().filter(is_chosen).collect())
}

/// Starts threads; without a number, as many as a run has.
fn pool(threads: Option<NonZeroUsize>) -> Result<ThreadPool> {
    let count = threads.map_or(0, NonZeroUsize::get);
    let built = ThreadPoolBuilder::new().num_threads(count).stack_size(STACK).build();
    built.with_context(|| format!("--threads {count}: the threads cannot be started; choose fewer"))
}

/// Starts the thread that `--scaling` compares with.
fn one_thread(backend: Backend, threads: usize) -> Result<ThreadPool> {
    ensure!(backend == Backend::Cpu, "--scaling counts threads of the CPU; leave --backend out");
    ensure!(threads > 1, "--scaling compares one thread with several, but there is one; choose --threads N");
    pool(NonZeroUsize::new(1))
}

/// Returns the lines that say where figures are measured, and what the machine can do at most.
fn head(machine: &Machine, threads: usize, limits: Option<&Limits>) -> Vec<String> {
    let processor = machine.processor.as_ref().map_or(String::new(), |name| format!("{name}, "));
    let mut lines = vec![format!("{processor}{}, load {}; threads: {threads}", machine.units(), machine.load())];
    if let Some(Limits { flops_per_s, bytes_per_s, array_mib }) = limits {
        let told = |limit: &limits::Limit, unit: &str| {
            format!("{} {unit} on one thread, {} on all", giga(limit.one_thread), giga(limit.all_threads))
        };
        lines.push(format!("at most {}: multiply-adds in registers, f32", told(flops_per_s, "GFLOP/s")));
        lines.push(format!("at most {}: a triad of arrays of {array_mib} MiB", told(bytes_per_s, "GB/s")));
    }
    lines
}

/// Returns the line of a figure.
fn line(figure: &Figure) -> String {
    let Figure { name, what, cpu_s, wall_s, steps_per_cpu_s, one_thread, .. } = figure;
    let mut told =
        format!("{name:<16} {:>10} CPU {:>10} wall {steps_per_cpu_s:>7.2} steps/CPU s  ", ms(*cpu_s), ms(*wall_s));
    told += &format!("{:<24}  ", figure.rates());
    if let Some(OneThread { wall_s, efficiency, .. }) = one_thread {
        told += &format!("efficiency {} ({} on one thread)  ", percent(*efficiency), ms(*wall_s));
    }
    told + what
}

/// Returns the seconds per step of an ID method, from trainings with more and with fewer epochs.
fn measure(
    config: impl Fn(usize) -> IdConfig,
    data: &Dataset,
    steps_an_epoch: usize,
    epochs: [usize; 2],
    at: &At,
) -> Result<Seconds> {
    let device = &at.device;
    let job = Job::new(data, device);
    let fit = |epochs| {
        ra_idmodels::fit(&config(epochs), &job)?;
        Ok(())
    };
    let (cpu, wall) = beyond(epochs, |epochs| least(1, || fit(epochs)))?;
    Ok((cpu / steps_an_epoch as f64, wall / steps_an_epoch as f64))
}

/// Returns a data set of numbered users and items without titles, with nothing held out.
pub(crate) fn dataset(users: usize, items: usize, train: Sequences) -> Dataset {
    let none = || Sequences::from_rows(vec![Vec::new(); users]);
    Dataset {
        name: "random".into(),
        users: (0..users).map(|u| u.to_string()).collect(),
        catalog: Catalog::new((0..items).map(|i| i.to_string()).collect(), vec![String::new(); items]),
        train,
        valid: none(),
        test: none(),
        filter: "none".into(),
        split: "none".into(),
    }
}

fn sasrec(loss: Loss, negatives: usize, lengths: &[usize], at: &At) -> Result<Measured> {
    sasrec_of(12_000, loss, negatives, lengths, at)
}

fn sasrec_of(items: usize, loss: Loss, negatives: usize, lengths: &[usize], at: &At) -> Result<Measured> {
    let (users, mut random) = (128, SplitMix::new(1));
    let row =
        |user: usize| (0..=lengths[user % lengths.len()]).map(|_| random.below(items) as u32 + 1).collect::<Vec<_>>();
    let data = dataset(users, items, Sequences::from_numbers((0..users).map(row).collect::<Vec<_>>()));
    let config = |epochs| {
        let mut config = SasRecConfig { loss, negatives, dropout: 0.2, ..SasRecConfig::default() };
        (config.train.epochs, config.train.patience) = (epochs, 0);
        IdConfig::SasRec(config)
    };
    // What a training takes once, such as filling a table of a million items, must vanish beside its steps.
    let epochs = if items > 100_000 { [4, 154] } else { [3, 18] };
    let seconds = measure(config, &data, 1, epochs, at)?;
    Ok(match loss {
        Loss::Softmax => {
            let lengths = (0..users).map(|user| lengths[user % lengths.len()]);
            Measured::of_flops(seconds, softmax_flops(&SasRecConfig::default(), items, lengths))
        }
        _ => seconds.into(),
    })
}

/// Returns the operations of all matrix products of a training step of SASRec in its original form, with the softmax
/// over `items`, for histories of these lengths: a product forward, and two of its size backward.
fn softmax_flops(config: &SasRecConfig, items: usize, lengths: impl Iterator<Item = usize>) -> f64 {
    let SasRecConfig { dim, blocks, .. } = *config;
    // A block has queries, keys, values and a feed-forward part of two matrices, and its attention looks back only.
    let of = |length: usize| length * dim * (items + 5 * blocks * dim) + 2 * blocks * dim * pairs(length, true);
    6.0 * lengths.map(of).sum::<usize>() as f64
}

fn lightgcn(at: &At) -> Result<Measured> {
    let (users, items, mut random) = (29_858, 40_981, SplitMix::new(1));
    // As many interactions as Gowalla, with items drawn from a long tail.
    let mut rows = vec![Vec::new(); users];
    for k in 0..810_128 {
        let item = (random.unit().powi(3) * items as f64) as u32 + 1;
        rows[k % users].push(item);
    }
    let data = dataset(users, items, Sequences::from_numbers(rows));
    let config = |epochs: usize| {
        let mut config = LightGcnConfig::default();
        (config.train.epochs, config.train.batch) = (epochs, 2048);
        IdConfig::LightGcn(config)
    };
    // An epoch is 396 steps.
    Ok(measure(config, &data, 396, [0, 1], at)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operations_of_sasrec_are_those_of_its_products() {
        let config = SasRecConfig { dim: 2, blocks: 1, ..SasRecConfig::default() };
        // Two rows: 2 x 5 matrices of 2 x 2, three pairs in two products of width 2, and 2 x 2 x 10 for the items.
        assert_eq!(softmax_flops(&config, 10, [2].into_iter()), (2 * 3 * (2 * 5 * 4 + 2 * 3 * 2 + 2 * 2 * 10)) as f64);
        assert_eq!(softmax_flops(&config, 10, [1, 1].into_iter()), (2 * 3 * 2 * (5 * 4 + 2 * 2 + 2 * 10)) as f64);
    }

    #[test]
    fn what_cannot_scale_says_why() {
        assert!(one_thread(Backend::Cpu, 2).is_ok_and(|pool| pool.current_num_threads() == 1));
        let told = |backend, threads| one_thread(backend, threads).unwrap_err().to_string();
        assert!(told(Backend::Cpu, 1).contains("choose --threads"));
        assert!(told(Backend::Cuda, 2).contains("--backend"));
        assert_eq!(pool(NonZeroUsize::new(3)).unwrap().current_num_threads(), 3);
    }

    #[test]
    fn a_line_tells_rates_and_efficiency_where_they_are_known() {
        let record = record::tests::record(&[("minilm-text", 0.25)]);
        let mut figure = record.figures[0].clone();
        assert!(line(&figure).contains("40.0 GFLOP/s (20 %)") && !line(&figure).contains("efficiency"));
        figure.one_thread = Some(OneThread { cpu_s: 0.4, wall_s: 0.4, efficiency: 0.8 });
        assert!(line(&figure).contains("efficiency 80 % (400.0 ms on one thread)"), "{}", line(&figure));
        let lines = head(&record.machine, 2, record.limits.as_ref());
        assert!(lines[0].starts_with("Xeon, 2 cores") && lines[0].ends_with("threads: 2"), "{lines:?}");
        assert!(lines[1].contains("100.0 GFLOP/s on one thread, 200.0 on all"), "{lines:?}");
        assert_eq!(head(&record.machine, 2, None).len(), 1);
    }

    #[test]
    fn benches_are_chosen_by_their_first_letters() {
        let names = |asked: &[&str]| -> Vec<&str> {
            let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
            chosen(&asked).unwrap().iter().map(|bench| bench.0).collect()
        };
        let all = names(&[]);
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), BENCHES.len(), "names differ");
        assert_eq!(names(&["rank-64", "encode", "rank-6"]), ["encode-titles", "rank-64"]);
        let unknown = chosen(&["rank".into(), "nothing".into()]).unwrap_err().to_string();
        assert!(unknown.contains("\"nothing\"") && unknown.contains("minilm-text"), "{unknown}");
    }
}
