//! What training and encoding know of an alignment module.
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor};

/// Layer-wise soft prompts of a batch: `d^(l) = [c^(l) ; p^(l)]`, `[batch, rows, width]` for each injected layer
/// (RA-Rec, section 4).
#[derive(Debug, Clone)]
pub struct Prefix {
    first_layer: usize,
    layers: Vec<Tensor<3>>,
}

impl Prefix {
    /// Prefixes for the layers `first_layer..first_layer + layers.len()`.
    ///
    /// # Panics
    /// When the layers differ in batch, rows or width.
    pub fn new(first_layer: usize, layers: Vec<Tensor<3>>) -> Self {
        assert!(layers.windows(2).all(|w| w[0].dims() == w[1].dims()), "every layer has the same prefix shape");
        Self { first_layer, layers }
    }

    /// The first layer with a prefix.
    pub fn first_layer(&self) -> usize {
        self.first_layer
    }

    /// The prefix of a layer, `[batch, rows, width]`, if it has one.
    pub fn layer(&self, index: usize) -> Option<&Tensor<3>> {
        self.layers.get(index.checked_sub(self.first_layer)?)
    }

    /// Prefix rows a layer.
    pub fn rows(&self) -> usize {
        self.layers.first().map_or(0, |l| l.dims()[1])
    }

    /// The prefixes of some rows of the batch, in their order; `rows` is `[n]`.
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let layers = self.layers.iter().map(|layer| layer.clone().select(0, rows.clone())).collect();
        Self { first_layer: self.first_layer, layers }
    }

    /// All injected layers in order.
    pub fn layers(&self) -> &[Tensor<3>] {
        &self.layers
    }
}

/// Turns ID vectors into layer-wise soft prompts: the only part of RA-Rec that is trained.
pub trait Aligner: Module + ModuleDisplay {
    /// `ids` is `[batch, vectors, dim]`: one vector for an item and most users, several for a user with several
    /// interests, each of which becomes soft tokens of its own.
    fn prefix(&self, ids: Tensor<3>) -> Prefix;
}
