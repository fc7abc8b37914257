//! The variants of a run: towers between the last ID method and the language model, all trained in the same way.
use crate::context::Context;
use crate::recipe::{ItemNames, Recipe, TowersFrom, Variant};
use crate::stages::text::Tower;
use crate::stages::{Data, FrozenText, IdModels};
use crate::store::{RunFolder, TowersManifest, id_fingerprint};
use crate::terminal::table;
use anyhow::{Context as _, Result};
use ra_align::{AlignConfig, CrossFitIds, FitResult, Job, PerturbedIds, RaRec, with_id_score};
use ra_core::{Dataset, ItemId, LanguageModel, ParamRow, Recommender, Sample, Validate, parameter_table};
use ra_eval::LearningCurve;
use std::time::Instant;

/// RA-Rec with its parts chosen at run time.
pub(crate) type Model<'a> = RaRec<PerturbedIds<&'a dyn Recommender>, &'a dyn LanguageModel>;

/// The recommenders over the language model: the text alone, and each variant.
#[derive(Debug)]
pub struct Aligned<'a> {
    /// The untouched language model, on the prompts of the recipe.
    pub(crate) text: Tower<'a>,
    pub(crate) variants: Vec<AlignedVariant<'a>>,
}

impl Aligned<'_> {
    /// Returns the untouched language model on the prompts of the recipe.
    pub fn text(&self) -> &dyn Recommender {
        &*self.text
    }

    /// Returns every variant with its model, in the order of the report.
    pub fn variants(&self) -> impl Iterator<Item = (&Variant, &dyn Recommender)> {
        self.variants.iter().map(|own| (&own.variant, &own.model as &dyn Recommender))
    }
}

/// A variant with its towers.
#[derive(Debug)]
pub(crate) struct AlignedVariant<'a> {
    pub(crate) variant: Variant,
    pub(crate) model: Model<'a>,
    pub(crate) ledger: Vec<ParamRow>,
    mark: TowersManifest,
}

impl AlignedVariant<'_> {
    pub(crate) fn samples(&self) -> usize {
        self.mark.samples
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.mark.seconds
    }

    /// Returns the learning curve, or nothing if the variant was not trained itself.
    pub(crate) fn curve(&self) -> Option<LearningCurve> {
        let curve = || LearningCurve { name: self.variant.name.clone(), curve: self.mark.curve.clone() };
        self.variant.trains().then(curve)
    }
}

/// Trains the towers of every variant of a recipe on `samples`, or loads the checkpoints of the run folder. Returns
/// nothing if the recipe has only rows of ID methods.
///
/// # Errors
/// As [`ra_align::fit`]; if a checkpoint belongs to other ID vectors or another language model.
pub fn align<'a>(
    recipe: &Recipe,
    data: &Data,
    ids: &'a IdModels,
    text: Option<&'a FrozenText>,
    samples: &[Sample],
    cx: &Context,
) -> Result<Option<Aligned<'a>>> {
    let Some(text) = text.filter(|_| recipe.aligns()) else { return Ok(None) };
    let folder = cx.store.folder()?;
    let checkpoint = folder.id_checkpoint(ids.backbone().config.kind());
    let identity = id_fingerprint(ids.backbone().model(), &data.dataset, &checkpoint)?;
    let parts = Parts { recipe, data, ids, identity: &identity, text, cx };
    let mut towers = TextTowers { parts, known: Vec::new() };
    let untouched = towers.of(ItemNames::Title, &recipe.align)?;
    warn_of_losses(recipe);
    let mut variants: Vec<AlignedVariant<'a>> = Vec::new();
    for variant in recipe.variants() {
        let tower = towers.of(variant.items, &variant.align)?;
        let (model, mark) = match (folder.towers_manifest(&variant.name)?, &variant.towers) {
            (Some(mark), _) => {
                let path = folder.towers(&variant.name, &mark, &identity, &text.identity())?;
                (RaRec::load(parts.ids_of(variant), mark.scale.clone(), tower, &variant.align, &path)?, mark)
            }
            (None, TowersFrom::Training) => train(variant, parts, tower, samples)?,
            (None, TowersFrom::Variant(of)) => {
                let other = variants.iter().find(|other| other.variant.name == *of);
                let other =
                    other.with_context(|| format!("{}: {of} is not among the variants before", variant.name))?;
                take_over(variant, other, parts, tower)?
            }
        };
        let ledger = parameter_table(model.towers());
        variants.push(AlignedVariant { variant: variant.clone(), model, ledger, mark });
    }
    if let Some(first) = variants.first() {
        table::parameter_table(&first.ledger, text.params()).iter().for_each(|line| cx.say(line));
    }
    Ok(Some(Aligned { text: untouched, variants }))
}

/// The inputs of all variants.
#[derive(Clone, Copy)]
struct Parts<'r, 'a> {
    recipe: &'r Recipe,
    data: &'r Data,
    ids: &'a IdModels,
    /// The identity of the last ID method: towers aligned to it fit no other.
    identity: &'r str,
    text: &'a FrozenText,
    cx: &'r Context,
}

