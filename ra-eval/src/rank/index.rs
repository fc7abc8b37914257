//! Exact search for the largest inner products, by a scan of a copy of the item vectors in `int8`.
//!
//! The copy of a vector `x` is `mean + step * codes`, with one step for the vector, codes from -127 to 127 and the mean of
//! all vectors. Its product with a query `q` misses `<q, x>` by at most `|q| * error` (Cauchy and Schwarz), where `error`
//! is the length of what the copy leaves over. So the scan gives every item an interval that holds its score. An item
//! whose interval ends below `k` others is not among the best `k`; the few that remain are scored in `f32`. Nothing is
//! approximate about the result, and a quarter of the memory is read. FEXIPRO (Li et al., SIGMOD 2017) bounds products by
//! integers in the same spirit.
//!
//! The errors hold the rounding of all numbers involved, so the guarantee is that of the `f32` scores themselves.
use super::ranking::Entry;
use ra_core::ItemId;
use rayon::prelude::*;

/// The codes of a vector are padded to a multiple of this.
const LANES: usize = 32;

/// The catalogue is read at this many places at once: one core waits for memory half as long as with one.
const STREAMS: usize = 4;

/// The number of vectors that are read in a row at each place. They stay in the cache while all queries are compared.
const STRETCH: usize = 64;

/// The most indexes that [`top_k_candidates`] adds up; the errors allow for the rounding of so many.
pub const MOST_INDEXES: usize = 32;

/// Item vectors with a copy in `int8`, for exact search. The index of a row is its item.
///
/// ```
/// use ra_core::ItemId;
/// use ra_eval::VectorIndex;
/// let vectors = vec![0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 3.0, 1.0]; // [items + 1, 2]; row 0 is padding
/// let index = VectorIndex::new(vectors, 2);
/// let found = index.top_k(&[1.0, 1.0], 2, &[ItemId::PADDING]);
/// assert_eq!(found, [(ItemId(2), 5.0), (ItemId(3), 4.0)]);
/// ```
#[derive(Debug, Clone)]
pub struct VectorIndex {
    /// `[rows, dim]`.
    rows: Vec<f32>,
    dim: usize,
    /// `[rows, width]`, padded with zeros.
    codes: Vec<i8>,
    width: usize,
    copies: Vec<Copied>,
    /// The length of the longest vector.
    longest: f32,
}

/// What belongs to the codes of a vector.
#[derive(Debug, Clone, Copy)]
struct Copied {
    step: f32,
    /// The largest difference of a score, for a query of length 1.
    error: f32,
}

/// A search for the best items by the sum of their products in one or several indexes.
#[derive(Debug, Clone, Default)]
pub struct VectorQuery<'a> {
    /// A vector for each index.
    pub vectors: Vec<&'a [f32]>,
    /// What is added to the scores of single items; an item may occur several times.
    pub added: Vec<(ItemId, f32)>,
    /// The items that are left out, in any order.
    pub blocked: &'a [ItemId],
    /// The number of items to find.
    pub k: usize,
}

impl VectorIndex {
    /// Copies `rows`, `[rows, dim]`, on all threads. Numbers should be finite: if one is not, or if a score overflows, every
    /// item is scored.
    ///
    /// # Panics
    /// If `dim` is 0 or does not divide the numbers into rows.
    pub fn new(rows: Vec<f32>, dim: usize) -> Self {
        assert!(dim > 0 && rows.len().is_multiple_of(dim), "{} numbers in rows of {dim}", rows.len());
        let width = dim.next_multiple_of(LANES);
        let mean = mean(&rows, dim);
        let mut codes = vec![0; rows.len() / dim * width];
        let copies = rows.par_chunks_exact(dim).zip(codes.par_chunks_exact_mut(width));
        let copies = copies.map(|(row, codes)| Copied::new(row, &mean, codes)).collect();
        let longest = rows.par_chunks_exact(dim).map(|row| wide(row) as f32).reduce(|| 0.0, larger);
        Self { rows, dim, codes, width, copies, longest }
    }

