//! The choice of the ID method that is aligned.
use crate::context::Context;
use crate::recipe::{IdTable, Recipe};
use crate::stages::{Data, IdModels};
use crate::store::Chosen;
use anyhow::{Context as _, Result, bail};
use std::time::Instant;

/// Chooses the ID method that is aligned if several tables of a recipe have `align = true`: the one that validates
/// best, grounded if its table says so. Returns the recipe and its methods with that one last.
///
/// # Errors
/// If nothing is held out for validation, if no method has a score, or if the manifest of the run cannot be written.
pub fn backbone(recipe: &Recipe, data: &Data, ids: IdModels, cx: &Context) -> Result<(Recipe, IdModels)> {
    if !recipe.chooses_backbone() {
        return Ok((recipe.clone(), ids));
    }
    let folder = cx.store.folder()?;
    let Chosen { kind, why } = match folder.aligned()? {
        Some(chosen) => chosen,
        None => {
            let since = Instant::now();
            let chosen = choose(recipe, data, &ids, cx)?;
            cx.costs.add("choose the ID method to align", since);
            folder.save_aligned(Some(chosen.clone()))?;
            chosen
        }
    };
    cx.say(format!("{kind}: {why}"));
    Ok((recipe.clone().aligning(&kind), ids.aligning(&kind, why)))
}

fn choose(recipe: &Recipe, data: &Data, ids: &IdModels, cx: &Context) -> Result<Chosen> {
    let metric = cx.validator.over(&data.dataset, &data.validation);
    let metric = metric.context("validation chooses which ID method is aligned, but nothing is held out for it")?;
    let rate = |table: &IdTable| {
        let row = table.aligned_row();
        let model = ids.model(&row).with_context(|| format!("{row} is not among the ID methods"))?;
        Ok((table.kind(), row, metric(&*model)))
    };
    let rated: Vec<(&str, String, f64)> = recipe.candidates().into_iter().map(rate).collect::<Result<_>>()?;
    let scored = rated.iter().filter(|(.., score)| score.is_finite());
    let told: Vec<String> = rated.iter().map(|(_, row, score)| format!("{row} {score:.4}")).collect();
    let told = told.join(", ");
    let Some((kind, ..)) = scored.max_by(|one, other| one.2.total_cmp(&other.2)) else {
        bail!("no ID method that may be aligned (id.align) has a score on the validation part: {told}");
    };
    Ok(Chosen { kind: (*kind).to_owned(), why: format!("aligned, because it validates best: {told}") })
}
