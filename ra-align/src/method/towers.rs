//! All trained parameters: a tower for users, one for items, and the departures from the paper.
use crate::config::{AlignConfig, Placement};
use crate::method::{Departures, Layerwise, LayerwiseConfig};
use burn::module::Module;
use burn::tensor::Device;
use ra_core::{Aligner, LanguageModel, LmSpec};

/// The tower that a vector comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    User,
    Item,
}

/// Everything that RA-Rec trains and nothing else. A checkpoint is exactly this module.
#[derive(Module, Debug)]
pub struct Towers<A> {
    /// Maps user vectors to prefixes.
    pub user: A,
    /// Maps item vectors to prefixes.
    pub item: A,
    // These field names are the names of parameters in checkpoints.
    pub(crate) extra: Departures,
}

impl<A: Aligner> Towers<A> {
    /// Creates the paper's towers.
    pub fn new(user: A, item: A) -> Self {
        Self { user, item, extra: Departures::default() }
    }

    /// Returns the departures from the paper.
    pub fn departures(&self) -> &Departures {
        &self.extra
    }
}

impl Towers<Layerwise> {
    /// Creates fresh towers for ID vectors of width `dim` and the language model `lm`.
    ///
    /// # Panics
    /// If `tune` needs a language model that exposes its weights ([`LanguageModel::tunable`]) and this one does not.
    pub fn init<L: LanguageModel + ?Sized>(
        align: &AlignConfig,
        dim: usize,
        lm: &L,
        seed: u64,
        device: &Device,
    ) -> Self {
        let spec = lm.spec();
        // Rows that enter with the input enter once.
        let layers = if align.module.placement == Placement::Input { 1 } else { spec.layers };
        let (shape, spec) = (LayerwiseConfig::new(&align.module, dim, &spec), LmSpec { layers, ..spec });
        Self {
            user: shape.init(&spec, "user tower", seed, device),
            item: shape.init(&spec, "item tower", seed, device),
            extra: Departures::new(align, lm, seed, device),
        }
    }
}
