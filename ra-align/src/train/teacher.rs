//! The ID method, or another model, as the teacher of the towers.
use crate::method::{IdNormalizer, encode_items, encode_users};
use crate::train::loss::OUT;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{History, ItemId, Recommender, indices};
use rayon::prelude::*;
use std::collections::HashMap;

/// The range of exponents of two on both sides of zero, and how often it is halved. The final range is .0012 wide.
const RANGE: f32 = 10.0;
const HALVINGS: usize = 14;

/// Returns at most `most` evenly spaced numbers of `0..of`.
pub(crate) fn evenly_spaced(of: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..of).step_by(of.div_ceil(most).max(1))
}

/// A model whose scores the towers learn to reproduce.
pub(crate) struct Teacher<'a> {
    /// The model; nothing for the ID method, whose vectors are already scaled.
    other: Option<Other<'a>>,
    /// The factor on its scores before their softmax, `distill_scale`.
    pub(crate) scale: f32,
}

/// A model that is not the ID method. Its user vectors are computed in each step: they may be as wide as the catalogue.
struct Other<'a> {
    model: &'a dyn Recommender,
    /// Of the catalogue, `[items + 1, dim]`.
    items: Tensor<2>,
}

/// The vectors of the ID method: those of the samples in question, `[samples, interests, dim]`, and the table of items.
pub(crate) struct IdVectors<'v> {
    pub(crate) normalizer: &'v IdNormalizer,
    pub(crate) users: Tensor<3>,
    pub(crate) items: &'v Tensor<2>,
}

impl<'a> Teacher<'a> {
    /// Takes the ID method, or `other` if there is one, over a catalogue of `items` items.
    pub(crate) fn new(other: Option<&'a dyn Recommender>, items: usize, scale: f32) -> Self {
        Self { other: other.map(|model| Other { model, items: encode_items(model, items) }), scale }
    }

    /// Returns the scores of the columns for some samples, whose histories are given, `[samples, columns]`.
    pub(crate) fn scores(&self, histories: &[History<'_>], columns: &[ItemId], ids: &IdVectors<'_>) -> Tensor<2> {
        let (n, device) = (histories.len(), ids.users.device());
        let place = |device: &Device| indices(columns.iter().map(|item| item.index()), device);
        let Some(Other { model, items }) = &self.other else {
            return ids.normalizer.scores(ids.users.clone(), ids.items.clone().select(0, place(&device)));
        };
        let (interests, own) = (model.interests(), items.device());
        let products = encode_users(*model, histories).matmul(items.clone().select(0, place(&own)).transpose());
        let scores = products.reshape([n, interests, columns.len()]).max_dim(1).squeeze_dim::<2>(1).to_device(&device);
        let mut places: HashMap<ItemId, Vec<usize>> = HashMap::new();
        columns.iter().enumerate().for_each(|(at, &item)| places.entry(item).or_default().push(at));
        let added = histories.par_iter().map(|history| {
            let mut row = vec![0.0f32; columns.len()];
            for (item, more) in model.additions(history) {
                places.get(&item).into_iter().flatten().for_each(|&at| row[at] += more);
            }
            row
        });
        let added: Vec<f32> = added.collect::<Vec<_>>().concat();
        scores + Tensor::from_data(TensorData::new(added, [n, columns.len()]), &device)
    }
}

/// Returns the factor that turns a teacher's scores into logits: with it, the softmax over the catalogue gives `targets`
/// the highest likelihood.
///
/// The teacher has mostly seen these targets in its own training, so the factor is too large for one that overfits them.
/// `scores` returns the scores of some items, `[targets, items]`; a subset represents a large catalogue.
pub(crate) fn fitted_scale(
    scores: impl Fn(&[ItemId]) -> Tensor<2>,
    catalog: usize,
    targets: &[ItemId],
    device: &Device,
) -> f32 {
    let n = targets.len();
    let others: Vec<ItemId> = evenly_spaced(catalog, 2048).map(|row| ItemId(row as u32 + 1)).collect();
    let columns: Vec<ItemId> = targets.iter().chain(&others).copied().collect();
    let scores = scores(&columns);
    let own = scores.clone().gather(1, indices(0..n, device).reshape([n, 1]));
    let scores = Tensor::cat(vec![own, scores.slice_dim(1, n..n + others.len())], 1);
    let weight = (catalog as f32 / others.len() as f32).ln();
    let row = |&target: &ItemId| {
        let other = move |&item: &ItemId| if item == target { OUT } else { weight };
        std::iter::once(0.0).chain(others.iter().map(other))
    };
    let offset: Vec<f32> = targets.iter().flat_map(row).collect();
    likeliest_scale(&scores, &Tensor::from_data(TensorData::new(offset, scores.dims()), device))
}

/// Returns the factor on `scores`, `[samples, candidates]`, with which their softmax gives the first candidate of each
/// row the highest likelihood (temperature scaling, Guo et al., ICML 2017). `offset`, `[samples, candidates]`, is added
/// afterwards: the logarithm of how many items a candidate represents, or a large negative number if there is no
/// candidate.
///
/// The likelihood is concave in the factor, so a bisection finds the zero of its slope. If the likelihood has no
/// maximum, because a method ranks every target first or ranks targets worse than chance, the factor ends up a thousand
/// times above or below one over the scores' deviation, with a warning.
fn likeliest_scale(scores: &Tensor<2>, offset: &Tensor<2>) -> f32 {
    // A softmax ignores what all candidates of a row have in common, but sums of large numbers lose precision by it.
    let scores = scores.clone() - scores.clone().mean_dim(1);
    let deviation = scores.clone().square().mean().sqrt().into_scalar::<f32>();
    if deviation == 0.0 {
        return 1.0;
    }
    let target = scores.clone().slice_dim(1, 0..1);
    let slope = |scale: f32| {
        let shares = softmax(scores.clone() * scale + offset.clone(), 1);
        (target.clone() - (shares * scores.clone()).sum_dim(1)).mean().into_scalar::<f32>()
    };
    let (mut low, mut high) = (-RANGE, RANGE);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if slope(middle.exp2() / deviation) >= 0.0 { low = middle } else { high = middle }
    }
    if low == -RANGE || high == RANGE {
        tracing::warn!(
            "no factor turns the teacher's scores into logits: it ranks the targets {}; set distill_scale to a \
             number, or leave distillation out",
            if high == RANGE { "always first" } else { "no better than chance" }
        );
    }
    low.exp2() / deviation
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::SplitMix;

