//! Scores counted where they were made: a GPU sends counts and its best items back, not every score.
//!
//! Relevant items keep the one score they were counted with and are left to the host; so are blocks whose scores are not
//! all finite, which tensors have no order for.
use super::{Group, User};
use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor, TensorData, Transaction};
use std::cmp::Ordering;

/// Stands where an item does not count: below every other score, and finite, for shaders may take it that all numbers are.
const HIDDEN: f32 = f32::MIN;

/// Columns of which the best one is looked at first.
const STRETCH: usize = 32;

/// In the place of a target that a user has not: no score is above it.
const NO_TARGET: f32 = f32::MAX;

impl Group {
    /// As [`Group::add`] for the items `[width, dim]` from column `first` on; where the host must look at their scores,
    /// nothing is counted and `false` comes back.
    pub(super) fn add_on_device(&mut self, first: u32, items: &Tensor<2>) -> bool {
        let ([width, _], users) = (items.dims(), self.users.len());
        let block = first..first + width as u32;
        let hidden: Vec<Vec<u32>> = self.users.iter().map(|user| user.ranking.hidden(&block)).collect();
        // Their places are numbers as well: of many the scores themselves are no more.
        let many = hidden.iter().any(|hidden| 2 * hidden.len() > width);
        if many || !self.users.iter().all(User::is_plain_and_finite) {
            return false;
        }
        let product = self.vectors.clone().matmul(items.clone().transpose());
        let finite = product.clone().is_finite().all();
        let scores = product.reshape([users, self.interests, width]).max_dim(1).reshape([users, width]);
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

    /// For every target of every user, `[users, 3 * most targets]`: the items of the block that score above it, as much, and
    /// as much under a smaller id.
    fn counts(&self, first: u32, scores: &Tensor<2>) -> Tensor<2, Int> {
        let ([users, width], device) = (scores.dims(), scores.device());
        let most = self.users.iter().map(|user| user.relevant.len()).max().unwrap_or(0).max(1);
        let columns = Tensor::<1, Int>::arange(0..width as i64, &device).reshape([1, width]);
        let count = |found: Tensor<2, Bool>| found.int().sum_dim(1);
        let mut counts = Vec::with_capacity(3 * most);
        for place in 0..most {
            let target = |user: &User| {
                user.relevant
                    .get(place)
                    .map_or((0, NO_TARGET), |&(column, score)| (column as i32 - first as i32, score))
            };
            let (column, score): (Vec<i32>, Vec<f32>) = self.users.iter().map(target).unzip();
            let score = Tensor::<2>::from_data(TensorData::new(score, [users, 1]), &device);
            let column = Tensor::<2, Int>::from_data(TensorData::new(column, [users, 1]), &device);
            let equal = scores.clone().equal(score.clone());
            counts.push(count(scores.clone().greater(score)));
            counts.push(count(equal.clone()));
            counts.push(count(equal.bool_and(columns.clone().lower(column))));
        }
        Tensor::cat(counts, 1)
    }
}

/// Of each row the columns with their scores that may be among the best `k` of all blocks: those of the stretches with the
/// `k` largest maxima, which hold the best `k` of the block, the first ones where scores are alike; and of these stretches
/// those that exceed what the list asks for by now, `bars`. Burn's own `topk` gave other items on WGPU.
fn best(scores: Tensor<2>, k: usize, bars: &[f32]) -> Vec<Vec<(u32, f32)>> {
    let ([rows, width], device) = (scores.dims(), scores.device());
    let stretches = width.div_ceil(STRETCH);
    let rest = stretches * STRETCH - width;
    let rest = (rest > 0).then(|| Tensor::full([rows, rest], HIDDEN, &device));
    let scores = Tensor::cat([scores].into_iter().chain(rest).collect(), 1).reshape([rows * stretches, STRETCH]);
    let maxima: Vec<f32> = scores.clone().max_dim(1).into_data().iter().collect();
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
    let count = places.len();
    if count == 0 {
        return vec![Vec::new(); rows];
    }
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
    let found: Vec<f32> = scores.select(0, places).into_data().iter().collect();
    let mut found = found.chunks_exact(STRETCH);
    let row = |wanted: &Vec<u32>| {
        let stretch = |(&stretch, scores): (&u32, &[f32])| {
            (stretch * STRETCH as u32..).zip(scores.to_vec()).filter(|(_, score)| *score > HIDDEN).collect::<Vec<_>>()
        };
        wanted.iter().zip(&mut found).flat_map(stretch).collect()
    };
    wanted.iter().map(row).collect()
}

/// Where the columns `hidden` of each user are in a block that starts at `first`, in the shape of `scores`.
fn places(hidden: &[Vec<u32>], first: u32, scores: &Tensor<2>) -> Tensor<2, Bool> {
    let ([users, width], device) = (scores.dims(), scores.device());
    let longest = hidden.iter().map(Vec::len).max().unwrap_or(0).max(1);
    // Shorter rows are filled up with a column beyond the block.
    let row = |hidden: &Vec<u32>| {
        let own = hidden.iter().map(|column| (column - first) as i32).collect::<Vec<_>>();
        own.into_iter().chain(std::iter::repeat(width as i32)).take(longest)
    };
    let columns: Vec<i32> = hidden.iter().flat_map(row).collect();
    let columns = Tensor::<2, Int>::from_data(TensorData::new(columns, [users, longest]), &device);
    let marks = Tensor::<2>::ones([users, longest], &device);
    let marked = Tensor::zeros([users, width + 1], &device).scatter(1, columns, marks, IndexingUpdateOp::Add);
    marked.slice([0..users, 0..width]).greater_elem(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::{Group, Query, columns};
    use crate::rank::{Ranked, Ties, candidates};
    use burn::tensor::{Device, Tensor, TensorData};
    use ra_core::{History, Recommender, SplitMix};

    const ITEMS: usize = 3000;

    /// Only how many vectors a user has, and what is added.
    #[derive(Debug)]
    struct Model(usize, Vec<(u32, f32)>);

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
        fn items(&self, _: &[u32]) -> Tensor<2> {
            unreachable!("its vectors are given")
        }
        fn additions(&self, _: &History<'_>) -> Vec<(u32, f32)> {
            self.1.clone()
        }
    }

    /// Vectors of small whole numbers, whose products are exact in any order and often tie.
    fn table(rows: usize, random: &mut SplitMix) -> Tensor<2> {
        let values: Vec<f32> = (0..rows * 4).map(|_| random.below(5) as f32 - 2.0).collect();
        Tensor::from_data(TensorData::new(values, [rows, 4]), &Device::flex())
    }

    fn queries(random: &mut SplitMix) -> Vec<Query<'static>> {
        let mut some = |n: usize| {
            let mut columns: Vec<u32> = (0..n).map(|_| random.below(ITEMS) as u32).collect();
            columns.sort_unstable();
            columns.dedup();
            columns
        };
        let query = |user: usize| {
            let relevant = some(1 + user % 4);
            let candidates = candidates(ITEMS as u32, &relevant, &some(80 * user));
            Query { history: History { user: user as u32, items: &[] }, relevant, candidates }
        };
        (0..9).map(query).collect()
    }

