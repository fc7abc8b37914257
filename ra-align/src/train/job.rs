//! A single training, from its inputs to the resulting recommender.
use crate::config::{AlignConfig, AlignTrain};
use crate::method::{Layerwise, RaRec, TextTower, Towers, require_tunable, require_vectors};
use crate::train::inputs::Inputs;
use crate::train::sampler::EpochSampler;
use crate::validate::require_validation;
use crate::variants::{id_score, with_id_score};
use burn::module::Module;
use ra_core::{
    Check, Curve, Dataset, Error, Fingerprinter, Fit, FitConfig, History, ItemId, LanguageModel, Progress, Recommender,
    Result, Sample, Validate, fingerprint_file, load_module,
};
use std::path::Path;
use std::sync::Arc;

/// The inputs of a training, for callers that share a text tower between trainings. [`crate::Alignment`] assembles one
/// from its parts.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a, I, L> {
    /// The ID method, frozen.
    pub ids: I,
    /// The method that provides the user vectors in training instead of `ids`, such as [`crate::CrossFitIds`].
    pub training_ids: Option<&'a dyn Recommender>,
    /// The model whose scores `distill` reproduces instead of those of the ID method, such as a [`crate::Blend`].
    pub teacher: Option<&'a dyn Recommender>,
    /// The language model with its prompts, frozen.
    pub text: &'a Arc<TextTower<L>>,
    /// The data set.
    pub dataset: &'a Dataset,
    /// The samples to learn from.
    pub samples: &'a [Sample],
    /// The maximum number of items of a history.
    pub max_history: usize,
    /// The configuration of the alignment.
    pub align: &'a AlignConfig,
    /// The configuration of the training.
    pub train: &'a AlignTrain,
    /// The seed of initial weights, order, negatives and noise.
    pub seed: u64,
    /// The file that saves the state of a running training, to resume it; see [`Fit::run`]. A state of another seed,
    /// data set, list of samples or configuration is an error. `ids`, `teacher` and `text` must be those of the state; they
    /// are not compared, since the bits of their vectors may differ between runs on a GPU.
    pub state: Option<&'a Path>,
    /// The towers, as saved, that training starts from in place of random ones; they must be of the same configuration. The
    /// best validation counts from the start on.
    pub start: Option<&'a Path>,
    /// A copy of the language model of `text` on each further device; see [`FitConfig::replica_devices`].
    pub replicas: &'a [L],
}

impl<'a, I, L> Job<'a, I, L> {
    /// Creates a job on `samples` with histories of up to 50 items and seed 1, which does not save its state.
    pub fn new(
        ids: I,
        text: &'a Arc<TextTower<L>>,
        dataset: &'a Dataset,
        samples: &'a [Sample],
        align: &'a AlignConfig,
        train: &'a AlignTrain,
    ) -> Self {
        let (training_ids, teacher, max_history, seed, state, start) = (None, None, 50, 1, None, None);
        let replicas = &[][..];
        Self {
            ids,
            training_ids,
            teacher,
            text,
            dataset,
            samples,
            max_history,
            align,
            train,
            seed,
            state,
            start,
            replicas,
        }
    }

    /// Returns the history before a sample's target, and the target.
    pub(crate) fn sample(&self, sample: &Sample) -> (History<'a>, ItemId) {
        let (items, target) = self.dataset.sample(*sample, self.max_history);
        (History { user: sample.user, items }, target)
    }

    fn sampler(&self) -> EpochSampler {
        EpochSampler::new(self.samples.len(), self.train.batch, self.seed)
    }

    /// Returns the key of everything, besides the optimizer and the frozen models, that determines the bits of the
    /// training. A state with another key is not resumed.
    fn key(&self, align: &AlignConfig) -> String {
        let align = AlignConfig { cache_mib: 0, ..align.clone() };
        let AlignTrain { batch, chunk, .. } = *self.train;
        let mut samples = Fingerprinter::default();
        for Sample { user, position } in self.samples {
            samples.part(8);
            samples.bytes(&user.0.to_le_bytes());
            samples.bytes(&position.to_le_bytes());
        }
        let (data, samples) = (self.dataset.fingerprint(), samples.finish());
        let Self { seed, max_history, .. } = self;
        format!(
            "seed {seed}, data {data}, samples {samples}, max_history {max_history}, batch {batch}, chunk {chunk}, {align:?}"
        )
    }

