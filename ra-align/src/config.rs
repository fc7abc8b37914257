//! What is aligned with what, and how it is trained.
use ra_core::{Check, FitConfig, LmSpec, OptimConfig, Problem, Result, flat_config};
use serde::{Deserialize, Serialize};

/// The most folds: each trains the ID method once more.
const MOST_FOLDS: usize = 100;

/// The most rows that carry an ID, or an instruction, in a layer: every text pays for each.
const MOST_ROWS: usize = 1 << 8;

/// A warm-up so many times as long as the training changes nothing: the rate never comes to a hundredth of its peak.
const LONGEST_WARMUP: usize = 100;

/// The highest rank of a map: wider ones do not occur.
const HIGHEST_RANK: usize = 1 << 16;

/// How an ID vector `e` becomes the rows `p^(l)` of layer `l`'s prefix.
///
/// `R` is a lift that is not trained: a random matrix that follows from its shape alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionKind {
    /// `W^(l) e + b^(l)` (the paper).
    #[default]
    Dense,
    /// `A^(l) B e + b^(l)` with `B` of this many rows, common to all layers.
    LowRank(usize),
    /// `s^(l) * (R e) + b^(l)`: a scale and a shift for each number of the prefix.
    Diagonal,
    /// `R (s^(l) * e + b^(l))`: a scale and a shift for each number of the ID. With 128 of them, 36 layers and two
    /// towers these are 18,432: the only reading under which the paper's count beside GPT-2-large can be met.
    Vector,
    /// `W e + b`, the same in all layers (the paper's "uniform" ablation).
    Shared,
    /// No rows at all, the ID is not read: prefix tuning (the paper's ablation "no ID").
    None,
}

/// What the alignment module is told of an ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdSource {
    /// What the ID method says.
    #[default]
    #[serde(rename = "own")]
    Original,
    /// Nothing: zeros.
    Zero,
    /// What the ID method says of somebody else; users and items are exchanged independently of each other.
    Permuted,
    /// A random vector, always the same for the same item or history.
    Random,
}

/// How far the language model itself is trained, for rivals that do: its layers from `first_layer` up.
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

/// What the alignment module looks like and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModuleConfig {
    /// Where prefix rows enter.
    pub placement: Placement,
    /// How an ID becomes prefix rows.
    pub projection: ProjectionKind,
    /// Projected rows per layer.
    pub n_tok: usize,
    /// Instruction rows per layer.
    pub n_ctx: usize,
    /// First layer with a prefix; negative counts from the end, -1 is the last layer.
    pub first_layer: isize,
    /// Standard deviation of the projection's weights at the start.
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
        self.first_layer.rem_euclid(spec.layers as isize) as usize
    }

    /// Tokens of the language model's input that prefix rows of a user with so many `interests` take the place of: none
    /// where they stand beside the layers.
    pub fn input_tokens(&self, interests: usize) -> usize {
        if self.placement == Placement::Input { self.n_ctx + self.n_tok * interests } else { 0 }
    }
}

/// What is minimised: `L = L_p + lambda (L_ua + L_ia)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LossConfig {
    /// The loss that ties a layer's prefix to its text, `L_ua` and `L_ia`.
    pub loss: AlignLoss,
    /// Weight of that loss.
    pub lambda: f32,
    /// Its temperature.
    pub tau: f32,
    /// The loss over pairs of users and items, `L_p`.
    pub pair_loss: PairLoss,
    /// Temperature of its softmax.
    pub temperature: f32,
    /// Whether that temperature is trained, from `temperature` on. Not in the paper.
    pub learn_temperature: bool,
    /// Corrects the softmax for how often an item is drawn.
    pub logq: bool,
    /// Uniform items beside the targets of the batch.
    pub extra_negatives: usize,
    /// Scores by cosine instead of the dot product. The paper's score is the dot product: set it to false beside the
    /// paper's BPR, which has no temperature.
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

