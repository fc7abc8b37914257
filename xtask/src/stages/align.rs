//! The variants of a run: towers between the last ID method and the language model, all trained in the same way.
use crate::context::Context;
use crate::estimate::TEXTS;
use crate::recipe::{ItemNames, Recipe, Source, Variant, rows};
use crate::stages::text::Tower;
use crate::stages::{Data, FrozenText, IdModels, Saved};
use crate::store::{BlendManifest, TowersManifest};
use crate::terminal::table;
use anyhow::{Context as _, Result, bail};
use burn::tensor::Tensor;
use ra_align::{
    AlignConfig, AnyBlend, Blend, BlendSearch, CrossFitIds, FitResult, Job, PerturbedIds, RaRec, with_id_score,
};
use ra_core::{
    ItemId, LanguageModel, ParamRow, Progress, ProgressOf, Recommender, Sample, Validate, forward_recommender, indices,
    parameter_table,
};
use ra_eval::LearningCurve;
use std::sync::Arc;
use std::time::Instant;

/// RA-Rec with its parts chosen at run time.
pub(crate) type Model = RaRec<PerturbedIds<Arc<dyn Recommender>>, Arc<dyn LanguageModel>>;

/// The recommenders that are more than one ID method: the text alone, and each variant.
#[derive(Debug)]
pub struct Aligned {
    /// The untouched language model, on the prompts of the recipe, if a row reads it.
    pub(crate) text: Option<Tower>,
    pub(crate) variants: Vec<AlignedVariant>,
}

impl Aligned {
    /// Returns the untouched language model on the prompts of the recipe, if a row reads it.
    pub fn text(&self) -> Option<&dyn Recommender> {
        self.text.as_ref().map(|text| text as &dyn Recommender)
    }

    /// Returns the rows that a blend consists of, with their weights; nothing for a row that is not a blend.
    pub(crate) fn weights(&self, row: &str) -> Option<Vec<(String, f32)>> {
        let own = self.variants.iter().find(|own| own.variant.name == row)?;
        let Made::Blend { mark, .. } = &own.made else { return None };
        Some(mark.parts.iter().cloned().zip(mark.weights.iter().copied()).collect())
    }

    /// Returns the LoRA matrices of a row, as [`ra_align::Departures::lora`] does; nothing for a row that is not tuned
    /// so.
    pub(crate) fn lora(&self, row: &str) -> Option<(usize, Vec<[Tensor<2>; 2]>)> {
        let own = self.variants.iter().find(|own| own.variant.name == row)?;
        let Made::Towers { model, .. } = &own.made else { return None };
        model.towers().departures().lora()
    }

    /// Returns every variant with its model, in the order of the report.
    pub fn variants(&self) -> impl Iterator<Item = (&Variant, &dyn Recommender)> {
        self.variants.iter().map(|own| (&own.variant, own.model()))
    }
}

/// A variant with its model.
#[derive(Debug)]
pub(crate) struct AlignedVariant {
    pub(crate) variant: Variant,
    pub(crate) made: Made,
}

/// The model of a variant.
#[derive(Debug)]
pub(crate) enum Made {
    /// Trained towers.
    Towers { model: Arc<Model>, ledger: Vec<ParamRow>, mark: TowersManifest },
    /// A weighted sum of other rows.
    Blend { model: AnyBlend<'static>, parts: Vec<Arc<dyn Recommender>>, mark: BlendManifest },
}

impl AlignedVariant {
    pub(crate) fn model(&self) -> &dyn Recommender {
        match &self.made {
            Made::Towers { model, .. } => model,
            Made::Blend { model, .. } => model,
        }
    }

    pub(crate) fn samples(&self) -> usize {
        match &self.made {
            Made::Towers { mark, .. } => mark.samples,
            Made::Blend { .. } => 0,
        }
    }

    pub(crate) fn seconds(&self) -> f64 {
        match &self.made {
            Made::Towers { mark, .. } => mark.seconds,
            Made::Blend { mark, .. } => mark.seconds,
        }
    }

    /// Returns the tensors that were trained for the variant itself.
    pub(crate) fn ledger(&self) -> &[ParamRow] {
        if let Made::Towers { ledger, .. } = &self.made { ledger } else { &[] }
    }

