//! `cargo xtask bench`: the published performance figures, measured through the same calls as a run.
//!
//! The figure is process CPU time per step, including batches, loss, gradients and optimizer; on a shared machine it is
//! more reliable than wall time. To compare with PyTorch on one thread, set `RAYON_NUM_THREADS=1`.
mod align;
mod data;
mod lm;
mod rank;
mod time;

use align::{Step, TWO_LAYERS};
use anyhow::{Result, bail};
use ra_core::{Backend, Catalog, Dataset, Device, Precision, Sequences, SplitMix, open_device};
use ra_idmodels::{IdConfig, Job, LightGcnConfig, Loss, SasRecConfig};
use rank::Search;
use serde::Serialize;
use std::path::{Path, PathBuf};
use time::{Seconds, beyond, least};

/// One measured step.
#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    /// The process CPU seconds per step.
    cpu_s: f64,
    /// The wall seconds per step.
    wall_s: f64,
    steps_per_cpu_s: f64,
    /// The peak memory while it ran; for a language model, after it was loaded.
    peak_mib: Option<u64>,
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
type Bench = (&'static str, &'static str, fn(&At) -> Result<Seconds>);

const BENCHES: [Bench; 37] = [
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

pub(crate) fn bench(name: Option<&str>, backend: Backend, precision: Precision, json: bool, root: &Path) -> Result<()> {
    let at = At { device: open_device(backend)?, precision, root: root.into() };
    let chosen: Vec<&Bench> = BENCHES.iter().filter(|b| name.is_none_or(|name| b.0.starts_with(name))).collect();
    if chosen.is_empty() {
        bail!("no bench {:?}; there are {}", name.unwrap_or_default(), BENCHES.map(|b| b.0).join(", "));
    }
    let mut figures = Vec::new();
    for (name, what, run) in chosen {
        // The peak of an earlier benchmark does not count.
        crate::machine::forget_peak();
        let (cpu_s, wall_s) = run(&at)?;
        let (steps_per_cpu_s, peak_mib) = (1.0 / cpu_s, crate::machine::peak_mib());
        let figure = Figure { name: (*name).into(), cpu_s, wall_s, steps_per_cpu_s, peak_mib };
        if !json {
            say!(
                "{name:<16} {:>8.1} ms CPU {:>8.1} ms wall {:>7.2} steps/CPU s  {what}",
                1e3 * cpu_s,
                1e3 * wall_s,
                figure.steps_per_cpu_s
            );
        }
        figures.push(figure);
    }
    if json {
        say!("{}", serde_json::to_string_pretty(&figures)?);
    }
    Ok(())
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

fn sasrec(loss: Loss, negatives: usize, lengths: &[usize], at: &At) -> Result<Seconds> {
    sasrec_of(12_000, loss, negatives, lengths, at)
}

fn sasrec_of(items: usize, loss: Loss, negatives: usize, lengths: &[usize], at: &At) -> Result<Seconds> {
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
    measure(config, &data, 1, epochs, at)
}

fn lightgcn(at: &At) -> Result<Seconds> {
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
    measure(config, &data, 396, [0, 1], at)
}