/// What keeps the towers from trusting ID vectors too much, while training: the ID method has seen the targets that
/// they learn from. Not in the paper.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RegularizeConfig {
    /// Gaussian noise on user vectors, in standard deviations of each dimension.
    pub id_noise: f32,
    /// Dropout on ID vectors.
    pub id_dropout: f64,
    /// Share of samples that are trained without their user's ID.
    pub id_drop: f64,
    /// Share of a step's items that are trained without their ID, by their titles: see [`crate::ColdItemBoost`].
    pub item_id_drop: f64,
}

flat_config!(RegularizeConfig { id_noise, id_dropout, id_drop, item_id_drop });

/// What departs from the paper in what is read, learned or scored; all of it off by default.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DepartureConfig {
    /// Whose ID vectors are read.
    pub ids: IdSource,
    /// Folds of users whose ID vectors, in training, come from a model that never saw them; 0 is off. See
    /// [`crate::CrossFitIds`].
    pub cross_fit: usize,
    /// Weight of a loss that asks for the ID method's own scores of the same candidates, read as logits: what a
    /// projection of few samples loses of the ID. [`AlignConfig::DISTILL`] is what our figures are of. See
    /// [`distill`](crate::distill).
    pub distill: f32,
    /// Factor on the ID method's scores before their softmax in that loss: 1 leaves them as they are, which a method
    /// trained by a softmax asks for; 0 fits it to the targets of the samples, for scores of any other kind. The method
    /// was mostly trained on these targets, so the fit is too large for one that overfits them.
    pub distill_scale: f32,
    /// Whether the ID method's own score is added, with the weight that validates best; of several interests, the best
    /// one's. See [`crate::with_id_score`].
    pub id_residual: bool,
    /// Whether a trained linear map follows the pooled state, in each tower.
    pub head: bool,
}

flat_config!(DepartureConfig { ids, cross_fit, distill, distill_scale, id_residual, head });

impl Default for DepartureConfig {
    fn default() -> Self {
        let ids = IdSource::Original;
        Self { ids, cross_fit: 0, distill: 0.0, distill_scale: 1.0, id_residual: false, head: false }
    }
}

/// Whether the language model is trained too, as rivals of the method do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TuningConfig {
    /// How far the language model itself is trained.
    pub tune: Tuning,
    /// What stands before such a change of the weights: the learning rate times `tune_scale` is its own learning rate.
    pub tune_scale: f32,
}

flat_config!(TuningConfig { tune, tune_scale });

impl Default for TuningConfig {
    fn default() -> Self {
        Self { tune: Tuning::None, tune_scale: 0.01 }
    }
}

