//! All that is trained: a tower for users, one for items, and what departs from the paper.
use crate::config::{AlignConfig, Placement};
use crate::method::{Departures, Layerwise, LayerwiseConfig};
use burn::module::Module;
use burn::tensor::Device;
use ra_core::{Aligner, LanguageModel, LmSpec};

/// Which tower a vector comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    User,
    Item,
}

/// Everything RA-Rec trains and nothing else: a checkpoint is this module, whole.
#[derive(Module, Debug)]
pub struct Towers<A> {
    /// From user vectors to prefixes.
    pub user: A,
    /// From item vectors to prefixes.
    pub item: A,
    // The names of these fields are those of parameters in checkpoints.
    pub(crate) extra: Departures,
}

impl<A: Aligner> Towers<A> {
    /// The paper's towers.
    pub fn new(user: A, item: A) -> Self {
        Self { user, item, extra: Departures::default() }
    }

    /// What departs from the paper.
    pub fn departures(&self) -> &Departures {
        &self.extra
    }
}

impl Towers<Layerwise> {
    /// Fresh towers for ID vectors of width `dim` beside `lm`.
    ///
    /// # Panics
    /// When `tune` asks for a language model that shows its weights ([`LanguageModel::tunable`]) and it does not.
    pub fn init<L: LanguageModel + ?Sized>(
        align: &AlignConfig,
        dim: usize,
        lm: &L,
        seed: u64,
        device: &Device,
    ) -> Self {
        let spec = lm.spec();
        // What enters with the input enters once.
        let layers = if align.module.placement == Placement::Input { 1 } else { spec.layers };
        let (shape, spec) = (LayerwiseConfig::new(&align.module, dim, &spec), LmSpec { layers, ..spec });
        Self {
            user: shape.init(&spec, "user tower", seed, device),
            item: shape.init(&spec, "item tower", seed, device),
            extra: Departures::new(align, lm, seed, device),
        }
    }
}
