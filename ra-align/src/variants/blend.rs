//! A blend: one recommender whose score is a weighted sum of others' scores.
use burn::tensor::Tensor;
use ra_core::{Error, History, ItemId, Progress, Recommender, Result};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// The weights that are tried for a part that has none yet, in units of one over the deviation of its scores.
const FIRST: [f32; 6] = [0.0078125, 0.03125, 0.125, 0.5, 1.0, 4.0];

/// The factors that are then tried on the weight of each part, in rounds. Before the last ones, it may be left out.
const LATER: [&[f32]; 4] = [&[0.5, 2.0], &[0.7, 1.4], &[0.84, 1.19], &[0.92, 1.09]];

/// The most rounds of all of these.
const ROUNDS: usize = 4;

/// A recommender whose score is the weighted sum of the scores of its parts.
///
/// It is a recommender like any other: the vectors of its parts stand next to each other, so that one product gives the
/// sum, and what the parts add to single items stays sparse. With parts of several interests, a user has one vector for
/// each combination of them, and the maximum over these is the sum of the parts' maxima.
///
/// A softmax over the catalogue does not change when a number is added to all scores of a user. A weighted sum of scores
/// therefore ranks like the same sum of log-probabilities.
#[derive(Debug, Clone)]
pub struct Blend<R> {
    parts: Vec<(R, f32)>,
}

impl<R: Recommender> Blend<R> {
    /// Combines `parts` with their weights. A part with weight 0 is left out.
    ///
    /// # Errors
    /// [`Error::Missing`] if a weight is negative or not a number, or if none is above 0.
    pub fn new(parts: Vec<(R, f32)>) -> Result<Self> {
        let wrong = |what: &str| Error::Missing {
            what: what.into(),
            remedy: "the weights of a blend are numbers from 0 on, at least one of them above 0".into(),
        };
        if parts.iter().any(|(_, weight)| !(weight.is_finite() && *weight >= 0.0)) {
            return Err(wrong("a weight that is a number of at least 0"));
        }
        let parts: Vec<(R, f32)> = parts.into_iter().filter(|(_, weight)| *weight > 0.0).collect();
        if parts.is_empty() { Err(wrong("a weight above 0")) } else { Ok(Self { parts }) }
    }
}

/// The weights of a blend, and how they were found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BlendWeights {
    /// The weight of each part, in the order of the parts. That of the largest is one over the deviation of its scores.
    pub weights: Vec<f32>,
    /// The metric of each part alone; minus infinity for a part that is left out or cannot be rated.
    pub alone: Vec<f64>,
    /// The metric of the blend.
    pub validation: f64,
    /// The number of blends that were tried.
    pub trials: usize,
}

/// Matrices of scores, `[users, items]`, which exist a piece at a time: `scores(user, items, to)` writes the user's scores
/// of these items, which are columns, by each of the matrices to `to`, `[matrices, items]`.
pub type Scores<'a> = dyn Fn(usize, Range<usize>, &mut [f32]) + Sync + 'a;

/// A metric of score matrices, higher is better. A search asks for it hundreds of times.
pub trait ScoreMetric: Sync {
    /// Returns the metric of each of `n` matrices.
    fn rate(&self, n: usize, scores: &Scores<'_>) -> Vec<f64>;
}

impl<F: Fn(usize, &Scores<'_>) -> Vec<f64> + Sync> ScoreMetric for F {
    fn rate(&self, n: usize, scores: &Scores<'_>) -> Vec<f64> {
        self(n, scores)
    }
}

/// The search for the weights of a blend, by coordinate search on a validation metric.
///
/// It starts from the best part alone, adds the part that helps most as long as one does, and then changes one weight at a
/// time, in up to four rounds, until no change helps. It does the same from each of the [`starts`](Self::starts), and the
/// best blend of all wins. Every change raises the metric, so a blend never validates worse than a part of it or a start. A
/// part that adds nothing gets weight 0.
///
/// It works on score matrices, which are computed once per part. A blend that differs from the present one in one weight
/// costs a sum of two rows for each user, and no memory.
pub struct BlendSearch<'a> {
    parts: Vec<Vec<f32>>,
    items: usize,
    /// One over the deviation of each part's scores.
    units: Vec<f32>,
    /// Weights to start from, in units of one over the deviation.
    starts: Vec<Vec<f32>>,
    metric: &'a dyn ScoreMetric,
}