    /// Returns the learning curve, or nothing if the variant was not trained itself.
    pub(crate) fn curve(&self) -> Option<LearningCurve> {
        let Made::Towers { mark, .. } = &self.made else { return None };
        let curve = || LearningCurve { name: self.variant.name.clone(), curve: mark.curve.clone() };
        self.variant.trains().then(curve)
    }
}

/// Makes the model of every variant of a recipe: trains its towers on `samples`, or chooses the weights of its blend.
/// Loads what the run folder holds instead. Returns nothing if the recipe has only rows of ID methods.
///
/// # Errors
/// As [`ra_align::fit`]; if a checkpoint belongs to other ID vectors or another language model.
pub fn align(
    recipe: &Recipe,
    data: &Data,
    ids: &IdModels,
    text: Option<&FrozenText>,
    samples: &[Sample],
    cx: &Context,
) -> Result<Option<Aligned>> {
    let text = text.filter(|_| recipe.aligns());
    if text.is_none() && recipe.variants().is_empty() {
        return Ok(None);
    }
    let mut towers = text.map(|text| TextTowers::new(recipe, data, ids, text, cx)).transpose()?;
    let untouched = towers.as_mut().map(|towers| towers.of(ItemNames::Title, &recipe.align)).transpose()?;
    let mut made = Aligned { text: untouched, variants: Vec::new() };
    warn_of_losses(recipe);
    for variant in recipe.variants() {
        let own = match &mut towers {
            Some(towers) if variant.has_towers() => towers.variant(variant, samples, &made)?,
            _ => blend(variant, recipe, data, ids, &made, cx)?,
        };
        made.variants.push(AlignedVariant { variant: variant.clone(), made: own });
    }
    if let (Some(first), Some(text)) = (made.variants.iter().find(|own| own.variant.has_towers()), text) {
        table::parameter_table(first.ledger(), text.params()).iter().for_each(|line| cx.say(line));
    }
    Ok(Some(made))
}

/// Returns the model of an earlier row.
pub(crate) fn row(name: &str, ids: &IdModels, made: &Aligned) -> Result<Arc<dyn Recommender>> {
    if let Some(model) = ids.model(name) {
        return Ok(model);
    }
    if let (rows::TEXT, Some(text)) = (name, &made.text) {
        return Ok(text.clone());
    }
    let own = made.variants.iter().find(|own| own.variant.name == name);
    let own = own.with_context(|| format!("{name} is not among the rows before"))?;
    Ok(match &own.made {
        Made::Towers { model, .. } => model.clone(),
        Made::Blend { model, .. } => Arc::new(model.clone()),
    })
}

/// Returns the weights of earlier blends of rows that are all in this one, a weight for each row of it. A blend whose rows
/// are all in another of them is left out: the search for that one has started from it.
fn smaller(variant: &Variant, made: &Aligned) -> Vec<Vec<f32>> {
    let parts = variant.parts();
    let blends = made.variants.iter().map(|own| &own.variant).filter(|other| !other.has_towers());
    let within: Vec<&Variant> = blends.filter(|other| other.parts().iter().all(|part| parts.contains(part))).collect();
    let is_within = |one: &Variant, other: &Variant| {
        one.parts().len() < other.parts().len() && one.parts().iter().all(|part| other.parts().contains(part))
    };
    let largest = within.iter().filter(|one| !within.iter().any(|other| is_within(one, other)));
    let of = |own: &[(String, f32)], part: &String| {
        own.iter().find(|(name, _)| name == part).map_or(0.0, |(_, weight)| *weight)
    };
    let weights = largest.filter_map(|own| made.weights(&own.name));
    weights.map(|own| parts.iter().map(|part| of(&own, part)).collect()).collect()
}

/// Chooses the weights of a blend, or loads them.
fn blend(
    variant: &Variant,
    recipe: &Recipe,
    data: &Data,
    ids: &IdModels,
    made: &Aligned,
    cx: &Context,
) -> Result<Made> {
    let folder = cx.store.folder()?;
    let parts: Vec<Arc<dyn Recommender>> =
        variant.parts().iter().map(|name| row(name, ids, made)).collect::<Result<_>>()?;
    let mark = match folder.blend_manifest(&variant.name)? {
        Some(mark) => mark,
        None => {
            let since = Instant::now();
            let judge = cx.validator.judge(&data.dataset, &data.validation, parts.len())?.with_context(|| {
                let name = &variant.name;
                format!(
                    "{name}: nothing is held out for validation, which chooses the weights of a blend; leave it out"
                )
            })?;
            let progress = ProgressOf::new(&variant.name, &*cx.progress);
            progress.start("scores", 0);
            let scores = parts.iter().map(|part| judge.scores(part)).collect();
            let search = BlendSearch::new(scores, judge.items(), &judge)?.starts(smaller(variant, made));
            progress.finish();
            let fit = |left_out: Option<usize>| {
                let stage =
                    left_out.map_or_else(|| "blend".into(), |at| format!("blend without {}", variant.parts()[at]));
                progress.start(&stage, 0);
                let found = search.fit_without(left_out, &progress);
                progress.finish();
                found
            };
            let found = fit(None)?;
            let worth = if recipe.looks_closer(rows::PROBES, variant) {
                (0..parts.len()).map(|at| fit(Some(at))).collect::<Result<_, _>>()?
            } else {
                Vec::new()
            };
            let seconds = cx.costs.add(&format!("blend {}", variant.name), since);
            let mark = BlendManifest::new(variant.parts(), &found, &worth, judge.users(), seconds);
            folder.save_blend(&variant.name, &mark)?;
            mark
        }
    };
    let model = Blend::new(parts.iter().cloned().zip(mark.weights.iter().copied()).collect())?;
    Ok(Made::Blend { model, parts, mark })
}

/// The inputs of all variants.
#[derive(Clone, Copy)]
struct Parts<'r> {
    recipe: &'r Recipe,
    data: &'r Data,
    ids: &'r IdModels,
    text: &'r FrozenText,
    cx: &'r Context,
}

