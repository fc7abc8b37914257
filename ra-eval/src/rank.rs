//! One row of scores: where the relevant items rank, and the best items of all.
//!
//! A row holds a score an item, and an index into the row is the item. Items that are not candidates are a sorted list
//! of indices; the candidates are the gaps between them, so that the inner loops run over plain slices.
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

/// How candidates count that score exactly as much as a target.
///
/// Relevant items that tie with each other never share a rank: they follow each other, spaced over their ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// All tied others stand before the target: a constant model gets nothing.
    #[default]
    Pessimistic,
    /// All tied others stand behind the target: flatters constant models; for comparison with code that does this.
    Optimistic,
    /// The mean rank over all orders of the tied items, so half of them stand before a single target. The rank may be a
    /// fraction; it counts within the first K when it is at most K.
    Expected,
    /// Smaller ids first, as a sort by (score, id) has it. Ids often follow popularity, so this is not neutral.
    ById,
}

impl Ties {
    /// The name in recipes and protocols.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pessimistic => "pessimistic",
            Self::Optimistic => "optimistic",
            Self::Expected => "expected",
            Self::ById => "by_id",
        }
    }
}

/// What one row of scores says about one user.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ranked {
    /// Ranks of the relevant items, ascending, from 1.
    pub(crate) ranks: Vec<f64>,
    /// How many of them tie with another candidate.
    pub(crate) tied: usize,
    /// How many candidates have a score that is not finite.
    pub(crate) not_finite: usize,
    /// The best items, best first; ties by id.
    pub(crate) top: Vec<u32>,
}

/// Ranks `relevant` among the candidates of a row and lists the best `k`.
///
/// `relevant` and `blocked` are ascending and without repeats; a relevant item is a candidate even when it is blocked.
pub(crate) fn rank_row(scores: &[f32], relevant: &[u32], blocked: &[u32], ties: Ties, k: usize) -> Ranked {
    let blocked: Vec<u32> = blocked.iter().copied().filter(|item| relevant.binary_search(item).is_err()).collect();
    let not_finite =
        gaps(scores.len(), &blocked).map(|gap| scores[gap].iter().filter(|s| !s.is_finite()).count()).sum();
    let (ranks, tied) = ranks(scores, relevant, &blocked, ties);
    let top = best(scores, k, &blocked).into_iter().map(|(item, _)| item).collect();
    Ranked { ranks, tied, not_finite, top }
}

/// The `k` best items of a row with their scores, best first; ties by id ascending, NaN last.
///
/// The index of a score is its item. `blocked` items, in any order, are left out: the history, and 0 where the row
/// starts with padding. Fewer than `k` come back when there are fewer candidates.
///
/// ```
/// assert_eq!(ra_eval::top_k(&[9.0, 1.0, 3.0, 3.0], 2, &[0]), vec![(2, 3.0), (3, 3.0)]);
/// ```
pub fn top_k(scores: &[f32], k: usize, blocked: &[u32]) -> Vec<(u32, f32)> {
    let mut blocked = blocked.to_vec();
    blocked.sort_unstable();
    blocked.dedup();
    best(scores, k, &blocked)
}

/// The order of scores: NaN stands with the worst.
fn key(score: f32) -> f32 {
    if score.is_nan() { f32::NEG_INFINITY } else { score }
}

/// The stretches of `0..n` between the `blocked` indices.
fn gaps(n: usize, blocked: &[u32]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    blocked.iter().map(|&b| b as usize).filter(move |&b| b < n).chain([n]).filter_map(move |end| {
        let gap = start..end;
        start = end + 1;
        (!gap.is_empty()).then_some(gap)
    })
}

