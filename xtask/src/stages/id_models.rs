//! The ID methods of a run: trained, or loaded if they have been trained before.
use crate::context::Context;
use crate::recipe::Recipe;
use crate::stages::{Data, FrozenText};
use crate::store::IdManifest;
use crate::store::shared::IdKey;
use anyhow::{Context as _, Result, bail};
use ra_align::without_fold;
use ra_core::{ParamRow, Recommender, Validate};
use ra_eval::LearningCurve;
use ra_idmodels::{IdConfig, IdMethod, Job, Trained};
use std::collections::BTreeMap;
use std::time::Instant;

/// The trained ID methods, in the order of the recipe.
#[derive(Debug)]
pub struct IdModels {
    pub(crate) methods: Vec<TrainedMethod>,
    /// The last method, trained without each fold of users, by the number of folds.
    folds: BTreeMap<usize, Vec<Trained>>,
}

/// A trained ID method.
#[derive(Debug)]
pub(crate) struct TrainedMethod {
    pub(crate) config: IdConfig,
    pub(crate) trained: Trained,
    mark: IdManifest,
}

impl TrainedMethod {
    pub(crate) fn model(&self) -> &dyn Recommender {
        &*self.trained.model
    }

    pub(crate) fn parameters(&self) -> &[ParamRow] {
        &self.trained.parameters
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.mark.seconds
    }

    /// Returns the learning curve, or nothing if the method only counts.
    pub(crate) fn curve(&self) -> Option<LearningCurve> {
        let curve = &self.mark.curve;
        (!curve.points.is_empty()).then(|| LearningCurve { name: self.config.kind().into(), curve: curve.clone() })
    }
}

impl IdModels {
    /// Returns every method with its kind.
    pub fn recommenders(&self) -> impl Iterator<Item = (&str, &dyn Recommender)> {
        self.methods.iter().map(|method| (method.config.kind(), method.model()))
    }

    /// Returns the method that is aligned: the last one.
    pub(crate) fn backbone(&self) -> &TrainedMethod {
        &self.methods[self.methods.len() - 1]
    }

    /// Returns the backbone trained without each of `of` folds of users; empty for 0.
    pub(crate) fn folds(&self, of: usize) -> Vec<&dyn Recommender> {
        self.folds.get(&of).into_iter().flatten().map(|fold| &*fold.model as &dyn Recommender).collect()
    }
}

/// Trains the ID methods of a recipe, and the last one again without each fold of users if a variant is cross-fitted.
/// Loads the checkpoints of the run folder instead if they exist.
///
/// # Errors
/// As [`ra_idmodels::fit`] and [`ra_idmodels::load`].
pub fn id_models(recipe: &Recipe, data: &Data, text: Option<&FrozenText>, cx: &Context) -> Result<IdModels> {
    let train = |config: &IdConfig| method(recipe, config, None, data, text, cx);
    let methods: Vec<TrainedMethod> = recipe.ids.iter().map(train).collect::<Result<_>>()?;
    let backbone = methods.last().context("a recipe has at least one [[id]] table")?;
    let mut folds = BTreeMap::new();
    for variant in recipe.variants().iter().filter(|variant| variant.trains()) {
        let of = variant.align.departures.cross_fit;
        if of > 0 && !folds.contains_key(&of) {
            let fold = |index| Ok(method(recipe, &backbone.config, Some(Fold { index, of }), data, text, cx)?.trained);
            folds.insert(of, (0..of).map(fold).collect::<Result<_>>()?);
        }
    }
    Ok(IdModels { methods, folds })
}

/// A fold of users that a model is trained without, and the number of folds.
#[derive(Debug, Clone, Copy)]
struct Fold {
    index: usize,
    of: usize,
}

/// Trains an ID method, without the users of a fold if one is given, or loads the checkpoint of the run folder.
fn method(
    recipe: &Recipe,
    config: &IdConfig,
    fold: Option<Fold>,
    data: &Data,
    text: Option<&FrozenText>,
    cx: &Context,
) -> Result<TrainedMethod> {
    let folder = cx.store.folder()?;
    let reader = text.filter(|_| config.reads_features());
    let features = reader.map(|text| text.features(&data.dataset.catalog)).transpose()?;
    let lm = reader.map(FrozenText::identity);
    let name = match fold {
        None => config.kind().to_string(),
        Some(Fold { index, of }) => format!("{}-fold-{}-of-{of}", config.kind(), index + 1),
    };
    let key = || IdKey {
        version: env!("CARGO_PKG_VERSION"),
        data: data.dataset.fingerprint(),
        name: &name,
        config,
        seed: recipe.seed,
        choosing: cx.validator.choosing(),
        lm: lm.clone(),
        backend: recipe.backend.name(),
        instructions: ra_core::kernels::instructions(),
    };
    let shared = cx.store.shared(|| key().fingerprint());
    if let Some(shared) = &shared {
        folder.import_id(&name, config, shared)?;
    }
    let part = fold.map(|Fold { index, of }| without_fold(&data.dataset, index, of));
    let dataset = part.as_ref().unwrap_or(&data.dataset);
    let job = Job::new(dataset, cx.device()).seed(recipe.seed).progress(&*cx.progress);
    let job = features.map_or(job, |features| job.features(features));
    if let Some(mark) = folder.id_manifest(&name, config)? {
        let path = folder.id_checkpoint(&name);
        if mark.lm != lm {
            bail!("{}: trained on another language model's vectors; run again without --resume", path.display());
        }
        let trained = ra_idmodels::load(config, &job, &path)?;
        return Ok(TrainedMethod { config: config.clone(), trained, mark });
    }
    let since = Instant::now();
    let metric = cx.validator.over(&data.dataset, &data.validation);
    let state = folder.id_state(&name)?;
    let job = metric.as_ref().map_or(job, |metric| job.validate(metric as Validate<'_>)).state(&state);
    cx.store.begin(&name)?;
    let trained = ra_idmodels::fit(config, &job)?;
    // A resumed stage reports its total cost.
    let seconds = cx.costs.add(&format!("train {name}"), since).max(trained.curve.seconds);
    let epochs = config.train().map(|train| train.epochs);
    let mark = IdManifest { curve: trained.curve.clone(), seconds, epochs, lm, checkpoint: None };
    folder.forget_towers()?;
    folder.save_id(&name, &trained, &mark)?;
    if let Some(shared) = &shared {
        folder.publish_id(&name, shared)?;
    }
    Ok(TrainedMethod { config: config.clone(), trained, mark })
}