impl<'a> BlendSearch<'a> {
    /// Prepares a search over `parts`, each a matrix of the scores of `items` items for the same users, `[users, items]`.
    ///
    /// # Errors
    /// [`Error::Missing`] without a part, a user or an item, or if the matrices differ in size.
    pub fn new(parts: Vec<Vec<f32>>, items: usize, metric: &'a dyn ScoreMetric) -> Result<Self> {
        let size = parts.first().map_or(0, Vec::len);
        if size == 0 || items == 0 || !size.is_multiple_of(items) || parts.iter().any(|part| part.len() != size) {
            let remedy = format!("give each part one number for each user and each of the {items} items");
            return Err(Error::Missing { what: "a matrix of scores of each part of a blend".into(), remedy });
        }
        let units = parts.iter().map(|part| unit(part, items)).collect();
        Ok(Self { parts, items, units, starts: Vec::new(), metric })
    }

    /// Also starts from these weights of the parts, such as those of a blend of some of them: the search by single weights
    /// may end where changing two at a time would help.
    ///
    /// # Panics
    /// If there is not one weight for each part.
    #[must_use]
    pub fn starts(mut self, starts: Vec<Vec<f32>>) -> Self {
        assert!(starts.iter().all(|start| start.len() == self.parts.len()), "a weight for each part");
        let in_units = |start: Vec<f32>| start.iter().zip(&self.units).map(|(weight, unit)| weight / unit).collect();
        self.starts = starts.into_iter().map(in_units).collect();
        self
    }

    /// Finds the weights of the blend of all parts.
    ///
    /// # Errors
    /// [`Error::Missing`] if the metric of no part is a number.
    pub fn fit(&self, progress: &dyn Progress) -> Result<BlendWeights> {
        self.fit_without(None, progress)
    }

    /// Finds the weights of the blend of all parts except one, so that its difference shows what the part is worth.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_without(&self, left_out: Option<usize>, progress: &dyn Progress) -> Result<BlendWeights> {
        let all = self.parts.len();
        let places: Vec<usize> = (0..all).filter(|&at| Some(at) != left_out).collect();
        let mut climb = Climb { search: self, trials: 0, progress, weights: vec![0.0; all], scores: Vec::new() };
        let mut alone = vec![f64::NEG_INFINITY; all];
        let one = |at: usize| with(&vec![0.0; all], at, 1.0);
        places.iter().for_each(|&at| alone[at] = climb.rate_blend(&one(at)));
        // Of equal ones, the first.
        let first = places.iter().rev().copied().max_by(|&a, &b| alone[a].total_cmp(&alone[b])).unwrap_or(0);
        if alone[first] == f64::NEG_INFINITY {
            let remedy =
                "the metric of every part is not a number: look at their scores and at what the metric measures";
            return Err(Error::Missing { what: "a part of the blend that can be rated".into(), remedy: remedy.into() });
        }
        climb.move_to(one(first));
        let mut validation = climb.up(&places, alone[first]);
        let mut weights = climb.weights.clone();
        for start in &self.starts {
            let start = left_out.map_or_else(|| start.clone(), |at| with(start, at, 0.0));
            if start.iter().any(|&weight| weight > 0.0) {
                let rated = climb.rate_blend(&start);
                climb.move_to(start);
                let other = climb.up(&places, rated);
                if other > validation {
                    (validation, weights) = (other, climb.weights.clone());
                }
            }
        }
        // The ranking does not depend on the scale, but what is taught by the blend reads its scores as logits: whatever the
        // search started from, the largest part has a deviation of 1.
        let largest = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let weights = weights.iter().zip(&self.units).map(|(weight, unit)| weight / largest * unit).collect();
        Ok(BlendWeights { weights, alone, validation, trials: climb.trials })
    }

    /// Writes a user's scores of some items by the blend with these weights to `to`, `[items]`.
    fn write(&self, weights: &[f32], user: usize, items: Range<usize>, to: &mut [f32]) {
        to.fill(0.0);
        for (at, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let part = &self.row(at, user)[items.clone()];
            pulp::Arch::new().dispatch(Add { to, part, weight: weight * self.units[at] });
        }
    }

    /// Returns a user's scores by a part.
    fn row(&self, part: usize, user: usize) -> &[f32] {
        &self.parts[part][user * self.items..][..self.items]
    }
}

