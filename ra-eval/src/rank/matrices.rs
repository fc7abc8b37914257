//! Rankings from plain matrices, without a tensor library or a model.
use super::HeldOut;
use super::candidates::CandidateSampler;
use super::evaluation::{Evaluation, Measured, longest, measure, queries};
use super::query::{Query, UserRanking};
use super::ranking::{Ranked, Ranking};
use crate::EvalError;
use crate::criterion::{groups, weighted};
use crate::protocol::EvalConfig;
use crate::slices::Groups;
use ra_core::{Check, NoProgress, UserId};
use rayon::prelude::*;
use std::ops::Range;

/// The number of users per product, and the maximum number of items: the scores stay in the cache until they are
/// counted.
const ROWS: usize = 48;
const ITEMS: usize = 2048;

/// The number of items whose scores [`ScoreJudge`] asks for at a time: few, so that it can stop early.
const ASKED: usize = 512;

/// The number of items per panel, and of users multiplied at a time: their sums fill the vector registers.
const TILE: usize = 16;
const MR: usize = 6;

/// Ranks every item for the users of `held_out` by the dot product of two vectors, as [`evaluate`](crate::evaluate)
/// does for a recommender. `users` is `[users, dim]` with one row for every user, including those without held-out
/// items; `items` is `[items, dim]`, with the item of id `k` in row `k - 1`.
///
/// A score adds its products in order, with one rounding for each, so the result is the same on every processor, for
/// any number of threads and any `block_mib`. A recommender's scores may be summed in another order if the processor
/// has a matrix unit or the model is on a GPU; ranks then differ if scores agree except in their last bits.
///
/// ```
/// use ra_core::ItemId;
/// use ra_eval::{EvalConfig, HeldOut, Metric, evaluate_vectors};
/// let users = [1.0, 0.0, 0.0, 1.0]; // [2, 2]
/// let items = [1.0, 2.0, 2.0, 3.0, 3.0, 1.0]; // [3, 2]
/// let histories = [ItemId::list([1]), ItemId::list([2])];
/// let targets = [ItemId::list([2]), ItemId::list([1])];
/// let held_out = HeldOut::from_lists(3, &histories, &targets)?;
/// let config = EvalConfig { ks: vec![1], ..EvalConfig::default() };
/// // The first user had item 1: item 2 scores 2, item 3 scores 3.
/// // The second user had item 2: item 1 scores 2, item 3 scores 1.
/// let found = evaluate_vectors(&users, &items, &held_out, &config)?;
/// assert_eq!(found.metrics.get(&Metric::Hr(1)), Some(&0.5));
/// # Ok::<(), ra_eval::EvalError>(())
/// ```
///
/// # Errors
/// The errors of [`Check::check`] for the configuration; [`EvalError::Input`] if a matrix does not have one row per
/// user or item of `held_out`, or if the widths differ.
pub fn evaluate_vectors(
    users: &[f32],
    items: &[f32],
    held_out: &HeldOut<'_>,
    config: &EvalConfig,
) -> Result<Evaluation, EvalError> {
    config.check()?;
    let dim = width("items", items, held_out.items())?;
    if users.len() != held_out.all_users() * dim {
        let rows = held_out.all_users();
        let problem = format!("{} numbers, but {rows} users of width {dim} need {}", users.len(), rows * dim);
        return Err(EvalError::input("users", problem));
    }
    let at_once = config.block_width(ROWS * rayon::current_num_threads(), ITEMS);
    let rank = |queries: &[Query], k: usize| -> Vec<Ranked> {
        let mut groups: Vec<Group> = (queries.par_chunks(ROWS))
            .map(|queries| Group::new(queries, |row| &users[row * dim..][..dim], |row| &items[row * dim..][..dim], k))
            .collect();
        for (first, block) in (0..).step_by(at_once).zip(items.chunks(at_once * dim)) {
            let panels = Panels::new(block, dim);
            groups.par_iter_mut().for_each(|group| group.add(first, &panels));
        }
        groups.into_iter().flat_map(|group| group.users).map(|user| user.finish(config.ties)).collect()
    };
    Ok(measure(held_out, config, &NoProgress, rank))
}

