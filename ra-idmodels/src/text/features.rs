//! Item vectors that are given, not learned: what a frozen language model makes of titles.
use crate::method::sequence::linear_of;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};
use ra_core::xavier_normal;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How a given vector becomes an item's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FeatureMap {
    /// One linear layer.
    Linear,
    /// A hidden layer of half the given width between two linear ones.
    #[default]
    Mlp,
}

/// A frozen table, `[items + 1, width]` with padding in row 0, and the trained map from it to item vectors.
#[derive(Module, Debug)]
pub(crate) struct MappedFeatures {
    first: Linear,
    second: Option<Linear>,
    /// Not trained.
    features: Tensor<2>,
}

impl MappedFeatures {
    /// Rows of `features` are scaled to length `sqrt(width)`, so that any model's vectors start alike.
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

    /// The item table, `[items + 1, dim]`.
    pub(crate) fn table(&self) -> Tensor<2> {
        let first = self.first.forward(self.features.clone());
        match &self.second {
            Some(second) => second.forward(leaky_relu(first, 0.01)),
            None => first,
        }
    }
}

/// Rows at length `1 / sqrt(temperature)`, so that the product of two of them is their cosine over the temperature.
pub(crate) fn on_sphere(x: Tensor<2>, temperature: f32) -> Tensor<2> {
    // Clamped before the root: the slope of a root at 0, where padding is, is infinite.
    let norm = x.clone().square().sum_dim(1).clamp_min(1e-24).sqrt();
    x / (norm * temperature.sqrt())
}
