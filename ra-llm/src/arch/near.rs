//! Layers that attend only to near tokens, among layers that attend to all of them: Gemma 2 and 3, ModernBERT.
use super::rope::Rope;
use crate::layer::Attention;
use crate::positions::Rotary;
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

    /// Gives a layer the positions of its kind, near ones first, and a near layer its `reach`.
    pub(super) fn place(&self, layer: usize, [near, full]: &[Rotary; 2], reach: usize, attention: &mut Attention) {
        let is_near = self.is_near(layer);
        attention.rotary = Some(if is_near { near.clone() } else { full.clone() });
        attention.reach = is_near.then_some(reach);
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

    /// The angles of near layers and of the others, for positions below `positions` and heads of width `head`.
    pub(super) fn rotaries(&self, positions: usize, head: usize, device: &Device) -> [Rotary; 2] {
        [&self.near, &self.full].map(|rope| Rotary::new(positions, &rope.frequencies(head), device))
    }

    /// What is not supported, for [`unsupported`](super::limits::unsupported).
    pub(super) fn problems(&self) -> Vec<(bool, String)> {
        [self.near.problems(), self.full.problems()].concat()
    }
}