/// Ranks by precomputed scores: `scores` is `[users, items]`, with rows as for [`evaluate_vectors`] and the item of id
/// `k` in column `k - 1`.
///
/// # Errors
/// The errors of [`Check::check`] for the configuration; [`EvalError::Input`] if the matrix has another size.
pub fn evaluate_scores(scores: &[f32], held_out: &HeldOut<'_>, config: &EvalConfig) -> Result<Evaluation, EvalError> {
    config.check()?;
    let (users, items) = (held_out.all_users(), held_out.items());
    if scores.len() != users * items {
        let problem = format!("{} numbers, but {users} users and {items} items need {}", scores.len(), users * items);
        return Err(EvalError::input("scores", problem));
    }
    let row = |user: UserId| &scores[user.index() * items..][..items];
    let rank = |query: &Query, k: usize| {
        let row = row(query.user);
        let targets = query.relevant.iter().map(|&column| (column, row[column as usize])).collect();
        let mut ranking = Ranking::new(targets, query.candidates.clone(), k);
        ranking.add(0, row);
        ranking.finish(config.ties)
    };
    Ok(measure(held_out, config, &NoProgress, |queries, k| queries.par_iter().map(|query| rank(query, k)).collect()))
}

/// The [`criterion`](crate::criterion()) as a judge of score matrices, for searches that ask for it many times: what does
/// not depend on the scores is prepared once.
///
/// ```
/// use ra_core::ItemId;
/// use ra_eval::{EvalConfig, HeldOut, Metric, ScoreJudge};
/// let histories = [ItemId::list([1]), ItemId::list([2])];
/// let targets = [ItemId::list([2]), ItemId::list([1])];
/// let held_out = HeldOut::from_lists(3, &histories, &targets)?;
/// let config = EvalConfig { select: [("hr@1".into(), 1.0)].into(), ..EvalConfig::default() };
/// let judge = ScoreJudge::new(held_out, config)?;
/// // Two models: one prefers later items, the other earlier ones.
/// let models = [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]];
/// let rated = judge.rate(2, |_user, columns, to| {
///     for (to, model) in to.chunks_exact_mut(columns.len()).zip(&models) {
///         to.copy_from_slice(&model[columns.clone()]);
///     }
/// });
/// assert_eq!(rated, [0.0, 1.0]);
/// # Ok::<(), ra_eval::EvalError>(())
/// ```
#[derive(Debug)]
pub struct ScoreJudge<'a> {
    held_out: HeldOut<'a>,
    config: EvalConfig,
    /// Of the users that are evaluated.
    queries: Vec<Query>,
    /// The length of the lists that are made.
    listed: usize,
    /// What measures a model, before the first user.
    measured: Measured,
    groups: Option<Groups>,
}

impl<'a> ScoreJudge<'a> {
    /// Prepares to judge by [`EvalConfig::select`] over all of `held_out`, see [`EvalConfig::choosing`]. Lists of
    /// recommended items are made only if a term of the criterion reads them.
    ///
    /// # Errors
    /// The errors of [`Check::check`] for the configuration.
    pub fn new(held_out: HeldOut<'a>, config: EvalConfig) -> Result<Self, EvalError> {
        config.check()?;
        let config = config.choosing();
        let sampler = CandidateSampler::new(config.candidates, &held_out);
        let queries = queries(&held_out.evaluated(&config), &held_out, &sampler, &config);
        let reads_lists = config.terms().iter().any(|(_, measure)| measure.metric.reads_lists());
        let listed = if reads_lists { longest(&config) } else { 0 };
        let (measured, groups) = (Measured::new(&held_out, &config), groups(&config, &held_out));
        Ok(Self { held_out, config, queries, listed, measured, groups })
    }

