//! The `[align]` and `[train]` tables of a recipe (method notes, section 10).
use crate::extra::Extra;
use crate::{IdSource, Layerwise, LayerwiseConfig, ProjectionKind, Towers, Tuning};
use burn::tensor::Device;
use ra_core::{FitConfig, LanguageModel, LmSpec};
use serde::{Deserialize, Serialize};

/// The loss that ties a layer's prefix to its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlignLoss {
    /// InfoNCE a layer, `lambda (L_ua + L_ia)` (the paper).
    #[default]
    InfoNce,
    /// Maximum mean discrepancy a layer.
    Mmd,
    /// Mean squared difference a layer.
    Mse,
    /// The pair loss alone.
    None,
}

/// The loss over pairs of users and items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairLoss {
    /// BPR against the other targets of the batch (the paper).
    BprInBatch,
    /// BPR against one uniform item.
    BprSampled,
    /// Softmax over the targets of the batch and `extra_negatives` uniform items.
    #[default]
    SoftmaxInBatch,
}

/// Where the rows of the alignment module enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Beside keys and values of every layer from `first_layer` up (the paper).
    #[default]
    Layers,
    /// Once, as tokens of the input (CoLLM, LLaRA, E4SRec).
    Input,
}

/// What is aligned, and against what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignConfig {
    /// Whose ID vectors are read.
    pub ids: IdSource,
    /// Folds of users whose ID vectors come, while training, from a model without them; 0 is off. See
    /// [`crate::CrossFitted`].
    pub cross_fit: usize,
    /// Where prefix rows enter.
    pub placement: Placement,
    /// How an ID becomes prefix rows.
    pub projection: ProjectionKind,
    /// Projected rows a layer.
    pub n_tok: usize,
    /// Instruction rows a layer.
    pub n_ctx: usize,
    /// First layer with a prefix; negative counts from the end, -1 is the last layer.
    pub first_layer: isize,
    /// The loss that ties a layer's prefix to its text.
    pub loss: AlignLoss,
    /// Weight of that loss.
    pub lambda: f32,
    /// Its temperature.
    pub tau: f32,
    /// The loss over pairs.
    pub pair_loss: PairLoss,
    /// Temperature of the softmax.
    pub temperature: f32,
    /// Corrects the softmax for how often an item is drawn.
    pub logq: bool,
    /// Uniform items beside the targets of the batch.
    pub extra_negatives: usize,
    /// Scores by cosine instead of the dot product. The paper's score is the dot product: set it to false beside the
    /// paper's BPR, which has no temperature.
    pub normalize: bool,
    /// Gaussian noise on user vectors while training, in standard deviations of each dimension.
    pub id_noise: f32,
    /// Dropout on ID vectors while training.
    pub id_dropout: f64,
    /// Share of samples that are trained without their user's ID.
    pub id_drop: f64,
    /// Share of a step's items that are trained without their ID, by their titles: see [`crate::LiftedCold`].
    pub item_id_drop: f64,
    /// Weight of a loss that asks for the ID method's own scores of the same candidates, read as logits: what a projection
    /// of few samples loses of the ID. Not in the paper; [`AlignConfig::DISTILL`] is what our figures are of. See
    /// [`distill`](crate::distill).
    pub distill: f32,
    /// Factor on the ID method's scores before their softmax in that loss: 1 leaves them as they are, which a method trained
    /// by a softmax asks for; 0 fits it to the targets of the samples, for scores of any other kind. These are targets that
    /// the method was mostly trained on, so the fit is too large for one that knows them by heart.
    pub distill_scale: f32,
    /// Standard deviation of the projection's weights at the start.
    pub init_std: f32,
    /// Whether the temperature is trained, from `temperature` on. Not in the paper, like the three that follow.
    pub learn_temperature: bool,
    /// Whether the ID method's own score is added, with the weight that validates best; of several interests, the best
    /// one's.
    pub id_residual: bool,
    /// Whether a trained linear map follows the pooled state, in each tower.
    pub head: bool,
    /// How far the language model itself is trained.
    pub tune: Tuning,
    /// What stands before such a change of the weights: `train.lr * tune_scale` is its own learning rate.
    pub tune_scale: f32,
    /// MiB of texts that a run may add to its cache.
    pub cache_mib: usize,
}

impl Default for AlignConfig {
    fn default() -> Self {
        Self {
            ids: IdSource::Own,
            cross_fit: 0,
            placement: Placement::Layers,
            projection: ProjectionKind::Dense,
            n_tok: 1,
            n_ctx: 4,
            first_layer: 0,
            loss: AlignLoss::InfoNce,
            lambda: 0.1,
            tau: 0.1,
            pair_loss: PairLoss::SoftmaxInBatch,
            temperature: 0.05,
            logq: true,
            extra_negatives: 256,
            normalize: true,
            id_noise: 0.0,
            id_dropout: 0.0,
            id_drop: 0.0,
            item_id_drop: 0.0,
            distill: 0.0,
            distill_scale: 1.0,
            init_std: 0.1,
            learn_temperature: false,
            id_residual: false,
            head: false,
            tune: Tuning::None,
            tune_scale: 0.01,
            cache_mib: 2048,
        }
    }
}

impl AlignConfig {
    /// The weight of `distill` that validated well where it was tried.
    pub const DISTILL: f32 = 4.0;

