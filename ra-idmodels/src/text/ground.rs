//! Text-grounded IDs: the vector of a rare item shrinks towards what its text predicts.
use super::features::on_sphere;
use crate::choose::Best;
use crate::method::sequence::item_rows;
use burn::tensor::{Tensor, TensorData};
use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use ra_core::{
    Check, Dataset, Error, ItemId, Problem, Recommender, Result, Validate, forward_recommender, host_numbers,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// The values of [`GroundConfig::k`] that validation chooses among.
const KS: [f32; 8] = [0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0];

/// The values of [`GroundConfig::scale`] that validation chooses among, after `k`.
const SCALES: [f32; 4] = [1.0, 0.5, 1.5, 2.0];

/// The number of text vectors that the regression reads at once.
const BLOCK: usize = 1 << 15;

/// Configures the grounding of an ID method.
///
/// The vector of item `i`, with `n_i` training interactions and the text vector `t_i` (of length 1, with a constant 1
/// appended), becomes `g_i e_i + (1 - g_i) s W t_i` with `g_i = n_i / (n_i + k)`. `W` is the ridge regression from the text
/// vectors of known items to their ID vectors, in which an item counts `min(n_i, cap)`. This is empirical-Bayes shrinkage
/// of a learned vector towards its prediction from text. An item without a title keeps its own vector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroundConfig {
    /// The number of training interactions at which an item's own vector and its text count alike. With 0, only items
    /// that were never trained on change. By default, validation chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<f32>,
    /// The factor `s` on what a text predicts; above 1 it favours cold items. By default, validation chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    /// The weight of the squared norm of `W`.
    pub ridge: f32,
    /// The highest weight of an item in the regression, in interactions.
    pub cap: u32,
}

impl Default for GroundConfig {
    fn default() -> Self {
        Self { k: None, scale: None, ridge: 1.0, cap: 20 }
    }
}

impl Check for GroundConfig {
    fn problems(&self) -> Vec<Problem> {
        let found = [
            self.k.and_then(|k| Problem::if_negative("k", k)),
            self.scale.and_then(|scale| Problem::unless_positive("scale", scale)),
            Problem::unless_positive("ridge", self.ridge),
            Problem::if_below("cap", self.cap as usize, 1),
        ];
        found.into_iter().flatten().collect()
    }
}

/// An ID method with grounded item vectors. A method that reads its own item vectors in histories reads the grounded ones
/// ([`Recommender::with_items`]); any other scores them.
#[derive(Debug, Clone)]
pub struct Grounded {
    model: Arc<dyn Recommender>,
    /// The number of interactions at which ID and text count alike.
    pub k: f32,
    /// The factor on what a text predicts.
    pub scale: f32,
}

impl Grounded {
    /// Grounds `model`, trained on `dataset`, in the item vectors `features`, `[items + 1, width]` with padding in row 0.
    /// `validate` chooses the numbers that `config` leaves open: first `k`, then the scale.
    ///
    /// # Errors
    /// [`Error::Missing`] if a number is left open without a metric, or if no item was trained on.
    pub fn fit(
        model: Arc<dyn Recommender>,
        dataset: &Dataset,
        features: &Tensor<2>,
        config: &GroundConfig,
        validate: Option<Validate<'_>>,
    ) -> Result<Self> {
        let parts = Parts::new(&*model, dataset, features, config)?;
        let made = |k, scale| Self { model: parts.model(&model, k, scale), k, scale };
        let choose = |what: &str, values: &[f32], made: &dyn Fn(f32) -> Self| {
            let metric = validate.ok_or_else(|| Error::Missing {
                what: "a validation metric".into(),
                remedy: format!("it chooses {what} of the grounding: hold interactions out, or set {what}"),
            })?;
            let mut best = Best::new(values[0], |&value| metric(&made(value)));
            values[1..].iter().for_each(|&value| best.offer(value));
            let (validation, value) = (best.metric(), best.value);
            tracing::info!(value, validation, "grounding: {what}");
            Ok::<f32, Error>(value)
        };
        let first = config.scale.unwrap_or(SCALES[0]);
        let k = config.k.map_or_else(|| choose("k", &KS, &|k| made(k, first)), Ok)?;
        let scale = config.scale.map_or_else(|| choose("scale", &SCALES, &|scale| made(k, scale)), Ok)?;
        Ok(made(k, scale))
    }
}

impl Recommender for Grounded {
    forward_recommender!(self => self.model; dim, interests, users, items, additions);
}

/// What grounded vectors are computed from, on the plain device.
struct Parts {
    /// `[items + 1, dim]`.
    own: Tensor<2>,
    /// `W t_i` of each item, `[items + 1, dim]`.
    predicted: Tensor<2>,
    /// The number of training interactions of each item, with padding first. An item without a title has none left to
    /// shrink: infinity.
    counts: Vec<f32>,
}

impl Parts {
    fn new(model: &dyn Recommender, dataset: &Dataset, features: &Tensor<2>, config: &GroundConfig) -> Result<Self> {
        let items = dataset.catalog.len();
        let all: Vec<ItemId> = (0..=items as u32).map(ItemId).collect();
        let own = model.items(&all);
        let has_text = |item: &ItemId| *item != ItemId::PADDING && dataset.catalog.has_text(*item);
        let popularity = dataset.popularity();
        let count = |item: &ItemId| if has_text(item) { popularity[item.index()] as f32 } else { f32::INFINITY };
        let counts: Vec<f32> = all.iter().map(count).collect();
        let texts = Texts { features, block: BLOCK };
        let weight = |&count: &f32| if count.is_finite() { count.min(config.cap as f32) } else { 0.0 };
        let weights: Vec<f32> = counts.iter().map(weight).collect();
        if weights.iter().all(|&weight| weight == 0.0) {
            let remedy = "give titles to items of the training part, or leave grounding out";
            return Err(Error::Missing {
                what: "an item with a title that was trained on".into(),
                remedy: remedy.into(),
            });
        }
        let predicted = texts.ridge(&own, &weights, f64::from(config.ridge))?;
        Ok(Self { own, predicted, counts })
    }