impl std::fmt::Debug for BlendSearch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlendSearch").field("units", &self.units).finish_non_exhaustive()
    }
}

/// The way from one blend to better ones.
struct Climb<'a> {
    search: &'a BlendSearch<'a>,
    progress: &'a dyn Progress,
    trials: usize,
    /// The present weights, in units of one over the deviation.
    weights: Vec<f32>,
    /// The scores of the present blend, `[users, items]`.
    scores: Vec<f32>,
}

impl Climb<'_> {
    /// Raises the metric of the present blend, `best`, by one weight at a time; returns what it has become.
    fn up(&mut self, places: &[usize], mut best: f64) -> f64 {
        // Parts are added one by one, each time the one that helps most.
        while let Some((at, weight, rated)) = self.best_addition(places, best) {
            self.change(at, weight);
            best = rated;
        }
        for _ in 0..ROUNDS {
            let before = best;
            for (stage, factors) in (1..).zip(LATER) {
                for &at in places {
                    if stage == LATER.len() {
                        best = self.leave_out(at, best);
                    }
                    best = self.scale(at, factors, best);
                }
            }
            if best == before {
                break;
            }
        }
        best
    }

    /// Returns the part and the weight whose addition raises the metric most, and the metric, if there is such a part.
    fn best_addition(&mut self, places: &[usize], best: f64) -> Option<(usize, f32, f64)> {
        let mut found: Option<(usize, f32, f64)> = None;
        for &at in places {
            if self.weights[at] != 0.0 {
                continue;
            }
            for (weight, rated) in FIRST.into_iter().zip(self.rate_changes(at, &FIRST)) {
                if rated > found.map_or(best, |(_, _, other)| other) {
                    found = Some((at, weight, rated));
                }
            }
        }
        found
    }

    /// Multiplies the weight of a part by each of the factors, in turn, that raises the metric.
    fn scale(&mut self, at: usize, mut factors: &[f32], mut best: f64) -> f64 {
        // All are rated at once. After one that helps, the rest is rated again: that is rare.
        while self.weights[at] != 0.0 && !factors.is_empty() {
            let tried: Vec<f32> = factors.iter().map(|factor| factor * self.weights[at]).collect();
            let rated = self.rate_changes(at, &tried);
            let Some(place) = rated.iter().position(|&rated| rated > best) else { break };
            self.change(at, tried[place]);
            (best, factors) = (rated[place], &factors[place + 1..]);
        }
        best
    }

    /// Leaves a part out if that does not lower the metric: it is not kept for nothing.
    fn leave_out(&mut self, at: usize, best: f64) -> f64 {
        let without = with(&self.weights, at, 0.0);
        let is_part = self.weights[at] != 0.0 && without.iter().any(|&weight| weight != 0.0);
        // What remains of the part by rounding breaks ties, which rather helps: then the others are added anew.
        if !is_part || self.rate_changes(at, &[0.0])[0] < best {
            return best;
        }
        let rated = self.rate_blend(&without);
        if rated < best {
            return best;
        }
        self.move_to(without);
        rated
    }

    /// Returns the metrics of blends that differ from the present one in the weight of one part.
    fn rate_changes(&mut self, at: usize, weights: &[f32]) -> Vec<f64> {
        let search = self.search;
        let steps: Vec<f32> = weights.iter().map(|weight| self.step(at, *weight)).collect();
        let scores = |user: usize, items: Range<usize>, to: &mut [f32]| {
            let present = &self.scores[user * search.items..][items.clone()];
            let part = &search.row(at, user)[items.clone()];
            for (to, &weight) in to.chunks_exact_mut(items.len()).zip(&steps) {
                to.copy_from_slice(present);
                pulp::Arch::new().dispatch(Add { to, part, weight });
            }
        };
        let rated = search.metric.rate(steps.len(), &scores);
        self.tried(rated)
    }

    /// Returns the metric of a blend.
    fn rate_blend(&mut self, weights: &[f32]) -> f64 {
        let rated = self.search.metric.rate(1, &|user, items, to| self.search.write(weights, user, items, to));
        self.tried(rated)[0]
    }

    /// Counts what was tried. What is not a number is no better than anything.
    fn tried(&mut self, rated: Vec<f64>) -> Vec<f64> {
        self.trials += rated.len();
        self.progress.update(self.trials as u64, "");
        rated.into_iter().map(|rated| if rated.is_finite() { rated } else { f64::NEG_INFINITY }).collect()
    }

    /// Changes the weight of a part, to exactly the scores that were rated.
    fn change(&mut self, at: usize, weight: f32) {
        let (search, step) = (self.search, self.step(at, weight));
        let rows = self.scores.par_chunks_exact_mut(search.items).enumerate();
        rows.for_each(|(user, to)| {
            pulp::Arch::new().dispatch(Add { to, part: search.row(at, user), weight: step });
        });
        self.weights[at] = weight;
    }

    /// Returns what the score of a part is multiplied by to change its weight.
    fn step(&self, at: usize, weight: f32) -> f32 {
        (weight - self.weights[at]) * self.search.units[at]
    }

    /// Moves to the blend with these weights.
    fn move_to(&mut self, weights: Vec<f32>) {
        let search = self.search;
        self.scores.resize(search.parts[0].len(), 0.0);
        let rows = self.scores.par_chunks_exact_mut(search.items).enumerate();
        rows.for_each(|(user, to)| search.write(&weights, user, 0..search.items, to));
        self.weights = weights;
    }
}

