//! Counts scores where they are computed: a GPU returns counts and its best items instead of every score.
//!
//! Relevant items keep the one score that they were counted with and are left to the host. So are blocks in which some
//! score is not finite, because tensor operations do not order such values.
use super::{Group, Query, UserRanking, best_interest};
use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor, TensorData, Transaction};
use ra_core::{host_numbers, indices, int_tensor};
use std::cmp::Ordering;
use std::ops::Range;

/// Replaces the score of an item that does not count. It is below every other score, and finite because shaders may
/// assume that all numbers are.
const HIDDEN: f32 = f32::MIN;

/// The number of columns per stretch, whose best column is examined first.
const STRETCH: usize = 32;

/// Stands in for the missing targets of a user: no score is above it.
const NO_TARGET: f32 = f32::MAX;

/// Item vectors and the column of the first one.
pub(super) struct Block {
    first: u32,
    len: usize,
    /// `[width, dim]`, with zeros beyond `len`. Products of one shape use one kernel, so a score does not depend on the
    /// block that an item falls into.
    items: Tensor<2>,
}

impl Block {
    /// Takes `items`, `[len, dim]`, with `len` at most `width`.
    pub(super) fn new(first: u32, items: Tensor<2>, width: usize) -> Self {
        let [len, dim] = items.dims();
        let rest = (len < width).then(|| Tensor::zeros([width - len, dim], &items.device()));
        Self { first, len, items: Tensor::cat([items].into_iter().chain(rest).collect(), 0) }
    }

    fn columns(&self) -> Range<u32> {
        self.first..self.first + self.len as u32
    }

    /// Multiplies `[rows, dim]` to `[rows, len]`.
    fn scores(&self, vectors: &Tensor<2>) -> Tensor<2> {
        vectors.clone().matmul(self.items.clone().transpose()).narrow(1, 0, self.len)
    }
}

/// Returns the best score of each relevant item over the user's vectors, users and items in order. The scores come from
/// the same products that the other items are compared in, because another kernel might round differently and break
/// ties.
pub(super) fn relevant(
    vectors: &Tensor<2>,
    interests: usize,
    blocks: impl Iterator<Item = Block>,
    queries: &[Query],
) -> Vec<f32> {
    let mut relevant: Vec<Vec<f32>> = queries.iter().map(|query| vec![0.0; query.relevant.len()]).collect();
    for block in blocks {
        let columns = block.columns();
        let own = |query: &Query| {
            let place = |column| query.relevant.partition_point(|&relevant| relevant < column);
            place(columns.start)..place(columns.end)
        };
        let own: Vec<Range<usize>> = queries.iter().map(own).collect();
        let most = own.iter().map(Range::len).max().unwrap_or(0);
        if most == 0 {
            continue;
        }
        // A user's other vectors need the same columns; shorter rows are padded with the first column.
        let row = |(query, own): (&Query, &Range<usize>)| {
            let places = query.relevant[own.clone()].iter().map(|column| (column - columns.start) as i32);
            let row: Vec<i32> = places.chain(std::iter::repeat(0)).take(most).collect();
            row.repeat(interests)
        };
        let places: Vec<i32> = queries.iter().zip(&own).flat_map(row).collect();
        let places = int_tensor(places, [queries.len() * interests, most], &vectors.device());
        let mut found = host_numbers(block.scores(vectors).gather(1, places));
        for ((relevant, own), found) in relevant.iter_mut().zip(own).zip(found.chunks_exact_mut(most * interests)) {
            let count = own.len();
            relevant[own].copy_from_slice(&best_interest(found, most)[..count]);
        }
    }
    relevant.concat()
}

impl Group {
    /// Adds a block of items like [`Group::add`] and returns whether it was counted on the device. If not, its scores
    /// were counted on the host.
    pub(super) fn add_on_device(&mut self, block: &Block) -> bool {
        let scores = block.scores(&self.vectors);
        let counted = self.count_on_device(block.columns(), &scores);
        if !counted {
            self.add(block.first, scores);
        }
        counted
    }

