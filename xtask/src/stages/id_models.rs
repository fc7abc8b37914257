//! The ID methods of a run: trained, or loaded if they have been trained before.
use crate::bundle::Start;
use crate::context::Context;
use crate::estimate::TITLES;
use crate::recipe::{IdTable, Recipe};
use crate::stages::{Data, FrozenText, Saved};
use crate::store::shared::IdKey;
use crate::store::{GroundManifest, IdManifest, RunFolder, id_fingerprint};
use anyhow::{Context as _, Result, bail};
use ra_align::without_fold;
use ra_core::{Dataset, ParamRow, ProgressOf, Recommender, Validate};
use ra_eval::LearningCurve;
use ra_idmodels::{GroundConfig, Grounded, IdConfig, IdMethod, Job, Trained};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// The trained ID methods, in the order of the recipe, the one that is aligned last.
#[derive(Debug)]
pub struct IdModels {
    pub(crate) methods: Vec<TrainedMethod>,
    /// The last method, trained without each fold of users, by the number of folds.
    folds: BTreeMap<usize, Vec<Trained>>,
}

/// A trained ID method.
#[derive(Debug)]
pub(crate) struct TrainedMethod {
    pub(crate) config: IdTable,
    pub(crate) trained: Trained,
    /// The same method with grounded vectors, if the recipe asks for it.
    pub(crate) grounded: Option<Grounded>,
    /// Why it is the one that is aligned, if validation chose it.
    chosen: Option<String>,
    mark: IdManifest,
}

impl TrainedMethod {
    pub(crate) fn model(&self) -> &dyn Recommender {
        &*self.trained.model
    }

    /// Returns the identity of [`aligned`](Self::aligned) over the first `items` items, whose checkpoint is in `folder`: towers
    /// fit no other.
    pub(crate) fn identity(&self, items: usize, folder: &RunFolder) -> Result<String> {
        let own = id_fingerprint(self.model(), items, &folder.id_checkpoint(self.config.kind()))?;
        Ok(match &self.grounded {
            Some(Grounded { k, scale, .. }) => format!("{own} grounded {k} {scale}"),
            None => own,
        })
    }

    /// Returns the model that is aligned: the grounded one if there is one.
    pub(crate) fn aligned(&self) -> &dyn Recommender {
        self.grounded.as_ref().map_or(self.model(), |grounded| grounded)
    }

    /// Returns [`aligned`](Self::aligned), shared.
    pub(crate) fn aligned_model(&self) -> Arc<dyn Recommender> {
        match &self.grounded {
            Some(grounded) => Arc::new(grounded.clone()),
            None => self.trained.model.clone(),
        }
    }

    /// Returns every row of the method: its name, its model, and what is special about it.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (String, &dyn Recommender, Vec<String>)> {
        let own = (self.config.kind().to_owned(), self.model(), self.trained.choices.clone());
        let grounded = self.grounded.as_ref().map(|grounded| {
            let Grounded { k, scale, .. } = grounded;
            let told = format!("grounded with k = {k}, scale = {scale}");
            (self.config.grounded_row(), grounded as &dyn Recommender, vec![told])
        });
        let mut rows: Vec<_> = std::iter::once(own).chain(grounded).collect();
        if let Some((.., made)) = rows.last_mut() {
            made.extend(self.chosen.clone());
        }
        rows.into_iter()
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
    /// Returns the model of every row with its name: every method, and after it the same one with grounded vectors if
    /// the recipe asks for it.
    pub fn recommenders(&self) -> impl Iterator<Item = (String, &dyn Recommender)> {
        self.methods.iter().flat_map(TrainedMethod::rows).map(|(name, model, _)| (name, model))
    }

    /// Returns the model of a row, if it is one of an ID method.
    pub(crate) fn model(&self, row: &str) -> Option<Arc<dyn Recommender>> {
        let of = |method: &TrainedMethod| match &method.grounded {
            _ if method.config.kind() == row => Some(method.trained.model.clone()),
            Some(_) if method.config.grounded_row() == row => Some(method.aligned_model()),
            _ => None,
        };
        self.methods.iter().find_map(of)
    }

