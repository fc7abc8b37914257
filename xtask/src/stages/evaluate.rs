//! The evaluation of every model of a run on the test part: ID methods, the text alone, variants, and probes of them.
use crate::context::Context;
use crate::recipe::{ItemNames, Recipe, Variant, rows};
use crate::stages::align::{AlignedVariant, Made, Model};
use crate::stages::{Aligned, Data, FrozenText, IdModels};
use crate::store::BlendManifest;
use anyhow::{Context as _, Result};
use burn::tensor::Tensor;
use ra_align::{
    Blend, ColdItemBoost, IdNormalizer, IdSource, PerturbedIds, PromptConfig, RaRec, TextForColdItems, encode_users,
};
use ra_core::{History, ItemId, ParamRow, ProgressOf, Recommender, UserId, Validate, trainable_params};
use ra_eval::{EvalConfig, Evaluation, HeldOut, LearningCurve, Part, evaluate_items, item_vectors};
use ra_idmodels::IdMethod;
use std::sync::Arc;
use std::time::Instant;

/// The number of recommended titles that a report shows.
const SHOWN: usize = 10;

/// The quality of every model.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// One row of the report per model, with the evaluation that it summarizes.
    pub rows: Vec<(ra_eval::Row, Evaluation)>,
    /// The learning curves of everything that was trained.
    pub curves: Vec<LearningCurve>,
    /// The tensors that the first variant trained.
    pub ledger: Vec<ParamRow>,
}

/// The training cost of a row.
#[derive(Debug, Clone, Copy, Default)]
struct Training {
    samples: usize,
    params: usize,
    seconds: f64,
}

/// Evaluates the models that the recipe has rows for, and saves the item vectors of each variant.
///
/// # Errors
/// If the run folder cannot be written.
pub fn evaluate(
    recipe: &Recipe,
    data: &Data,
    ids: &IdModels,
    text: Option<&FrozenText>,
    aligned: Option<Aligned>,
    cx: &Context,
) -> Result<Evaluated> {
    let mut table = Rows { recipe, data, cx, found: Evaluated::default() };
    for method in &ids.methods {
        let reads_histories = method.config.reads_histories();
        let samples = if reads_histories { data.dataset.samples().len() } else { data.dataset.train.total() };
        let params = trainable_params(method.parameters());
        let costs = Training { samples, params, seconds: method.seconds() };
        for (name, model, made) in method.rows().filter(|_| recipe.has_row(rows::ID)) {
            table.add(&name, rows::ID, model, costs, made)?;
        }
        table.found.curves.extend(method.curve());
    }
    let Some(aligned) = aligned else { return Ok(table.found) };
    if let Some(text) = aligned.text.as_ref().filter(|_| recipe.has_row(rows::TEXT)) {
        table.add(rows::TEXT_ONLY, rows::TEXT, text, Training::default(), Vec::new())?;
    }
    let (name, lm) = (ids.backbone().config.aligned_row(), recipe.lm_name());
    for own in aligned.variants {
        let variant = &own.variant;
        let (model, ledger) = match &own.made {
            Made::Towers { model, ledger, .. } => (model, ledger),
            Made::Blend { parts, mark, .. } => {
                blend(&mut table, &own, parts, mark)?;
                continue;
            }
        };
        let text = text.with_context(|| format!("{}: towers need a language model", variant.name))?;
        let of = if variant.reads_ids() { format!("{name}, {lm}") } else { lm.clone() };
        let costs = Training { samples: own.samples(), params: trainable_params(ledger), seconds: own.seconds() };
        let items = table.add(&recipe.label(variant, &of), &variant.name, own.model(), costs, Vec::new())?;
        cx.store.folder()?.save_items(&variant.name, items)?;
        table.found.curves.extend(own.curve());
        if recipe.looks_closer(rows::PROBES, variant) {
            probe(&mut table, variant, model, ids, text)?;
        }
        if recipe.looks_closer(rows::COLD_LIFT, variant) {
            lift_cold(&mut table, variant, model, ids, &format!("{name}, {lm}"), costs)?;
        }
        if table.found.ledger.is_empty() {
            table.found.ledger = ledger.clone();
        }
    }
    Ok(table.found)
}

/// Evaluates a blend and, as its probes, the best blends of all its rows but one.
fn blend(
    table: &mut Rows<'_>,
    own: &AlignedVariant,
    parts: &[Arc<dyn Recommender>],
    mark: &BlendManifest,
) -> Result<()> {
    let name = &own.variant.name;
    let costs = Training { seconds: own.seconds(), params: mark.weights.len(), ..Training::default() };
    table.add(name, name, own.model(), costs, vec![mark.told()])?;
    if !table.recipe.looks_closer(rows::PROBES, &own.variant) {
        return Ok(());
    }
    for (part, weights) in mark.parts.iter().zip(&mark.without) {
        let model = Blend::new(parts.iter().zip(weights.iter().copied()).collect())?;
        table.add(&format!("{name}, without {part}"), rows::PROBE, &model, costs, Vec::new())?;
    }
    Ok(())
}

/// The rows of a report under construction.
struct Rows<'r> {
    recipe: &'r Recipe,
    data: &'r Data,
    cx: &'r Context,
    found: Evaluated,
}

