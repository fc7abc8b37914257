//! The `[align]` and `[train]` tables of a recipe (method notes, section 10).
use crate::extra::Extra;
use crate::{IdSource, Layerwise, LayerwiseConfig, ProjectionKind, Towers, Tuning};
use burn::tensor::Device;
use ra_core::{FitConfig, LanguageModel, LmSpec, Problem};
use serde::{Deserialize, Serialize};

/// Each fold trains the ID method once more.
const MOST_FOLDS: usize = 100;

/// The most rows that carry an ID, or an instruction, in a layer: all texts pay for each.
const MOST_ROWS: usize = 1 << 8;

/// The highest rank of a map: no wider map is of a lower rank than itself.
const HIGHEST_RANK: usize = 1 << 16;

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

    /// What cannot work whatever the language model, by key.
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |wrong: bool, key: &str, told: &str| wrong.then(|| Problem::new(key, told));
        let no_rows = "is 0: at least one row must carry the ID; projection = \"none\" leaves the ID out";
        let tuned_texts = "changes the texts that loss aligns to: set loss to \"none\"";
        let found = [
            problem(self.n_tok == 0, "n_tok", no_rows),
            Problem::if_above("n_tok", self.n_tok, MOST_ROWS),
            Problem::if_above("n_ctx", self.n_ctx, MOST_ROWS),
            Problem::if_above("cross_fit", self.cross_fit, MOST_FOLDS),
            problem(self.cross_fit == 1, "cross_fit", "is 1: with one fold nothing is left to train on; 0 is off"),
            problem(self.tune == Tuning::Lora(0), "tune", "has rank 0, it must be 1 or above"),
            match (self.tune, self.projection) {
                (Tuning::Lora(rank), _) if rank > HIGHEST_RANK => Some(("tune", rank)),
                (_, ProjectionKind::LowRank(rank)) if rank > HIGHEST_RANK => Some(("projection", rank)),
                _ => None,
            }
            .map(|(key, rank)| Problem::new(key, format!("has rank {rank}, it must be at most {HIGHEST_RANK}"))),
            problem(self.tune != Tuning::None && self.loss != AlignLoss::None, "tune", tuned_texts),
            problem(self.projection == ProjectionKind::LowRank(0), "projection", "has rank 0, it must be 1 or above"),
            problem(
                self.projection == ProjectionKind::None && self.n_ctx == 0,
                "projection",
                "is none and n_ctx is 0: nothing is left to train",
            ),
            Problem::unless_positive("tau", self.tau),
            Problem::unless_positive("temperature", self.temperature),
            Problem::unless_positive("tune_scale", self.tune_scale),
            Problem::if_negative("lambda", self.lambda),
            Problem::if_negative("id_noise", self.id_noise),
            Problem::if_negative("distill", self.distill),
            Problem::if_negative("distill_scale", self.distill_scale),
            Problem::if_negative("init_std", self.init_std),
            Problem::unless_share("id_dropout", self.id_dropout),
            Problem::unless_share("id_drop", self.id_drop),
            Problem::unless_share("item_id_drop", self.item_id_drop),
        ];
        found.into_iter().flatten().collect()
    }

    /// What cannot work with a language model of this shape, by key.
    pub fn misfits(&self, spec: &LmSpec) -> Vec<Problem> {
        let layers = spec.layers as isize;
        if !(-layers..layers).contains(&self.first_layer) {
            let told = format!("is {}, the language model has {layers} layers", self.first_layer);
            return vec![Problem::new("first_layer", told)];
        }
        let deep = self.placement == Placement::Input && self.first_layer(spec) != 0;
        let told = || format!("is {} and placement is input: set it to 0", self.first_layer);
        deep.then(|| Problem::new("first_layer", told())).into_iter().collect()
    }

    /// [`problems`](Self::problems) and [`misfits`](Self::misfits) as an error.
    ///
    /// # Errors
    /// The keys, their values and what is allowed.
    pub fn check(&self, spec: &LmSpec) -> Result<(), String> {
        Problem::refuse(&[self.problems(), self.misfits(spec)].concat())
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
    /// When `tune` asks for a language model that shows its weights ([`LanguageModel::tunable`]) and it does not.
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
    /// A warm-up so many times as long as the training leaves everything as it was drawn: the rate never comes to
    /// a hundredth of what it should be.
    const LONGEST_WARMUP: usize = 100;

    /// What cannot work, by key.
    pub fn problems(&self) -> Vec<Problem> {
        let found = [
            Problem::if_below("batch", self.batch, 1),
            Problem::unless_positive("lr", self.lr),
            Problem::if_negative("weight_decay", self.weight_decay),
            Problem::if_negative("clip", self.clip),
            (self.steps > 0 && self.warmup / Self::LONGEST_WARMUP >= self.steps).then(|| {
                let told =
                    format!("is {}, it should be at most steps, {}: nothing would be trained", self.warmup, self.steps);
                Problem::new("warmup", told)
            }),
        ];
        found.into_iter().flatten().collect()
    }

    /// What works and is hardly what anybody wants, by key: a reader of the figures must know of it.
    pub fn oddities(&self) -> Vec<Problem> {
        if self.steps == 0 {
            return vec![Problem::new("steps", "is 0: what would be aligned is untrained, as it was drawn")];
        }
        let cold = (self.warmup > self.steps).then(|| {
            let share = 100.0 * self.steps as f64 / self.warmup as f64;
            let told = format!(
                "is {}, longer than the training, steps = {}: the rate comes to {share:.0} % of lr and no further",
                self.warmup, self.steps
            );
            Problem::new("warmup", told)
        });
        let early = (self.patience == 1 && self.validate_every > 0)
            .then(|| Problem::new("patience", "is 1: training stops at the first validation that is no better"));
        cold.into_iter().chain(early).collect()
    }

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