    /// The users, in the order of the rows of scores, and what is held out of them.
    pub fn held_out(&self) -> &HeldOut<'a> {
        &self.held_out
    }

    /// Returns the criterion of each of `models` models, as [`criterion`](crate::criterion()) does. `scores(k, columns,
    /// to)` writes the scores of the user [`HeldOut::users`]`[k]` by each of them to `to`, `[models, columns]`; the
    /// item of id `i` is column `i - 1`. It is called on several threads, and not for items that cannot change the
    /// criterion any more.
    pub fn rate(&self, models: usize, scores: impl Fn(usize, Range<usize>, &mut [f32]) + Sync) -> Vec<f64> {
        let rank = |room: &mut Vec<f32>, query: &Query| self.rank(query, models, room, &scores);
        let ranked: Vec<Vec<Ranked>> = self.queries.par_iter().map_init(Vec::new, rank).collect();
        let evaluated: Vec<UserId> = self.queries.iter().map(|query| query.user).collect();
        let measure = |model: usize| {
            let mut measured = self.measured.clone();
            self.queries.iter().zip(&ranked).for_each(|(query, ranked)| measured.add(query, &ranked[model]));
            weighted(&self.config, self.groups.as_ref(), &measured.finish(evaluated.clone()))
        };
        (0..models).into_par_iter().map(measure).collect()
    }

    /// Ranks for one user by each model. Ranks beyond every K of the criterion are only known to be beyond it.
    fn rank(
        &self,
        query: &Query,
        models: usize,
        room: &mut Vec<f32>,
        scores: &impl Fn(usize, Range<usize>, &mut [f32]),
    ) -> Vec<Ranked> {
        let (items, deepest) = (self.held_out.items(), longest(&self.config));
        let user = self.held_out.users().partition_point(|other| *other < query.user);
        room.resize(models * ASKED.min(items).max(query.relevant.len()), 0.0);
        // `[targets, models]`
        for (place, &column) in query.relevant.iter().enumerate() {
            scores(user, column as usize..column as usize + 1, &mut room[place * models..][..models]);
        }
        let ranking = |model: usize| {
            let targets = (0..).zip(&query.relevant).map(|(place, &column)| (column, room[place * models + model]));
            Ranking::new(targets.collect(), query.candidates.clone(), self.listed)
        };
        let mut rankings: Vec<Ranking> = (0..models).map(ranking).collect();
        for first in (0..items).step_by(ASKED) {
            let columns = first..(first + ASKED).min(items);
            let to = &mut room[..models * columns.len()];
            scores(user, columns.clone(), to);
            for (ranking, scores) in rankings.iter_mut().zip(to.chunks_exact(columns.len())) {
                ranking.add(first as u32, scores);
            }
            if rankings.iter().all(|ranking| ranking.is_beyond(deepest)) {
                break;
            }
        }
        rankings.into_iter().map(|ranking| ranking.finish(self.config.ties)).collect()
    }
}

/// Returns the width of a matrix with this many rows.
fn width(name: &str, matrix: &[f32], rows: usize) -> Result<usize, EvalError> {
    match matrix.len().checked_div(rows) {
        Some(width) if width > 0 && width * rows == matrix.len() => Ok(width),
        _ => Err(EvalError::input(name, format!("{} numbers do not make {rows} rows of equal width", matrix.len()))),
    }
}

/// Users whose scores are computed in one product.
struct Group {
    /// `[users, dim]`.
    vectors: Vec<f32>,
    users: Vec<UserRanking>,
}

impl Group {
    fn new<'a>(
        queries: &[Query],
        user: impl Fn(usize) -> &'a [f32],
        item: impl Fn(usize) -> &'a [f32],
        k: usize,
    ) -> Self {
        let ranking = |query: &Query| {
            let own = user(query.user.index());
            let scores = query.relevant.iter().map(|&column| dot(own, item(column as usize)));
            UserRanking::new(query, scores, Vec::new(), k)
        };
        let vectors = queries.iter().flat_map(|query| user(query.user.index())).copied().collect();
        Self { vectors, users: queries.iter().map(ranking).collect() }
    }

    /// Adds the scores of the items of `panels`, the first of which is in column `first`.
    fn add(&mut self, first: u32, panels: &Panels) {
        let mut scores = panels.product(&self.vectors);
        for (user, scores) in self.users.iter_mut().zip(scores.chunks_exact_mut(panels.items)) {
            user.add(first, scores);
        }
    }
}

