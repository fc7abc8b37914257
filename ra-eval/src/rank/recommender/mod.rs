//! Ranking for recommenders, which scores many users against all items in blocks of both.
mod on_device;

use self::on_device::Block;
use super::HeldOut;
use super::evaluation::{Evaluation, measure};
use super::query::{Query, UserRanking};
use super::ranking::Ranked;
use crate::protocol::EvalConfig;
use burn::tensor::Tensor;
use ra_core::kernels::{FrozenLinear, Layout};
use ra_core::{History, ItemId, Progress, Recommender, host_numbers, in_host_memory, int_tensor};
use rayon::prelude::*;
use std::time::Instant;

/// The number of users per pass through the user tower, and of items through the item tower. It is fixed so that the
/// vectors do not depend on the memory that the ranking may use.
const TOWER_BLOCK: usize = 256;

/// The number of rows and of items per product on the CPU: their scores stay in the cache until they are counted.
const ROWS: usize = 48;
const ITEMS: usize = 2048;

/// The maximum number of items per product on a GPU.
const MOST: usize = 1 << 16;

/// Returns the vectors of items `0..=items`, `[items + 1, dim]`: row k is item k, and row 0 is padding.
pub fn item_vectors(model: &dyn Recommender, items: usize) -> Tensor<2> {
    let ids: Vec<ItemId> = (0..=items as u32).map(ItemId).collect();
    Tensor::cat(ids.chunks(TOWER_BLOCK).map(|block| model.items(block)).collect(), 0)
}

/// Ranks every item for the users of `held_out` and measures the ranks of the held-out items.
///
/// The result does not depend on `block_mib` or on the number of threads.
///
/// ```
/// use burn::tensor::Tensor;
/// use ra_core::{Backend, IdTable, ItemId, NoProgress, open_device};
/// use ra_eval::{EvalConfig, HeldOut, Metric, evaluate};
/// let device = open_device(Backend::Cpu)?;
/// let users = Tensor::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
/// let items = Tensor::from_floats([[0.0, 0.0], [1.0, 2.0], [2.0, 3.0], [3.0, 1.0]], &device); // row 0 is padding
/// let (histories, targets) = ([ItemId::list([1]), ItemId::list([2])], [ItemId::list([2]), ItemId::list([3])]);
/// let held_out = HeldOut::from_lists(3, &histories, &targets)?;
/// let config = EvalConfig { ks: vec![1], ..EvalConfig::default() };
/// // The first user had item 1: item 2 scores 2, item 3 scores 3. The second had item 2: item 1 scores 2.
/// let found = evaluate(&IdTable::new(users, items), &held_out, &config, &NoProgress);
/// assert_eq!(found.metrics.get(&Metric::Hr(1)), Some(&0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// Panics if the shapes of the model's tensors differ from those that [`Recommender`] specifies.
pub fn evaluate(
    model: &dyn Recommender,
    held_out: &HeldOut<'_>,
    config: &EvalConfig,
    progress: &dyn Progress,
) -> Evaluation {
    let started = Instant::now();
    let items = item_vectors(model, held_out.items());
    let mut evaluation = evaluate_items(model, &items, held_out, config, progress);
    evaluation.seconds = started.elapsed().as_secs_f64();
    evaluation
}

/// Like [`evaluate`], with the item vectors given, `[items + 1, dim]` as from [`item_vectors`], so that an item tower
/// runs only once.
///
/// # Panics
/// As [`evaluate`].
pub fn evaluate_items(
    model: &dyn Recommender,
    items: &Tensor<2>,
    held_out: &HeldOut<'_>,
    config: &EvalConfig,
    progress: &dyn Progress,
) -> Evaluation {
    assert_eq!(items.dims()[0], held_out.items() + 1, "one vector per item, plus padding");
    let mut done = 0;
    measure(held_out, config, progress, |queries, k| {
        let mut ranked = Vec::with_capacity(queries.len());
        for queries in queries.chunks(users_at_once(model, queries, config)) {
            let histories: Vec<History<'_>> =
                queries.iter().map(|query| History { user: query.user, items: &query.history }).collect();
            let mut vectors = Vec::new();
            for block in histories.chunks(TOWER_BLOCK) {
                vectors.push(model.users(block));
                done += block.len();
                progress.update(done as u64, "");
            }
            ranked.extend(rank(model, &Tensor::cat(vectors, 0), items, queries, config, k));
        }
        ranked
    })
}

/// The users who are asked how many items their scores are added to.
const ASKED: usize = 8;

/// How many users are ranked at a time, so that their additions about fit: a count of words adds to most items of a
/// catalogue, other models to few or none. Some users stand for all.
fn users_at_once(model: &dyn Recommender, queries: &[Query], config: &EvalConfig) -> usize {
    let asked = queries.iter().step_by(queries.len() / ASKED + 1);
    let additions = |query: &Query| model.additions(&History { user: query.user, items: &query.history }).len();
    config.additions_at_once() / asked.map(additions).max().unwrap_or(0).max(1) + 1
}