    /// Returns the vectors, `[rows, dim]`.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// Returns the numbers of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the vector of an item.
    ///
    /// # Panics
    /// If there is no such item; so do all methods with items.
    pub fn row(&self, item: ItemId) -> &[f32] {
        &self.rows[item.index() * self.dim..][..self.dim]
    }

    /// Returns the score of an item: the same bits on every processor.
    pub fn score(&self, query: &[f32], item: ItemId) -> f32 {
        dot(query, self.row(item))
    }

    /// Returns the scores of all rows for each of `queries`, `[queries, dim]`: `[queries, rows]`, the same as from
    /// [`score`](Self::score).
    pub fn scores(&self, queries: &[f32]) -> Vec<f32> {
        let mut scores = vec![0.0; queries.len() / self.dim * self.copies.len()];
        pulp::Arch::new().dispatch(Products { index: self, queries, scores: &mut scores });
        scores
    }

    /// Returns the `k` best items with their scores, as [`top_k`](crate::top_k) of all [`scores`](Self::scores) would.
    pub fn top_k(&self, query: &[f32], k: usize, blocked: &[ItemId]) -> Vec<(ItemId, f32)> {
        let asked = VectorQuery { vectors: vec![query], added: Vec::new(), blocked, k };
        let found = top_k_candidates(&[self], std::slice::from_ref(&asked)).into_iter().flatten();
        top_k_of(found.map(|item| (item, self.score(query, item))), k)
    }
}

