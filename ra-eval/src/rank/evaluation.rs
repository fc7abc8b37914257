//! Exact ranking of the whole catalogue for every user, and its metrics.
use super::HeldOut;
use super::candidates::CandidateSampler;
use super::query::Query;
use super::ranking::Ranked;
use crate::metrics::{Metric, Tally, Titles, means, per_user};
use crate::protocol::{EvalConfig, Seen};
use ra_core::{ItemId, Progress, UserId};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::time::Instant;

/// The number of users ranked together. Larger blocks pack the items for the product less often.
const RANKED_TOGETHER: usize = 2048;

/// The metrics of a model's ranking.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The users evaluated, ascending.
    pub users: Vec<UserId>,
    /// Means over users at every K, all 0 if there are no users. [`Metric::Ils`] exists only on the test part and only
    /// if there are titles.
    pub metrics: BTreeMap<Metric, f64>,
    /// The accuracy metrics of each of `users`.
    pub per_user: BTreeMap<Metric, Vec<f64>>,
    /// The relevant items of each of `users` with their ranks, best first.
    pub ranks: Vec<Vec<(ItemId, f64)>>,
    /// The smallest number of candidates besides the targets over `users`, and the mean.
    pub candidates: (usize, f64),
    /// Share of the targets that tie with another candidate.
    pub tied_share: f64,
    /// Mean over targets of the share of the other candidates that they tie with. Near 1, the model is constant.
    pub tie_width: f64,
    /// The number of candidates' scores that are NaN or infinite, over all users. NaN ranks last; any such score is a
    /// defect.
    pub not_finite: usize,
    /// The best [`EvalConfig::keep_top`] items of each of `users`; ties are broken by id.
    pub top: Vec<Vec<ItemId>>,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl Evaluation {
    /// Restores the stored accuracy of `users`, such as for [`Row::with_baseline`](crate::Row::with_baseline).
    pub fn of_users(users: Vec<UserId>, per_user: BTreeMap<Metric, Vec<f64>>) -> Self {
        Self { users, per_user, ..Self::default() }
    }
}

/// Ranks for every user of `held_out` and measures the ranks of the targets. `rank` ranks for some users and lists this
/// many items for each. The result does not depend on which users are ranked together.
pub(crate) fn measure(
    held_out: &HeldOut<'_>,
    config: &EvalConfig,
    progress: &dyn Progress,
    mut rank: impl FnMut(&[Query], usize) -> Vec<Ranked>,
) -> Evaluation {
    let started = Instant::now();
    let users = held_out.evaluated(config);
    let sampler = CandidateSampler::new(config.candidates, held_out);
    let mut measured = Measured::new(held_out, config);
    progress.start("rank", users.len() as u64);
    for block in users.chunks(RANKED_TOGETHER) {
        let queries = queries(block, held_out, &sampler, config);
        let ranked = rank(&queries, longest(config));
        queries.iter().zip(&ranked).for_each(|(query, ranked)| measured.add(query, ranked));
    }
    progress.finish();
    Evaluation { seconds: started.elapsed().as_secs_f64(), ..measured.finish(users) }
}

/// Returns the length of the lists that metrics and [`EvalConfig::keep_top`] read.
pub(super) fn longest(config: &EvalConfig) -> usize {
    config.ks.iter().copied().max().unwrap_or(0).max(config.keep_top)
}

/// What is known of the users ranked so far.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    tally: Tally,
    keep_top: usize,
    ranks: Vec<Vec<(ItemId, f64)>>,
    top: Vec<Vec<ItemId>>,
    /// The number of candidates besides the targets, of each user.
    others: Vec<usize>,
}

impl Measured {
    pub(super) fn new(held_out: &HeldOut<'_>, config: &EvalConfig) -> Self {
        let counts = held_out.popularity().into_iter().map(f64::from);
        let tally = Tally::new(&config.sorted_ks(), counts).with_titles(held_out.titles().and_then(Titles::new));
        Self { tally, keep_top: config.keep_top, ranks: Vec::new(), top: Vec::new(), others: Vec::new() }
    }

    /// Adds the next user.
    pub(super) fn add(&mut self, query: &Query, ranked: &Ranked) {
        let items = |columns: &[u32]| columns.iter().map(|column| ItemId(column + 1)).collect::<Vec<_>>();
        self.tally.add(ranked);
        self.ranks.push(items(&ranked.items).into_iter().zip(ranked.ranks.iter().copied()).collect());
        if self.keep_top > 0 {
            self.top.push(items(&ranked.top[..self.keep_top.min(ranked.top.len())]));
        }
        self.others.push(query.others());
    }

    /// Returns the metrics of all users, `users`.
    pub(super) fn finish(self, users: Vec<UserId>) -> Evaluation {
        let Self { tally, ranks, top, others, .. } = self;
        let per_user = per_user(&tally);
        let mean = others.iter().sum::<usize>() as f64 / users.len().max(1) as f64;
        Evaluation {
            metrics: means(&per_user, &tally),
            per_user,
            ranks,
            candidates: (others.into_iter().min().unwrap_or(0), mean),
            users,
            tied_share: tally.tied_share(),
            tie_width: tally.tie_width(),
            not_finite: tally.not_finite,
            top,
            seconds: 0.0,
        }
    }
}

/// Returns what each of these users is asked.
pub(super) fn queries(
    users: &[UserId],
    held_out: &HeldOut<'_>,
    sampler: &CandidateSampler,
    config: &EvalConfig,
) -> Vec<Query> {
    users.par_iter().map(|&user| query(user, held_out, sampler, config)).collect()
}

/// Returns the columns of the relevant items and of the candidates; column c is item c + 1.
fn query(user: UserId, held_out: &HeldOut<'_>, sampler: &CandidateSampler, config: &EvalConfig) -> Query {
    let history = held_out.history(user);
    let relevant = column_set(&held_out.relevant(user, &history, config));
    let blocked = if config.seen == Seen::Removed { column_set(&history) } else { Vec::new() };
    let candidates = sampler.draw(user, &relevant, &blocked, &history);
    Query { user, history, relevant, candidates }
}

/// Returns items as columns, ascending and without duplicates.
fn column_set(items: &[ItemId]) -> Vec<u32> {
    let mut columns: Vec<u32> = items.iter().filter(|&&item| item != ItemId::PADDING).map(|item| item.0 - 1).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}
