//! What all stages of a run share.
use crate::machine;
use crate::recipe::{Recipe, remedies};
use crate::store::{Earlier, KIND, Member, Store, inputs, lock};
use anyhow::Result;
use ra_core::{Dataset, Device, NoProgress, Progress, Recommender, UserId, open_devices, splitmix64};
use ra_eval::{EvalConfig, HeldOut, Part, StageCost, evaluate};
use std::cell::{Cell, RefCell};
use std::fmt::{Debug, Display};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Where a run tells how far it is, and what it found.
pub trait Output: Progress + Debug {
    /// A line of what was found.
    fn say(&self, line: &str);
}

impl Output for NoProgress {
    fn say(&self, _: &str) {}
}

/// What all stages of one run share, and nothing of what they make: devices, the folder that it writes into, progress, costs
/// and how models are chosen.
#[derive(Debug)]
pub struct Context {
    /// Where data, models and caches lie.
    pub(crate) root: PathBuf,
    /// One at least.
    pub(crate) devices: Vec<Device>,
    pub(crate) store: Store,
    pub(crate) progress: Box<dyn Output>,
    pub(crate) costs: Costs,
    pub(crate) validator: Validator,
}

impl Context {
    /// For a run of `recipe` with data, models and caches under `root` that writes into `out`, and takes what is there as
    /// `earlier` says. It says nothing of how far it is; see [`Context::telling`].
    ///
    /// # Errors
    /// When `out` holds files that are none of a run, or inputs of this one, or another process runs there, or the back end
    /// cannot be opened. Whatever can be refused is refused before anything long is read.
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
            validator: Validator { eval: recipe.eval.clone(), seed: recipe.seed },
        })
    }

    /// The same that tells `output` how far it is.
    #[must_use]
    pub fn telling(self, output: Box<dyn Output>) -> Self {
        Self { progress: output, ..self }
    }

    /// The device of all but further devices of an alignment.
    pub(crate) fn device(&self) -> &Device {
        &self.devices[0]
    }

    pub(crate) fn say(&self, what: impl Display) {
        self.progress.say(&what.to_string());
    }
}

/// What the stages of a run cost.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    stages: RefCell<Vec<StageCost>>,
    /// Tokens that the language model has read, and how many of them stages account for.
    tokens: Arc<AtomicU64>,
    told: Cell<u64>,
}

impl Costs {
    /// Where tokens are counted.
    pub(crate) fn tokens(&self) -> &Arc<AtomicU64> {
        &self.tokens
    }

    /// Writes down that `stage` took the time `since` then, and gives it in seconds.
    pub(crate) fn add(&self, stage: &str, since: Instant) -> f64 {
        let seconds = since.elapsed().as_secs_f64();
        tracing::info!(stage, seconds, "done");
        let read = self.tokens.load(Ordering::Relaxed);
        let tokens = Some(read - self.told.replace(read)).filter(|&tokens| tokens > 0);
        let cost = StageCost { name: stage.into(), seconds, peak_mib: machine::peak_mib(), tokens };
        self.stages.borrow_mut().push(cost);
        seconds
    }

    pub(crate) fn all(&self) -> Vec<StageCost> {
        self.stages.borrow().clone()
    }
}

/// How models are chosen: by `eval.select` over users of the validation part.
#[derive(Debug)]
pub(crate) struct Validator {
    eval: EvalConfig,
    seed: u64,
}

impl Validator {
    /// The users whom a stage is validated on while it trains, `eval.select_users` of them, chosen once by seed.
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

    /// How good a model is on the validation part of a data set for these users, higher is better; nothing without users.
    pub(crate) fn over<'a>(
        &self,
        dataset: &'a Dataset,
        users: &[UserId],
    ) -> Option<impl Fn(&dyn Recommender) -> f64 + use<'a>> {
        let eval = self.choosing();
        let held_out = HeldOut::new(dataset, Part::Valid).of_users(users);
        let metric =
            move |model: &dyn Recommender| eval.criterion(&evaluate(model, &held_out, &eval, &NoProgress).metrics);
        (!users.is_empty()).then_some(metric)
    }

    /// How models are chosen.
    pub(crate) fn choosing(&self) -> EvalConfig {
        self.eval.choosing()
    }
}