/// Returns, for each query, items that include its best `k`: few more than `k`, unless very many have nearly the same
/// score. The score of an item is the sum of its products in `indexes` and of what the query adds, by any order of
/// additions in `f32`. All queries share one scan.
///
/// # Panics
/// If there are more than [`MOST_INDEXES`], if they differ in their items, or if a vector has another width than its index.
pub fn top_k_candidates(indexes: &[&VectorIndex], queries: &[VectorQuery<'_>]) -> Vec<Vec<ItemId>> {
    let rows = indexes.first().map_or(0, |index| index.copies.len());
    assert!(
        indexes.len() <= MOST_INDEXES && indexes.iter().all(|index| index.copies.len() == rows),
        "indexes of the same items"
    );
    let mut searches: Vec<Search<'_>> = queries.iter().map(|query| Search::new(indexes, query)).collect();
    pulp::Arch::new().dispatch(Scan { rows, searches: &mut searches });
    searches.into_iter().map(Search::finish).collect()
}

/// Returns the `k` best of items with scores, in any order, as [`top_k`](crate::top_k) orders them.
///
/// ```
/// use ra_core::ItemId;
/// let found = ra_eval::top_k_of([(ItemId(3), 1.0), (ItemId(2), 1.0), (ItemId(1), 0.5)], 2);
/// assert_eq!(found, [(ItemId(2), 1.0), (ItemId(3), 1.0)]);
/// ```
pub fn top_k_of(scores: impl IntoIterator<Item = (ItemId, f32)>, k: usize) -> Vec<(ItemId, f32)> {
    let mut all: Vec<(Entry, f32)> =
        scores.into_iter().map(|(item, score)| (Entry::new(item.0, score), score)).collect();
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().take(k).map(|(entry, score)| (ItemId(entry.item), score)).collect()
}

/// Returns the mean of all rows; 0 where it is not finite.
fn mean(rows: &[f32], dim: usize) -> Vec<f32> {
    let mut sum = vec![0.0f64; dim];
    for row in rows.chunks_exact(dim) {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let count = (rows.len() / dim).max(1) as f64;
    sum.into_iter().map(|sum| (sum / count) as f32).map(|mean| if mean.is_finite() { mean } else { 0.0 }).collect()
}

fn length(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|x| x * x).sum::<f64>().sqrt()
}

fn wide(x: &[f32]) -> f64 {
    length(x.iter().map(|x| f64::from(*x)))
}

/// Returns the larger number, or NaN if one is.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// The largest code of a query: its product with codes of up to 127 fits into 32 bits.
fn largest(dim: usize) -> f64 {
    (i32::MAX as usize / (127 * dim)).clamp(1, i16::MAX as usize) as f64
}

impl Copied {
    /// Writes the codes of a vector.
    fn new(row: &[f32], mean: &[f32], codes: &mut [i8]) -> Self {
        let rest = || row.iter().zip(mean).map(|(x, mean)| f64::from(*x) - f64::from(*mean));
        let step = (rest().fold(0.0f64, |most, x| most.max(x.abs())) / 127.0) as f32;
        let inverse = if step > 0.0 { 1.0 / f64::from(step) } else { 0.0 };
        for (code, x) in codes.iter_mut().zip(rest()) {
            *code = (x * inverse).round().clamp(-127.0, 127.0) as i8;
        }
        let left_over = length(rest().zip(&*codes).map(|(x, code)| x - f64::from(step) * f64::from(*code)));
        let far = length(rest()) + left_over;
        // The query's own codes are off by half a step in each number, and a step is at most |q| / largest.
        let of_query = far * (row.len() as f64).sqrt() / (2.0 * largest(row.len()));
        // A sum of products in f32, in any order; and the dozen operations that make an interval, a sum of several too.
        let rounding = (wide(row) + wide(mean) + far) * (row.len() + 64) as f64 * f64::from(f32::EPSILON);
        let error = (left_over + of_query + rounding) as f32 + f32::MIN_POSITIVE;
        Self { step, error: if error.is_nan() { f32::INFINITY } else { error } }
    }
}

/// A query as codes: `step * codes`.
#[derive(Debug)]
struct Codes {
    codes: Vec<i16>,
    step: f32,
    length: f32,
}

impl Codes {
    fn new(query: &[f32], index: &VectorIndex) -> Self {
        let step = query.iter().fold(0.0f64, |most, x| most.max(f64::from(x.abs()))) / largest(query.len());
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let mut codes: Vec<i16> = query.iter().map(|x| (f64::from(*x) * inverse).round() as i16).collect();
        codes.resize(index.width, 0);
        let (step, length) = (step as f32, wide(query) as f32);
        // The largest number on the way to an interval: a score, or the product with codes of up to 127. Sums of several
        // parts, the product with the mean and the error fit into the rest.
        let most = f64::from(length) * f64::from(index.longest).max(127.0 * (query.len() as f64).sqrt());
        let has_room = most < f64::from(f32::MAX) / 1024.0;
        // Without a step, or without room, intervals have no ends.
        let fits = (length == 0.0 || step >= f32::MIN_POSITIVE) && has_room;
        Self { codes, step, length: if fits { length } else { f32::INFINITY } }
    }
}

/// An item that may be among the best, and the interval of its score.
#[derive(Debug, Clone, Copy)]
struct Found {
    item: ItemId,
    low: f32,
    high: f32,
}

/// The search of one query while the catalogue is read.
#[derive(Debug)]
struct Search<'a> {
    parts: Vec<(&'a VectorIndex, Codes)>,
    /// By ascending item.
    added: Vec<(ItemId, f32)>,
    /// Ascending.
    blocked: Vec<ItemId>,
    k: usize,
    found: Vec<Found>,
    /// When so many are found, those that cannot be among the best are dropped.
    full: usize,
    /// There are `k` items with scores of at least this.
    bar: f32,
}

/// The intervals of a stretch of items, as their centres and half their widths.
struct Intervals {
    centres: [f32; STRETCH],
    reach: [f32; STRETCH],
}

impl<'a> Search<'a> {
    fn new(indexes: &[&'a VectorIndex], query: &VectorQuery<'_>) -> Self {
        assert_eq!(indexes.len(), query.vectors.len(), "a vector for each index");
        let part = |(index, vector): (&&'a VectorIndex, &&[f32])| {
            assert_eq!(vector.len(), index.dim, "a query is as wide as the vectors");
            (*index, Codes::new(vector, index))
        };
        let parts = indexes.iter().zip(&query.vectors).map(part).collect();
        let (mut added, mut blocked) = (query.added.clone(), query.blocked.to_vec());
        added.sort_by_key(|(item, _)| *item);
        blocked.sort_unstable();
        let (found, full) = (Vec::new(), full(query.k));
        let bar = if query.k == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
        Self { parts, added, blocked, k: query.k, found, full, bar }
    }

    /// Compares the items of a stretch in each stream.
    #[inline(always)]
    fn add(&mut self, stretches: &[std::ops::Range<usize>; STREAMS]) {
        let mut all: [Intervals; STREAMS] =
            std::array::from_fn(|_| Intervals { centres: [0.0; STRETCH], reach: [0.0; STRETCH] });
        for (index, query) in &self.parts {
            index.compare(query, stretches, &mut all);
        }
        for (stretch, own) in stretches.iter().zip(&mut all) {
            self.add_more(stretch, own);
            let bar = self.bar;
            let (centres, reach) = (&own.centres[..stretch.len()], &own.reach[..stretch.len()]);
            let within = |n: u32, (c, r): (&f32, &f32)| n.wrapping_add(u32::from(reaches(c + r, bar)));
            if centres.iter().zip(reach).fold(0, within) > 0 {
                self.enter(stretch.start, centres, reach);
            }
        }
    }

    /// Adds what the query adds to single items of a stretch.
    #[inline(always)]
    fn add_more(&self, stretch: &std::ops::Range<usize>, own: &mut Intervals) {
        let from = self.added.partition_point(|(item, _)| item.index() < stretch.start);
        let of_item = self.added[from..].chunk_by(|a, b| a.0 == b.0);
        for run in of_item.take_while(|run| run[0].0.index() < stretch.end) {
            let (at, operations) = (run[0].0.index() - stretch.start, (64 + run.len()) as f32);
            for (_, more) in run {
                own.centres[at] += more;
                own.reach[at] += operations * f32::EPSILON * (more.abs() + own.centres[at].abs());
            }
        }
    }

    /// Rarely called once there is a bar.
    #[inline(never)]
    fn enter(&mut self, first: usize, centres: &[f32], reach: &[f32]) {
        for ((centre, reach), item) in centres.iter().zip(reach).zip(first as u32..) {
            let found = Found { item: ItemId(item), low: centre - reach, high: centre + reach };
            if reaches(found.high, self.bar) && self.blocked.binary_search(&found.item).is_err() {
                self.found.push(found);
            }
        }
        if self.found.len() >= self.full {
            self.drop_hopeless();
            self.full = (2 * self.found.len()).max(full(self.k));
        }
    }

    /// Raises the bar to the k-th largest lower end, and drops the items below it.
    fn drop_hopeless(&mut self) {
        if self.found.len() > self.k && self.k > 0 {
            let mut lows: Vec<f32> = self.found.iter().map(|found| super::ranking::key(found.low)).collect();
            let (_, low, _) = lows.select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
            self.bar = self.bar.max(*low);
            let bar = self.bar;
            self.found.retain(|found| reaches(found.high, bar));
        }
    }

    fn finish(mut self) -> Vec<ItemId> {
        self.drop_hopeless();
        self.found.into_iter().map(|found| found.item).collect()
    }
}

/// Returns whether an interval with this upper end may hold a score of `bar` or more. One that is not a number has no ends.
#[inline(always)]
fn reaches(high: f32, bar: f32) -> bool {
    (high >= bar) | high.is_nan()
}

/// The number of items that are found before the first are dropped.
fn full(k: usize) -> usize {
    k.saturating_mul(4).saturating_add(256)
}

impl VectorIndex {
    /// Adds the intervals of a stretch in each stream.
    #[inline(always)]
    fn compare(&self, query: &Codes, stretches: &[std::ops::Range<usize>; STREAMS], all: &mut [Intervals; STREAMS]) {
        let codes = stretches.each_ref().map(|own| &self.codes[own.start * self.width..own.end * self.width]);
        let mut sums = [[0i32; STRETCH]; STREAMS];
        for at in 0..STRETCH {
            for (codes, sums) in codes.iter().zip(&mut sums) {
                if let Some(row) = codes.get(at * self.width..(at + 1) * self.width) {
                    sums[at] = product(row, &query.codes);
                }
            }
        }
        for ((stretch, sums), own) in stretches.iter().zip(&sums).zip(all) {
            for (at, copy) in self.copies[stretch.clone()].iter().enumerate() {
                own.centres[at] += query.step * sums[at] as f32 * copy.step;
                own.reach[at] += query.length * copy.error + f32::MIN_POSITIVE;
            }
        }
    }
}

/// Returns the product of codes. An overflow check would prevent vectorization.
#[inline(always)]
fn product(codes: &[i8], query: &[i16]) -> i32 {
    codes.iter().zip(query).fold(0, |sum: i32, (&a, &b)| sum.wrapping_add(i32::from(a).wrapping_mul(i32::from(b))))
}

/// Returns the product of two vectors, summed in lanes.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for half in [16, 8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    a_rest.iter().zip(b_rest).fold(lanes[0], |sum, (a, b)| sum + a * b)
}

/// A scan, compiled for the vector units of this processor. It is not a closure because a closure's body would not be
/// inlined.
struct Scan<'a, 'b> {
    rows: usize,
    searches: &'a mut [Search<'b>],
}

