//! Given, frozen item vectors, such as a language model's vectors of titles.
use crate::method::sequence::linear_of;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};
use ra_core::{indices, xavier_normal};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The map from a given vector to an item vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FeatureMap {
    /// One linear layer.
    Linear,
    /// Two linear layers, with a hidden layer of half the given width.
    #[default]
    Mlp,
}

/// A frozen table, `[items + 1, width]` with padding in row 0, and the trained map from its rows to item vectors.
#[derive(Module, Debug)]
pub(crate) struct MappedFeatures {
    first: Linear,
    second: Option<Linear>,
    /// Not trained.
    features: Tensor<2>,
}

impl MappedFeatures {
    /// Scales the rows of `features` to length `sqrt(width)`, so that vectors of all language models start at the same
    /// scale.
    pub(crate) fn init(
        map: FeatureMap,
        dim: usize,
        features: &Tensor<2>,
        random: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let [_, width] = features.dims();
        let features = Tensor::<2>::from_data(features.to_data(), device);
        let norm = features.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        let features = features * (width as f32).sqrt() / norm;
        let mut layer = |from, to| linear_of(xavier_normal([from, to], random, device));
        let (first, second) = match map {
            FeatureMap::Linear => (layer(width, dim), None),
            FeatureMap::Mlp => (layer(width, width / 2), Some(layer(width / 2, dim))),
        };
        Self { first, second, features: features.detach() }
    }

    /// Returns the item table, `[items + 1, dim]`.
    pub(crate) fn table(&self) -> Tensor<2> {
        self.mapped(self.features.clone())
    }

    /// Returns some rows of the item table.
    pub(crate) fn rows(&self, rows: Vec<u32>) -> Tensor<2> {
        self.mapped(self.features.clone().select(0, indices(rows, &self.features.device())))
    }

    fn mapped(&self, features: Tensor<2>) -> Tensor<2> {
        let first = self.first.forward(features);
        match &self.second {
            Some(second) => second.forward(leaky_relu(first, 0.01)),
            None => first,
        }
    }
}

/// Scales rows to length `1 / sqrt(temperature)`, so that the product of two rows is their cosine divided by the
/// temperature.
pub(crate) fn on_sphere(x: Tensor<2>, temperature: f32) -> Tensor<2> {
    // Clamped before the square root, whose slope at 0, where padding is, is infinite.
    let norm = x.clone().square().sum_dim(1).clamp_min(1e-24).sqrt();
    x / (norm * temperature.sqrt())
}
