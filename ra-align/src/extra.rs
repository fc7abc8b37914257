//! What departs from the paper: off by default, kept with the towers, reported in rows of its own.
use crate::{AlignConfig, unit};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ra_core::kernels::FrozenLinear;
use ra_core::{LanguageModel, normal, rng};
use serde::{Deserialize, Serialize};

/// How far the language model itself is trained, for rivals that do: its layers from `align.first_layer` up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tuning {
    /// Not at all (the paper).
    #[default]
    None,
    /// A sum of this many outer products beside every weight matrix (LoRA, arXiv 2106.09685).
    Lora(usize),
    /// Every number of every weight matrix.
    Full,
}

/// Which tower a vector comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    User,
    Item,
}

/// Parameters beside the towers; with the paper's settings there are none.
#[derive(Module, Debug, Default)]
pub struct Extra {
    /// `ln` of the softmax's temperature over `align.temperature`.
    temperature: Option<Param<Tensor<1>>>,
    /// Weight of the ID method's own score, chosen rather than trained: see [`crate::with_id_score`].
    residual: Option<Param<Tensor<1>>>,
    /// What is added to the identity, `[width, width]`, after pooling: for users, for items.
    heads: Vec<Param<Tensor<2>>>,
    /// What is added to each weight matrix of the language model.
    deltas: Vec<Delta>,
    #[module(skip)]
    scale: f32,
    #[module(skip)]
    first_layer: usize,
}

/// `scale * down up`, or `scale * up`; zero at the start.
#[derive(Module, Debug)]
struct Delta {
    down: Option<Param<Tensor<2>>>,
    up: Param<Tensor<2>>,
}

impl Extra {
    /// What `align` asks for beside the towers.
    ///
    /// # Panics
    /// When the language model is to be tuned and does not show its weights; see [`AlignConfig::check`].
    pub(crate) fn new<L: LanguageModel + ?Sized>(align: &AlignConfig, lm: &L, seed: u64, device: &Device) -> Self {
        let (spec, random) = (lm.spec(), &mut rng(seed, "lora", 0));
        let zero = || Param::from_tensor(Tensor::zeros([1], device));
        let zeros = |shape: [usize; 2]| Param::from_tensor(Tensor::zeros(shape, device));
        let first_layer = align.first_layer(&spec);
        let mut deltas = Vec::new();
        if align.tune != Tuning::None {
            let shown = lm.with_linears(first_layer, &mut |linear| {
                let [input, output] = linear.dims();
                deltas.push(match align.tune {
                    Tuning::Lora(rank) => {
                        Delta { down: Some(normal([input, rank], 1.0, random, device)), up: zeros([rank, output]) }
                    }
                    _ => Delta { down: None, up: zeros([input, output]) },
                });
                linear.clone()
            });
            assert!(shown.is_some(), "align.tune needs a language model that shows its weights");
        }
        Self {
            temperature: align.learn_temperature.then(zero),
            residual: align.id_residual.then(zero),
            heads: if align.head { vec![zeros([spec.width; 2]), zeros([spec.width; 2])] } else { Vec::new() },
            deltas,
            scale: align.tune_scale,
            first_layer,
        }
    }

    /// Adds the ID method's own score with a weight, `[1]`.
    pub(crate) fn weigh_ids(&mut self, weight: Tensor<1>) {
        self.residual = Some(Param::from_tensor(weight));
    }

    /// `lm`, tuned as far as it is.
    pub(crate) fn language_model<'a, L: LanguageModel>(&self, lm: &'a L) -> Box<dyn LanguageModel + 'a> {
        let mut deltas = self.deltas.iter();
        let mut change = |linear: &FrozenLinear| match deltas.next() {
            Some(Delta { down, up }) => {
                let delta = match down {
                    Some(down) => down.val().matmul(up.val()),
                    None => up.val(),
                };
                linear.plus(delta * self.scale)
            }
            None => linear.clone(),
        };
        let tuned = if self.deltas.is_empty() { None } else { lm.with_linears(self.first_layer, &mut change) };
        match tuned {
            Some(tuned) => tuned,
            None => Box::new(lm),
        }
    }

    /// From pooled states, `[texts, width]`, to the vectors that are scored, of the same shape.
    pub(crate) fn close(&self, side: Side, pooled: Tensor<2>, normalize: bool) -> Tensor<2> {
        let pooled = match self.heads.get(side as usize) {
            Some(head) => pooled.clone() + pooled.matmul(head.val()),
            None => pooled,
        };
        if normalize { unit(pooled) } else { pooled }
    }

    /// The weight of the ID method's own score, `[1]`, where it is added.
    pub(crate) fn id_weight(&self) -> Option<Tensor<1>> {
        self.residual.as_ref().map(Param::val)
    }

    /// Scores over the temperature.
    pub(crate) fn tempered(&self, scores: Tensor<2>, temperature: f32) -> Tensor<2> {
        let scores = scores / temperature;
        match &self.temperature {
            Some(learned) => scores * learned.val().neg().exp().unsqueeze(),
            None => scores,
        }
    }
}