/// Computes a score exactly as a product does, so that items with the same vector tie.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| a.mul_add(*b, sum))
}

/// Item vectors in the order in which a product reads them: panels of [`TILE`] items, each `[dim, TILE]`; the last
/// panel is padded with zeros.
struct Panels {
    numbers: Vec<f32>,
    dim: usize,
    items: usize,
}

impl Panels {
    /// Packs `block`, `[items, dim]`.
    fn new(block: &[f32], dim: usize) -> Self {
        let items = block.len() / dim;
        let mut numbers = vec![0.0; items.next_multiple_of(TILE) * dim];
        for (panel, rows) in numbers.chunks_exact_mut(dim * TILE).zip(block.chunks(dim * TILE)) {
            for (lane, row) in rows.chunks_exact(dim).enumerate() {
                panel.iter_mut().skip(lane).step_by(TILE).zip(row).for_each(|(to, &x)| *to = x);
            }
        }
        Self { numbers, dim, items }
    }

    /// Multiplies `[rows, dim]` to `[rows, items]`.
    fn product(&self, rows: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; rows.len() / self.dim * self.items];
        pulp::Arch::new().dispatch(Product { rows, panels: self, out: &mut out });
        out
    }
}

/// A product, compiled for the vector units of this processor. It is not a closure because a closure's body would not
/// be inlined.
struct Product<'a> {
    rows: &'a [f32],
    panels: &'a Panels,
    out: &'a mut [f32],
}

impl pulp::NullaryFnOnce for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { rows, panels: Panels { numbers, dim, items }, out } = self;
        let count = rows.len() / dim;
        for (panel, from) in numbers.chunks_exact(dim * TILE).zip((0..).step_by(TILE)) {
            for row in (0..count).step_by(MR) {
                // Beyond the end, the last row is repeated and its result dropped.
                let read = |r: usize| &rows[(row + r).min(count - 1) * dim..][..*dim];
                let sums = tile([read(0), read(1), read(2), read(3), read(4), read(5)], panel);
                for (r, sums) in sums.iter().enumerate().take(count - row) {
                    let to = &mut out[(row + r) * items..][from..(from + TILE).min(*items)];
                    to.copy_from_slice(&sums[..to.len()]);
                }
            }
        }
    }
}

/// Returns the products of six rows with a panel.
#[inline(always)]
fn tile([a, b, c, d, e, f]: [&[f32]; MR], panel: &[f32]) -> [[f32; TILE]; MR] {
    let mut sums = [[0.0f32; TILE]; MR];
    for ((((((w, a), b), c), d), e), f) in panel.as_chunks().0.iter().zip(a).zip(b).zip(c).zip(d).zip(e).zip(f) {
        let w: &[f32; TILE] = w;
        for (sums, x) in sums.iter_mut().zip([a, b, c, d, e, f]) {
            (0..TILE).for_each(|j| sums[j] = x.mul_add(w[j], sums[j]));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::SplitMix;

    #[test]
    fn a_product_is_that_of_its_rows() {
        let mut random = SplitMix::new(3);
        let mut numbers = |n: usize| -> Vec<f32> { (0..n).map(|_| random.below(1 << 16) as f32 / 7.0 - 4e3).collect() };
        for (rows, dim, items) in [(1, 1, 1), (5, 3, 17), (48, 64, 2048), (50, 7, 31)] {
            let (a, b) = (numbers(rows * dim), numbers(items * dim));
            let got = Panels::new(&b, dim).product(&a);
            let want: Vec<f32> = a.chunks(dim).flat_map(|a| b.chunks(dim).map(move |b| dot(a, b))).collect();
            assert_eq!(got, want, "{rows} {dim} {items}");
        }
    }
}