/// Ranks and number of tied targets; counts, and so needs neither a sort nor memory.
fn ranks(scores: &[f32], relevant: &[u32], blocked: &[u32], ties: Ties) -> (Vec<f64>, usize) {
    let mut order: Vec<(f32, u32)> = relevant.iter().map(|&item| (key(scores[item as usize]), item)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut ranks = Vec::with_capacity(order.len());
    let mut tied = 0;
    for group in order.chunk_by(|a, b| a.0 == b.0) {
        let (above, equal) = count(scores, group[0].0, blocked);
        tied += if equal > 1 { group.len() } else { 0 };
        for (place, &(score, item)) in (1..).zip(group) {
            let (above, equal, place, members) = (above as f64, equal as f64, f64::from(place), group.len() as f64);
            ranks.push(match ties {
                Ties::Pessimistic => above + (equal - members) + place,
                Ties::Optimistic => above + place,
                Ties::Expected => above + place * (equal + 1.0) / (members + 1.0),
                Ties::ById => above + 1.0 + count(&scores[..item as usize], score, blocked).1 as f64,
            });
        }
    }
    ranks.sort_by(f64::total_cmp);
    (ranks, tied)
}

/// How many candidates score above `score`, and how many exactly that.
fn count(scores: &[f32], score: f32, blocked: &[u32]) -> (usize, usize) {
    let lowest = score == f32::NEG_INFINITY; // where every NaN stands
    let (mut above, mut equal) = (0, 0);
    for gap in gaps(scores.len(), blocked) {
        for &s in &scores[gap] {
            above += usize::from(s > score);
            equal += usize::from((s == score) | (lowest & s.is_nan()));
        }
    }
    (above, equal)
}

/// A candidate in the heap; the greatest is the one to drop first.
#[derive(PartialEq)]
struct Entry {
    score: f32,
    item: u32,
}

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        let worse = other.score.partial_cmp(&self.score).unwrap_or(Ordering::Equal); // never NaN, see `key`
        worse.then(self.item.cmp(&other.item))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The `k` best by a bounded heap; `blocked` is ascending.
fn best(scores: &[f32], k: usize, blocked: &[u32]) -> Vec<(u32, f32)> {
    let k = k.min(scores.len());
    if k == 0 {
        return Vec::new();
    }
    let mut heap: BinaryHeap<Entry> = BinaryHeap::with_capacity(k);
    let mut bar = f32::NEG_INFINITY;
    for gap in gaps(scores.len(), blocked) {
        let first = gap.start as u32;
        for (&score, item) in scores[gap].iter().zip(first..) {
            if heap.len() < k {
                heap.push(Entry { score: key(score), item });
            } else if score > bar {
                // Ids ascend, so a candidate that only ties with the last one never displaces it.
                if let Some(mut last) = heap.peek_mut() {
                    *last = Entry { score, item };
                }
            } else {
                continue;
            }
            if heap.len() == k {
                bar = heap.peek().map_or(bar, |last| last.score);
            }
        }
    }
    heap.into_sorted_vec().into_iter().map(|e| (e.item, scores[e.item as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks_of(scores: &[f32], relevant: &[u32], blocked: &[u32], ties: Ties) -> Vec<f64> {
        rank_row(scores, relevant, blocked, ties, 3).ranks
    }

    #[test]
    fn ties_follow_the_policy() {
        let scores = [0.0, 5.0, 2.0, 2.0, 2.0, 2.0, 1.0];
        for (ties, one, two) in [
            (Ties::Pessimistic, 5.0, [4.0, 5.0]),
            (Ties::Optimistic, 2.0, [2.0, 3.0]),
            (Ties::Expected, 3.5, [1.0 + 5.0 / 3.0, 1.0 + 10.0 / 3.0]),
            (Ties::ById, 3.0, [3.0, 5.0]),
        ] {
            assert_eq!(ranks_of(&scores, &[3], &[], ties), [one], "{ties:?}");
            assert_eq!(ranks_of(&scores, &[3, 5], &[], ties), two, "{ties:?}");
        }
    }

    #[test]
    fn blocked_items_do_not_count_and_a_target_is_never_blocked() {
        let scores = [9.0, 8.0, 7.0, 6.0];
        assert_eq!(ranks_of(&scores, &[3], &[0, 2], Ties::Pessimistic), [2.0]);
        assert_eq!(ranks_of(&scores, &[2], &[0, 2], Ties::Pessimistic), [2.0]);
        assert_eq!(rank_row(&scores, &[2], &[0, 2], Ties::ById, 9).top, [1, 2, 3]);
    }

    #[test]
    fn nan_is_worst_and_counted() {
        let scores = [f32::NAN, 1.0, f32::NAN, f32::NEG_INFINITY, -3.0];
        let got = rank_row(&scores, &[0, 1], &[], Ties::Pessimistic, 5);
        assert_eq!((got.ranks, got.tied, got.not_finite), (vec![1.0, 5.0], 1, 3));
        assert_eq!(got.top, [1, 4, 0, 2, 3]);
        assert_eq!(rank_row(&[f32::NAN; 4], &[1], &[], Ties::Pessimistic, 2).ranks, [4.0]);
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!(ranks_of(&[-0.0, 0.0, -0.0], &[1, 2], &[], Ties::Pessimistic), [2.0, 3.0]);
        assert_eq!(ranks_of(&[-0.0, 0.0, -0.0], &[1], &[], Ties::ById), [2.0]);
    }

    #[test]
    fn the_heap_agrees_with_a_sort() {
        let mut random = ra_core::SplitMix::new(5);
        for n in [1usize, 7, 100, 1000] {
            let scores: Vec<f32> = (0..n).map(|_| random.below(40) as f32 / 4.0).collect();
            let blocked: Vec<u32> = (0..n as u32).filter(|_| random.below(5) == 0).collect();
            let mut order: Vec<u32> = (0..n as u32).filter(|i| !blocked.contains(i)).collect();
            order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b)));
            for k in [0, 1, 10, n, n + 5] {
                let got: Vec<u32> = top_k(&scores, k, &blocked).into_iter().map(|(item, _)| item).collect();
                assert_eq!(got, order[..k.min(order.len())], "{n} {k}");
            }
            for (rank, &item) in (1..).zip(&order) {
                assert_eq!(ranks_of(&scores, &[item], &blocked, Ties::ById), [f64::from(rank)]);
            }
        }
    }
}