/// Users whose scores are computed in one product.
struct Group {
    /// `[users * interests, dim]`.
    vectors: Tensor<2>,
    interests: usize,
    users: Vec<UserRanking>,
}

/// Ranks all items for `queries`, whose vectors are `[queries * interests, dim]`; `items` is `[items + 1, dim]`. The
/// result does not depend on how users and items are divided into blocks.
pub(crate) fn rank(
    model: &dyn Recommender,
    vectors: &Tensor<2>,
    items: &Tensor<2>,
    queries: &[Query],
    config: &EvalConfig,
    k: usize,
) -> Vec<Ranked> {
    let ([rows, dim], interests) = (items.dims(), model.interests());
    let on_cpu = in_host_memory(&items.device());
    let share = queries.len().div_ceil(rayon::current_num_threads());
    let together = if on_cpu { (ROWS / interests).min(share).max(1) } else { queries.len().max(1) };
    let at_once = if on_cpu { together * rayon::current_num_threads() } else { together };
    let width = config.block_width(at_once * interests, if on_cpu { ITEMS } else { MOST });
    let block = |first: usize| items.clone().slice([first..(first + width).min(rows), 0..dim]);
    let on_device = |first: usize| Block::new(first as u32 - 1, block(first), width.min(rows - 1));
    let firsts = || (1..rows).step_by(width);
    let group = |(index, queries): (usize, &[Query])| {
        let from = index * together * interests;
        let vectors = vectors.clone().slice([from..from + queries.len() * interests, 0..dim]);
        let relevant = if on_cpu {
            relevant(&vectors, interests, items, queries)
        } else {
            on_device::relevant(&vectors, interests, firsts().map(on_device), queries)
        };
        Group::new(model, vectors, &relevant, queries, k)
    };
    let mut groups: Vec<Group> = queries.par_chunks(together).enumerate().map(group).collect();
    for first in firsts() {
        if on_cpu {
            let columns = columns(block(first));
            let add = |group: &mut Group| group.add(first as u32 - 1, columns.forward(group.vectors.clone()));
            groups.par_iter_mut().for_each(add);
        } else {
            let block = on_device(first);
            groups.iter_mut().for_each(|group| _ = group.add_on_device(&block));
        }
    }
    groups.into_iter().flat_map(|group| group.users).map(|user| user.finish(config.ties)).collect()
}

/// Returns the best score of each relevant item over the user's vectors, users and items in order.
fn relevant(vectors: &Tensor<2>, interests: usize, items: &Tensor<2>, queries: &[Query]) -> Vec<f32> {
    let wanted: Vec<i32> = queries.iter().flat_map(|query| &query.relevant).map(|&column| column as i32 + 1).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let all = wanted.len();
    let ids = int_tensor(wanted, [all], &items.device());
    let mut scores = host_numbers(columns(items.clone().select(0, ids)).forward(vectors.clone()));
    let mut place = 0;
    let own = |(query, scores): (&Query, &mut [f32])| {
        let own = place..place + query.relevant.len();
        place = own.end;
        best_interest(scores, all)[own].to_vec()
    };
    queries.iter().zip(scores.chunks_exact_mut(interests * all)).flat_map(own).collect()
}

/// Wraps item vectors, `[n, dim]`, in a layer that multiplies by them.
fn columns(items: Tensor<2>) -> FrozenLinear {
    let ([n, dim], device) = (items.dims(), items.device());
    FrozenLinear::new(&host_numbers(items), Layout::OutIn, None, [dim, n], &device)
}

impl Group {
    /// Takes in `relevant` the scores of the relevant items of `queries`, without additions.
    fn new(model: &dyn Recommender, vectors: Tensor<2>, relevant: &[f32], queries: &[Query], k: usize) -> Self {
        let mut scores = relevant.iter().copied();
        let user = |query: &Query| {
            let history = History { user: query.user, items: &query.history };
            let additions = model.additions(&history).into_iter().map(|(item, more)| (item.0 - 1, more)).collect();
            UserRanking::new(query, scores.by_ref().take(query.relevant.len()), additions, k)
        };
        let users = queries.iter().map(user).collect();
        Self { vectors, interests: model.interests(), users }
    }

    /// Adds `scores`, `[users * interests, width]`, of the items from column `first` on.
    fn add(&mut self, first: u32, scores: Tensor<2>) {
        let width = scores.dims()[1];
        let mut scores = host_numbers(scores);
        for (user, scores) in self.users.iter_mut().zip(scores.chunks_exact_mut(width * self.interests)) {
            user.add(first, best_interest(scores, width));
        }
    }
}

/// Keeps the best score of each item over the user's vectors: `[interests * items]` to `[items]`.
fn best_interest(scores: &mut [f32], items: usize) -> &mut [f32] {
    let (best, others) = scores.split_at_mut(items);
    for other in others.chunks_exact(items.max(1)) {
        // A NaN must not be hidden by a number: it is counted as a defect.
        best.iter_mut().zip(other).for_each(|(best, &x)| *best = if x > *best || x.is_nan() { x } else { *best });
    }
    best
}