/// `to` += `weight` * `part`, compiled for the vector units of this processor. It is not a closure because a closure's
/// body would not be inlined.
struct Add<'a> {
    to: &'a mut [f32],
    part: &'a [f32],
    weight: f32,
}

impl pulp::NullaryFnOnce for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { to, part, weight } = self;
        to.iter_mut().zip(part).for_each(|(to, score)| *to += weight * score);
    }
}

/// Returns the weights with that of one part replaced.
fn with(weights: &[f32], at: usize, weight: f32) -> Vec<f32> {
    let mut changed = weights.to_vec();
    changed[at] = weight;
    changed
}

/// Returns one over the standard deviation of a user's scores, averaged over users; 1 if all scores are alike.
fn unit(scores: &[f32], items: usize) -> f32 {
    let variance = |row: &[f32]| {
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / items as f64;
        row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / items as f64
    };
    let variances: Vec<f64> = scores.par_chunks_exact(items).map(variance).collect();
    let deviation = (variances.iter().sum::<f64>() / variances.len() as f64).sqrt();
    if deviation > 0.0 && deviation.is_finite() { (1.0 / deviation) as f32 } else { 1.0 }
}

impl<R: Recommender> Blend<R> {
    /// Repeats the vectors of `part`, `[histories * interests, dim]`, for every combination of interests: `before` is the
    /// number of combinations of the parts before it, `after` that of the parts after it.
    fn combined(vectors: Tensor<2>, histories: usize, before: usize, after: usize) -> Tensor<2> {
        if before * after == 1 {
            return vectors;
        }
        let [rows, dim] = vectors.dims();
        let own = rows / histories.max(1);
        let vectors = vectors.reshape([histories, 1, own, 1, dim]).expand([histories, before, own, after, dim]);
        vectors.reshape([histories * before * own * after, dim])
    }
}

impl<R: Recommender> Recommender for Blend<R> {
    fn dim(&self) -> usize {
        self.parts.iter().map(|(part, _)| part.dim()).sum()
    }

