//! The alignment module (RA-Rec, section 4): a projection and an instruction of its own for every layer.
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ra_core::{Aligner, LmSpec, Prefix, normal, rng};
use serde::{Deserialize, Serialize};

/// How an ID vector becomes rows of a layer's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionKind {
    /// A full matrix a layer, `p^(l) = W^(l) e + b^(l)` (the paper).
    #[default]
    Dense,
}

/// Shape and initialisation of [`Layerwise`].
#[derive(Debug, Clone, PartialEq)]
pub struct LayerwiseConfig {
    /// Width of the ID vectors.
    pub dim: usize,
    /// Projected rows a layer.
    pub n_tok: usize,
    /// Instruction rows a layer.
    pub n_ctx: usize,
    /// The first layer with a prefix.
    pub first_layer: usize,
    /// Standard deviation of `W` at the start.
    pub init_std: f32,
}

#[derive(Module, Debug)]
struct Projection {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

/// `d^(l) = [c^(l) ; p^(l)]`: `n_ctx` instruction rows that everybody shares, then `n_tok` rows projected from the ID.
///
/// Row `t` of `p^(l)` is `(W^(l) e + b^(l))[t * width .. (t + 1) * width]`; of several vectors `e` the rows follow each
/// other.
#[derive(Module, Debug)]
pub struct Layerwise {
    project: Vec<Projection>,
    instruction: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    n_tok: usize,
    #[module(skip)]
    first_layer: usize,
}

impl LayerwiseConfig {
    /// A fresh module for a language model: `W ~ N(0, init_std)`, `b = 0`, `c ~ N(0, 0.02)`.
    pub fn init(&self, spec: &LmSpec, label: &str, seed: u64, device: &Device) -> Layerwise {
        let random = &mut rng(seed, label, 0);
        let rows = self.n_tok * spec.width;
        let layers = spec.layers - self.first_layer;
        let project = (0..layers)
            .map(|_| Projection {
                weight: normal([rows, self.dim], self.init_std, random, device),
                bias: Param::from_tensor(Tensor::zeros([rows], device)),
            })
            .collect();
        let contextual = if self.n_ctx == 0 { 0 } else { layers };
        let instruction = (0..contextual).map(|_| normal([self.n_ctx, spec.width], 0.02, random, device)).collect();
        Layerwise { project, instruction, n_tok: self.n_tok, first_layer: self.first_layer }
    }
}

impl Layerwise {
    /// From given parameters: for each layer `W [n_tok * width, dim]`, `b [n_tok * width]` and, unless there are no
    /// instruction rows, `c [n_ctx, width]`.
    pub fn from_parts(
        first_layer: usize,
        n_tok: usize,
        layers: Vec<(Tensor<2>, Tensor<1>, Option<Tensor<2>>)>,
    ) -> Self {
        let instruction = layers.iter().filter_map(|(_, _, c)| c.clone().map(Param::from_tensor)).collect();
        let project = layers
            .into_iter()
            .map(|(w, b, _)| Projection { weight: Param::from_tensor(w), bias: Param::from_tensor(b) })
            .collect();
        Self { project, instruction, n_tok, first_layer }
    }

    /// `W`, `b` and `c` of each layer.
    pub fn parts(&self) -> Vec<(Tensor<2>, Tensor<1>, Option<Tensor<2>>)> {
        let instruction = |l: usize| self.instruction.get(l).map(Param::val);
        self.project.iter().enumerate().map(|(l, p)| (p.weight.val(), p.bias.val(), instruction(l))).collect()
    }
}

impl Aligner for Layerwise {
    fn prefix(&self, ids: Tensor<3>) -> Prefix {
        let [batch, vectors, dim] = ids.dims();
        let ids: Tensor<2> = ids.reshape([batch * vectors, dim]);
        let layer = |(index, projection): (usize, &Projection)| {
            let rows = ids.clone().matmul(projection.weight.val().transpose()) + projection.bias.val().unsqueeze();
            let width = rows.dims()[1] / self.n_tok;
            let rows: Tensor<3> = rows.reshape([batch, vectors * self.n_tok, width]);
            match self.instruction.get(index) {
                None => rows,
                Some(c) => {
                    let n_ctx = c.dims()[0];
                    Tensor::cat(vec![c.val().unsqueeze_dim::<3>(0).expand([batch, n_ctx, width]), rows], 1)
                }
            }
        };
        Prefix::new(self.first_layer, self.project.iter().enumerate().map(layer).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Pooling, contract::check_aligner, ledger};

    #[test]
    fn meets_the_contract_with_and_without_instruction() {
        let spec = LmSpec { layers: 4, width: 6, max_tokens: 8, causal: false, pooling: Pooling::First };
        let device = Device::flex();
        for (n_tok, n_ctx, first_layer) in [(1, 0, 0), (2, 3, 1), (1, 4, 3)] {
            let config = LayerwiseConfig { dim: 5, n_tok, n_ctx, first_layer, init_std: 0.1 };
            let aligner = config.init(&spec, "user", 1, &device.clone().autodiff());
            check_aligner(&aligner, 5, 4, 6, &device);
            assert_eq!(ledger(&aligner)[0].name, "project.0.weight");
            assert_eq!(ledger(&aligner)[0].shape, vec![n_tok * 6, 5]);
        }
    }
}
