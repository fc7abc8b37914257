//! The items that a user's targets are ranked among.
use super::HeldOut;
use super::ranking::candidates;
use crate::protocol::Candidates;
use ra_core::{ItemId, SplitMix, UserId, splitmix64};
use std::ops::Range;

/// Draws candidates, always the same ones for a given user.
#[derive(Debug)]
pub(crate) struct CandidateSampler {
    how: Candidates,
    items: usize,
    /// The items to draw from by popularity, each once per training interaction.
    popular: Vec<ItemId>,
}

impl CandidateSampler {
    pub(crate) fn new(how: Candidates, held_out: &HeldOut<'_>) -> Self {
        let by_popularity = matches!(how, Candidates::Popular(_));
        let popular = if by_popularity { held_out.trained_on().collect() } else { Vec::new() };
        Self { how, items: held_out.items(), popular }
    }

    /// Returns the candidates of `user` as ranges of columns (column c is item c + 1): the `relevant` ones plus,
    /// depending on the configuration, all or a sample of the others. `relevant` and `blocked` are ascending columns: a
    /// `blocked` one is a candidate only if it is relevant. Samples exclude `had`, the items of the history.
    pub(crate) fn draw(&self, user: UserId, relevant: &[u32], blocked: &[u32], had: &[ItemId]) -> Vec<Range<u32>> {
        let (Candidates::Uniform(n) | Candidates::Popular(n)) = self.how else {
            return candidates(self.items as u32, relevant, blocked);
        };
        let mut random = SplitMix::new(splitmix64(u64::from(user.0)));
        let mut drawn: Vec<u32> = relevant.to_vec();
        let mut left = n;
        // This many draws find n items unless hardly more than n are left; in that case the sample is smaller.
        for _ in 0..100 * n {
            if left == 0 {
                break;
            }
            let column = match self.how {
                Candidates::Popular(_) if self.popular.is_empty() => break,
                Candidates::Popular(_) => self.popular[random.below(self.popular.len())].0 - 1,
                _ => random.below(self.items) as u32,
            };
            if !drawn.contains(&column) && !had.contains(&ItemId(column + 1)) {
                drawn.push(column);
                left -= 1;
            }
        }
        drawn.sort_unstable();
        drawn.into_iter().map(|column| column..column + 1).collect()
    }
}