impl pulp::NullaryFnOnce for Scan<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let share = self.rows.div_ceil(STREAMS);
        for start in (0..share).step_by(STRETCH) {
            let stretches = std::array::from_fn(|stream| {
                let place = |at: usize| (stream * share + at.min(share)).min(self.rows);
                place(start)..place(start + STRETCH)
            });
            for search in &mut *self.searches {
                search.add(&stretches);
            }
        }
    }
}

/// Products of all rows with queries, compiled for the vector units of this processor.
struct Products<'a> {
    index: &'a VectorIndex,
    queries: &'a [f32],
    scores: &'a mut [f32],
}

impl pulp::NullaryFnOnce for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { index: VectorIndex { rows, dim, copies, .. }, queries, scores } = self;
        for (rows, from) in rows.chunks(STRETCH * dim).zip((0..).step_by(STRETCH)) {
            for (query, scores) in queries.chunks_exact(*dim).zip(scores.chunks_exact_mut(copies.len())) {
                for (score, row) in scores[from..].iter_mut().zip(rows.chunks_exact(*dim)) {
                    *score = dot(query, row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top_k;
    use ra_core::SplitMix;

    /// Vectors of many kinds: plain, with a large mean, repeated, zero, and of lengths from tiny to huge.
    fn vectors(kind: usize, rows: usize, dim: usize, random: &mut SplitMix) -> Vec<f32> {
        let mut all: Vec<f32> = (0..rows * dim).map(|_| random.unit() as f32 - 0.5).collect();
        for (at, row) in all.chunks_exact_mut(dim).enumerate() {
            let length = 10f32.powi(random.below(60) as i32 - 30);
            let change = |x: &mut f32| match kind {
                0 => (),
                1 => *x += 7.0,
                2 => *x = (*x * 3.0).round(),
                3 if at % 3 == 0 => *x = 0.0,
                3 => *x = 1.0,
                4 => *x *= length,
                // Products overflow.
                _ => *x *= if at % 5 == 0 { 1e38 } else { 1.0 },
            };
            row.iter_mut().for_each(change);
        }
        all
    }

    /// The bits of scores, of which there is one NaN.
    fn bits(list: &[(ItemId, f32)]) -> Vec<(ItemId, u32)> {
        let of = |score: f32| if score.is_nan() { f32::NAN } else { score };
        list.iter().map(|(item, score)| (*item, of(*score).to_bits())).collect()
    }

    #[test]
    fn a_search_finds_what_a_sort_of_all_scores_does() {
        let mut random = SplitMix::new(7);
        for kind in 0..6 {
            for (rows, dim) in [(1, 1), (5, 3), (300, 1), (700, 33), (1500, 64), (257, 400)] {
                let index = VectorIndex::new(vectors(kind, rows, dim, &mut random), dim);
                let query = vectors(kind, 1, dim, &mut random);
                let blocked: Vec<ItemId> = (0..rows as u32).filter(|_| random.below(7) == 0).map(ItemId).collect();
                let all = index.scores(&query);
                for k in [0, 1, 10, 100, rows, rows + 5] {
                    let (got, want) = (index.top_k(&query, k, &blocked), top_k(&all, k, &blocked));
                    assert_eq!(bits(&got), bits(&want), "{kind}: {rows} x {dim}, {k}");
                }
                for value in [0.0, f32::NAN, f32::INFINITY, f32::MAX, 1e-45] {
                    let (query, all) = (vec![value; dim], index.scores(&vec![value; dim]));
                    assert_eq!(bits(&index.top_k(&query, 9, &blocked)), bits(&top_k(&all, 9, &blocked)), "{value}");
                }
            }
        }
    }

    #[test]
    fn a_product_of_codes_that_overflows_hides_no_score() {
        let index = VectorIndex::new(vec![1.0, 20.0, 0.01, 0.0, -1.0, -20.0, 0.0, 0.0], 2);
        assert_eq!(index.top_k(&[1e37, 0.0], 1, &[]), [(ItemId(0), 1e37)]);
    }

    #[test]
    fn sums_over_several_indexes_and_additions_are_exact_too() {
        let (mut random, rows) = (SplitMix::new(11), 900);
        for kind in 0..5 {
            let indexes = [24, 96].map(|dim| VectorIndex::new(vectors(kind, rows, dim, &mut random), dim));
            let asked: Vec<[Vec<f32>; 2]> =
                (0..5).map(|_| [24, 96].map(|dim| vectors(kind, 1, dim, &mut random))).collect();
            let added: Vec<(ItemId, f32)> = (0..60)
                .map(|n| (ItemId(random.below(rows) as u32), if n % 9 == 0 { -1e9 } else { random.unit() as f32 }))
                .collect();
            let blocked = ItemId::list([0, 5, 899]);
            let queries: Vec<VectorQuery<'_>> = asked
                .iter()
                .map(|own| VectorQuery {
                    vectors: own.iter().map(Vec::as_slice).collect(),
                    added: added.clone(),
                    blocked: &blocked,
                    k: 20,
                })
                .collect();
            for (own, found) in asked.iter().zip(top_k_candidates(&indexes.each_ref(), &queries)) {
                let score = |item: ItemId| {
                    let products = indexes[0].score(&own[0], item) + indexes[1].score(&own[1], item);
                    added.iter().filter(|(other, _)| *other == item).fold(products, |sum, (_, more)| sum + more)
                };
                let all: Vec<f32> = (0..rows as u32).map(|item| score(ItemId(item))).collect();
                let found = top_k_of(found.into_iter().map(|item| (item, score(item))), 20);
                assert_eq!(bits(&found), bits(&top_k(&all, 20, &blocked)), "{kind}");
            }
        }
    }

    #[test]
    fn few_items_are_scored_even_if_all_vectors_share_a_large_mean() {
        let mut random = SplitMix::new(3);
        for kind in [0, 1] {
            let index = VectorIndex::new(vectors(kind, 20_000, 64, &mut random), 64);
            let query = vectors(0, 1, 64, &mut random);
            let asked = VectorQuery { vectors: vec![&query], k: 10, ..VectorQuery::default() };
            let found = top_k_candidates(&[&index], &[asked]).remove(0);
            assert!((10..40).contains(&found.len()), "{kind}: {}", found.len());
        }
    }
}
