//! A blend: one recommender whose score is a weighted sum of others' scores.
use burn::tensor::Tensor;
use ra_core::{Error, History, ItemId, Progress, Recommender, Result};
use rayon::prelude::*;
use std::sync::Arc;

/// The weights that are tried for a part that has none yet, in units of one over the deviation of its scores.
const FIRST: [f32; 6] = [0.0078125, 0.03125, 0.125, 0.5, 1.0, 4.0];

/// The factors that are then tried on the weight of each part, in rounds. In the last one, parts may be left out.
const LATER: [&[f32]; 4] = [&[0.5, 2.0], &[0.7, 1.4], &[0.84, 1.19], &[0.0, 0.92, 1.09]];

/// The most rounds of all of these.
const ROUNDS: usize = 4;

/// The number of scores that are added at a time.
const BLOCK: usize = 1 << 16;

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

/// The search for the weights of a blend, by coordinate search on a validation metric.
///
/// It starts from the best part alone, adds the part that helps most as long as one does, and then changes one weight at a
/// time, in up to four rounds, until no change helps. It does the same from each of the [`starts`](Self::starts), and the
/// best blend of all wins. Every change raises the metric, so a blend never validates worse than a part of it or a start. A
/// part that adds nothing gets weight 0.
///
/// It works on score matrices, which are computed once per part: a blend of them costs a sum.
pub struct BlendSearch<'a> {
    parts: Vec<Vec<f32>>,
    /// One over the deviation of each part's scores.
    units: Vec<f32>,
    /// Weights to start from, in units of one over the deviation.
    starts: Vec<Vec<f32>>,
    rate: &'a dyn Fn(&[f32]) -> f64,
}

impl<'a> BlendSearch<'a> {
    /// Prepares a search over `parts`, each a matrix of the scores of `items` items for the same users, `[users, items]`.
    /// `rate` returns the metric of such a matrix; higher is better.
    ///
    /// # Errors
    /// [`Error::Missing`] without a part, a user or an item, or if the matrices differ in size.
    pub fn new(parts: Vec<Vec<f32>>, items: usize, rate: &'a dyn Fn(&[f32]) -> f64) -> Result<Self> {
        let size = parts.first().map_or(0, Vec::len);
        if size == 0 || items == 0 || !size.is_multiple_of(items) || parts.iter().any(|part| part.len() != size) {
            let remedy = format!("give each part one number for each user and each of the {items} items");
            return Err(Error::Missing { what: "a matrix of scores of each part of a blend".into(), remedy });
        }
        let units = parts.iter().map(|part| unit(part, items)).collect();
        Ok(Self { parts, units, starts: Vec::new(), rate })
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
        let mut trials = 0;
        let size = self.parts[0].len();
        let mut sums = Sums { of: vec![0.0; all], base: vec![0.0; size], sum: vec![0.0; size] };
        let mut metric = |weights: &[f32]| {
            trials += 1;
            progress.update(trials, "");
            self.rated(weights, &mut sums)
        };
        let one = |at: usize| (0..all).map(|other| f32::from(other == at)).collect::<Vec<f32>>();
        let mut alone = vec![f64::NEG_INFINITY; all];
        places.iter().for_each(|&at| alone[at] = metric(&one(at)));
        // Of equal ones, the first.
        let first = places.iter().rev().copied().max_by(|&a, &b| alone[a].total_cmp(&alone[b])).unwrap_or(0);
        if alone[first] == f64::NEG_INFINITY {
            let remedy =
                "the metric of every part is not a number: look at their scores and at what the metric measures";
            return Err(Error::Missing { what: "a part of the blend that can be rated".into(), remedy: remedy.into() });
        }
        let mut found = climb(&places, (alone[first], one(first)), &mut metric);
        for start in &self.starts {
            let start = left_out.map_or_else(|| start.clone(), |at| with(start, at, 0.0));
            if start.iter().any(|&weight| weight > 0.0) {
                let other = climb(&places, (metric(&start), start), &mut metric);
                if other.0 > found.0 {
                    found = other;
                }
            }
        }
        let (validation, weights) = found;
        // The ranking does not depend on the scale, but what is taught by the blend reads its scores as logits: whatever the
        // search started from, the largest part has a deviation of 1.
        let largest = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let weights = weights.iter().zip(&self.units).map(|(weight, unit)| weight / largest * unit).collect();
        Ok(BlendWeights { weights, alone, validation, trials: trials as usize })
    }

