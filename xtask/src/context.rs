//! The context that all stages of a run share.
use crate::bundle::Start;
use crate::estimate::Estimate;
use crate::machine;
use crate::recipe::{Recipe, remedies};
use crate::store::{Earlier, KIND, Member, Store, inputs, lock};
use anyhow::{Context as _, Result, bail};
use burn::tensor::Tensor;
use ra_align::{ScoreMetric, Scores};
use ra_core::{
    Dataset, Device, History, ItemId, NoProgress, Progress, Recommender, UserId, host_numbers, open_devices, read_json,
    splitmix64, write_json,
};
use ra_eval::{EvalConfig, HeldOut, Measure, Part, ScoreJudge, StageCost, criterion, unmeasured};
use ra_eval::{evaluate, evaluate_items, item_vectors};
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt::{Debug, Display};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A receiver of a run's progress and findings.
pub trait Output: Progress + Debug {
    /// Reports a line.
    fn say(&self, line: &str);
}

impl Output for NoProgress {
    fn say(&self, _: &str) {}
}

/// The context that all stages of a run share: devices, the output folder, progress, costs and validation. It holds
/// nothing that the stages produce.
#[derive(Debug)]
pub struct Context {
    /// The root folder of data, models and caches.
    pub(crate) root: PathBuf,
    /// The devices, at least one.
    pub(crate) devices: Vec<Device>,
    pub(crate) store: Store,
    pub(crate) progress: Box<dyn Output>,
    pub(crate) costs: Costs,
    /// What the long stages that have not begun yet are expected to take.
    expected: RefCell<Estimate>,
    pub(crate) validator: Validator,
    /// What training starts from.
    pub(crate) start: Option<Start>,
}

impl Context {
    /// Creates the context of a run of `recipe`. Data, models and caches are under `root`; the run writes into `out`,
    /// and `earlier` decides about an earlier run there. It reports no progress; see [`Context::telling`].
    ///
    /// # Errors
    /// If `out` holds files that do not belong to a run, or inputs of this run, if another process runs there, or if
    /// the back end cannot be opened. Whatever can fail early fails before anything long is read.
    pub fn new(recipe: &Recipe, root: &Path, out: &Path, earlier: Earlier) -> Result<Self> {
        Self::of_member(recipe, root, out, earlier, None)
    }

    pub(crate) fn of_member(
        recipe: &Recipe,
        root: &Path,
        out: &Path,
        earlier: Earlier,
        member: Option<Member>,
    ) -> Result<Self> {
        ra_core::refuse_inputs_within(out, &inputs(recipe))?;
        lock::check(out, KIND)?;
        Ok(Self {
            root: root.into(),
            devices: open_devices(recipe.backend, recipe.devices).map_err(|error| remedies::in_recipe(error.into()))?,
            store: Store::new(out.into(), earlier, member),
            progress: Box::new(NoProgress),
            costs: Costs::default(),
            expected: RefCell::default(),
            validator: Validator { eval: recipe.eval.clone(), seed: recipe.seed },
            start: recipe.start_from.as_deref().map(Start::open).transpose().context("start_from")?,
        })
    }

    /// Reports progress to `output`.
    #[must_use]
    pub fn telling(self, output: Box<dyn Output>) -> Self {
        Self { progress: output, ..self }
    }

    /// Returns the device of everything except further devices of an alignment.
    pub(crate) fn device(&self) -> &Device {
        &self.devices[0]
    }

    /// Says what the run is expected to take. [`foretell`](Self::foretell) repeats it for each stage.
    pub(crate) fn expect(&self, estimate: Estimate) {
        self.say(&estimate);
        self.expected.replace(estimate);
    }

    /// Says what a stage that begins now is expected to take, if it is long.
    pub(crate) fn foretell(&self, stage: &str) {
        self.expected.borrow_mut().take(stage).iter().for_each(|told| self.say(told));
    }

    pub(crate) fn say(&self, what: impl Display) {
        self.progress.say(&what.to_string());
    }
}

/// The costs of the stages of a run, over all its parts if it was resumed.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    stages: RefCell<Vec<StageCost>>,
    /// Where they are kept, once the run folder is open.
    file: OnceCell<PathBuf>,
    /// The number of tokens that the language model has read, and how many of them are attributed to stages.
    tokens: Arc<AtomicU64>,
    told: Cell<u64>,
}