    /// Counts `scores`, `[users * interests, width]`, of the items `block`. If the host must count them, does nothing
    /// and returns `false`.
    fn count_on_device(&mut self, block: Range<u32>, scores: &Tensor<2>) -> bool {
        let ([_, width], users) = (scores.dims(), self.users.len());
        let hidden: Vec<Vec<u32>> = self.users.iter().map(|user| user.ranking.hidden(&block)).collect();
        // The hidden places are transferred too: if there are many, sending the scores themselves costs no more.
        let many = hidden.iter().any(|hidden| 2 * hidden.len() > width);
        if many || !self.users.iter().all(UserRanking::is_plain_and_finite) {
            return false;
        }
        let first = block.start;
        let finite = scores.clone().is_finite().all();
        let scores = scores.clone().reshape([users, self.interests, width]).max_dim(1).reshape([users, width]);
        let scores = scores.clone().mask_fill(places(&hidden, first, &scores), HIDDEN);
        let found = Transaction::default().register(finite).register(self.counts(first, &scores)).execute();
        let [finite, counts] = &found[..] else { unreachable!("as many as were asked for") };
        if !finite.iter::<bool>().all(|finite| finite) {
            return false;
        }
        let counts: Vec<u32> = counts.iter::<u32>().collect();
        let bars: Vec<f32> = self.users.iter().map(|user| user.ranking.bar()).collect();
        let longest = self.users.iter().map(|user| user.ranking.list_length()).max().unwrap_or(0);
        let best = best(scores, longest, &bars);
        let rows = counts.chunks_exact(counts.len() / users).zip(best);
        for (user, (counts, best)) in self.users.iter_mut().zip(rows) {
            user.ranking.counted(counts);
            let own = user.relevant.iter().copied().filter(|(column, _)| block.contains(column));
            user.ranking.found(best.into_iter().map(|(column, score)| (first + column, score)).collect(), own);
        }
        true
    }

    /// Returns three counts for every target of every user, `[users, 3 * most targets]`: the items of the block that
    /// score above it, those with the same score, and those of them with a smaller id.
    fn counts(&self, first: u32, scores: &Tensor<2>) -> Tensor<2, Int> {
        let ([users, width], device) = (scores.dims(), scores.device());
        let most = self.users.iter().map(|user| user.relevant.len()).max().unwrap_or(0).max(1);
        let columns = Tensor::<1, Int>::arange(0..width as i64, &device).reshape([1, width]);
        let count = |found: Tensor<2, Bool>| found.int().sum_dim(1);
        let mut counts = Vec::with_capacity(3 * most);
        for place in 0..most {
            let target = |user: &UserRanking| {
                user.relevant
                    .get(place)
                    .map_or((0, NO_TARGET), |&(column, score)| (column as i32 - first as i32, score))
            };
            let (column, score): (Vec<i32>, Vec<f32>) = self.users.iter().map(target).unzip();
            let score = Tensor::<2>::from_data(TensorData::new(score, [users, 1]), &device);
            let column = int_tensor(column, [users, 1], &device);
            let equal = scores.clone().equal(score.clone());
            counts.push(count(scores.clone().greater(score)));
            counts.push(count(equal.clone()));
            counts.push(count(equal.bool_and(columns.clone().lower(column))));
        }
        Tensor::cat(counts, 1)
    }
}