    fn interests(&self) -> usize {
        self.parts.iter().map(|(part, _)| part.interests()).product()
    }

    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let (all, mut before) = (self.interests(), 1);
        let part = |(part, weight): &(R, f32)| {
            let own = part.interests();
            let vectors =
                Self::combined(part.users(histories), histories.len(), before, all / (before * own)) * *weight;
            before *= own;
            vectors
        };
        Tensor::cat(self.parts.iter().map(part).collect(), 1)
    }

    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        Tensor::cat(self.parts.iter().map(|(part, _)| part.items(items)).collect(), 1)
    }

    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        let own = |(part, weight): &(R, f32)| {
            let weight = *weight;
            part.additions(history).into_iter().map(move |(item, more)| (item, more * weight)).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(own).collect()
    }
}

/// A blend of parts chosen at run time.
pub type AnyBlend<'a> = Blend<Arc<dyn Recommender + 'a>>;

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Device, IdTable, NoProgress, UserId, host_numbers, normal, rng, scores};

    fn table(rows: usize, dim: usize, label: &str) -> Tensor<2> {
        normal([rows, dim], 1.0, &mut rng(1, label, 0), &Device::flex()).val()
    }

    /// Two interests per user, and one more for item 2.
    #[derive(Debug)]
    struct Two(IdTable);

    impl Recommender for Two {
        ra_core::forward_recommender!(self => self.0; dim, items);
        fn interests(&self) -> usize {
            2
        }
        fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
            let own = self.0.users(histories);
            let [n, dim] = own.dims();
            Tensor::cat(vec![own.clone().unsqueeze_dim::<3>(1), own.neg().unsqueeze_dim(1)], 1).reshape([n * 2, dim])
        }
        fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
            vec![(ItemId(2), 1.0)]
        }
    }

    #[test]
    fn its_scores_are_the_sum_of_the_parts_scores() {
        let histories: Vec<History<'_>> = UserId::all(3).map(|user| History { user, items: &[] }).collect();
        let all: Vec<ItemId> = (0..=5).map(ItemId).collect();
        let [a, b, c]: [Box<dyn Recommender>; 3] = [
            Box::new(IdTable::new(table(3, 4, "a"), table(6, 4, "b"))),
            Box::new(Two(IdTable::new(table(3, 2, "c"), table(6, 2, "d")))),
            Box::new(Two(IdTable::new(table(3, 3, "e"), table(6, 3, "f")))),
        ];
        let want = scores(&a, &histories, &a.items(&all)) * 0.5
            + scores(&b, &histories, &b.items(&all)) * 2.0
            + scores(&c, &histories, &c.items(&all)) * 3.0;
        let off = IdTable::new(table(3, 4, "x"), table(6, 4, "y"));
        let blend: Blend<Box<dyn Recommender>> =
            Blend::new(vec![(a, 0.5), (Box::new(off), 0.0), (b, 2.0), (c, 3.0)]).unwrap();
        assert_eq!((blend.dim(), blend.interests()), (9, 4), "a part with weight 0 is left out");
        let got = scores(&blend, &histories, &blend.items(&all));
        let apart: f32 = (got - want).abs().max().into_scalar();
        assert!(apart < 1e-5, "{apart}");
    }

    /// A metric of a whole matrix of this size.
    struct Whole<F>(usize, usize, F);

    impl<F: Fn(&[f32]) -> f64 + Sync> ScoreMetric for Whole<F> {
        fn rate(&self, n: usize, scores: &Scores<'_>) -> Vec<f64> {
            let Self(users, items, rate) = self;
            let mut matrices = vec![Vec::new(); n];
            for user in 0..*users {
                let mut rows = vec![0.0; n * items];
                scores(user, 0..*items, &mut rows);
                matrices.iter_mut().zip(rows.chunks_exact(*items)).for_each(|(to, row)| to.extend_from_slice(row));
            }
            matrices.iter().map(|matrix| rate(matrix)).collect()
        }
    }

    #[test]
    fn weights_that_are_none_are_refused() {
        let part = || IdTable::new(table(1, 1, "a"), table(2, 1, "b"));
        for weights in [[-1.0, 1.0], [f32::NAN, 1.0], [0.0, 0.0]] {
            let told = Blend::new(weights.map(|weight| (part(), weight)).into()).unwrap_err().to_string();
            assert!(told.contains("weights of a blend"), "{told}");
        }
    }

    #[test]
    fn the_search_finds_what_adds_up_and_leaves_out_what_does_not() {
        let matrix = |name: &str| host_numbers(table(8, 40, name));
        let (a, b, noise) = (matrix("a"), matrix("b"), matrix("noise"));
        // The truth is a plus three times b, on any scale.
        let truth: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + 3.0 * b).collect();
        let cosine = Whole(8, 40, |scores: &[f32]| {
            let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum::<f64>();
            dot(scores, &truth) / (dot(scores, scores) * dot(&truth, &truth)).sqrt()
        });
        let search = |parts: &[&Vec<f32>]| {
            BlendSearch::new(parts.iter().map(|part| part.to_vec()).collect(), 40, &cosine).unwrap()
        };
        let found = search(&[&a, &b, &noise]).fit(&NoProgress).unwrap();
        assert!(found.validation > 0.995 && found.alone.iter().all(|alone| found.validation > *alone), "{found:?}");
        let ratio = found.weights[1] / found.weights[0];
        assert!((ratio / 3.0 - 1.0).abs() < 0.25, "{found:?}");
        assert!(found.weights[2] / found.weights[1] < 0.1, "noise hardly counts: {found:?}");
        let without = search(&[&a, &b, &noise]).fit_without(Some(1), &NoProgress).unwrap();
        assert!(without.weights[1] == 0.0 && without.validation < found.validation, "{without:?}");
        // It is never worse than a start, and a start without the part that is left out is one without it.
        let started = search(&[&a, &b, &noise]).starts(vec![vec![1.0, 3.0, 0.0], vec![0.0, 1.0, 0.0]]);
        let known = BlendSearch::new(vec![truth.clone()], 40, &cosine).unwrap().fit(&NoProgress).unwrap().validation;
        let best = started.fit(&NoProgress).unwrap();
        assert!(best.validation >= known - 1e-6 && best.validation >= found.validation, "{best:?}");
        let without = started.fit_without(Some(1), &NoProgress).unwrap();
        assert!(without.weights[1] == 0.0 && without.validation < known, "{without:?}");
        // The scale is not that of the start.
        for scale in [0.01, 1.0, 100.0] {
            let other = search(&[&a, &b, &noise]).starts(vec![vec![scale, 3.0 * scale, 0.0]]);
            let weights = other.fit(&NoProgress).unwrap().weights;
            let largest = weights.iter().zip(&other.units).map(|(weight, unit)| weight / unit).fold(0.0, f32::max);
            assert!((largest - 1.0).abs() < 1e-6, "{scale}: {weights:?}");
        }
        // Single weights lead from part 0 to no other; the parts 1 and 2 are best together.
        let both = |weights: &[f32]| match [0, 1, 2].map(|at| weights[at] > 0.0) {
            [true, false, false] => 0.5,
            [false, true, true] => 1.0,
            _ => 0.1,
        };
        let parts = || (0..3).map(|at| (0..9).map(|place| f32::from(place % 3 == at)).collect()).collect();
        let rate = Whole(3, 3, |scores: &[f32]| both(&scores[..3]));
        let [plain, started] = [vec![], vec![vec![0.0, 2.0, 3.0]]]
            .map(|starts| BlendSearch::new(parts(), 3, &rate).unwrap().starts(starts).fit(&NoProgress).unwrap());
        assert_eq!((plain.validation, started.validation), (0.5, 1.0), "{plain:?} {started:?}");
        // Nothing is better than the part itself.
        let alone = search(&[&truth, &noise]).fit(&NoProgress).unwrap();
        assert!(alone.weights[0] > 0.0 && alone.validation > 0.9999, "{alone:?}");
        // A part whose scores are all alike changes nothing, and is left out.
        let flat = search(&[&vec![2.0; 320], &truth]).fit(&NoProgress).unwrap();
        assert!(flat.weights[0] == 0.0 && flat.weights[1] > 0.0, "{flat:?}");
        for (parts, items) in
            [(vec![], 40), (vec![a.clone(), vec![0.0; 3]], 40), (vec![a.clone()], 7), (vec![vec![]], 4)]
        {
            let told = BlendSearch::new(parts, items, &cosine).unwrap_err().to_string();
            assert!(told.contains("matrix of scores"), "{told}");
        }
    }
}