    /// Returns the grounded item vectors, `[items + 1, dim]`.
    fn table(&self, k: f32, scale: f32) -> Tensor<2> {
        let share = |&count: &f32| match count {
            // Infinity over infinity is not a number.
            count if count.is_infinite() => 1.0,
            0.0 => 0.0,
            count => count / (count + k),
        };
        let shares: Vec<f32> = self.counts.iter().map(share).collect();
        let shares = Tensor::<2>::from_data(TensorData::new(shares, [self.counts.len(), 1]), &self.own.device());
        // In this order, an item that keeps its own vector keeps every bit of it.
        self.own.clone() * shares.clone() + self.predicted.clone() * (shares.ones_like() - shares) * scale
    }

    fn model(&self, model: &Arc<dyn Recommender>, k: f32, scale: f32) -> Arc<dyn Recommender> {
        let items = self.table(k, scale);
        match model.with_items(&items) {
            Some(model) => model.into(),
            None => Arc::new(OtherItems { model: model.clone(), items }),
        }
    }
}

/// Text vectors as the regression reads them: in blocks of so many rows, because copies of all of a large catalogue would
/// take gigabytes.
struct Texts<'a> {
    /// `[n, width]`.
    features: &'a Tensor<2>,
    block: usize,
}

impl Texts<'_> {
    /// Returns `x W` for the `W` that minimises `sum_i w_i |y_i - x_i W|^2 + ridge |W|^2`. A row `x_i` is a text vector
    /// of length 1 with a constant 1 appended, `y` is `[n, dim]`, and there are `n` weights.
    fn ridge(&self, y: &Tensor<2>, weights: &[f32], ridge: f64) -> Result<Tensor<2>> {
        let (width, dim) = (self.features.dims()[1] + 1, y.dims()[1]);
        let device = self.features.device();
        // In f64 between blocks and from there on: the products are exact enough in f32, the solution is not.
        let mut gram = Mat::<f64>::zeros(width, width);
        let mut moment = Mat::<f64>::zeros(width, dim);
        for rows in self.blocks() {
            let x = self.rows(rows.clone());
            let weights = TensorData::new(weights[rows.clone()].to_vec(), [rows.len(), 1]);
            let weighed = (x.clone() * Tensor::from_data(weights, &device)).transpose();
            add(&mut gram, weighed.clone().matmul(x));
            add(&mut moment, weighed.matmul(y.clone().slice_dim(0, rows)));
        }
        (0..width).for_each(|i| gram[(i, i)] += ridge);
        let singular = |_| Error::Missing {
            what: "a larger ridge".into(),
            remedy: "the matrix of the texts has no inverse in 64 bits; 0.1 to 100 is usual".into(),
        };
        let solution = gram.llt(Side::Lower).map_err(singular)?.solve(moment);
        let numbers: Vec<f32> = (0..width * dim).map(|at| solution[(at / dim, at % dim)] as f32).collect();
        let map = Tensor::<2>::from_data(TensorData::new(numbers, [width, dim]), &device);
        Ok(Tensor::cat(self.blocks().map(|rows| self.rows(rows).matmul(map.clone())).collect(), 0))
    }

    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (n, block) = (self.features.dims()[0], self.block);
        (0..n).step_by(block).map(move |from| from..n.min(from + block))
    }

    /// Returns rows of length 1 with a constant 1 appended, `[rows, width + 1]`.
    fn rows(&self, rows: Range<usize>) -> Tensor<2> {
        let one = Tensor::ones([rows.len(), 1], &self.features.device());
        Tensor::cat(vec![on_sphere(self.features.clone().slice_dim(0, rows), 1.0), one], 1)
    }
}

fn add(sum: &mut Mat<f64>, more: Tensor<2>) {
    let [_, columns] = more.dims();
    for (at, number) in host_numbers(more).into_iter().enumerate() {
        sum[(at / columns, at % columns)] += f64::from(number);
    }
}

/// A method whose users do not depend on its item vectors, with other item vectors.
#[derive(Debug)]
struct OtherItems {
    model: Arc<dyn Recommender>,
    /// `[items + 1, dim]`.
    items: Tensor<2>,
}

impl Recommender for OtherItems {
    forward_recommender!(self => self.model; dim, interests, users, additions);
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        item_rows(&self.items, items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance};
    use ra_core::{normal, rng};

    #[test]
    fn blocks_of_any_size_give_the_same_prediction() {
        let (device, mut random) = (Device::flex(), rng(3, "texts", 0));
        let [features, own] = [[50, 6], [50, 4]].map(|shape| normal::<2>(shape, 1.0, &mut random, &device).val());
        let weights: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let predicted = |block| Texts { features: &features, block }.ridge(&own, &weights, 0.5).unwrap().into_data();
        for block in [1, 7, 25, 49] {
            predicted(block).assert_approx_eq(&predicted(50), Tolerance::<f32>::absolute(1e-5));
        }
    }
}
