//! Texts alike: items whose text vectors are near those of the history, without training. It is the floor that any use of a
//! language model must clear.
use super::features::on_sphere;
use crate::count::decayed;
use crate::method::sequence::item_rows;
use crate::{IdMethod, Job, Trained};
use burn::tensor::Tensor;
use ra_core::{Check, History, ItemId, Problem, Recommender, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Configures [`TextKnn`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextKnnConfig {
    /// The weight of an item of the history relative to the next newer one.
    pub decay: f32,
}

impl Default for TextKnnConfig {
    fn default() -> Self {
        Self { decay: 0.6 }
    }
}

impl Check for TextKnnConfig {
    fn problems(&self) -> Vec<Problem> {
        decayed::problem(self.decay).into_iter().collect()
    }
}

impl IdMethod for TextKnnConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        Ok(Trained::counted(TextKnn::new(job.given_features()?, *self)))
    }

    fn load(&self, job: &Job<'_>, _: &Path) -> Result<Trained> {
        self.fit(job)
    }

    fn reads_features(&self) -> bool {
        true
    }
}

/// Scores an item by the cosine of its text vector with the decayed sum of those of the history. The mean of all items is
/// subtracted first, because the vectors of a language model share most of their length (Mu & Viswanath, "All-but-the-Top",
/// ICLR 2018).
#[derive(Debug, Clone)]
pub struct TextKnn {
    /// `[items + 1, width]`, each of length 1; row 0 is padding.
    items: Tensor<2>,
    decay: f64,
}

impl TextKnn {
    /// Takes the vectors `features` of texts, `[items + 1, width]` with padding in row 0.
    pub fn new(features: &Tensor<2>, config: TextKnnConfig) -> Self {
        let [rows, _] = features.dims();
        let texts = on_sphere(features.clone().slice_dim(0, 1..rows), 1.0);
        let texts = on_sphere(texts.clone() - texts.mean_dim(0), 1.0);
        let padding = Tensor::zeros([1, features.dims()[1]], &features.device());
        Self { items: Tensor::cat(vec![padding, texts], 0), decay: config.decay.into() }
    }
}

impl Recommender for TextKnn {
    fn dim(&self) -> usize {
        self.items.dims()[1]
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        on_sphere(decayed::sums(|items| item_rows(&self.items, items), histories, self.decay), 1.0)
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        item_rows(&self.items, items)
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}
