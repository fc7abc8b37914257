//! The configuration of an alignment and of its training.
use ra_core::{Check, FitConfig, LmSpec, OptimConfig, Problem, Result, flat_config};
use serde::{Deserialize, Serialize};

/// The maximum number of folds. Each fold trains the ID method once more.
const MOST_FOLDS: usize = 100;

/// The maximum number of ID rows, and of instruction rows, per layer. Every text pays for each row.
const MOST_ROWS: usize = 1 << 8;

/// The longest warm-up, as a multiple of the training's length. With a longer one the rate never reaches a hundredth of
/// its peak, so nothing changes.
const LONGEST_WARMUP: usize = 100;

/// The maximum rank of a map. Higher ranks do not occur.
const HIGHEST_RANK: usize = 1 << 16;

/// The map from an ID vector `e` to the rows `p^(l)` of layer `l`'s prefix: `dense`, `diagonal`, `vector`, `shared`,
/// `none` or `{ low_rank = RANK }`.
///
/// `R` is an untrained lift: a random matrix that depends only on its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionKind {
    /// `W^(l) e + b^(l)` (the paper).
    #[default]
    Dense,
    /// `A^(l) B e + b^(l)`, where `B` has this many rows and is shared by all layers.
    LowRank(usize),
    /// `s^(l) * (R e) + b^(l)`: a scale and a shift for each number of the prefix.
    Diagonal,
    /// `R (s^(l) * e + b^(l))`: a scale and a shift for each number of the ID. With 128 numbers, 36 layers and two
    /// towers that is 18,432 parameters: the only reading that meets the paper's count for GPT-2-large.
    Vector,
    /// `W e + b`, the same in all layers (the paper's "uniform" ablation).
    Shared,
    /// No ID rows; the ID is not read. This is prefix tuning (the paper's "no ID" ablation).
    None,
}

/// The ID vectors that the alignment module reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdSource {
    /// The vector that the ID method returns.
    #[default]
    #[serde(rename = "own")]
    Original,
    /// Zeros.
    Zero,
    /// The vector of another user or item. Users and items are permuted independently of each other.
    Permuted,
    /// A random vector, always the same for the same item or history.
    Random,
}

/// How the layers of the language model from `first_layer` up are trained: `none`, `full` or `{ lora = RANK }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tuning {
    /// Not trained (the paper).
    #[default]
    None,
    /// A sum of this many outer products is added to every weight matrix (LoRA, arXiv 2106.09685).
    Lora(usize),
    /// Every number of every weight matrix is trained.
    Full,
}

/// The loss that ties a layer's prefix to its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlignLoss {
    /// InfoNCE per layer, `lambda (L_ua + L_ia)` (the paper).
    #[default]
    InfoNce,
    /// Maximum mean discrepancy per layer.
    Mmd,
    /// Mean squared difference per layer.
    Mse,
    /// No such loss: only the pair loss is minimized.
    None,
}

/// The loss over pairs of a user and an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairLoss {
    /// BPR against the other targets of the batch (the paper).
    BprInBatch,
    /// BPR against one uniformly drawn item.
    BprSampled,
    /// Softmax over the targets of the batch and `extra_negatives` uniformly drawn items.
    #[default]
    SoftmaxInBatch,
}

/// Where prefix rows enter the language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Next to the keys and values of every layer from `first_layer` up (the paper).
    #[default]
    Layers,
    /// Once, as tokens of the input (CoLLM, LLaRA, E4SRec).
    Input,
}

/// The shape and place of the alignment module.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModuleConfig {
    /// Where prefix rows enter the language model.
    pub placement: Placement,
    /// How an ID vector becomes prefix rows.
    pub projection: ProjectionKind,
    /// The number of prefix rows per layer that are projected from an ID vector.
    pub n_tok: usize,
    /// The number of instruction rows per layer, which are the same for all users or items.
    pub n_ctx: usize,
    /// The first layer with a prefix. Negative numbers count from the end: -1 is the last layer.
    pub first_layer: isize,
    /// The initial standard deviation of the projection's weights.
    pub init_std: f32,
}