impl Rows<'_> {
    /// Evaluates a model on the test part, adds its row and returns its item vectors, `[items + 1, dim]`.
    fn add(
        &mut self,
        name: &str,
        kind: &str,
        model: &dyn Recommender,
        trained: Training,
        made: Vec<String>,
    ) -> Result<Tensor<2>> {
        let Self { recipe, data, cx, found } = self;
        let since = Instant::now();
        let keep_top = if recipe.eval.keep_top > 0 { recipe.eval.keep_top } else { SHOWN };
        let config = EvalConfig { keep_top, ..recipe.eval.clone() };
        let items = item_vectors(model, data.dataset.catalog.len());
        let held_out = HeldOut::new(&data.dataset, Part::Test);
        let mut evaluation = evaluate_items(model, &items, &held_out, &config, &ProgressOf::new(name, &*cx.progress));
        evaluation.seconds = cx.costs.replace(&format!("evaluate {name}"), since);
        cx.store.folder()?.save_users(name, &data.dataset, &evaluation)?;
        let mut row = ra_eval::Row::new(name, kind, &evaluation);
        (row.train_samples, row.trainable_params, row.train_seconds) =
            (trained.samples, trained.params, trained.seconds);
        // Probes are no choice.
        if kind != rows::PROBE {
            let since = Instant::now();
            row.validation = cx.validator.rate(model, &items, &data.dataset, &data.validation);
            cx.costs.replace(&format!("validate {name}"), since);
        }
        row.notes = recipe.notes(name, kind);
        row.made = made;
        row.unsaved = kind == rows::COLD_LIFT;
        found.rows.push((row, evaluation));
        Ok(items)
    }
}

/// Evaluates a variant with ID vectors of other users and items, and with shuffled titles, to measure by the loss what
/// it reads from them. Also evaluates it with cold items by title only.
fn probe(table: &mut Rows<'_>, variant: &Variant, model: &Model, ids: &IdModels, text: &FrozenText) -> Result<()> {
    let (recipe, data) = (table.recipe, table.data);
    let name = &variant.name;
    let backbone = ids.backbone().aligned_model();
    let (costs, dataset) = (Training::default(), &data.dataset);
    for (what, source) in [("zero", IdSource::Zero), ("permuted", IdSource::Permuted), ("random", IdSource::Random)] {
        // A permutation other than that of `align.ids`, on the scale that the towers know: the probe is about content.
        let ids = PerturbedIds::new(backbone.clone(), source, dataset, !recipe.seed);
        let histories: Vec<History<'_>> = UserId::all(dataset.users.len())
            .zip(dataset.train.rows())
            .map(|(user, items)| History { user, items })
            .collect();
        let all: Vec<ItemId> = dataset.catalog.all().collect();
        let scale = IdNormalizer::measure(encode_users(&ids, &histories), ids.items(&all));
        let probe = RaRec::new(ids, scale, model.text().clone(), model.towers().clone());
        table.add(&format!("{name}, {what} IDs"), rows::PROBE, &probe, costs, Vec::new())?;
    }
    if dataset.popularity()[1..].contains(&0) {
        let model = cold_by_title(variant, model, backbone.clone(), recipe, data);
        table.add(&format!("{name}, cold items by title"), rows::PROBE, &model, costs, Vec::new())?;
    }
    // Numbers have no words to shuffle.
    if variant.items == ItemNames::Title {
        let prompt = PromptConfig { shuffle: true, ..recipe.prompt.clone() };
        let tower = text.tower(&dataset.catalog, variant.items, &prompt, &variant.align, backbone.interests())?;
        let ids = PerturbedIds::new(backbone.clone(), variant.align.departures.ids, dataset, recipe.seed);
        let probe = RaRec::new(ids, model.normalizer().clone(), tower, model.towers().clone());
        table.add(&format!("{name}, shuffled titles"), rows::PROBE, &probe, costs, Vec::new())?;
    }
    Ok(())
}

/// Returns a variant without the IDs of cold items.
fn cold_by_title(
    variant: &Variant,
    model: &Model,
    backbone: Arc<dyn Recommender>,
    recipe: &Recipe,
    data: &Data,
) -> impl Recommender + use<> {
    let ids = TextForColdItems::new(backbone, &data.dataset);
    let ids = PerturbedIds::new(ids, variant.align.departures.ids, &data.dataset, recipe.seed);
    RaRec::new(ids, model.normalizer().clone(), model.text().clone(), model.towers().clone())
}

/// Evaluates a variant with cold items by title and their scores lifted by the number that validates best.
fn lift_cold(
    table: &mut Rows<'_>,
    variant: &Variant,
    model: &Model,
    ids: &IdModels,
    of: &str,
    costs: Training,
) -> Result<()> {
    let (recipe, data, cx) = (table.recipe, table.data, table.cx);
    let since = Instant::now();
    let model = cold_by_title(variant, model, ids.backbone().aligned_model(), recipe, data);
    let metric = cx.validator.over(&data.dataset, &data.validation);
    let lifted = ColdItemBoost::fit(model, &data.dataset, metric.as_ref().map(|metric| metric as Validate<'_>))?;
    cx.costs.add("choose the lift of cold items", since);
    table.add(&recipe.cold_lift_label(variant, of), rows::COLD_LIFT, &lifted, costs, Vec::new())?;
    Ok(())
}
