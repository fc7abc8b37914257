//! The ranking of one user's scores: the ranks of the relevant items and the best items overall.
//!
//! Scores arrive in blocks of items and are not stored: a target's rank is a count of the scores above it, and the list
//! is a bounded heap. Candidates are ranges of items, so the inner loops run over plain slices.
use crate::protocol::Ties;
use ra_core::ItemId;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

/// The ranking of one user.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ranked {
    /// Ranks of the relevant items, ascending, starting at 1.
    pub(crate) ranks: Vec<f64>,
    /// The items that have these ranks.
    pub(crate) items: Vec<u32>,
    /// The number of relevant items that tie with another candidate.
    pub(crate) tied: usize,
    /// The share of the other candidates that a target ties with, summed over the targets.
    pub(crate) tie_width: f64,
    /// The number of candidates whose score is not finite.
    pub(crate) not_finite: usize,
    /// The best items, best first; ties are broken by id.
    pub(crate) top: Vec<u32>,
}

/// Ranks `relevant` among the candidates of a row, whose indices are the items, and lists the best `k`.
///
/// `relevant` and `blocked` must be ascending and without duplicates. A relevant item is a candidate even if it is
/// blocked.
pub(crate) fn rank_row(scores: &[f32], relevant: &[u32], blocked: &[u32], ties: Ties, k: usize) -> Ranked {
    let targets = relevant.iter().map(|&item| (item, scores[item as usize])).collect();
    let mut ranking = Ranking::new(targets, candidates(scores.len() as u32, relevant, blocked), k);
    ranking.add(0, scores);
    ranking.finish(ties)
}

/// Returns the `k` best items of a row with their scores, best first; ties are ordered by ascending id, and NaN comes
/// last.
///
/// The index of a score is its item. The items in `blocked`, in any order, are left out; use it for the history, and
/// for padding if the row starts with it. Fewer than `k` items are returned if there are fewer candidates.
///
/// ```
/// use ra_core::ItemId;
/// let found = ra_eval::top_k(&[9.0, 1.0, 3.0, 3.0], 2, &[ItemId::PADDING]);
/// assert_eq!(found, [(ItemId(2), 3.0), (ItemId(3), 3.0)]);
/// ```
pub fn top_k(scores: &[f32], k: usize, blocked: &[ItemId]) -> Vec<(ItemId, f32)> {
    let mut blocked: Vec<u32> = blocked.iter().map(|item| item.0).collect();
    blocked.sort_unstable();
    blocked.dedup();
    let top = rank_row(scores, &[], &blocked, Ties::ById, k).top;
    top.into_iter().map(|item| (ItemId(item), scores[item as usize])).collect()
}

/// Returns the ranges of `0..n` without `blocked`, except for items that are also `relevant`; both must be ascending.
pub(crate) fn candidates(n: u32, relevant: &[u32], blocked: &[u32]) -> Vec<Range<u32>> {
    let out = blocked.iter().copied().filter(|item| *item < n && relevant.binary_search(item).is_err());
    let mut start = 0;
    let stretches = out.chain([n]).map(|end| std::mem::replace(&mut start, end + 1)..end);
    stretches.filter(|stretch| !stretch.is_empty()).collect()
}

/// Returns the sort key of a score: NaN equals the lowest score.
pub(super) fn key(score: f32) -> f32 {
    if score.is_nan() { f32::NEG_INFINITY } else { score }
}

/// A relevant item and its counts.
#[derive(Debug)]
struct Target {
    item: u32,
    score: f32,
    above: u32,
    /// The candidates with the same score, including the item itself, and those of them with a smaller id.
    equal: u32,
    earlier: u32,
}

/// The ranking of one user while blocks of scores arrive.
#[derive(Debug)]
pub(crate) struct Ranking {
    targets: Vec<Target>,
    candidates: Vec<Range<u32>>,
    k: usize,
    heap: BinaryHeap<Entry>,
    /// The score that the next item must exceed to enter the list.
    bar: f32,
    not_finite: usize,
}

impl Ranking {
    /// Creates the ranking of `targets`, which are relevant items with their scores. They must be among `candidates`,
    /// which must be ascending.
    pub(crate) fn new(targets: Vec<(u32, f32)>, candidates: Vec<Range<u32>>, k: usize) -> Self {
        let target = |(item, score): (u32, f32)| Target { item, score: key(score), above: 0, equal: 0, earlier: 0 };
        let k = k.min(candidates.iter().map(|stretch| stretch.len()).sum());
        let bar = if k == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
        let targets = targets.into_iter().map(target).collect();
        Self { targets, candidates, k, heap: BinaryHeap::with_capacity(k + 1), bar, not_finite: 0 }
    }