/// Returns the columns of each row, with their scores, that may be among the best `k` of all blocks. They come from the
/// stretches with the `k` largest maxima, which contain the best `k` of the block (the first ones if scores are equal),
/// as far as these exceed `bars`, the lists' current thresholds. Burn's own `topk` returned other items on WGPU.
fn best(scores: Tensor<2>, k: usize, bars: &[f32]) -> Vec<Vec<(u32, f32)>> {
    let ([rows, width], device) = (scores.dims(), scores.device());
    let stretches = width.div_ceil(STRETCH);
    let rest = stretches * STRETCH - width;
    let rest = (rest > 0).then(|| Tensor::full([rows, rest], HIDDEN, &device));
    let scores = Tensor::cat([scores].into_iter().chain(rest).collect(), 1).reshape([rows * stretches, STRETCH]);
    let maxima = host_numbers(scores.clone().max_dim(1));
    let wanted = |(maxima, bar): (&[f32], &f32)| {
        let above = |&stretch: &u32| maxima[stretch as usize] > bar.max(HIDDEN);
        let mut wanted: Vec<u32> = (0..stretches as u32).filter(above).collect();
        wanted.sort_by(|&a, &b| maxima[b as usize].partial_cmp(&maxima[a as usize]).unwrap_or(Ordering::Equal));
        wanted.truncate(k);
        wanted
    };
    let wanted: Vec<Vec<u32>> = maxima.chunks_exact(stretches).zip(bars).map(wanted).collect();
    let place = |(row, wanted): (usize, &Vec<u32>)| {
        wanted.iter().map(|&stretch| (row * stretches) as i32 + stretch as i32).collect::<Vec<_>>()
    };
    let places: Vec<i32> = wanted.iter().enumerate().flat_map(place).collect();
    if places.is_empty() {
        return vec![Vec::new(); rows];
    }
    let places = indices(places, &device);
    let found = host_numbers(scores.select(0, places));
    let mut found = found.chunks_exact(STRETCH);
    let row = |wanted: &Vec<u32>| {
        let stretch = |(&stretch, scores): (&u32, &[f32])| {
            (stretch * STRETCH as u32..).zip(scores.to_vec()).filter(|(_, score)| *score > HIDDEN).collect::<Vec<_>>()
        };
        wanted.iter().zip(&mut found).flat_map(stretch).collect()
    };
    wanted.iter().map(row).collect()
}

