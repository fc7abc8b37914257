//! Scores of many users against all items, a block of either at a time.
mod on_device;

use self::on_device::Block;
use crate::config::EvalConfig;
use crate::rank::{Ranked, Ranking};
use burn::tensor::{Int, Tensor, TensorData};
use ra_core::kernels::{FrozenLinear, Layout};
use ra_core::{History, Recommender, in_host_memory};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a product on the CPU, and items: their scores stay in the cache until they are counted.
const ROWS: usize = 48;
const ITEMS: usize = 2048;

/// Items of a product at least, and at most where a product does not run on the CPU.
const FEWEST: usize = 256;
const MOST: usize = 1 << 16;

/// A user to rank for.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pub(crate) history: History<'a>,
    /// Columns of the relevant items, ascending; column c is item c + 1.
    pub(crate) relevant: Vec<u32>,
    /// Columns of the candidates, ascending.
    pub(crate) candidates: Vec<Range<u32>>,
}

impl Query<'_> {
    /// Candidates beside the relevant items, which are among them.
    pub(crate) fn others(&self) -> usize {
        self.candidates.iter().map(ExactSizeIterator::len).sum::<usize>().saturating_sub(self.relevant.len())
    }
}

/// Users whose scores are one product.
struct Group {
    /// `[users * interests, dim]`.
    vectors: Tensor<2>,
    interests: usize,
    users: Vec<User>,
}

struct User {
    ranking: Ranking,
    /// Scores of the relevant items, as they were compared.
    relevant: Vec<(u32, f32)>,
    /// What is added to the product, by column.
    additions: Vec<(u32, f32)>,
}

/// Ranks all items for `queries`, whose vectors are `[queries * interests, dim]`; `items` is `[items + 1, dim]`. The result
/// does not depend on how users and items fall into blocks.
pub(crate) fn rank(
    model: &dyn Recommender,
    vectors: &Tensor<2>,
    items: &Tensor<2>,
    queries: &[Query<'_>],
    config: &EvalConfig,
    k: usize,
) -> Vec<Ranked> {
    let ([rows, dim], interests) = (items.dims(), model.interests());
    let on_cpu = in_host_memory(&items.device());
    let together = if on_cpu { (ROWS / interests).max(1) } else { queries.len().max(1) };
    let at_once = if on_cpu { together.min(queries.len().max(1)) * rayon::current_num_threads() } else { together };
    let width = (config.block_mib << 20) / size_of::<f32>() / (at_once * interests);
    let width = width.clamp(FEWEST, if on_cpu { ITEMS } else { MOST });
    let block = |first: usize| items.clone().slice([first..(first + width).min(rows), 0..dim]);
    let on_device = |first: usize| Block::new(first as u32 - 1, block(first), width.min(rows - 1));
    let firsts = || (1..rows).step_by(width);
    let group = |(index, queries): (usize, &[Query<'_>])| {
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
    groups.into_iter().flat_map(|group| group.users).map(|user| user.ranking.finish(config.ties)).collect()
}

/// The best score of every user's relevant items, a number each in their order.
fn relevant(vectors: &Tensor<2>, interests: usize, items: &Tensor<2>, queries: &[Query<'_>]) -> Vec<f32> {
    let wanted: Vec<i32> = queries.iter().flat_map(|query| &query.relevant).map(|&column| column as i32 + 1).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let all = wanted.len();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(wanted, [all]), &items.device());
    let mut scores = host(columns(items.clone().select(0, ids)).forward(vectors.clone()));
    let mut place = 0;
    let own = |(query, scores): (&Query<'_>, &mut [f32])| {
        let own = place..place + query.relevant.len();
        place = own.end;
        best_interest(scores, all)[own].to_vec()
    };
    queries.iter().zip(scores.chunks_exact_mut(interests * all)).flat_map(own).collect()
}

/// Item vectors `[n, dim]` as the layer that multiplies by them.
fn columns(items: Tensor<2>) -> FrozenLinear {
    let ([n, dim], device) = (items.dims(), items.device());
    FrozenLinear::new(&host(items), Layout::OutIn, None, [dim, n], &device)
}

/// The numbers in row order.
fn host(x: Tensor<2>) -> Vec<f32> {
    let data: TensorData = x.into_data().convert::<f32>();
    data.try_into_vec().unwrap_or_else(|e| unreachable!("converted to f32 above: {e:?}"))
}

impl Group {
    /// `relevant` has the scores of the relevant items of `queries`, without additions.
    fn new(model: &dyn Recommender, vectors: Tensor<2>, relevant: &[f32], queries: &[Query<'_>], k: usize) -> Self {
        let mut scores = relevant.iter();
        let user = |query: &Query<'_>| {
            let mut additions: Vec<(u32, f32)> =
                model.additions(&query.history).into_iter().map(|(item, more)| (item - 1, more)).collect();
            additions.sort_by_key(|&(column, _)| column);
            let score = |(&column, &score): (&u32, &f32)| {
                let more = additions.iter().filter(|(c, _)| *c == column);
                (column, more.fold(score, |score, (_, more)| score + more))
            };
            let relevant: Vec<(u32, f32)> = query.relevant.iter().zip(&mut scores).map(score).collect();
            let ranking = Ranking::new(relevant.clone(), query.candidates.clone(), k);
            User { ranking, relevant, additions }
        };
        let users = queries.iter().map(user).collect();
        Self { vectors, interests: model.interests(), users }
    }

    /// `scores`, `[users * interests, width]`, of the items from column `first` on.
    fn add(&mut self, first: u32, scores: Tensor<2>) {
        let width = scores.dims()[1];
        let mut scores = host(scores);
        for (user, scores) in self.users.iter_mut().zip(scores.chunks_exact_mut(width * self.interests)) {
            user.add(first, best_interest(scores, width));
        }
    }
}

impl User {
    /// Whether its scores are products and nothing else, and its targets' are numbers.
    fn is_plain_and_finite(&self) -> bool {
        self.additions.is_empty() && self.relevant.iter().all(|(_, score)| score.is_finite())
    }

    fn add(&mut self, first: u32, scores: &mut [f32]) {
        let place = |column: u32| column.checked_sub(first).map(|at| at as usize).filter(|&at| at < scores.len());
        let at: Vec<(usize, f32)> =
            self.additions.iter().filter_map(|&(column, more)| Some((place(column)?, more))).collect();
        // A relevant item has one score, the one it was counted with: another back end might round twice.
        let exact: Vec<(usize, f32)> =
            self.relevant.iter().filter_map(|&(column, score)| Some((place(column)?, score))).collect();
        at.into_iter().for_each(|(at, more)| scores[at] += more);
        exact.into_iter().for_each(|(at, score)| scores[at] = score);
        self.ranking.add(first, scores);
    }
}

/// Keeps of every item the best score of the user's vectors, `[interests * items]` to `[items]`.
fn best_interest(scores: &mut [f32], items: usize) -> &mut [f32] {
    let (best, others) = scores.split_at_mut(items);
    for other in others.chunks_exact(items.max(1)) {
        // A NaN must not hide behind a number: it is counted as a defect.
        best.iter_mut().zip(other).for_each(|(best, &x)| *best = if x > *best || x.is_nan() { x } else { *best });
    }
    best
}
