//! One user who is ranked for, while blocks of scores go by.
use super::ranking::{Ranked, Ranking};
use crate::protocol::Ties;
use ra_core::{ItemId, UserId};
use std::ops::Range;

/// A user to rank for.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) user: UserId,
    /// All that the user did before.
    #[cfg_attr(not(feature = "tensor"), expect(dead_code, reason = "models alone read it"))]
    pub(crate) history: Vec<ItemId>,
    /// Columns of the relevant items, ascending; column c is item c + 1.
    pub(crate) relevant: Vec<u32>,
    /// Columns of the candidates, ascending.
    pub(crate) candidates: Vec<Range<u32>>,
}

impl Query {
    /// Candidates beside the relevant items, which are among them.
    pub(crate) fn others(&self) -> usize {
        self.candidates.iter().map(ExactSizeIterator::len).sum::<usize>().saturating_sub(self.relevant.len())
    }
}

/// The ranking of a user under way.
#[derive(Debug)]
pub(crate) struct UserRanking {
    pub(crate) ranking: Ranking,
    /// Scores of the relevant items, as they were compared.
    pub(crate) relevant: Vec<(u32, f32)>,
    /// What is added to the scores of a block, by column, ascending.
    additions: Vec<(u32, f32)>,
}

impl UserRanking {
    /// `scores` are those of the relevant items in their order, to which `additions`, by column, are yet to come; `k` is how
    /// many items to list.
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

    /// Whether its scores are as they come, and its targets' are numbers.
    #[cfg(feature = "tensor")]
    pub(crate) fn is_plain_and_finite(&self) -> bool {
        self.additions.is_empty() && self.relevant.iter().all(|(_, score)| score.is_finite())
    }

    /// The scores of the columns from `first` on; blocks come in their order.
    pub(crate) fn add(&mut self, first: u32, scores: &mut [f32]) {
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

    /// After the last block.
    pub(crate) fn finish(self, ties: Ties) -> Ranked {
        self.ranking.finish(ties)
    }
}
