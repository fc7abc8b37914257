//! The interface between alignment modules and training or encoding.
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor};

/// The layer-wise soft prompts of a batch: `d^(l) = [c^(l) ; p^(l)]`, `[batch, rows, width]` for each injected layer
/// (RA-Rec, section 4).
#[derive(Debug, Clone)]
pub struct Prefix {
    first_layer: usize,
    layers: Vec<Tensor<3>>,
}

impl Prefix {
    /// Creates prefixes for the layers `first_layer..first_layer + layers.len()`.
    ///
    /// # Panics
    /// If the layers differ in batch, rows or width.
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

    /// The number of prefix rows per layer.
    pub fn rows(&self) -> usize {
        self.layers.first().map_or(0, |l| l.dims()[1])
    }

    /// The prefixes of selected rows of the batch, in the order of `rows`, `[n]`.
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let layers = self.layers.iter().map(|layer| layer.clone().select(0, rows.clone())).collect();
        Self { first_layer: self.first_layer, layers }
    }

    /// The prefixes of all injected layers, in order.
    pub fn layers(&self) -> &[Tensor<3>] {
        &self.layers
    }
}

/// Turns ID vectors into layer-wise soft prompts: the only trained part of RA-Rec.
pub trait Aligner: Module + ModuleDisplay {
    /// Returns the prefix of `ids`, `[batch, vectors, dim]`: one vector per item and for most users, several for a user
    /// with several interests. Each vector becomes its own soft tokens.
    fn prefix(&self, ids: Tensor<3>) -> Prefix;
}
