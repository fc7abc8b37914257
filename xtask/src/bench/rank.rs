//! Exact ranking of a large catalogue: for many users, and for one request.
use super::time::least;
use super::work::{Measured, Work};
use super::{At, dataset};
use anyhow::{Result, ensure};
use burn::tensor::{Tensor, TensorData};
use cpu_time::ProcessTime;
use ra_core::{IdTable, ItemId, NoProgress, Sequences, SplitMix, normal_numbers, rng};
use ra_eval::{EvalConfig, HeldOut, Part, VectorIndex, evaluate_items, top_k};
use std::time::Instant;

/// Returns the seconds per user: the best 100 of `items` for each of `users`, through the same call as every row of a
/// report. How often the items are read depends on how users are put together, so only operations are known.
pub(super) fn users(users: usize, items: usize, dim: usize, at: &At) -> Result<Measured> {
    let mut random = SplitMix::new(1);
    let mut table = |rows: usize| {
        let values: Vec<f32> = (0..rows * dim).map(|_| random.unit() as f32 - 0.5).collect();
        Tensor::<2>::from_data(TensorData::new(values, [rows, dim]), &at.device)
    };
    let (vectors, columns) = (table(users), table(items + 1));
    let mut random = SplitMix::new(2);
    let mut rows = |n: usize| {
        let row = |_| (0..n).map(|_| random.below(items) as u32 + 1).collect::<Vec<_>>();
        Sequences::from_numbers((0..users).map(row).collect::<Vec<_>>())
    };
    let (train, test) = (rows(20), rows(1));
    let data = ra_core::Dataset { test, ..dataset(users, items, train) };
    let held_out = HeldOut::new(&data, Part::Test);
    let model = IdTable::new(vectors, columns.clone());
    let config = EvalConfig { ks: vec![100], ..EvalConfig::default() };
    let (cpu, wall) = least(2, || {
        evaluate_items(&model, &columns, &held_out, &config, &NoProgress);
        Ok(())
    })?;
    Ok(Measured::of_flops((cpu / users as f64, wall / users as f64), products(items, dim)))
}

/// Returns the operations of the scores of a user.
fn products(items: usize, dim: usize) -> f64 {
    (2 * items * dim) as f64
}

/// How a request finds its best items.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Search {
    /// By the search that a service uses.
    Index,
    /// By all scores in `f32`.
    All,
}

/// The number of requests that are timed.
const REQUESTS: usize = 200;

/// The number of centres that vectors are drawn around.
const CENTRES: usize = 1000;

/// What the scan of a service reads of an item beside a byte for each number: a step and an error.
const OF_ITEM: usize = 2 * size_of::<f32>();

/// Returns the work of a request. The scan multiplies integers, so only its bytes are known.
fn work(search: Search, items: usize, dim: usize) -> Work {
    let (flops, bytes) = match search {
        Search::Index => (None, items * (dim + OF_ITEM)),
        Search::All => (Some(products(items, dim)), items * dim * size_of::<f32>()),
    };
    Work { flops, bytes: Some(bytes as f64), on_one_thread: true }
}

/// Returns the seconds of a request for the best 100 of `items`, on one thread: those that a `share` of requests does
/// not exceed. A user is the mean of 20 items around three centres.
pub(super) fn request(search: Search, items: usize, dim: usize, share: f64) -> Result<Measured> {
    let rows = clustered(items, dim);
    let mut random = SplitMix::new(3);
    let users: Vec<Vec<f32>> = (0..REQUESTS).map(|_| user(&rows, dim, &mut random)).collect();
    let (index, padding) = (VectorIndex::new(rows, dim), [ItemId::PADDING]);
    let all = |user: &[f32]| top_k(&index.scores(user), 100, &padding);
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for user in &users {
        let started = (ProcessTime::now(), Instant::now());
        let found = match search {
            Search::Index => index.top_k(user, 100, &padding),
            Search::All => all(user),
        };
        cpu.push(started.0.elapsed().as_secs_f64());
        wall.push(started.1.elapsed().as_secs_f64());
        ensure!(cpu.len() > 3 || found == all(user), "the search is not exact");
    }
    let of = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[(share * REQUESTS as f64) as usize]
    };
    Ok(Measured { seconds: (of(cpu), of(wall)), work: work(search, items, dim) })
}

fn user(rows: &[f32], dim: usize, random: &mut SplitMix) -> Vec<f32> {
    let items = rows.len() / dim - 1;
    let centres = [0; 3].map(|_| random.below(CENTRES.min(items)));
    let mut mean = vec![0.0; dim];
    for n in 0..20 {
        let place = random.below(items) / CENTRES * CENTRES + centres[n % 3];
        let row = &rows[(1 + place.min(items - 1)) * dim..][..dim];
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x / 20.0);
    }
    mean
}

/// Returns vectors of length 1, `[items + 1, dim]` with padding: normal around centres, all of which lean the same way, as
/// the vectors of language models do.
fn clustered(items: usize, dim: usize) -> Vec<f32> {
    let mut random = rng(1, "vectors", 0);
    let mut numbers = |count: usize| normal_numbers(count * dim, 1.0, &mut random);
    let (lean, centres, mut rows) = (numbers(1), numbers(CENTRES), numbers(items + 1));
    rows[..dim].fill(0.0);
    for (item, row) in rows.chunks_exact_mut(dim).skip(1).enumerate() {
        let centre = &centres[item % CENTRES * dim..][..dim];
        row.iter_mut().zip(centre).zip(&lean).for_each(|((x, centre), lean)| *x += centre + lean);
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    rows
}