flat_config!(ModuleConfig { placement, projection, n_tok, n_ctx, first_layer, init_std });

impl Default for ModuleConfig {
    fn default() -> Self {
        Self {
            placement: Placement::Layers,
            projection: ProjectionKind::Dense,
            n_tok: 1,
            n_ctx: 4,
            first_layer: 0,
            init_std: 0.1,
        }
    }
}

impl ModuleConfig {
    /// The first injected layer, counted from 0.
    pub fn first_layer(&self, spec: &LmSpec) -> usize {
        self.first_layer.rem_euclid(spec.layers.max(1) as isize) as usize
    }

    /// The number of input tokens that prefix rows of a user with this many `interests` replace: 0 if the rows enter at
    /// the layers.
    pub fn input_tokens(&self, interests: usize) -> usize {
        if self.placement == Placement::Input { self.n_ctx + self.n_tok * interests } else { 0 }
    }
}

/// The losses: `L = L_p + lambda (L_ua + L_ia)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LossConfig {
    /// The loss that ties a layer's prefix to its text, `L_ua` and `L_ia`.
    pub loss: AlignLoss,
    /// The weight of `loss`.
    pub lambda: f32,
    /// The temperature of InfoNCE.
    pub tau: f32,
    /// The loss over pairs of a user and an item, `L_p`.
    pub pair_loss: PairLoss,
    /// The temperature of the softmax in `pair_loss`.
    pub temperature: f32,
    /// Trains the temperature, starting from `temperature`. Not in the paper.
    pub learn_temperature: bool,
    /// Corrects the softmax for how often each item is drawn (logQ correction).
    pub logq: bool,
    /// The number of uniformly drawn items per batch that are candidates in addition to the batch's targets.
    pub extra_negatives: usize,
    /// Scores by cosine instead of the paper's dot product. Set it to false with the paper's BPR, which has no
    /// temperature.
    pub normalize: bool,
}

flat_config!(LossConfig {
    loss,
    lambda,
    tau,
    pair_loss,
    temperature,
    learn_temperature,
    logq,
    extra_negatives,
    normalize
});

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            loss: AlignLoss::InfoNce,
            lambda: 0.1,
            tau: 0.1,
            pair_loss: PairLoss::SoftmaxInBatch,
            temperature: 0.05,
            learn_temperature: false,
            logq: true,
            extra_negatives: 256,
            normalize: true,
        }
    }
}

/// Noise and dropout on ID vectors in training, so that the towers do not trust them too much: the ID method has seen
/// the targets that the towers learn from. Not in the paper.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RegularizeConfig {
    /// The Gaussian noise on user vectors, in standard deviations of each dimension.
    pub id_noise: f32,
    /// The dropout rate on ID vectors.
    pub id_dropout: f64,
    /// The share of samples that are trained without their user's ID.
    pub id_drop: f64,
    /// The share of items in each step that are trained by title alone, without their ID.
    ///
    /// See [`crate::ColdItemBoost`].
    pub item_id_drop: f64,
}

flat_config!(RegularizeConfig { id_noise, id_dropout, id_drop, item_id_drop });

