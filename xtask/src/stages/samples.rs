//! Which samples the towers learn from. It comes after the ID methods: some selections read a trained one.
use crate::context::Context;
use crate::recipe::{Recipe, Variant};
use crate::stages::{Data, IdModels};
use anyhow::{Result, bail};
use ra_core::Sample;

/// The samples that every variant learns from.
#[derive(Debug, Default)]
pub struct Samples(pub(crate) Vec<Sample>);

/// Selects samples, within the budget of a recipe; none where it trains no variant.
///
/// # Errors
/// When nothing is left of them.
pub fn samples(recipe: &Recipe, data: &Data, ids: &IdModels, cx: &Context) -> Result<Samples> {
    if !recipe.variants().iter().any(Variant::trains) {
        return Ok(Samples::default());
    }
    let trained = ids.backbone().model();
    let curated = ra_data::curate(&data.dataset, &recipe.curate, recipe.max_history, recipe.seed, Some(trained))?;
    cx.say(&curated);
    if curated.samples.is_empty() {
        bail!("data.curate leaves no sample; raise its budget or switch denoise off");
    }
    Ok(Samples(curated.samples))
}
