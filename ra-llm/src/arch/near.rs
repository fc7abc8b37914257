//! Layers that attend only to near tokens, among layers that attend to all of them: Gemma 2 and 3, ModernBERT.
use super::rope::Rope;
use crate::transformer::Rotary;
use burn::tensor::Device;
use serde_json::Value;

const NEAR: &str = "sliding_attention";
const FULL: &str = "full_attention";

/// Which layers of a model are near, as its configuration says.
#[derive(Debug)]
pub(super) enum Kinds<'a> {
    /// The kind of each layer, by name.
    Listed(&'a [String]),
    /// One of every `every` layers attends to all tokens, the first of them layer `first`.
    Every { every: usize, first: usize },
}

impl Kinds<'_> {
    fn is_near(&self, layer: usize) -> bool {
        match self {
            Self::Listed(kinds) => kinds.get(layer).is_some_and(|kind| kind == NEAR),
            Self::Every { every, first } => layer % every.max(&1) != *first,
        }
    }

    /// What is wrong in a model of so many layers, for [`unsupported`](super::limits::unsupported).
    pub(super) fn problems(&self, layers: usize) -> [(bool, String); 2] {
        let listed = if let Self::Listed(kinds) = self { Some(*kinds) } else { None };
        let other = listed.and_then(|kinds| kinds.iter().find(|kind| *kind != NEAR && *kind != FULL));
        let count = listed.map_or(layers, <[String]>::len);
        [
            (
                other.is_some(),
                format!("layer_types {:?} (supported: {NEAR}, {FULL})", other.cloned().unwrap_or_default()),
            ),
            (count != layers, format!("layer_types of {count} layers in a model of {layers}")),
        ]
    }
}

/// The rotary positions of near layers and of the others.
#[derive(Debug)]
pub(super) struct Ropes {
    pub(super) near: Rope,
    pub(super) full: Rope,
}

impl Ropes {
    /// The table of a kind of layer in `rope_parameters`, which is flat if there is one kind.
    pub(super) fn table(tables: Option<&Value>, near: bool) -> Option<&Value> {
        tables.map(|tables| tables.get(if near { NEAR } else { FULL }).unwrap_or(tables))
    }

    /// What is not supported, for [`unsupported`](super::limits::unsupported).
    pub(super) fn problems(&self) -> Vec<(bool, String)> {
        [self.near.problems(), self.full.problems()].concat()
    }
}

/// The layers of a model by kind.
#[derive(Debug, Clone)]
pub(super) struct NearLayers {
    is_near: Vec<bool>,
    near: Rotary,
    full: Rotary,
    reach: usize,
}

impl NearLayers {
    /// `reach` is how far apart tokens of a near layer may be, `head` the width of a head.
    pub(super) fn new(
        kinds: &Kinds<'_>,
        layers: usize,
        ropes: &Ropes,
        reach: usize,
        [positions, head]: [usize; 2],
        device: &Device,
    ) -> Self {
        let rotary = |rope: &Rope| Rotary::new(positions, &rope.frequencies(head), device);
        let is_near = (0..layers).map(|layer| kinds.is_near(layer)).collect();
        Self { is_near, near: rotary(&ropes.near), full: rotary(&ropes.full), reach }
    }

    pub(super) fn rotary(&self, layer: usize) -> &Rotary {
        if self.is_near[layer] { &self.near } else { &self.full }
    }

    pub(super) fn reach(&self, layer: usize) -> Option<usize> {
        self.is_near[layer].then_some(self.reach)
    }
}
