//! Selection of the samples that the towers learn from. It follows the ID methods, because some selections use a
//! trained one.
use crate::context::Context;
use crate::recipe::{Recipe, Variant};
use crate::stages::{Data, IdModels};
use anyhow::{Result, bail};
use ra_core::Sample;
use ra_data::{CurateMethod, Curated};

/// Selects the samples that every variant learns from, within the budget of a recipe. Returns none if it trains no
/// variant.
///
/// # Errors
/// If no sample is left.
pub fn samples(recipe: &Recipe, data: &Data, ids: &IdModels, cx: &Context) -> Result<Vec<Sample>> {
    if !recipe.variants().iter().any(Variant::trains) {
        return Ok(Vec::new());
    }
    let curated = curated(recipe, data, ids)?;
    cx.say(&curated);
    if curated.samples.is_empty() {
        bail!("data.curate leaves no sample; raise its budget or switch denoise off");
    }
    Ok(curated.samples)
}

fn curated(recipe: &Recipe, data: &Data, ids: &IdModels) -> Result<Curated> {
    let Recipe { curate, max_history, seed, .. } = recipe;
    let (dataset, trained) = (&data.dataset, ids.backbone().aligned());
    if !curate.method.needs_model() {
        return Ok(ra_data::curate(dataset, curate, *max_history, *seed)?);
    }
    let from = ra_data::candidates(dataset, curate)?;
    let (all, budget) = (&from.samples, from.budget);
    let chosen = match curate.method {
        CurateMethod::Coverage => ra_align::coverage(dataset, all, trained, budget, *seed),
        _ => ra_align::highest_loss(dataset, all, trained, *max_history, budget),
    };
    Ok(from.chosen(chosen))
}