    /// What does not make sense for a model of this shape, in words a person can act on.
    ///
    /// # Errors
    /// The key, its value and what is allowed.
    pub fn check(&self, spec: &LmSpec) -> Result<(), String> {
        let layers = spec.layers as isize;
        if !(-layers..layers).contains(&self.first_layer) {
            return Err(format!("align.first_layer is {}, the language model has {layers} layers", self.first_layer));
        }
        if self.n_tok == 0 {
            return Err(
                "align.n_tok is 0: at least one row must carry the ID; projection = \"none\" leaves the ID out".into(),
            );
        }
        if self.cross_fit == 1 {
            return Err("align.cross_fit is 1: with one fold nothing is left to train on; 0 is off".into());
        }
        if self.placement == Placement::Input && self.first_layer(spec) != 0 {
            return Err(format!("align.placement is input and align.first_layer is {}: set it to 0", self.first_layer));
        }
        if self.tune == Tuning::Lora(0) {
            return Err("align.tune has rank 0, it must be 1 or above".into());
        }
        if self.tune != Tuning::None && self.loss != AlignLoss::None {
            return Err("align.tune changes the texts that align.loss aligns to: set align.loss to \"none\"".into());
        }
        match self.projection {
            ProjectionKind::LowRank(0) => return Err("align.projection has rank 0, it must be 1 or above".into()),
            ProjectionKind::None if self.n_ctx == 0 => {
                return Err("align.projection is none and align.n_ctx is 0: nothing is left to train".into());
            }
            _ => {}
        }
        for (key, value) in
            [("align.tau", self.tau), ("align.temperature", self.temperature), ("align.tune_scale", self.tune_scale)]
        {
            if !value.is_finite() || value <= 0.0 {
                return Err(format!("{key} is {value}, it must be above 0"));
            }
        }
        let sizes = [
            ("align.lambda", self.lambda),
            ("align.id_noise", self.id_noise),
            ("align.distill", self.distill),
            ("align.distill_scale", self.distill_scale),
            ("align.init_std", self.init_std),
        ];
        for (key, value) in sizes {
            if !value.is_finite() || value < 0.0 {
                return Err(format!("{key} is {value}, it must be 0 or above"));
            }
        }
        let shares = [
            ("align.id_dropout", self.id_dropout),
            ("align.id_drop", self.id_drop),
            ("align.item_id_drop", self.item_id_drop),
        ];
        for (key, value) in shares {
            if !(0.0..1.0).contains(&value) {
                return Err(format!("{key} is {value}, it must be in 0..1"));
            }
        }
        Ok(())
    }

    /// Whether the ID method's vectors are read at all.
    pub fn reads_ids(&self) -> bool {
        self.projection != ProjectionKind::None || self.distill > 0.0
    }

    /// The first injected layer, counted from 0.
    pub fn first_layer(&self, spec: &LmSpec) -> usize {
        let layers = spec.layers as isize;
        self.first_layer.rem_euclid(layers) as usize
    }

    /// Fresh towers for ID vectors of width `dim` beside `lm`.
    ///
    /// # Panics
    /// When `tune` asks for a language model that shows its weights ([`LanguageModel::with_linears`]) and it does not.
    pub fn towers<L: LanguageModel + ?Sized>(
        &self,
        dim: usize,
        lm: &L,
        seed: u64,
        device: &Device,
    ) -> Towers<Layerwise> {
        let spec = lm.spec();
        // What enters with the input enters once.
        let layers = if self.placement == Placement::Input { 1 } else { spec.layers };
        let (shape, spec) = (self.layerwise(dim, &spec), LmSpec { layers, ..spec });
        Towers {
            user: shape.init(&spec, "user tower", seed, device),
            item: shape.init(&spec, "item tower", seed, device),
            extra: Extra::new(self, lm, seed, device),
        }
    }

    /// The shape of one tower's module for ID vectors of width `dim`.
    fn layerwise(&self, dim: usize, spec: &LmSpec) -> LayerwiseConfig {
        let Self { projection, n_tok, n_ctx, init_std, .. } = *self;
        LayerwiseConfig { projection, dim, n_tok, n_ctx, first_layer: self.first_layer(spec), init_std }
    }
}

/// The `[train]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignTrain {
    /// Samples a batch, on each device.
    pub batch: usize,
    /// Texts of a step whose graph is kept at a time, for a second forward pass; 0 keeps all, as rows that tune the language
    /// model do in any case.
    pub chunk: usize,
    /// Steps at most.
    pub steps: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Steps of linear warm-up.
    pub warmup: usize,
    /// Cosine decay over `steps`.
    pub cosine: bool,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Largest gradient norm of a parameter; 0 is off.
    pub clip: f32,
    /// Steps between two validations; 0 is never.
    pub validate_every: usize,
    /// Validations without improvement before training stops; 0 is never.
    pub patience: usize,
}

impl Default for AlignTrain {
    fn default() -> Self {
        Self {
            batch: 256,
            chunk: 0,
            steps: 400,
            lr: 0.01,
            warmup: 10,
            cosine: true,
            weight_decay: 0.01,
            clip: 1.0,
            validate_every: 20,
            patience: 0,
        }
    }
}

impl AlignTrain {
    pub(crate) fn fit_config(&self) -> FitConfig {
        FitConfig {
            steps: self.steps,
            lr: self.lr,
            warmup: self.warmup,
            cosine: self.cosine,
            weight_decay: self.weight_decay,
            betas: [0.9, 0.98],
            clip: self.clip,
            validate_every: self.validate_every,
            patience: self.patience,
            ..FitConfig::default()
        }
    }
}