    /// Adds the scores of items `first..`; blocks must come in the order of items.
    pub(crate) fn add(&mut self, first: u32, scores: &[f32]) {
        let end = first + scores.len() as u32;
        let from = self.candidates.partition_point(|stretch| stretch.end <= first);
        let candidates = std::mem::take(&mut self.candidates);
        for stretch in candidates[from..].iter().take_while(|stretch| stretch.start < end) {
            let (start, end) = (stretch.start.max(first), stretch.end.min(end));
            let part = &scores[(start - first) as usize..(end - first) as usize];
            pulp::Arch::new().dispatch(Pass { ranking: self, first: start, scores: part });
        }
        self.candidates = candidates;
    }

    /// Returns whether every target would now get a rank beyond `k`, and no list is made.
    pub(crate) fn is_beyond(&self, k: usize) -> bool {
        // A target that has not arrived yet is not counted among its equals. With others of the same score, its rank may
        // be as many less.
        let least = k + self.targets.len();
        self.k == 0 && self.targets.iter().all(|target| target.above as usize >= least)
    }

    #[inline(always)]
    fn list(&mut self, first: u32, scores: &[f32]) {
        for (chunk, first) in scores.chunks(CHUNK).zip((first..).step_by(CHUNK)) {
            let bar = self.bar;
            if self.heap.len() < self.k || count(chunk, |s| s > bar) > 0 {
                self.enter(first, chunk);
            }
        }
    }

    /// Rarely called once the list is full.
    #[inline(never)]
    fn enter(&mut self, first: u32, scores: &[f32]) {
        for (&score, item) in scores.iter().zip(first..) {
            // Ids ascend, so a candidate that only ties with the last entry never displaces it.
            if self.heap.len() < self.k || score > self.bar {
                self.heap.push(Entry::new(item, score));
                if self.heap.len() > self.k {
                    self.heap.pop();
                }
                if self.heap.len() == self.k {
                    self.bar = self.heap.peek().map_or(self.bar, |last| last.score);
                }
            }
        }
    }

    /// Returns the result after the last block.
    pub(crate) fn finish(mut self, ties: Ties) -> Ranked {
        self.targets.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        let others = self.candidates.iter().map(|stretch| stretch.len()).sum::<usize>().saturating_sub(1).max(1) as f64;
        let (mut tied, mut tie_width, mut ranks) = (0, 0.0, Vec::with_capacity(self.targets.len()));
        for group in self.targets.chunk_by(|a, b| a.score == b.score) {
            tied += if group[0].equal > 1 { group.len() } else { 0 };
            tie_width += group.len() as f64 * f64::from(group[0].equal.saturating_sub(1)) / others;
            for (place, target) in (1..).zip(group) {
                let [above, equal, earlier] = [target.above, target.equal, target.earlier].map(f64::from);
                let (place, members) = (f64::from(place), group.len() as f64);
                let rank = match ties {
                    Ties::Pessimistic => above + (equal - members) + place,
                    Ties::Optimistic => above + place,
                    Ties::Expected => above + place * (equal + 1.0) / (members + 1.0),
                    Ties::ById => above + 1.0 + earlier,
                };
                ranks.push((rank, target.item));
            }
        }
        ranks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ranks, items) = ranks.into_iter().unzip();
        let top = self.heap.into_sorted_vec().into_iter().map(|entry| entry.item).collect();
        Ranked { ranks, items, tied, tie_width, not_finite: self.not_finite, top }
    }
}

/// Support for devices that count scores where they are computed.
#[cfg(feature = "tensor")]
impl Ranking {
    /// The final length of the list.
    pub(crate) fn list_length(&self) -> usize {
        self.k
    }

    /// The score that an item must currently exceed to enter the list.
    pub(crate) fn bar(&self) -> f32 {
        self.bar
    }

    /// Returns the items of `block` that a device must not count: targets and items that are not candidates.
    pub(crate) fn hidden(&self, block: &Range<u32>) -> Vec<u32> {
        let mut hidden: Vec<u32> =
            self.targets.iter().map(|target| target.item).filter(|item| block.contains(item)).collect();
        let from = self.candidates.partition_point(|stretch| stretch.end <= block.start);
        let mut at = block.start;
        for stretch in self.candidates[from..].iter().take_while(|stretch| stretch.start < block.end) {
            hidden.extend(at..stretch.start.max(at));
            at = stretch.end;
        }
        hidden.extend(at..block.end.max(at));
        hidden
    }