impl Costs {
    /// Returns the token counter.
    pub(crate) fn tokens(&self) -> &Arc<AtomicU64> {
        &self.tokens
    }

    /// Records the time of `stage` since `since`, and returns it in seconds.
    pub(crate) fn add(&self, stage: &str, since: Instant) -> f64 {
        let seconds = since.elapsed().as_secs_f64();
        tracing::info!(stage, seconds, "done");
        let read = self.tokens.load(Ordering::Relaxed);
        let tokens = Some(read - self.told.replace(read)).filter(|&tokens| tokens > 0);
        self.stages.borrow_mut().push(StageCost { name: stage.into(), seconds, peak_mib: machine::peak_mib(), tokens });
        self.write();
        seconds
    }

    /// Records the time of a stage that every part of a run does again from the start: only the last time counts.
    pub(crate) fn replace(&self, stage: &str, since: Instant) -> f64 {
        self.stages.borrow_mut().retain(|cost| cost.name != stage);
        self.add(stage, since)
    }

    /// Keeps the costs in `file` from now on, beginning with those that an earlier part of the run left there.
    pub(crate) fn keep(&self, file: PathBuf) {
        if file.exists() {
            match read_json::<Vec<StageCost>>(&file) {
                Ok(earlier) => {
                    let mut stages = self.stages.borrow_mut();
                    // What this part has done before the folder was open, it has done again.
                    let again = |cost: &StageCost| stages.iter().any(|own| own.name == cost.name);
                    let earlier: Vec<StageCost> = earlier.into_iter().filter(|cost| !again(cost)).collect();
                    stages.splice(..0, earlier);
                }
                Err(error) => tracing::warn!("the report will lack the costs before this start of the run: {error}"),
            }
        }
        self.file.get_or_init(|| file);
        self.write();
    }

    fn write(&self) {
        let written = self.file.get().map_or(Ok(()), |file| write_json(file, &self.all()));
        // A full disk also affects files that matter more, which report it.
        written.unwrap_or_else(|error| tracing::warn!("the costs of this stage are not kept: {error}"));
    }

    /// Returns the costs of each stage, in the order of their first times. What a stage took several times is added.
    pub(crate) fn all(&self) -> Vec<StageCost> {
        let mut all: Vec<StageCost> = Vec::new();
        for more in self.stages.borrow().iter() {
            let Some(cost) = all.iter_mut().find(|cost| cost.name == more.name) else {
                all.push(more.clone());
                continue;
            };
            cost.seconds += more.seconds;
            cost.peak_mib = cost.peak_mib.max(more.peak_mib);
            cost.tokens = [cost.tokens, more.tokens].into_iter().flatten().reduce(|one, other| one + other);
        }
        all
    }
}

/// The validation of models: by `eval.select` over users of the validation part.
#[derive(Debug)]
pub(crate) struct Validator {
    eval: EvalConfig,
    seed: u64,
}

impl Validator {
    /// Returns the users that a stage validates on during training: `eval.select_users` of them, drawn once by seed.
    pub(crate) fn users(&self, dataset: &Dataset) -> Vec<UserId> {
        let all = EvalConfig { users: 0, ..self.eval.clone() };
        let mut users = HeldOut::new(dataset, Part::Valid).evaluated(&all);
        users.sort_by_key(|&user| splitmix64(self.seed ^ u64::from(user.0)));
        if self.eval.select_users > 0 {
            users.truncate(self.eval.select_users);
        }
        users.sort_unstable();
        users
    }

