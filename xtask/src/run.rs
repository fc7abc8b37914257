//! A whole run: the stages, one after another.
use crate::context::Context;
use crate::recipe::{Recipe, remedies};
use crate::stages::{self, Data, FrozenText};
use crate::store::Manifest;
use anyhow::Result;
use ra_eval::Report;

/// Runs a recipe from raw files to the report. Each stage leaves a file in the run folder, and a run that goes on starts
/// after the last one that is there; a training that was cut off goes on from its state, so that the result is the same.
///
/// # Errors
/// As the stages; what cannot be done is told with where and with what to do.
pub fn run(recipe: &Recipe, cx: &Context) -> Result<Report> {
    stages(recipe, cx).map_err(remedies::in_recipe)
}

fn stages(recipe: &Recipe, cx: &Context) -> Result<Report> {
    let data = stages::data(recipe, cx)?;
    let text = stages::text(recipe, cx)?;
    if let Some(report) = begin(recipe, &data, text.as_ref(), cx)? {
        return Ok(report);
    }
    let ids = stages::id_models(recipe, &data, text.as_ref(), cx)?;
    let samples = stages::samples(recipe, &data, &ids, cx)?;
    let aligned = stages::align(recipe, &data, &ids, text.as_ref(), &samples, cx)?;
    let evaluated = stages::evaluate(recipe, &data, &ids, text.as_ref(), aligned, cx)?;
    stages::report(recipe, &data, evaluated, cx)
}

/// Opens the run folder for a run that is made from these; or gives its report, where the suite has made it already.
fn begin(recipe: &Recipe, data: &Data, text: Option<&FrozenText>, cx: &Context) -> Result<Option<Report>> {
    let lm = text.map(FrozenText::identity);
    let manifest = Manifest::of(recipe, &data.dataset, data.first_seen.as_deref(), lm)?;
    if let Some(report) = cx.store.done(&manifest)? {
        return Ok(Some(report));
    }
    cx.store.open(&manifest)?;
    tracing::info!(recipe = recipe.name, seed = recipe.seed, dataset = data.dataset.name, "run");
    text.iter().for_each(|text| text.log_reading());
    if data.validation.is_empty() {
        tracing::warn!("nothing is held out for validation: every stage runs to its last step");
    }
    Ok(None)
}
