//! The choice of the ID method that is aligned.
use crate::context::Context;
use crate::recipe::{IdTable, Recipe};
use crate::stages::{Data, IdModels};
use anyhow::{Context as _, Result};
use std::time::Instant;

/// Chooses the ID method that is aligned if several tables of a recipe have `align = true`: the one that validates best,
/// grounded if its table says so. Returns the recipe and its methods with that one last.
///
/// # Errors
/// If nothing is held out for validation, or the manifest of the run cannot be written.
pub fn backbone(recipe: &Recipe, data: &Data, ids: IdModels, cx: &Context) -> Result<(Recipe, IdModels)> {
    let candidates = recipe.candidates();
    if candidates.len() < 2 || !recipe.aligns() {
        return Ok((recipe.clone(), ids));
    }
    let since = Instant::now();
    let metric = cx.validator.over(&data.dataset, &data.validation);
    let metric = metric.context("validation chooses which ID method is aligned, but nothing is held out for it")?;
    let rate = |table: &IdTable| {
        let row = table.aligned_row();
        let model = ids.model(&row).with_context(|| format!("{row} is not among the ID methods"))?;
        Ok((table.kind(), metric(&*model)))
    };
    let rated: Vec<(&str, f64)> = candidates.into_iter().map(rate).collect::<Result<_>>()?;
    // A row whose vectors are not finite has no score.
    let best = rated.iter().max_by(|one, other| score(one).total_cmp(&score(other)));
    let (kind, _) = *best.context("a recipe has at least one [[id]] table")?;
    let told: Vec<String> = rated.iter().map(|(kind, score)| format!("{kind} {score:.4}")).collect();
    let told = format!("aligned, because it validates best: {}", told.join(", "));
    cx.costs.replace("choose the ID method to align", since);
    cx.say(format!("{kind} is {told}"));
    cx.store.folder()?.save_aligned(kind)?;
    Ok((recipe.clone().aligning(kind), ids.aligning(kind, told)))
}

fn score((_, score): &(&str, f64)) -> f64 {
    if score.is_nan() { f64::NEG_INFINITY } else { *score }
}