    /// Returns the metric of a model on the validation part of a data set for these users, higher is better; nothing
    /// without users.
    pub(crate) fn over<'a>(
        &self,
        dataset: &'a Dataset,
        users: &[UserId],
    ) -> Option<impl Fn(&dyn Recommender) -> f64 + use<'a>> {
        let eval = self.choosing();
        let held_out = HeldOut::new(dataset, Part::Valid).of_users(users);
        let metric =
            move |model: &dyn Recommender| criterion(&eval, &held_out, &evaluate(model, &held_out, &eval, &NoProgress));
        (!users.is_empty()).then_some(metric)
    }

    /// Returns the metric of a model whose item vectors are given, `[items + 1, dim]`; nothing without users.
    pub(crate) fn rate(
        &self,
        model: &dyn Recommender,
        items: &Tensor<2>,
        dataset: &Dataset,
        users: &[UserId],
    ) -> Option<f64> {
        let eval = self.choosing();
        let held_out = HeldOut::new(dataset, Part::Valid).of_users(users);
        let rate = || criterion(&eval, &held_out, &evaluate_items(model, items, &held_out, &eval, &NoProgress));
        (!users.is_empty()).then(rate)
    }

    /// Returns the validation part as a judge of score matrices, for these users or fewer if their scores by `parts`
    /// models would not fit into [`MOST_SCORES`]; nothing without users.
    ///
    /// # Errors
    /// If the fewer users cannot measure the criterion.
    pub(crate) fn judge<'a>(&self, dataset: &'a Dataset, users: &[UserId], parts: usize) -> Result<Option<Judge<'a>>> {
        // The search keeps a sum of all parts, too.
        let most = MOST_SCORES / (dataset.catalog.len() * (parts + 1)).max(1);
        let step = users.len().div_ceil(most.max(1)).max(1);
        let some: Vec<UserId> = users.iter().copied().step_by(step).collect();
        if some.is_empty() {
            return Ok(None);
        }
        let held_out = HeldOut::new(dataset, Part::Valid).of_users(&some);
        if some.len() < users.len() {
            tracing::warn!(
                users = some.len(),
                of = users.len(),
                "a blend of this size is chosen on fewer validation users"
            );
            self.warn_of_idle(&held_out);
        }
        if let Some(measure) = self.lacking(&held_out) {
            let (few, all) = (some.len(), users.len());
            bail!(
                "{measure}: none of {few} validation users has such a target; a blend of {parts} rows over {} items is \
                 chosen on {few} of {all}: name fewer rows, or leave the term out of eval.select",
                dataset.catalog.len()
            );
        }
        Ok(Some(Judge(ScoreJudge::new(held_out, self.choosing())?)))
    }

    /// Returns a required term of the criterion that the users of `held_out` cannot measure.
    pub(crate) fn lacking(&self, held_out: &HeldOut<'_>) -> Option<Measure> {
        unmeasured(&self.eval, held_out).into_iter().find(Measure::is_required)
    }

    /// Warns of terms of the criterion that the users of `held_out` cannot measure and that decide nothing then.
    pub(crate) fn warn_of_idle(&self, held_out: &HeldOut<'_>) {
        for term in unmeasured(&self.eval, held_out).iter().filter(|term| !term.is_required()) {
            let users = held_out.users().len();
            tracing::warn!(%term, users, "no validation user has a target in this group: the term decides nothing");
        }
    }

    /// Returns how models are chosen.
    pub(crate) fn choosing(&self) -> EvalConfig {
        self.eval.choosing()
    }
}

/// The maximum number of scores that are kept to judge blends: 2.8 GB.
const MOST_SCORES: usize = 700_000_000;

/// The validation part, to judge matrices of scores.
#[derive(Debug)]
pub(crate) struct Judge<'a>(ScoreJudge<'a>);

impl Judge<'_> {
    /// Returns the scores of a model, `[users, items]`.
    pub(crate) fn scores(&self, model: &dyn Recommender) -> Vec<f32> {
        let held_out = self.0.held_out();
        let items = item_vectors(model, self.items());
        let histories: Vec<(UserId, Vec<ItemId>)> =
            held_out.users().iter().map(|&user| (user, held_out.history(user))).collect();
        let mut all = Vec::with_capacity(histories.len() * self.items());
        for block in histories.chunks(USERS_AT_ONCE) {
            let asked: Vec<History<'_>> = block.iter().map(|(user, items)| History { user: *user, items }).collect();
            let scores = ra_core::scores(model, &asked, &items).slice_dim(1, 1..self.items() + 1);
            all.extend(host_numbers(scores));
        }
        all
    }

    pub(crate) fn items(&self) -> usize {
        self.0.held_out().items()
    }

    /// Returns the number of users.
    pub(crate) fn users(&self) -> usize {
        self.0.held_out().users().len()
    }
}

impl ScoreMetric for Judge<'_> {
    fn rate(&self, n: usize, scores: &Scores<'_>) -> Vec<f64> {
        self.0.rate(n, scores)
    }
}

/// The number of users whose scores are computed at a time.
const USERS_AT_ONCE: usize = 256;