    /// Returns the indices of the samples that the planned steps may visit. No batch holds any other.
    pub(crate) fn visited_samples(&self) -> Vec<usize> {
        let devices = 1 + self.replicas.len();
        self.sampler().samples_in(self.train.steps_on(self.samples.len(), devices).saturating_mul(devices))
    }
}

/// The result of a training.
#[derive(Debug)]
pub struct FitResult<I, L> {
    /// The recommender, on the plain device, as of the best validation.
    pub model: RaRec<I, L>,
    /// The learning curve.
    pub curve: Curve,
    /// The number of samples that the steps may visit.
    pub samples: usize,
}

/// Trains the towers and returns the recommender of the ID method, the language model and the towers.
///
/// # Errors
/// As [`Fit::run`], [`AlignConfig::require_layers`], [`AlignConfig::check_beside`], [`Check::check`] of [`AlignTrain`],
/// and [`with_id_score`] for `id_residual`; [`Error::Settings`] if the text tower was made for another configuration;
/// [`Error::Missing`] if there are no samples, or if the ID method has [`Recommender::additions`], since only its
/// vectors can be aligned.
///
/// # Panics
/// If a sample points outside the data set.
pub fn fit<I: Recommender, L: LanguageModel>(
    job: Job<'_, I, L>,
    validate: Option<Validate<'_>>,
    progress: &dyn Progress,
) -> Result<FitResult<I, L>> {
    if job.samples.is_empty() {
        let remedy = "a user of the training part gives one sample fewer than they have interactions";
        return Err(Error::Missing { what: "a sample to learn from".into(), remedy: remedy.into() });
    }
    let lm = job.text.lm();
    AlignConfig::require_layers(&lm.spec())?;
    job.align.check_beside(&lm.spec())?;
    require_tunable(job.align.tuning.tune, lm)?;
    job.train.check()?;
    job.text.check(job.align)?;
    let adds_id_score = job.align.departures.id_residual;
    if adds_id_score {
        require_validation(validate, id_score::REMEDY)?;
    }
    if job.align.reads_ids() {
        require_vectors(&job.ids, job.samples.iter().map(|sample| job.sample(sample).0))?;
    }
    let inputs = Inputs::prepare(&job, progress);
    // The weight of the ID method's own score is not part of the training: it is chosen afterwards.
    let align = job.align.clone().with(|align| align.departures.id_residual = false);
    let towers = Towers::init(&align, job.ids.dim(), lm, job.seed, &lm.device().autodiff());
    let towers = match job.start {
        Some(path) => load_module(towers, path)?,
        None => towers,
    };
    let mut sampler = job.sampler();
    if sampler.batches_per_epoch() <= job.replicas.len() {
        let batch = sampler.batch_size();
        tracing::warn!(batch, "some devices share a batch: there are fewer batches than devices; lower batch");
    }
    let loss = |towers: &Towers<Layerwise>, number: usize| inputs.loss(&job, towers, sampler.batch(number), number);
    let model = |towers| RaRec::new(&job.ids, inputs.normalizer.clone(), job.text.clone(), towers);
    let replica_devices = job.replicas.iter().map(|lm| lm.device().autodiff()).collect();
    let config = FitConfig { replica_devices, ..job.train.fit_config(job.samples.len(), 1 + job.replicas.len()) };
    let training = Fit::new("align", &config).progress(progress).state(job.state).rates_start(job.start.is_some());
    let training = match job.state {
        Some(_) => {
            let start = job.start.map(|path| Ok::<_, Error>(format!(", start {}", fingerprint_file(path)?)));
            training.of(job.key(&align) + &start.transpose()?.unwrap_or_default())
        }
        None => training,
    };
    let training = match validate {
        Some(validate) => training.validate(|towers: &Towers<Layerwise>| validate(&model(towers.valid()))),
        None => training,
    };
    let (towers, curve) = training.run(towers, loss)?;
    let samples = job.visited_samples().len();
    let model = RaRec::new(job.ids, inputs.normalizer, job.text.clone(), towers.valid());
    let model = if adds_id_score { with_id_score(model, validate)? } else { model };
    Ok(FitResult { model, curve, samples })
}