impl Parts<'_> {
    fn backbone(&self) -> Arc<dyn Recommender> {
        self.ids.backbone().aligned_model()
    }

    /// Returns the ID method as a variant reads it.
    fn ids_of(&self, variant: &Variant) -> PerturbedIds<Arc<dyn Recommender>> {
        PerturbedIds::new(self.backbone(), variant.align.departures.ids, &self.data.dataset, self.recipe.seed)
    }
}

/// Text towers. Variants with the same input share one, and with it all frozen work.
struct TextTowers<'r> {
    parts: Parts<'r>,
    /// The identity of the last ID method: towers aligned to it fit no other.
    identity: String,
    known: Vec<(String, Tower)>,
}

impl<'r> TextTowers<'r> {
    fn new(
        recipe: &'r Recipe,
        data: &'r Data,
        ids: &'r IdModels,
        text: &'r FrozenText,
        cx: &'r Context,
    ) -> Result<Self> {
        let identity = ids.backbone().identity(data.dataset.catalog.len(), cx.store.folder()?)?;
        Ok(Self { parts: Parts { recipe, data, ids, text, cx }, identity, known: Vec::new() })
    }

    fn of(&mut self, items: ItemNames, align: &AlignConfig) -> Result<Tower> {
        let Parts { recipe, data, text, .. } = self.parts;
        let interests = self.parts.backbone().interests();
        let key = text.tower_key(items, align, interests);
        if let Some((_, known)) = self.known.iter().find(|(own, _)| *own == key) {
            return Ok(known.clone());
        }
        let tower = text.tower(&data.dataset.catalog, items, &recipe.prompt, align, interests)?;
        self.known.push((key, tower.clone()));
        Ok(tower)
    }

    /// Returns the model of a variant with towers.
    fn variant(&mut self, variant: &Variant, samples: &[Sample], made: &Aligned) -> Result<Made> {
        let parts = self.parts;
        let tower = self.of(variant.items, &variant.align)?;
        let folder = parts.cx.store.folder()?;
        let (model, mark) = match (folder.towers_manifest(&variant.name)?, &variant.source) {
            (Some(mark), _) => {
                let path = folder.towers(&variant.name, &mark, &self.identity, &parts.text.identity())?;
                let model = RaRec::load(parts.ids_of(variant), mark.scale.clone(), tower, &variant.align, &path)?;
                (model, mark)
            }
            (None, Source::Towers(of)) => {
                let other = made.variants.iter().find(|other| other.variant.name == *of);
                let other =
                    other.with_context(|| format!("{}: {of} is not among the variants before", variant.name))?;
                take_over(variant, other, parts, tower)?
            }
            (None, _) => {
                let teacher = variant.teacher().map(|name| row(name, parts.ids, made)).transpose()?;
                train(variant, parts, &self.identity, tower, samples, teacher.as_deref())?
            }
        };
        let ledger = parameter_table(model.towers());
        Ok(Made::Towers { model: Arc::new(model), ledger, mark })
    }
}

