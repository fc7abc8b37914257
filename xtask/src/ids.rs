//! The ID methods of a run: trained, or taken from where they were trained before.
use crate::folder::IdMark;
use crate::run::Run;
use crate::shared::{IdKey, Shared};
use crate::text::Text;
use anyhow::{Result, bail};
use ra_align::without_fold;
use ra_core::Recommender;
use ra_idmodels::{IdConfig, Trained};
use std::time::Instant;

/// A fold of users that a model is trained without, and how many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fold {
    pub(crate) index: usize,
    pub(crate) of: usize,
}

impl Run {
    /// Trains an ID method, without the users of a fold if one is given, or takes the checkpoint of the run folder.
    pub(crate) fn id_model(
        &mut self,
        config: &IdConfig,
        text: Option<&Text>,
        fold: Option<Fold>,
    ) -> Result<(Trained, IdMark)> {
        let reader = text.filter(|_| config.reads_features());
        let features = reader.map(|text| text.features(&self.dataset.catalog)).transpose()?;
        let name = match fold {
            None => config.name().to_string(),
            Some(Fold { index, of }) => format!("{}-fold-{}-of-{of}", config.name(), index + 1),
        };
        let shared =
            self.suite.as_ref().map(|suite| Shared { suite: suite.clone(), key: self.id_key(&name, config, reader) });
        if let Some(shared) = &shared {
            self.folder.take_id(&name, config, shared)?;
        }
        let part = fold.map(|Fold { index, of }| without_fold(&self.dataset, index, of));
        let dataset = part.as_ref().unwrap_or(&self.dataset);
        if let Some(mark) = self.folder.id_mark(&name, config)? {
            let path = self.folder.id_checkpoint(&name);
            if mark.lm != reader.map(Text::identity) {
                bail!("{}: trained over another language model's vectors; run again without --resume", path.display());
            }
            return Ok((ra_idmodels::load(config, dataset, features, &path, &self.device)?, mark));
        }
        let since = Instant::now();
        let metric: &dyn Fn(&dyn Recommender) -> f64 = &|model| self.validation(model);
        let state = self.folder.id_state(&name)?;
        let job = ra_idmodels::Job {
            dataset,
            device: &self.device,
            seed: self.recipe.seed,
            validate: self.has_validation().then_some(metric),
            progress: &self.bars,
            features,
            state: Some(&state),
        };
        self.log.begin(&name);
        let trained = ra_idmodels::fit(config, &job)?;
        // A stage that goes on tells what it cost in all.
        let seconds = self.cost(&format!("train {name}"), since).max(trained.curve.seconds);
        let lm = reader.map(Text::identity);
        let epochs = config.train().map(|train| train.epochs);
        let mark = IdMark { curve: trained.curve.clone(), seconds, epochs, lm, checkpoint: None };
        self.folder.forget_towers()?;
        self.folder.save_id(&name, &trained, &mark)?;
        if let Some(shared) = &shared {
            self.folder.give_id(&name, shared)?;
        }
        Ok((trained, mark))
    }

    fn id_key(&self, name: &str, config: &IdConfig, reader: Option<&Text>) -> String {
        let key = IdKey {
            version: env!("CARGO_PKG_VERSION"),
            data: self.dataset.fingerprint(),
            name,
            config,
            seed: self.recipe.seed,
            choosing: self.choosing(),
            lm: reader.map(Text::identity),
            backend: self.recipe.backend.name(),
            instructions: ra_core::kernels::instructions(),
        };
        key.fingerprint()
    }
}
