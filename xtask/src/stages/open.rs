//! Opening of the run folder: the inputs of a run are known now and are recorded before anything is trained.
use crate::context::Context;
use crate::estimate::estimate;
use crate::recipe::Recipe;
use crate::stages::{Data, FrozenText};
use crate::store::Manifest;
use anyhow::Result;
use ra_eval::Report;

/// Opens the run folder for a run with these inputs; later stages write into it. Returns the report instead if the
/// suite has already finished this very run.
///
/// # Errors
/// If the folder belongs to another run, another process writes to it, or the manifest cannot be written.
pub fn open(recipe: &Recipe, data: &Data, text: Option<&FrozenText>, cx: &Context) -> Result<Option<Report>> {
    let lm = text.map(FrozenText::identity);
    let manifest = Manifest::of(recipe, &data.dataset, data.first_seen.as_deref(), lm)?;
    let manifest = match text.and_then(FrozenText::source) {
        Some(pin) => manifest.pinned(pin)?,
        None => manifest,
    };
    if let Some(report) = cx.store.done(&manifest)? {
        return Ok(Some(report));
    }
    cx.store.open(&manifest)?;
    cx.costs.keep(cx.store.folder()?.file("costs.json"));
    tracing::info!(recipe = recipe.name, seed = recipe.seed, dataset = data.dataset.name, "run");
    text.iter().for_each(|text| text.log_reading());
    estimate(recipe, data, text, cx.device()).into_iter().for_each(|expected| cx.expect(expected));
    if data.validation.is_empty() {
        tracing::warn!("nothing is held out for validation: every stage runs to its last step");
    }
    Ok(None)
}