/// Departures from the paper in what is read, learned or scored. All are off by default.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DepartureConfig {
    /// The ID vectors that the towers read; all but `own` are ablations.
    pub ids: IdSource,
    /// The number of folds for cross-fitting, in which the ID vectors of a training user come from a model that never
    /// saw that user; 0 turns it off.
    ///
    /// See [`crate::CrossFitIds`].
    pub cross_fit: usize,
    /// The weight of a distillation loss towards the ID method's own scores, read as logits of the same candidates; 0
    /// turns it off. It restores what a projection trained on few samples loses of the ID.
    ///
    /// Our published figures use [`AlignConfig::DISTILL`]. See [`distill`](crate::distill).
    pub distill: f32,
    /// The factor on the ID method's scores before the softmax of the distillation loss. 1 leaves them unchanged, as
    /// suits methods trained by a softmax; 0 fits the factor to the targets of the samples, for scores of other kinds.
    ///
    /// The method was mostly trained on these targets, so the fitted factor is too large for one that overfits them.
    pub distill_scale: f32,
    /// Adds the ID method's own score (that of the best interest, if there are several), with the weight that validates
    /// best.
    ///
    /// See [`crate::with_id_score`].
    pub id_residual: bool,
    /// Adds a trained linear map after pooling, in each tower.
    pub head: bool,
}

flat_config!(DepartureConfig { ids, cross_fit, distill, distill_scale, id_residual, head });

impl Default for DepartureConfig {
    fn default() -> Self {
        let ids = IdSource::Original;
        Self { ids, cross_fit: 0, distill: 0.0, distill_scale: 1.0, id_residual: false, head: false }
    }
}

/// How the language model is trained too, as rival methods do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TuningConfig {
    /// How far the language model itself is trained.
    pub tune: Tuning,
    /// The factor on the change of the language model's weights; their learning rate is `lr` times `tune_scale`.
    pub tune_scale: f32,
}

flat_config!(TuningConfig { tune, tune_scale });

impl Default for TuningConfig {
    fn default() -> Self {
        Self { tune: Tuning::None, tune_scale: 0.01 }
    }
}

/// The alignment: module, losses and departures. In a file all keys are flat, without the groups: `n_tok = 2`.
///
/// [`AlignConfig::paper`] is the published method, and [`AlignConfig::recommended`] the form that our results
/// favour if time matters. [`AlignConfig::default`] is neither: it provides the values of keys that a file leaves out.
///
/// ```
/// use ra_align::{AlignConfig, ProjectionKind};
/// let config = AlignConfig::paper().with(|config| config.module.projection = ProjectionKind::LowRank(8));
/// assert!(!config.loss.normalize);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AlignConfig {
    /// The alignment module.
    #[serde(flatten)]
    pub module: ModuleConfig,
    /// The losses.
    #[serde(flatten)]
    pub loss: LossConfig,
    /// Noise and dropout on ID vectors.
    #[serde(flatten)]
    pub regularize: RegularizeConfig,
    /// Departures from the paper.
    #[serde(flatten)]
    pub departures: DepartureConfig,
    /// How the language model is trained too.
    #[serde(flatten)]
    pub tuning: TuningConfig,
    /// The maximum size, in MiB, of the text constants that a run adds to its cache.
    pub cache_mib: usize,
}

flat_config!(
    AlignConfig { cache_mib },
    module: ModuleConfig,
    loss: LossConfig,
    regularize: RegularizeConfig,
    departures: DepartureConfig,
    tuning: TuningConfig
);

impl Default for AlignConfig {
    /// The values of keys that a file leaves out: the paper's module in every layer and its InfoNCE, but a softmax of
    /// cosines with logQ correction over the batch and 256 uniform items instead of the paper's BPR of dot products.
    fn default() -> Self {
        Self {
            module: ModuleConfig::default(),
            loss: LossConfig::default(),
            regularize: RegularizeConfig::default(),
            departures: DepartureConfig::default(),
            tuning: TuningConfig::default(),
            cache_mib: 2048,
        }
    }
}

impl AlignConfig {
    /// The weight of `distill` that validated well in our experiments.
    pub const DISTILL: f32 = 4.0;

    /// The method of the paper: a separate dense projection and instruction for every layer, dot products, BPR against
    /// the other targets of the batch, InfoNCE per layer. Numbers that the paper leaves open have their default.
    pub fn paper() -> Self {
        Self::default().with(|config| {
            let loss = &mut config.loss;
            (loss.pair_loss, loss.normalize, loss.logq, loss.extra_negatives) = (PairLoss::BprInBatch, false, false, 0);
        })
    }