    /// Ranks on the device, as far as it takes the blocks, or on the host, and how many blocks the device took.
    fn ranked(group: Group, items: &Tensor<2>, width: usize, device: bool, ties: Ties) -> (Vec<Ranked>, usize) {
        let (mut group, mut taken) = (group, 0);
        for first in (0..ITEMS).step_by(width) {
            let block = items.clone().slice([first + 1..(first + width).min(ITEMS) + 1]);
            if device && group.add_on_device(first as u32, &block) {
                taken += 1;
            } else {
                group.add(first as u32, &columns(block));
            }
        }
        (group.users.into_iter().map(|user| user.ranking.finish(ties)).collect(), taken)
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
                let group = || Group::new(&model, vectors.clone(), &items, &queries, k);
                let (got, taken) = ranked(group(), &items, width, true, ties);
                assert_eq!(got, ranked(group(), &items, width, false, ties).0, "{interests} {width} {k} {ties:?}");
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
            let group = || Group::new(model, vectors.clone(), items, &queries, 20);
            let (got, taken) = ranked(group(), items, 1000, true, Ties::Pessimistic);
            assert_eq!(got, ranked(group(), items, 1000, false, Ties::Pessimistic).0);
            taken
        };
        assert_eq!(blocks_taken(&Model(1, vec![(7, 2.0), (7, 1.0)]), &items), 0);
        // An item of the second block, nobody's target.
        let lost = (1000..2000).find(|c| queries.iter().all(|query| !query.relevant.contains(c))).unwrap();
        items = items.slice_assign(
            [lost as usize + 1..lost as usize + 2, 0..4],
            Tensor::full([1, 4], f32::NAN, &Device::flex()),
        );
        assert_eq!(blocks_taken(&Model(1, Vec::new()), &items), 2);
    }
}