/// Warns about variants that are trained without the loss that others have.
fn warn_of_losses(recipe: &Recipe) {
    let (without, with): (Vec<&Variant>, Vec<&Variant>) =
        recipe.variants().iter().partition(|variant| recipe.drops_loss(variant));
    for variant in without.into_iter().filter(|_| !with.is_empty()) {
        tracing::warn!(
            row = variant.name,
            "trained without align.loss, which other rows have: a tuned language model changes the texts that it aligns to; \
             for the same loss in all rows, set align.loss = \"none\""
        );
    }
}

/// Trains the towers of a variant.
fn train(
    variant: &Variant,
    parts: Parts<'_>,
    identity: &str,
    tower: Tower,
    samples: &[Sample],
    teacher: Option<&dyn Recommender>,
) -> Result<(Model, TowersManifest)> {
    let Parts { recipe, data, ids, text, cx } = parts;
    let folds = ids.folds(variant.align.departures.cross_fit);
    let since = Instant::now();
    let all: Vec<ItemId> = data.dataset.catalog.all().collect();
    let is_crossed = !folds.is_empty();
    let backbone = parts.backbone();
    let crossed = CrossFitIds::new(&*backbone, folds, &all);
    let source = variant.align.departures.ids;
    let crossed = PerturbedIds::new(&crossed as &dyn Recommender, source, &data.dataset, recipe.seed);
    let (metric, folder) = (cx.validator.over(&data.dataset, &data.validation), cx.store.folder()?);
    let state = folder.towers_state(&variant.name)?;
    let start = cx.start.as_ref().map(|start| start.towers(&variant.name)).transpose()?.flatten();
    let job = Job {
        ids: parts.ids_of(variant),
        training_ids: is_crossed.then_some(&crossed as &dyn Recommender),
        teacher,
        text: &tower,
        dataset: &data.dataset,
        samples,
        max_history: recipe.max_history,
        align: &variant.align,
        train: &recipe.train,
        seed: recipe.seed,
        state: Some(&state),
        start: start.as_deref(),
        replicas: &text.replicas(),
    };
    cx.store.begin(&variant.name)?;
    // The first variant also reads the texts.
    [TEXTS, &variant.name].iter().for_each(|stage| cx.foretell(stage));
    let validate = metric.as_ref().map(|metric| metric as Validate<'_>);
    let of = || match variant.teacher() {
        Some(teacher) => format!("row {}, taught by {teacher}", variant.name),
        None => format!("row {}", variant.name),
    };
    let FitResult { model, curve, samples } =
        ra_align::fit(job, validate, &ProgressOf::new(&variant.name, &*cx.progress)).with_context(of)?;
    let seconds = cx.costs.add(&format!("align {}", variant.name), since).max(curve.seconds);
    let (scale, lm) = (model.normalizer().clone(), text.identity());
    let mark = TowersManifest { scale, curve, seconds, samples, lm, ids: identity.into() };
    folder.save_towers(&variant.name, model.towers(), &mark)?;
    Ok((model, mark))
}

/// Takes the towers of another variant and, if the variant needs it, chooses the weight of the ID method's own score.
fn take_over(
    variant: &Variant,
    other: &AlignedVariant,
    parts: Parts<'_>,
    tower: Tower,
) -> Result<(Model, TowersManifest)> {
    let cx = parts.cx;
    let since = Instant::now();
    let Made::Towers { model: other, mark: other_mark, .. } = &other.made else {
        bail!("{}: {} has no towers to take", variant.name, other.variant.name)
    };
    let (scale, towers) = (other_mark.scale.clone(), other.towers().clone());
    let model = RaRec::new(parts.ids_of(variant), scale, tower, towers);
    let metric = cx.validator.over(&parts.data.dataset, &parts.data.validation);
    let validate = metric.as_ref().map(|metric| metric as Validate<'_>);
    let model = if variant.align.departures.id_residual { with_id_score(model, validate)? } else { model };
    let seconds = other_mark.seconds + cx.costs.add(&format!("align {}", variant.name), since);
    let mark = TowersManifest { seconds, ..other_mark.clone() };
    cx.store.folder()?.save_towers(&variant.name, model.towers(), &mark)?;
    Ok((model, mark))
}

/// Loads the rows `wanted` of a finished run, among which is whatever they are made of ([`Recipe::made_of`]).
///
/// # Errors
/// As [`align`]; if a row was not saved.
pub(crate) fn load(saved: Saved<'_>, wanted: &[String], ids: &IdModels, text: Option<&FrozenText>) -> Result<Aligned> {
    let Saved { recipe, folder, dataset, .. } = saved;
    let mut made = Aligned { text: None, variants: Vec::new() };
    let backbone = || ids.backbone().aligned_model();
    if let Some(text) = text.filter(|_| wanted.iter().any(|name| name == rows::TEXT)) {
        let tower =
            |align| text.tower(&dataset.catalog, ItemNames::Title, &recipe.prompt, align, backbone().interests());
        made.text = Some(tower(&recipe.align)?);
    }
    for variant in recipe.variants().iter().filter(|variant| wanted.contains(&variant.name)) {
        let missing = || {
            format!("{}: the row {} was not saved; finish the run by --resume", folder.path().display(), variant.name)
        };
        let own = if variant.has_towers() {
            let text = text.with_context(|| format!("{}: towers need a language model", variant.name))?;
            let mark = folder.towers_manifest(&variant.name)?.with_context(missing)?;
            let identity = ids.backbone().identity(saved.known, folder)?;
            let path = folder.towers(&variant.name, &mark, &identity, &text.identity())?;
            let Variant { align, items, .. } = variant;
            let source = PerturbedIds::new(backbone(), align.departures.ids, dataset, recipe.seed);
            let tower = text.tower(&dataset.catalog, *items, &recipe.prompt, align, backbone().interests())?;
            let model = RaRec::load(source, mark.scale.clone(), tower, align, &path)?;
            Made::Towers { ledger: parameter_table(model.towers()), model: Arc::new(model), mark }
        } else {
            let mark = folder.blend_manifest(&variant.name)?.with_context(missing)?;
            let part = |name: &String| -> Result<Arc<dyn Recommender>> {
                let model = row(name, ids, &made)?;
                let has_towers = recipe.variants().iter().any(|other| other.name == *name && other.has_towers());
                let items = if has_towers { saved_items(saved, name, &*model)? } else { None };
                Ok(match items {
                    Some(items) => Arc::new(SavedItems { model, items }),
                    None => model,
                })
            };
            let parts: Vec<Arc<dyn Recommender>> = variant.parts().iter().map(part).collect::<Result<_>>()?;
            let model = Blend::new(parts.iter().cloned().zip(mark.weights.iter().copied()).collect())?;
            Made::Blend { model, parts, mark }
        };
        made.variants.push(AlignedVariant { variant: variant.clone(), made: own });
    }
    Ok(made)
}

/// Returns the item vectors of a row with towers, `[items + 1, dim]`, as far as the run saved them, and those of items that
/// were added since; nothing if none were saved.
pub(crate) fn saved_items(saved: Saved<'_>, row: &str, model: &dyn Recommender) -> Result<Option<Tensor<2>>> {
    let Saved { folder, dataset, known, vectors, device, .. } = saved;
    vectors.of(row, model, dataset.catalog.len(), || folder.items(row, [known + 1, model.dim()], device))
}

/// A model with its item vectors from the run folder, so that the item tower need not run again.
#[derive(Debug)]
struct SavedItems {
    model: Arc<dyn Recommender>,
    /// `[items + 1, dim]`; row 0 is padding.
    items: Tensor<2>,
}

impl Recommender for SavedItems {
    forward_recommender!(self => self.model; dim, interests, users, additions);
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        self.items.clone().select(0, indices(items.iter().map(|item| item.0), &self.items.device()))
    }
}
