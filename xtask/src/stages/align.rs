//! The variants of a run: towers trained between the last ID method and the language model, by one trainer.
use crate::context::Context;
use crate::recipe::{Recipe, TowersFrom, Variant};
use crate::stages::text::Tower;
use crate::stages::{Data, FrozenText, IdModels, Samples};
use crate::store::{RunFolder, TowersMark};
use crate::terminal::table;
use anyhow::{Context as _, Result};
use ra_align::{CrossFitIds, Job, PerturbedIds, RaRec, Validate, with_id_score};
use ra_core::{Catalog, Dataset, LanguageModel, LedgerRow, Recommender, ledger};
use ra_eval::LearningCurve;
use std::path::Path;
use std::time::Instant;

/// RA-Rec with its parts chosen at run time.
pub(crate) type Model<'a> = RaRec<PerturbedIds<&'a dyn Recommender>, &'a dyn LanguageModel>;

/// What the language model recommends by: alone, and under each variant.
#[derive(Debug)]
pub struct Aligned<'a> {
    /// Untouched, on the prompts of the recipe.
    pub(crate) text: Tower<'a>,
    pub(crate) variants: Vec<AlignedVariant<'a>>,
}

/// A variant with its towers.
#[derive(Debug)]
pub struct AlignedVariant<'a> {
    pub(crate) variant: Variant,
    pub(crate) model: Model<'a>,
    pub(crate) ledger: Vec<LedgerRow>,
    mark: TowersMark,
}

impl AlignedVariant<'_> {
    pub(crate) fn samples(&self) -> usize {
        self.mark.samples
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.mark.seconds
    }

    /// Its learning curve; nothing where it was not trained itself.
    pub(crate) fn curve(&self) -> Option<LearningCurve> {
        let curve = || LearningCurve { name: self.variant.name.clone(), curve: self.mark.curve.clone() };
        self.variant.trains().then(curve)
    }
}

/// Trains the towers of every variant of a recipe on `samples`, or takes the checkpoints of the run folder. Nothing where
/// the recipe asks for ID methods alone.
///
/// # Errors
/// As [`ra_align::fit`]; when a checkpoint is of other ID vectors or another language model.
pub fn align<'a>(
    recipe: &Recipe,
    data: &Data,
    ids: &'a IdModels,
    text: Option<&'a FrozenText>,
    samples: &Samples,
    cx: &Context,
) -> Result<Option<Aligned<'a>>> {
    let Some(text) = text.filter(|_| recipe.aligns()) else { return Ok(None) };
    let mut towers = SharedTowers { recipe, catalog: &data.dataset.catalog, text, known: Vec::new() };
    let untouched = towers.of(&recipe.align, Default::default(), ids)?;
    warn_of_losses(recipe);
    let mut variants: Vec<AlignedVariant<'a>> = Vec::new();
    for variant in recipe.variants() {
        let tower = towers.of(&variant.align, variant.items, ids)?;
        let folder = cx.store.folder()?;
        let (model, mark) = match folder.towers_mark(&variant.name)? {
            Some(mark) => (load_towers(folder, variant, &mark, recipe, data, ids, text, &tower)?, mark),
            None => {
                let made = match &variant.towers {
                    TowersFrom::Training => train(variant, recipe, data, ids, text, &tower, samples, cx)?,
                    TowersFrom::Variant(of) => {
                        let other = variants.iter().find(|other| other.variant.name == *of);
                        let other = other.with_context(|| format!("{}: {of} comes after it", variant.name))?;
                        take_over(variant, other, recipe, data, ids, &tower, cx)?
                    }
                };
                folder.save_towers(&variant.name, made.0.towers(), &made.1)?;
                made
            }
        };
        let ledger = ledger(model.towers());
        variants.push(AlignedVariant { variant: variant.clone(), model, ledger, mark });
    }
    if let Some(first) = variants.first() {
        table::ledger(&first.ledger, text.params()).iter().for_each(|line| cx.say(line));
    }
    Ok(Some(Aligned { text: untouched, variants }))
}