    #[test]
    fn scores_that_are_logits_divided_by_a_number_get_that_number_back() {
        let (device, mut random) = (Device::flex(), SplitMix::new(7));
        let (rows, columns) = (4000, 8);
        let mut uniform = || (random.below(1 << 20) as f32 + 0.5) / (1 << 20) as f32;
        let mut cells = Vec::new();
        for _ in 0..rows {
            let logits: Vec<f32> = (0..columns).map(|_| 4.0 * uniform() - 2.0).collect();
            // The Gumbel trick: a candidate is drawn by the softmax and put first.
            let key: Vec<f32> = logits.iter().map(|x| x - (-uniform().ln()).ln()).collect();
            let drawn = (0..columns).max_by(|&a, &b| key[a].total_cmp(&key[b])).unwrap();
            cells.push(logits[drawn]);
            cells.extend((0..columns).filter(|&j| j != drawn).map(|j| logits[j]));
        }
        let logits = Tensor::<2>::from_data(TensorData::new(cells, [rows, columns]), &device);
        for divisor in [0.05f32, 1.0, 30.0] {
            let scale = likeliest_scale(&(logits.clone() / divisor), &logits.zeros_like());
            assert!((scale / divisor - 1.0).abs() < 0.1, "{scale} for {divisor}");
        }
        let shifted = logits.clone() + Tensor::arange(0..rows as i64, &device).float().reshape([rows, 1]);
        assert!(
            (likeliest_scale(&shifted, &logits.zeros_like()) - 1.0).abs() < 0.1,
            "what a user's scores have in common"
        );
        assert_eq!(likeliest_scale(&logits.zeros_like(), &logits.zeros_like()), 1.0, "constant scores");
        let rest = logits.clone().slice_dim(1, 1..columns);
        let best = Tensor::cat(vec![rest.clone().max_dim(1) + 1.0, rest.clone()], 1);
        assert!(likeliest_scale(&best, &logits.zeros_like()) > 100.0, "every target first");
        let worst = Tensor::cat(vec![rest.clone().min_dim(1) - 1.0, rest], 1);
        assert!(likeliest_scale(&worst, &logits.zeros_like()) < 0.01, "every target last");
    }

    #[test]
    fn the_scale_is_found_among_all_items_once_each_and_over_several_interests() {
        let (device, mut random) = (Device::flex(), SplitMix::new(3));
        let mut uniform = || (random.below(1 << 20) as f32 + 0.5) / (1 << 20) as f32;
        let (samples, interests, items, dim) = (1500, 2, 2100, 4);
        let mut table = |rows: usize| {
            TensorData::new((0..rows * dim).map(|_| 2.0 * uniform() - 1.0).collect::<Vec<_>>(), [rows, dim])
        };
        let users = Tensor::<2>::from_data(table(samples * interests), &device);
        let catalog = Tensor::<2>::from_data(table(items + 1), &device);
        let ids = IdNormalizer::measure(users.clone(), catalog.clone());
        let users = users.reshape([samples, interests, dim]);
        let scores = ids.scores(users.clone(), catalog.clone().slice_dim(0, 1..items + 1)).into_data();
        let scores = scores.try_to_vec::<f32>().unwrap();
        let true_scale = 3.0;
        let drawn = |row: &[f32]| {
            let key: Vec<f32> = row.iter().map(|x| true_scale * x - (-uniform().ln()).ln()).collect();
            ItemId((0..items).max_by(|&a, &b| key[a].total_cmp(&key[b])).unwrap() as u32 + 1)
        };
        let targets: Vec<ItemId> = scores.chunks(items).map(drawn).collect();
        let scores = |columns: &[ItemId]| {
            let columns = indices(columns.iter().map(|item| item.index()), &device);
            ids.scores(users.clone(), catalog.clone().select(0, columns))
        };
        let scale = fitted_scale(scores, items, &targets, &device);
        assert!((scale / true_scale - 1.0).abs() < 0.1, "{scale}");
    }
}