    /// The form that our published figures support if time matters: the prefix in the last layer only, so that each
    /// text is computed once, a softmax of cosines, no InfoNCE, noise and dropout on ID vectors, and the ID method's
    /// scores as a teacher. It goes with [`AlignTrain::recommended`]. Two layers (`first_layer = -2`,
    /// `projection = shared`) are better and cost a dozen times as much.
    pub fn recommended() -> Self {
        Self::default().with(|config| {
            (config.module.first_layer, config.module.n_tok) = (-1, 2);
            config.loss.loss = AlignLoss::None;
            (config.regularize.id_noise, config.regularize.id_dropout) = (1.5, 0.2);
            config.departures.distill = Self::DISTILL;
        })
    }

    /// Returns this configuration after `change`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns the keys that cannot work with a language model of this shape.
    pub fn misfits(&self, spec: &LmSpec) -> Vec<Problem> {
        let (module, layers) = (&self.module, spec.layers as isize);
        // Of a model without layers only texts are read; `fit` refuses to align it.
        if layers > 0 && !(-layers..layers).contains(&module.first_layer) {
            let told = format!("is {}, but the language model has {layers} layers", module.first_layer);
            return vec![Problem::new("first_layer", told)];
        }
        let deep = module.placement == Placement::Input && module.first_layer(spec) != 0;
        let told = || format!("is {} and placement is input: set it to 0", module.first_layer);
        deep.then(|| Problem::new("first_layer", told())).into_iter().collect()
    }

    /// Refuses a language model without layers, which soft prompts cannot enter: only its texts can be read.
    ///
    /// # Errors
    /// [`ra_core::Error::Settings`] for a model of no layers.
    pub fn require_layers(spec: &LmSpec) -> Result<()> {
        if spec.layers > 0 {
            return Ok(());
        }
        let told = "the language model has no layers, so soft prompts cannot enter it: use it for text-only rows, or \
                    choose a transformer for RA-Rec";
        Err(ra_core::Error::Settings(told.into()))
    }

    /// Returns [`problems`](Check::problems) and [`misfits`](Self::misfits) as an error.
    ///
    /// # Errors
    /// [`ra_core::Error::Settings`] with the keys, their values and what is allowed.
    pub fn check_beside(&self, spec: &LmSpec) -> Result<()> {
        Problem::refuse(&[self.problems(), self.misfits(spec)].concat())
    }

    /// Returns whether the ID method's vectors are read at all.
    pub fn reads_ids(&self) -> bool {
        self.module.projection != ProjectionKind::None || self.departures.distill > 0.0
    }
}