    /// Puts the ID method of this kind last, and so aligns it; `why` is for its row in the report.
    pub(super) fn aligning(mut self, kind: &str, why: String) -> Self {
        self.methods.sort_by_key(|method| method.config.kind() == kind);
        if let Some(method) = self.methods.last_mut() {
            method.chosen = Some(why);
        }
        self
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
    if let Some(text) = text.filter(|_| recipe.ids.iter().any(IdTable::reads_text)) {
        let since = Instant::now();
        cx.foretell(TITLES);
        text.features_with(&data.dataset.catalog, &*cx.progress)?;
        cx.costs.add("encode titles", since);
    }
    let train = |table: &IdTable| whole(recipe, table, data, text, cx);
    let methods: Vec<TrainedMethod> = recipe.ids.iter().map(train).collect::<Result<_>>()?;
    let backbone = methods.last().context("a recipe has at least one [[id]] table")?;
    let mut folds = BTreeMap::new();
    for variant in recipe.variants().iter().filter(|variant| variant.trains()) {
        let of = variant.align.departures.cross_fit;
        if of > 0 && !folds.contains_key(&of) {
            let fold = |index| Ok(method(recipe, &backbone.config, Some(Fold { index, of }), data, text, cx)?.0);
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

/// Trains an ID method on all users, or loads it, and grounds it if the recipe asks for it.
fn whole(
    recipe: &Recipe,
    table: &IdTable,
    data: &Data,
    text: Option<&FrozenText>,
    cx: &Context,
) -> Result<TrainedMethod> {
    let (trained, mark) = method(recipe, table, None, data, text, cx)?;
    let ground = table.ground.as_ref().zip(text);
    let grounded = ground.map(|(config, text)| -> Result<Grounded> {
        let (folder, name) = (cx.store.folder()?, table.kind());
        let ids = id_fingerprint(&*trained.model, data.dataset.catalog.len(), &folder.id_checkpoint(name))?;
        let known = folder.ground_manifest(name, config, &ids)?;
        let since = Instant::now();
        let metric = cx.validator.over(&data.dataset, &data.validation);
        let validate = metric.as_ref().map(|metric| metric as Validate<'_>);
        let grounded = grounded(&trained, config, known.as_ref(), &data.dataset, text, validate)?;
        if known.is_none() {
            cx.costs.add(&format!("ground {name}"), since);
            let Grounded { k, scale, .. } = grounded;
            folder.save_ground(name, &GroundManifest { k, scale, config: *config, ids })?;
        }
        Ok(grounded)
    });
    Ok(TrainedMethod { config: table.clone(), trained, grounded: grounded.transpose()?, chosen: None, mark })
}

/// Grounds a method, with the numbers that are `known` or else chosen by `validate`.
fn grounded(
    trained: &Trained,
    config: &GroundConfig,
    known: Option<&GroundManifest>,
    dataset: &Dataset,
    text: &FrozenText,
    validate: Option<Validate<'_>>,
) -> Result<Grounded> {
    let config = known.map_or(*config, |known| GroundConfig { k: Some(known.k), scale: Some(known.scale), ..*config });
    let features = text.features(&dataset.catalog)?;
    Ok(Grounded::fit(trained.model.clone(), dataset, features, &config, validate)?)
}

impl IdModels {
    /// Loads the methods of a finished run whose rows are `wanted`, and the last one if a wanted row reads a language model.
    ///
    /// # Errors
    /// If a checkpoint or a mark is missing or damaged.
    pub(crate) fn load(saved: Saved<'_>, wanted: &[String], text: Option<&FrozenText>) -> Result<Self> {
        let Saved { recipe, folder, dataset, device, .. } = saved;
        let load = |table: &IdTable| {
            let name = table.kind();
            let reader = text.filter(|_| table.reads_features());
            let features = reader.map(|text| text.features(&dataset.catalog)).transpose()?;
            let missing =
                || format!("{}: the method {name} was not saved; finish the run by --resume", folder.path().display());
            let mark = folder.id_manifest(name, table)?.with_context(missing)?;
            let checkpoint = folder.id_checkpoint(name);
            let job = Job::new(dataset, device).known_items(saved.known);
            let job = features.map_or(job, |features| job.features(features));
            let trained = ra_idmodels::load(&table.method, &job, &checkpoint)?;
            let is_read = |row: &String| wanted.contains(row);
            let config = table.ground.as_ref().filter(|_| is_read(&table.grounded_row())).zip(text);
            let grounded = config.map(|(config, text)| {
                let ids = id_fingerprint(&*trained.model, saved.known, &checkpoint)?;
                let known = folder.ground_manifest(name, config, &ids)?.with_context(missing)?;
                grounded(&trained, config, Some(&known), dataset, text, None)
            });
            Ok(TrainedMethod { config: table.clone(), trained, grounded: grounded.transpose()?, chosen: None, mark })
        };
        let methods = recipe.methods_of(wanted).map(load).collect::<Result<_>>()?;
        Ok(Self { methods, folds: BTreeMap::new() })
    }
}

/// Trains an ID method, without the users of a fold if one is given, or loads the checkpoint of the run folder.
fn method(
    recipe: &Recipe,
    config: &IdConfig,
    fold: Option<Fold>,
    data: &Data,
    text: Option<&FrozenText>,
    cx: &Context,
) -> Result<(Trained, IdManifest)> {
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
        start: cx.start.as_ref().map(Start::identity),
    };
    let shared = cx.store.shared(|| key().fingerprint());
    if let Some(shared) = &shared {
        folder.import_id(&name, config, shared)?;
    }
    let part = fold.map(|Fold { index, of }| without_fold(&data.dataset, index, of));
    let dataset = part.as_ref().unwrap_or(&data.dataset);
    let progress = ProgressOf::new(&name, &*cx.progress);
    let job = Job::new(dataset, cx.device()).seed(recipe.seed).progress(&progress);
    let job = features.map_or(job, |features| job.features(features));
    if let Some(mark) = folder.id_manifest(&name, config)? {
        let path = folder.id_checkpoint(&name);
        if mark.lm != lm {
            bail!("{}: trained on another language model's vectors; run again without --resume", path.display());
        }
        let trained = ra_idmodels::load(config, &job, &path)?;
        return Ok((trained, mark));
    }
    let since = Instant::now();
    let metric = cx.validator.over(&data.dataset, &data.validation);
    let state = folder.id_state(&name)?;
    let job = metric.as_ref().map_or(job, |metric| job.validate(metric as Validate<'_>)).state(&state);
    let earlier = cx.start.as_ref().filter(|_| fold.is_none());
    let known = earlier.map(|start| start.items(&data.dataset.catalog)).unwrap_or_default();
    let checkpoint = earlier.map(|start| start.id_method(&name)).transpose()?.flatten();
    let start = earlier.zip(checkpoint.as_deref());
    let start = start.map(|(start, checkpoint)| ra_idmodels::Start { checkpoint, known: start.known(), items: &known });
    let job = start.map_or(job, |start| job.start(start));
    cx.store.begin(&name)?;
    // The estimate of a method includes its folds.
    if fold.is_none() {
        cx.foretell(&name);
    }
    let trained = ra_idmodels::fit(config, &job).with_context(|| match start {
        Some(_) => format!("{name}, trained on from start_from: leave out settings that change its shape"),
        None => format!("method {name}"),
    })?;
    // A resumed stage reports its total cost.
    let seconds = cx.costs.add(&format!("train {name}"), since).max(trained.curve.seconds);
    let epochs = config.train().map(|train| train.epochs);
    let mark = IdManifest { curve: trained.curve.clone(), seconds, epochs, lm, checkpoint: None };
    folder.forget_towers()?;
    folder.save_id(&name, &trained, &mark)?;
    if let Some(shared) = &shared {
        folder.publish_id(&name, shared)?;
    }
    Ok((trained, mark))
}