    /// Adds the device's counts for a block without its targets: `above`, `equal` and `earlier` of each target, in the
    /// order of [`Ranking::new`].
    pub(crate) fn counted(&mut self, counts: &[u32]) {
        for (target, counts) in self.targets.iter_mut().zip(counts.chunks_exact(3)) {
            target.above += counts[0];
            target.equal += counts[1];
            target.earlier += counts[2];
        }
    }

    /// Adds the counted items of a block that may enter the list, and the block's `targets`, which were not counted.
    pub(crate) fn found(&mut self, mut best: Vec<(u32, f32)>, targets: impl Iterator<Item = (u32, f32)>) {
        best.sort_unstable_by_key(|&(item, _)| item);
        let mut targets = targets.peekable();
        for (item, score) in best {
            while let Some((target, score)) = targets.next_if(|&(target, _)| target < item) {
                self.add(target, &[score]);
            }
            self.enter(item, &[score]);
        }
        targets.for_each(|(target, score)| self.add(target, &[score]));
    }
}

/// A slice of scores to process, compiled for the vector units of this processor. It is not a closure because a
/// closure's body would not be inlined.
struct Pass<'a> {
    ranking: &'a mut Ranking,
    first: u32,
    scores: &'a [f32],
}

impl pulp::NullaryFnOnce for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { ranking, first, scores } = self;
        let mut not_finite = None;
        for target in &mut ranking.targets {
            not_finite = Some(target.count(first, scores));
        }
        ranking.not_finite += not_finite.unwrap_or_else(|| count(scores, |s| !s.is_finite())) as usize;
        ranking.list(first, scores);
    }
}

impl Target {
    /// Counts the scores of a block, and returns how many of them are not finite.
    #[inline(always)]
    fn count(&mut self, first: u32, scores: &[f32]) -> u32 {
        let score = self.score;
        // One pass for all: the scores of a block are read from memory once. Overflow checks would prevent vectorization.
        let (above, mut ties, not_finite) = scores.iter().fold((0u32, 0u32, 0u32), |(above, ties, not_finite), &s| {
            (
                above.wrapping_add(u32::from(s > score)),
                ties.wrapping_add(u32::from(s == score)),
                not_finite.wrapping_add(u32::from(!s.is_finite())),
            )
        });
        if score == f32::NEG_INFINITY {
            ties = equal(scores, score);
        }
        self.above += above;
        self.equal += ties;
        self.earlier += match self.item.saturating_sub(first) as usize {
            0 => 0,
            // Often the target ties with nothing but itself.
            before if before < scores.len() && ties == 1 => 0,
            before if before < scores.len() => equal(&scores[..before], score),
            _ => ties,
        };
        not_finite
    }
}

/// The number of scores examined together.
const CHUNK: usize = 64;

/// Returns the number of scores for which `asked` is true.
#[inline(always)]
fn count(scores: &[f32], asked: impl Fn(f32) -> bool) -> u32 {
    // An overflow check would prevent vectorization.
    scores.iter().fold(0, |n: u32, &s| n.wrapping_add(u32::from(asked(s))))
}

/// Returns the number of scores equal to `score`; NaN equals the lowest score.
#[inline(always)]
fn equal(scores: &[f32], score: f32) -> u32 {
    let lowest = score == f32::NEG_INFINITY;
    count(scores, |s| (s == score) | (lowest & s.is_nan()))
}

/// A candidate in the heap; the greatest entry is the first to be dropped.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    score: f32,
    pub(super) item: u32,
}

impl Entry {
    pub(super) fn new(item: u32, score: f32) -> Self {
        Self { score: key(score), item }
    }
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
                let got: Vec<u32> = top_k(&scores, k, &ItemId::list(blocked.iter().copied()))
                    .into_iter()
                    .map(|(item, _)| item.0)
                    .collect();
                assert_eq!(got, order[..k.min(order.len())], "{n} {k}");
            }
            for (rank, &item) in (1..).zip(&order) {
                assert_eq!(ranks_of(&scores, &[item], &blocked, Ties::ById), [f64::from(rank)]);
            }
        }
    }
}