impl Check for AlignConfig {
    /// Returns the keys that cannot work with any language model.
    fn problems(&self) -> Vec<Problem> {
        let Self { module, loss, regularize, departures, tuning, cache_mib: _ } = self;
        let problem = |wrong: bool, key: &str, told: &str| wrong.then(|| Problem::new(key, told));
        let no_rows = "is 0: at least one row must carry the ID; projection = \"none\" leaves the ID out";
        let tuned_texts = "changes the texts that loss aligns to: set loss to \"none\"";
        let found = [
            problem(module.n_tok == 0, "n_tok", no_rows),
            Problem::if_above("n_tok", module.n_tok, MOST_ROWS),
            Problem::if_above("n_ctx", module.n_ctx, MOST_ROWS),
            Problem::if_above("cross_fit", departures.cross_fit, MOST_FOLDS),
            problem(
                departures.cross_fit == 1,
                "cross_fit",
                "is 1: with one fold nothing is left to train on; 0 is off",
            ),
            problem(tuning.tune == Tuning::Lora(0), "tune", "has rank 0, it must be 1 or above"),
            match (tuning.tune, module.projection) {
                (Tuning::Lora(rank), _) if rank > HIGHEST_RANK => Some(("tune", rank)),
                (_, ProjectionKind::LowRank(rank)) if rank > HIGHEST_RANK => Some(("projection", rank)),
                _ => None,
            }
            .map(|(key, rank)| Problem::new(key, format!("has rank {rank}, it must be at most {HIGHEST_RANK}"))),
            problem(tuning.tune != Tuning::None && loss.loss != AlignLoss::None, "tune", tuned_texts),
            problem(module.projection == ProjectionKind::LowRank(0), "projection", "has rank 0, it must be 1 or above"),
            problem(
                module.projection == ProjectionKind::None && module.n_ctx == 0,
                "projection",
                "is none and n_ctx is 0: nothing is left to train",
            ),
            Problem::unless_positive("tau", loss.tau),
            Problem::unless_positive("temperature", loss.temperature),
            Problem::unless_positive("tune_scale", tuning.tune_scale),
            Problem::if_negative("lambda", loss.lambda),
            Problem::if_negative("id_noise", regularize.id_noise),
            Problem::if_negative("distill", departures.distill),
            Problem::if_negative("distill_scale", departures.distill_scale),
            Problem::if_negative("init_std", module.init_std),
            Problem::unless_share("id_dropout", regularize.id_dropout),
            Problem::unless_share("id_drop", regularize.id_drop),
            Problem::unless_share("item_id_drop", regularize.item_id_drop),
        ];
        found.into_iter().flatten().collect()
    }
}

/// The training of the towers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlignTrain {
    /// The number of samples per batch, on each device.
    pub batch: usize,
    /// The number of texts per step whose graph is kept at a time, at the price of a second forward pass. 0 keeps all
    /// graphs, as does a training that tunes the language model.
    pub chunk: usize,
    /// The number of steps, or the least number if `min_epochs` is above 0.
    pub steps: usize,
    /// The number of passes over the samples that a training takes at least, so that a larger log gets more steps; 0 leaves
    /// it at `steps`.
    pub min_epochs: usize,
    /// The maximum number of steps that `min_epochs` may ask for; 0 sets no limit.
    pub max_steps: usize,
    /// The optimizer and its schedule.
    #[serde(flatten)]
    pub optim: OptimConfig,
    /// The number of steps between two validations; 0 never validates.
    pub validate_every: usize,
    /// The number of validations without improvement after which training stops; 0 never stops early.
    pub patience: usize,
}

flat_config!(AlignTrain { batch, chunk, steps, min_epochs, max_steps, validate_every, patience }, optim: OptimConfig);

impl Default for AlignTrain {
    fn default() -> Self {
        Self {
            batch: 256,
            chunk: 0,
            steps: 400,
            min_epochs: 0,
            max_steps: 0,
            optim: OptimConfig {
                lr: 0.01,
                warmup: 10,
                cosine: true,
                weight_decay: 0.01,
                betas: [0.9, 0.98],
                clip: 1.0,
                ..OptimConfig::default()
            },
            validate_every: 20,
            patience: 0,
        }
    }
}

impl AlignTrain {
    /// Returns the training that goes with [`AlignConfig::recommended`].
    pub fn recommended() -> Self {
        Self::default().with(|train| (train.optim.lr, train.optim.weight_decay) = (0.03, 0.05))
    }

    /// Returns this configuration after `change`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns the number of steps of a training on so many samples, with a batch on each of so many devices per step.
    pub fn steps_on(&self, samples: usize, devices: usize) -> usize {
        let per_epoch = samples.div_ceil(self.batch.saturating_mul(devices).max(1));
        let passes = self.min_epochs.saturating_mul(per_epoch);
        self.steps.max(if self.max_steps == 0 { passes } else { passes.min(self.max_steps) })
    }