/// What is aligned, and against what. In a file its keys are flat, whatever group they stand in here: `n_tok = 2`.
///
/// [`AlignConfig::paper`] is the method as it was published, [`AlignConfig::recommended`] the form that our published
/// figures speak for. [`AlignConfig::default`] is neither: it is what a file leaves unsaid.
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
    /// What is minimised.
    #[serde(flatten)]
    pub loss: LossConfig,
    /// Noise and dropout on ID vectors.
    #[serde(flatten)]
    pub regularize: RegularizeConfig,
    /// What departs from the paper.
    #[serde(flatten)]
    pub departures: DepartureConfig,
    /// Whether the language model is trained too.
    #[serde(flatten)]
    pub tuning: TuningConfig,
    /// MiB of texts that a run may add to its cache.
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
    /// What a file leaves unsaid: the paper's module in every layer and its InfoNCE, but a softmax of cosines with logQ
    /// correction over the batch and 256 uniform items instead of the paper's BPR of dot products.
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
    /// The weight of `distill` that validated well where it was tried.
    pub const DISTILL: f32 = 4.0;

    /// What the paper says: a dense projection and an instruction of their own for every layer, dot products, BPR
    /// against the other targets of the batch, InfoNCE per layer. Numbers that the paper leaves open are those of the
    /// default.
    pub fn paper() -> Self {
        Self::default().with(|config| {
            let loss = &mut config.loss;
            (loss.pair_loss, loss.normalize, loss.logq, loss.extra_negatives) = (PairLoss::BprInBatch, false, false, 0);
        })
    }

    /// What our published figures speak for where time counts: the prefix in the last layer alone, where a text is
    /// computed once, a softmax of cosines, no InfoNCE, noise and dropout on ID vectors, and the ID method's scores as
    /// a teacher. The training that goes with it is [`AlignTrain::recommended`]. Two layers (`first_layer = -2`,
    /// `projection = shared`) are better and cost a dozen times as much.
    pub fn recommended() -> Self {
        Self::default().with(|config| {
            (config.module.first_layer, config.module.n_tok) = (-1, 2);
            config.loss.loss = AlignLoss::None;
            (config.regularize.id_noise, config.regularize.id_dropout) = (1.5, 0.2);
            config.departures.distill = Self::DISTILL;
        })
    }

    /// This configuration after `change`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// What cannot work with a language model of this shape, by key.
    pub fn misfits(&self, spec: &LmSpec) -> Vec<Problem> {
        let (module, layers) = (&self.module, spec.layers as isize);
        if !(-layers..layers).contains(&module.first_layer) {
            let told = format!("is {}, the language model has {layers} layers", module.first_layer);
            return vec![Problem::new("first_layer", told)];
        }
        let deep = module.placement == Placement::Input && module.first_layer(spec) != 0;
        let told = || format!("is {} and placement is input: set it to 0", module.first_layer);
        deep.then(|| Problem::new("first_layer", told())).into_iter().collect()
    }

    /// [`problems`](Check::problems) and [`misfits`](Self::misfits) as an error.
    ///
    /// # Errors
    /// [`ra_core::Error::Settings`]: the keys, their values and what is allowed.
    pub fn check_beside(&self, spec: &LmSpec) -> Result<()> {
        Problem::refuse(&[self.problems(), self.misfits(spec)].concat())
    }

    /// Whether the ID method's vectors are read at all.
    pub fn reads_ids(&self) -> bool {
        self.module.projection != ProjectionKind::None || self.departures.distill > 0.0
    }
}

impl Check for AlignConfig {
    /// What cannot work whatever the language model is.
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

/// How the towers are trained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlignTrain {
    /// Samples per batch, on each device.
    pub batch: usize,
    /// Texts of a step whose graph is kept at a time, at the price of a second forward pass; 0 keeps all, as a training
    /// that tunes the language model does in any case.
    pub chunk: usize,
    /// Steps at most.
    pub steps: usize,
    /// The optimizer and its schedule.
    #[serde(flatten)]
    pub optim: OptimConfig,
    /// Steps between two validations; 0 is never.
    pub validate_every: usize,
    /// Validations without improvement before training stops; 0 is never.
    pub patience: usize,
}

flat_config!(AlignTrain { batch, chunk, steps, validate_every, patience }, optim: OptimConfig);

impl Default for AlignTrain {
    fn default() -> Self {
        Self {
            batch: 256,
            chunk: 0,
            steps: 400,
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
    /// The training that goes with [`AlignConfig::recommended`].
    pub fn recommended() -> Self {
        Self::default().with(|train| (train.optim.lr, train.optim.weight_decay) = (0.03, 0.05))
    }

    /// This configuration after `change`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn fit_config(&self) -> FitConfig {
        let Self { steps, optim, validate_every, patience, .. } = *self;
        FitConfig { steps, optim, validate_every, patience, ..FitConfig::default() }
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
            return vec![Problem::new("steps", "is 0: what would be aligned is untrained, as it was drawn")];
        }
        let cold = (self.optim.warmup > self.steps).then(|| {
            let share = 100.0 * self.steps as f64 / self.optim.warmup as f64;
            let told = format!(
                "is {}, longer than the training, steps = {}: the rate comes to {share:.0} % of lr and no further",
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