/// Marks the columns `hidden` of each user in a block that starts at `first`, in the shape of `scores`.
fn places(hidden: &[Vec<u32>], first: u32, scores: &Tensor<2>) -> Tensor<2, Bool> {
    let ([users, width], device) = (scores.dims(), scores.device());
    let longest = hidden.iter().map(Vec::len).max().unwrap_or(0).max(1);
    // Shorter rows are padded with a column beyond the block.
    let row = |hidden: &Vec<u32>| {
        let own = hidden.iter().map(|column| (column - first) as i32).collect::<Vec<_>>();
        own.into_iter().chain(std::iter::repeat(width as i32)).take(longest)
    };
    let columns: Vec<i32> = hidden.iter().flat_map(row).collect();
    let columns = int_tensor(columns, [users, longest], &device);
    let marks = Tensor::<2>::ones([users, longest], &device);
    let marked = Tensor::zeros([users, width + 1], &device).scatter(1, columns, marks, IndexingUpdateOp::Add);
    marked.slice([0..users, 0..width]).greater_elem(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::{Group, Query, columns, relevant};
    use super::Block;
    use crate::protocol::Ties;
    use crate::rank::ranking::{Ranked, candidates};
    use burn::tensor::{Device, Tensor, TensorData};
    use ra_core::{History, ItemId, Recommender, SplitMix, UserId};

    const ITEMS: usize = 3000;

    struct Asked<'a> {
        queries: &'a [Query],
        width: usize,
        k: usize,
        ties: Ties,
    }

    /// A model defined only by the number of vectors per user and the additions.
    #[derive(Debug)]
    struct Model(usize, Vec<(ItemId, f32)>);

    impl Recommender for Model {
        fn dim(&self) -> usize {
            4
        }
        fn interests(&self) -> usize {
            self.0
        }
        fn users(&self, _: &[History<'_>]) -> Tensor<2> {
            unreachable!("its vectors are given")
        }
        fn items(&self, _: &[ItemId]) -> Tensor<2> {
            unreachable!("its vectors are given")
        }
        fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
            self.1.clone()
        }
    }

    /// Creates vectors of small whole numbers, whose products are exact in any order and often tie.
    fn table(rows: usize, random: &mut SplitMix) -> Tensor<2> {
        let values: Vec<f32> = (0..rows * 4).map(|_| random.below(5) as f32 - 2.0).collect();
        Tensor::from_data(TensorData::new(values, [rows, 4]), &Device::flex())
    }

    fn queries(random: &mut SplitMix) -> Vec<Query> {
        let mut some = |n: usize| {
            let mut columns: Vec<u32> = (0..n).map(|_| random.below(ITEMS) as u32).collect();
            columns.sort_unstable();
            columns.dedup();
            columns
        };
        let query = |user: usize| {
            let relevant = some(1 + user % 4);
            let candidates = candidates(ITEMS as u32, &relevant, &some(80 * user));
            Query { user: UserId(user as u32), history: Vec::new(), relevant, candidates }
        };
        (0..9).map(query).collect()
    }

    /// Ranks on the device as far as it accepts the blocks, and returns how many it accepted.
    fn on_device(model: &Model, vectors: &Tensor<2>, items: &Tensor<2>, asked: &Asked<'_>) -> (Vec<Ranked>, usize) {
        let blocks = || (0..ITEMS).step_by(asked.width).map(|first| block(items, first, asked.width));
        let relevant = super::relevant(vectors, model.0, blocks(), asked.queries);
        let mut group = Group::new(model, vectors.clone(), &relevant, asked.queries, asked.k);
        let taken = blocks().filter(|block| group.add_on_device(block)).count();
        (finished(group, asked.ties), taken)
    }

    fn on_host(model: &Model, vectors: &Tensor<2>, items: &Tensor<2>, asked: &Asked<'_>) -> Vec<Ranked> {
        let relevant = relevant(vectors, model.0, items, asked.queries);
        let mut group = Group::new(model, vectors.clone(), &relevant, asked.queries, asked.k);
        group.add(0, columns(items.clone().slice([1..ITEMS + 1])).forward(vectors.clone()));
        finished(group, asked.ties)
    }

    fn block(items: &Tensor<2>, first: usize, width: usize) -> Block {
        Block::new(first as u32, items.clone().slice([first + 1..(first + width).min(ITEMS) + 1]), width)
    }

    fn finished(group: Group, ties: Ties) -> Vec<Ranked> {
        group.users.into_iter().map(|user| user.finish(ties)).collect()
    }

    #[test]
    fn a_device_ranks_as_the_host_does() {
        let mut random = SplitMix::new(3);
        for interests in [1, 3] {
            let model = Model(interests, Vec::new());
            let (items, vectors) = (table(ITEMS + 1, &mut random), table(9 * interests, &mut random));
            let queries = queries(&mut random);
            for (width, k, ties) in [
                (3000, 20, Ties::Pessimistic),
                (1280, 20, Ties::Expected),
                (777, 300, Ties::ById),
                (3000, 0, Ties::Optimistic),
            ] {
                let asked = Asked { queries: &queries, width, k, ties };
                let (got, taken) = on_device(&model, &vectors, &items, &asked);
                assert_eq!(got, on_host(&model, &vectors, &items, &asked), "{interests} {width} {k} {ties:?}");
                assert_eq!(taken, ITEMS.div_ceil(width));
            }
        }
    }

    #[test]
    fn what_has_no_order_and_what_is_added_to_goes_to_the_host() {
        let mut random = SplitMix::new(4);
        let (mut items, vectors) = (table(ITEMS + 1, &mut random), table(9, &mut random));
        let queries = queries(&mut random);
        let blocks_taken = |model: &Model, items: &Tensor<2>| {
            let asked = Asked { queries: &queries, width: 1000, k: 20, ties: Ties::Pessimistic };
            let (got, taken) = on_device(model, &vectors, items, &asked);
            assert_eq!(got, on_host(model, &vectors, items, &asked));
            taken
        };
        assert_eq!(blocks_taken(&Model(1, vec![(ItemId(7), 2.0), (ItemId(7), 1.0)]), &items), 0);
        // An item of the second block that is no user's target.
        let lost = (1000..2000).find(|c| queries.iter().all(|query| !query.relevant.contains(c))).unwrap();
        items = items.slice_assign(
            [lost as usize + 1..lost as usize + 2, 0..4],
            Tensor::full([1, 4], f32::NAN, &Device::flex()),
        );
        assert_eq!(blocks_taken(&Model(1, Vec::new()), &items), 2);
    }
}