    pub(crate) fn fit_config(&self, samples: usize, devices: usize) -> FitConfig {
        let Self { optim, validate_every, patience, .. } = *self;
        FitConfig { steps: self.steps_on(samples, devices), optim, validate_every, patience, ..FitConfig::default() }
    }
}

impl Check for AlignTrain {
    fn problems(&self) -> Vec<Problem> {
        let (steps, warmup) = (self.steps, self.optim.warmup);
        let batch = Problem::if_below("batch", self.batch, 1);
        let cold = (steps > 0 && warmup / LONGEST_WARMUP >= steps).then(|| {
            let told = format!("is {warmup}, it should be at most steps, {steps}: nothing would be trained");
            Problem::new("warmup", told)
        });
        batch.into_iter().chain(self.optim.problems()).chain(cold).collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        if self.steps == 0 {
            return vec![Problem::new("steps", "is 0: the towers stay untrained, as they were drawn")];
        }
        let cold = (self.optim.warmup > self.steps).then(|| {
            let share = 100.0 * self.steps as f64 / self.optim.warmup as f64;
            let told = format!(
                "is {}, longer than the training, steps = {}: the rate reaches only {share:.0} % of lr",
                self.optim.warmup, self.steps
            );
            Problem::new("warmup", told)
        });
        cold.into_iter().chain(Problem::if_impatient(self.patience, self.validate_every)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{FlatKeys, Pooling};

    #[test]
    fn keys_are_flat_in_a_file_and_an_unknown_one_lists_them_all() {
        let text = r#"{"ids": "own", "n_tok": 3, "projection": {"low_rank": 8}, "lambda": 0.5, "id_noise": 1, "tune": "full"}"#;
        let read: AlignConfig = serde_json::from_str(text).unwrap();
        let made = AlignConfig::default().with(|config| {
            (config.module.n_tok, config.module.projection) = (3, ProjectionKind::LowRank(8));
            (config.loss.lambda, config.regularize.id_noise, config.tuning.tune) = (0.5, 1.0, Tuning::Full);
        });
        assert_eq!(read, made);
        let written = serde_json::to_value(&made).unwrap();
        let mut keys = AlignConfig::keys();
        keys.sort_unstable();
        assert_eq!(written.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(), keys);
        assert_eq!(serde_json::from_value::<AlignConfig>(written).unwrap(), made);
        let told = serde_json::from_str::<AlignConfig>(r#"{"n_tokk": 2}"#).unwrap_err().to_string();
        assert!(keys.iter().all(|key| told.contains(&format!("`{key}`"))), "{told}");
    }

    #[test]
    fn a_larger_log_gets_more_steps_if_asked_up_to_a_limit() {
        let steps = |min_epochs, max_steps, samples| {
            AlignTrain { batch: 10, steps: 20, min_epochs, max_steps, ..AlignTrain::default() }.steps_on(samples, 1)
        };
        assert_eq!([steps(0, 0, 999), steps(2, 0, 95), steps(2, 0, 101), steps(2, 21, 101)], [20, 20, 22, 21]);
        assert_eq!([steps(2, 7, 101), steps(usize::MAX, 0, 11)], [20, usize::MAX], "never fewer than steps");
        let two = AlignTrain { batch: 10, steps: 1, min_epochs: 3, ..AlignTrain::default() };
        assert_eq!([two.steps_on(100, 1), two.steps_on(100, 2)], [30, 15], "a step takes a batch on each device");
    }

    #[test]
    fn the_named_configurations_can_be_trained() {
        let spec = LmSpec { layers: 6, width: 384, max_tokens: 512, causal: false, pooling: Pooling::First };
        for config in [AlignConfig::default(), AlignConfig::paper(), AlignConfig::recommended()] {
            config.check_beside(&spec).unwrap();
        }
        for train in [AlignTrain::default(), AlignTrain::recommended()] {
            assert_eq!([train.problems(), train.oddities()].concat(), []);
        }
    }
}