impl<'a> Parts<'_, 'a> {
    fn backbone(&self) -> &'a dyn Recommender {
        self.ids.backbone().model()
    }

    /// Returns the ID method as a variant reads it.
    fn ids_of(&self, variant: &Variant) -> PerturbedIds<&'a dyn Recommender> {
        PerturbedIds::new(self.backbone(), variant.align.departures.ids, &self.data.dataset, self.recipe.seed)
    }
}

/// Text towers. Variants with the same input share one, and with it all frozen work.
struct TextTowers<'r, 'a> {
    parts: Parts<'r, 'a>,
    known: Vec<(String, Tower<'a>)>,
}

impl<'a> TextTowers<'_, 'a> {
    fn of(&mut self, items: ItemNames, align: &AlignConfig) -> Result<Tower<'a>> {
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
fn train<'a>(
    variant: &Variant,
    parts: Parts<'_, 'a>,
    tower: Tower<'a>,
    samples: &[Sample],
) -> Result<(Model<'a>, TowersManifest)> {
    let Parts { recipe, data, ids, identity, text, cx } = parts;
    let folds = ids.folds(variant.align.departures.cross_fit);
    let since = Instant::now();
    let all: Vec<ItemId> = data.dataset.catalog.all().collect();
    let is_crossed = !folds.is_empty();
    let crossed = CrossFitIds::new(parts.backbone(), folds, &all);
    let source = variant.align.departures.ids;
    let crossed = PerturbedIds::new(&crossed as &dyn Recommender, source, &data.dataset, recipe.seed);
    let (metric, folder) = (cx.validator.over(&data.dataset, &data.validation), cx.store.folder()?);
    let state = folder.towers_state(&variant.name)?;
    let job = Job {
        ids: parts.ids_of(variant),
        training_ids: is_crossed.then_some(&crossed as &dyn Recommender),
        text: &tower,
        dataset: &data.dataset,
        samples,
        max_history: recipe.max_history,
        align: &variant.align,
        train: &recipe.train,
        seed: recipe.seed,
        state: Some(&state),
        replicas: &text.replicas(),
    };
    cx.store.begin(&variant.name)?;
    let validate = metric.as_ref().map(|metric| metric as Validate<'_>);
    let FitResult { model, curve, samples } = ra_align::fit(job, validate, &*cx.progress)?;
    let seconds = cx.costs.add(&format!("align {}", variant.name), since).max(curve.seconds);
    let (scale, lm) = (model.normalizer().clone(), text.identity());
    let mark = TowersManifest { scale, curve, seconds, samples, lm, ids: identity.into() };
    folder.save_towers(&variant.name, model.towers(), &mark)?;
    Ok((model, mark))
}

/// Takes the towers of another variant and, if the variant needs it, chooses the weight of the ID method's own score.
fn take_over<'a>(
    variant: &Variant,
    other: &AlignedVariant<'a>,
    parts: Parts<'_, 'a>,
    tower: Tower<'a>,
) -> Result<(Model<'a>, TowersManifest)> {
    let cx = parts.cx;
    let since = Instant::now();
    let (scale, towers) = (other.mark.scale.clone(), other.model.towers().clone());
    let model = RaRec::new(parts.ids_of(variant), scale, tower, towers);
    let metric = cx.validator.over(&parts.data.dataset, &parts.data.validation);
    let validate = metric.as_ref().map(|metric| metric as Validate<'_>);
    let model = if variant.align.departures.id_residual { with_id_score(model, validate)? } else { model };
    let seconds = other.mark.seconds + cx.costs.add(&format!("align {}", variant.name), since);
    let mark = TowersManifest { seconds, ..other.mark.clone() };
    cx.store.folder()?.save_towers(&variant.name, model.towers(), &mark)?;
    Ok((model, mark))
}

/// Loads the model of a variant in a finished run, aligned to `backbone` with the given `identity`. Returns nothing if
/// the run did not keep it.
///
/// # Errors
/// As [`align`].
pub(crate) fn load<'a>(
    folder: &RunFolder,
    recipe: &Recipe,
    variant: &Variant,
    dataset: &Dataset,
    backbone: &'a dyn Recommender,
    identity: &str,
    text: &'a FrozenText,
) -> Result<Option<Model<'a>>> {
    let Some(mark) = folder.towers_manifest(&variant.name)? else { return Ok(None) };
    let path = folder.towers(&variant.name, &mark, identity, &text.identity())?;
    let Variant { align, items, .. } = variant;
    let ids = PerturbedIds::new(backbone, align.departures.ids, dataset, recipe.seed);
    let tower = text.tower(&dataset.catalog, *items, &recipe.prompt, align, backbone.interests())?;
    Ok(Some(RaRec::load(ids, mark.scale, tower, align, &path)?))
}