    /// Returns the metric of a blend whose weights are in units of one over the deviation.
    ///
    /// Most trials change one weight of the trial before. Then only that part is added to the scores of that trial, unless
    /// it is left out: what remains of it by rounding would break ties.
    fn rated(&self, weights: &[f32], sums: &mut Sums) -> f64 {
        let Sums { of, base, sum } = sums;
        let changed: Vec<usize> = (0..weights.len()).filter(|&at| weights[at] != of[at]).collect();
        let scores = match changed[..] {
            [] => &*base,
            [at] if weights[at] != 0.0 => {
                self.add(Some(base), &[(at, weights[at] - of[at])], sum);
                sum
            }
            _ => {
                let all: Vec<(usize, f32)> = weights.iter().copied().enumerate().collect();
                self.add(None, &all, base);
                of.copy_from_slice(weights);
                base
            }
        };
        // What is not a number is no better than anything.
        Some((self.rate)(scores)).filter(|rated| rated.is_finite()).unwrap_or(f64::NEG_INFINITY)
    }

    /// Writes `to` = `base` + the sum of these parts by these weights; without `base`, from 0.
    fn add(&self, base: Option<&[f32]>, parts: &[(usize, f32)], to: &mut [f32]) {
        let parts: Vec<(&[f32], f32)> = parts
            .iter()
            .filter(|(_, weight)| *weight != 0.0)
            .map(|&(at, weight)| (self.parts[at].as_slice(), weight * self.units[at]))
            .collect();
        to.par_chunks_mut(BLOCK).enumerate().for_each(|(block, to)| {
            let place = block * BLOCK..block * BLOCK + to.len();
            match base {
                Some(base) => to.copy_from_slice(&base[place.clone()]),
                None => to.fill(0.0),
            }
            for (part, weight) in &parts {
                to.iter_mut().zip(&part[place.clone()]).for_each(|(to, score)| *to += weight * score);
            }
        });
    }
}

/// The scores of a trial of a search, and room for those of the next.
struct Sums {
    /// The weights of `base`, in units of one over the deviation.
    of: Vec<f32>,
    base: Vec<f32>,
    sum: Vec<f32>,
}

impl std::fmt::Debug for BlendSearch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlendSearch").field("units", &self.units).finish_non_exhaustive()
    }
}

/// Raises the metric of a blend by one weight at a time; returns the metric and the weights.
fn climb(
    places: &[usize],
    (mut best, mut weights): (f64, Vec<f32>),
    metric: &mut impl FnMut(&[f32]) -> f64,
) -> (f64, Vec<f32>) {
    // Parts are added one by one, each time the one that helps most.
    while let Some(added) = best_addition(places, (best, &weights), metric) {
        (best, weights) = added;
    }
    for _ in 0..ROUNDS {
        let before = best;
        for factors in LATER {
            for &at in places {
                for &factor in factors {
                    let changed = with(&weights, at, factor * weights[at]);
                    if changed == weights || changed.iter().all(|&weight| weight == 0.0) {
                        continue;
                    }
                    let rated = metric(&changed);
                    // Leaving a part out is preferred to keeping it for nothing.
                    if rated > best || (rated == best && factor == 0.0) {
                        (best, weights) = (rated, changed);
                    }
                }
            }
        }
        if best == before {
            break;
        }
    }
    (best, weights)
}

/// Returns the weights with the part added that raises the metric most, and the metric, if there is such a part.
fn best_addition(
    places: &[usize],
    (best, weights): (f64, &[f32]),
    metric: &mut impl FnMut(&[f32]) -> f64,
) -> Option<(f64, Vec<f32>)> {
    let mut found: Option<(f64, Vec<f32>)> = None;
    for &at in places.iter().filter(|&&at| weights[at] == 0.0) {
        for weight in FIRST {
            let changed = with(weights, at, weight);
            let rated = metric(&changed);
            if rated > found.as_ref().map_or(best, |(other, _)| *other) {
                found = Some((rated, changed));
            }
        }
    }
    found
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
        let cosine = |scores: &[f32]| {
            let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum::<f64>();
            dot(scores, &truth) / (dot(scores, scores) * dot(&truth, &truth)).sqrt()
        };
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
        let parts = || (0..3).map(|at| (0..3).map(|item| f32::from(item == at)).collect()).collect();
        let rate = |scores: &[f32]| both(scores);
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
