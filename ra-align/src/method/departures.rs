//! Departures from the paper: off by default, saved with the towers, reported in separate rows.
use crate::config::AlignConfig;
use crate::method::Side;
use crate::method::normalize::l2_normalize;
use crate::method::tuning::{self, Delta};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ra_core::LanguageModel;

/// The parameters besides the towers. With the paper's settings there are none.
#[derive(Module, Debug, Default)]
pub struct Departures {
    /// `ln` of the ratio of the softmax's temperature to the configured `temperature`.
    temperature: Option<Param<Tensor<1>>>,
    /// The weight of the ID method's own score, chosen rather than trained: see [`crate::with_id_score`].
    residual: Option<Param<Tensor<1>>>,
    /// The matrices, `[width, width]`, that are added to the identity after pooling: for users, then for items.
    heads: Vec<Param<Tensor<2>>>,
    /// The changes of the language model's weight matrices.
    deltas: Vec<Delta>,
    #[module(skip)]
    scale: f32,
    #[module(skip)]
    first_layer: usize,
}

impl Departures {
    /// Creates the parameters that `align` needs besides the towers.
    ///
    /// # Panics
    /// If the language model is to be tuned and does not expose its weights; see
    /// [`require_tunable`](super::require_tunable).
    pub(crate) fn new<L: LanguageModel + ?Sized>(align: &AlignConfig, lm: &L, seed: u64, device: &Device) -> Self {
        let spec = lm.spec();
        let zero = || Param::from_tensor(Tensor::zeros([1], device));
        let zeros = |shape: [usize; 2]| Param::from_tensor(Tensor::zeros(shape, device));
        let first_layer = align.module.first_layer(&spec);
        let square = [lm.output_width(); 2];
        Self {
            temperature: align.loss.learn_temperature.then(zero),
            residual: align.departures.id_residual.then(zero),
            heads: if align.departures.head { vec![zeros(square), zeros(square)] } else { Vec::new() },
            deltas: tuning::init(align.tuning.tune, first_layer, lm, seed, device),
            scale: align.tuning.tune_scale,
            first_layer,
        }
    }

    /// Adds the ID method's own score with a weight, `[1]`.
    pub(crate) fn set_id_weight(&mut self, weight: Tensor<1>) {
        self.residual = Some(Param::from_tensor(weight));
    }

    /// Returns the weight of the ID method's own score, `[1]`, if it is added.
    pub fn id_weight(&self) -> Option<Tensor<1>> {
        self.residual.as_ref().map(Param::val)
    }

    /// Returns the first layer that LoRA changes, and its matrices: `[input, rank]` and `[rank, output]` for each
    /// weight matrix, in the order of [`ra_core::TunableMatrices`]. The product of the two is added to the weights.
    /// Nothing if the language model is not tuned by LoRA.
    pub fn lora(&self) -> Option<(usize, Vec<[Tensor<2>; 2]>)> {
        Some((self.first_layer, tuning::lora(&self.deltas, self.scale)?))
    }

    /// Returns `lm` with its tuning applied.
    pub(crate) fn language_model<'a, L: LanguageModel>(&self, lm: &'a L) -> Box<dyn LanguageModel + 'a> {
        tuning::apply(&self.deltas, self.scale, self.first_layer, lm)
    }

    /// Maps pooled states, `[texts, width]`, to the vectors that are scored, of the same shape.
    pub(crate) fn project_out(&self, side: Side, pooled: Tensor<2>, normalize: bool) -> Tensor<2> {
        let pooled = match self.heads.get(side as usize) {
            Some(head) => pooled.clone() + pooled.matmul(head.val()),
            None => pooled,
        };
        if normalize { l2_normalize(pooled) } else { pooled }
    }

    /// Divides scores by the temperature.
    pub(crate) fn over_temperature(&self, scores: Tensor<2>, temperature: f32) -> Tensor<2> {
        let scores = scores / temperature;
        match &self.temperature {
            Some(learned) => scores * learned.val().neg().exp().unsqueeze(),
            None => scores,
        }
    }
}
