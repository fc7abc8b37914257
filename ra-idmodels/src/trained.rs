//! The result of fitting a method.
use crate::method::KnownUsers;
use crate::{Batches, Job, LearnedMethod, TrainConfig, train};
use burn::module::Module;
use ra_core::{
    Curve, IdModel, ParamRow, Recommender, Result, load_grown_module, load_module, parameter_table, save_module,
};
use std::path::Path;
use std::sync::Arc;

/// A fitted method: its frozen model, and records of its training.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trained {
    /// The frozen model.
    pub model: Arc<dyn Recommender>,
    /// The training curve.
    pub curve: Curve,
    /// The trained parameters.
    pub parameters: Vec<ParamRow>,
    /// What fitting chose, for people, such as `share = 1`.
    pub choices: Vec<String>,
    checkpoint: Option<Box<dyn Checkpoint>>,
}

/// A module that can be saved.
trait Checkpoint: std::fmt::Debug {
    fn save(&self, path: &Path) -> Result<()>;
}

impl<M: Module> Checkpoint for M {
    fn save(&self, path: &Path) -> Result<()> {
        save_module(self, path)
    }
}

impl Trained {
    /// Wraps a model that is counted from its data set or read from its own files: it has no checkpoint.
    pub fn counted(model: impl Recommender + 'static) -> Self {
        Self {
            model: Arc::new(model),
            curve: Curve::default(),
            parameters: Vec::new(),
            choices: Vec::new(),
            checkpoint: None,
        }
    }

    /// Wraps a model that is solved, not trained: it has a checkpoint but no trained parameters.
    pub fn solved<M: Module + Recommender + 'static>(model: M) -> Self {
        Self { checkpoint: Some(Box::new(model.clone())), ..Self::counted(model) }
    }

    /// Wraps a model whose checkpoint is another module: what of it is not counted again when it is loaded.
    pub(crate) fn chosen<M: Module + 'static>(
        model: impl Recommender + 'static,
        chosen: M,
        choices: Vec<String>,
    ) -> Self {
        Self { checkpoint: Some(Box::new(chosen)), choices, ..Self::counted(model) }
    }

    /// Trains `fresh`, on [`Job::training_device`], with [`train`].
    ///
    /// # Errors
    /// Those of [`train`].
    pub fn fit<M: IdModel + 'static>(
        fresh: M,
        batches: &mut dyn Batches,
        config: &TrainConfig,
        job: &Job<'_>,
    ) -> Result<Self> {
        let (model, curve) = train(fresh, batches, config, job)?;
        Ok(Self::learned(&model, curve))
    }

    /// Reads the checkpoint at `path` into `fresh`, on the plain device.
    ///
    /// # Errors
    /// Those of [`load_module`].
    pub fn load<M: IdModel + 'static>(fresh: M, path: &Path) -> Result<Self> {
        Ok(Self::learned(&load_module(fresh, path)?, Curve::default()))
    }

    /// Reads a checkpoint that knows only the first `known` items of the job's catalogue ([`Job::known_items`]): the others
    /// get zeros.
    ///
    /// # Errors
    /// Those of [`load_grown_module`].
    pub fn load_grown<M: IdModel + 'static>(fresh: M, path: &Path, known: usize, job: &Job<'_>) -> Result<Self> {
        let items = job.dataset.catalog.len();
        Ok(Self::learned(&load_grown_module(fresh, path, known, items)?, Curve::default()))
    }

    fn learned<M: IdModel + 'static>(model: &M, curve: Curve) -> Self {
        let parameters = parameter_table(model);
        let checkpoint: Option<Box<dyn Checkpoint>> = Some(Box::new(model.valid()));
        Self { model: Arc::new(model.fitted()), curve, parameters, choices: Vec::new(), checkpoint }
    }

    /// Removes the vectors of users without a training interaction, if the method learns one for each user separately.
    pub(crate) fn for_users_of<M: LearnedMethod>(self, job: &Job<'_>) -> Self {
        if M::READS_HISTORIES {
            return self;
        }
        Self { model: Arc::new(KnownUsers::new(self.model, job.dataset)), ..self }
    }

    /// Saves the trained parameters; a method without any writes nothing.
    ///
    /// # Errors
    /// Those of [`save_module`].
    pub fn save(&self, path: &Path) -> Result<()> {
        self.checkpoint.as_ref().map_or(Ok(()), |module| module.save(path))
    }
}
