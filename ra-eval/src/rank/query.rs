//! The ranking of one user, built from blocks of scores.
use super::ranking::{Ranked, Ranking};
use crate::protocol::Ties;
use ra_core::{ItemId, UserId};
use std::ops::Range;

/// A user to rank items for.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) user: UserId,
    /// All earlier items of the user.
    #[cfg_attr(not(feature = "tensor"), expect(dead_code, reason = "models alone read it"))]
    pub(crate) history: Vec<ItemId>,
    /// Columns of the relevant items, ascending; column c is item c + 1.
    pub(crate) relevant: Vec<u32>,
    /// Columns of the candidates, ascending.
    pub(crate) candidates: Vec<Range<u32>>,
}

impl Query {
    /// The number of candidates besides the relevant items, which are among them.
    pub(crate) fn others(&self) -> usize {
        self.candidates.iter().map(ExactSizeIterator::len).sum::<usize>().saturating_sub(self.relevant.len())
    }
}

/// The unfinished ranking of a user.
#[derive(Debug)]
pub(crate) struct UserRanking {
    pub(crate) ranking: Ranking,
    /// The relevant items with the scores that were compared.
    pub(crate) relevant: Vec<(u32, f32)>,
    /// Additions to the scores, as ascending columns with values.
    additions: Vec<(u32, f32)>,
}

impl UserRanking {
    /// Takes the `scores` of the relevant items, in their order and without the `additions`, which are given by column;
    /// `k` is the number of items to list.
    pub(crate) fn new(
        query: &Query,
        scores: impl Iterator<Item = f32>,
        mut additions: Vec<(u32, f32)>,
        k: usize,
    ) -> Self {
        additions.sort_by_key(|&(column, _)| column);
        let score = |(&column, score): (&u32, f32)| {
            let more = additions.iter().filter(|(c, _)| *c == column);
            (column, more.fold(score, |score, (_, more)| score + more))
        };
        let relevant: Vec<(u32, f32)> = query.relevant.iter().zip(scores).map(score).collect();
        let ranking = Ranking::new(relevant.clone(), query.candidates.clone(), k);
        Self { ranking, relevant, additions }
    }

    /// Returns whether nothing is added to the scores and all targets' scores are finite.
    #[cfg(feature = "tensor")]
    pub(crate) fn is_plain_and_finite(&self) -> bool {
        self.additions.is_empty() && self.relevant.iter().all(|(_, score)| score.is_finite())
    }

    /// Adds the scores of the columns from `first` on; blocks must come in column order.
    pub(crate) fn add(&mut self, first: u32, scores: &mut [f32]) {
        let place = |column: u32| column.checked_sub(first).map(|at| at as usize).filter(|&at| at < scores.len());
        // Additions may be as many as items, and blocks too: searched, not gone through.
        let from = self.additions.partition_point(|&(column, _)| column < first);
        let until = self.additions.partition_point(|&(column, _)| (column as usize) < first as usize + scores.len());
        // A relevant item keeps the score that it was counted with: another backend might round differently.
        let exact: Vec<(usize, f32)> =
            self.relevant.iter().filter_map(|&(column, score)| Some((place(column)?, score))).collect();
        self.additions[from..until].iter().for_each(|&(column, more)| scores[(column - first) as usize] += more);
        exact.into_iter().for_each(|(at, score)| scores[at] = score);
        self.ranking.add(first, scores);
    }

    /// Returns the result after the last block.
    pub(crate) fn finish(self, ties: Ties) -> Ranked {
        self.ranking.finish(ties)
    }
}
