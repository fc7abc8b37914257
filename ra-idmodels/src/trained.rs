//! What fitting a method gives.
use crate::method::KnownUsers;
use crate::{Batches, Job, LearnedMethod, TrainConfig, train};
use burn::module::Module;
use ra_core::{Curve, IdModel, ParamRow, Recommender, Result, load_module, parameter_table, save_module};
use std::path::Path;

/// A method that was fitted: its frozen model, and what training leaves beside it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trained {
    /// The frozen model.
    pub model: Box<dyn Recommender>,
    /// How training went.
    pub curve: Curve,
    /// What was trained.
    pub parameters: Vec<ParamRow>,
    checkpoint: Option<Box<dyn Checkpoint>>,
}

/// A module that can be written down.
trait Checkpoint: std::fmt::Debug {
    fn save(&self, path: &Path) -> Result<()>;
}

impl<M: Module> Checkpoint for M {
    fn save(&self, path: &Path) -> Result<()> {
        save_module(self, path)
    }
}

impl Trained {
    /// A model that is counted from its data set, or read from where it is: it has no checkpoint.
    pub fn counted(model: impl Recommender + 'static) -> Self {
        Self { model: Box::new(model), curve: Curve::default(), parameters: Vec::new(), checkpoint: None }
    }

    /// A model that is solved, not trained: it has a checkpoint and no trained parameters.
    pub fn solved<M: Module + Recommender + 'static>(model: M) -> Self {
        Self { checkpoint: Some(Box::new(model.clone())), ..Self::counted(model) }
    }

    /// Trains `fresh`, on [`Job::training_device`], by [`train`].
    ///
    /// # Errors
    /// As [`train`].
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
    /// As [`load_module`].
    pub fn load<M: IdModel + 'static>(fresh: M, path: &Path) -> Result<Self> {
        Ok(Self::learned(&load_module(fresh, path)?, Curve::default()))
    }

    fn learned<M: IdModel + 'static>(model: &M, curve: Curve) -> Self {
        let parameters = parameter_table(model);
        Self { model: Box::new(model.fitted()), curve, parameters, checkpoint: Some(Box::new(model.valid())) }
    }

    /// The same without vectors of users who have no training interaction, where the method has learned one for each user
    /// alone.
    pub(crate) fn for_users_of<M: LearnedMethod>(self, job: &Job<'_>) -> Self {
        if M::READS_HISTORIES {
            return self;
        }
        Self { model: Box::new(KnownUsers::new(self.model, job.dataset)), ..self }
    }

    /// Writes the trained parameters; a method without any writes nothing.
    ///
    /// # Errors
    /// As [`save_module`].
    pub fn save(&self, path: &Path) -> Result<()> {
        self.checkpoint.as_ref().map_or(Ok(()), |module| module.save(path))
    }
}
