//! A whole run: the stages in order.
use crate::context::Context;
use crate::recipe::{Recipe, remedies};
use crate::stages;
use anyhow::Result;
use ra_eval::Report;

/// Runs a recipe from raw files to the report. Each stage leaves a file in the run folder, and a resumed run starts
/// after the last one. An interrupted training continues from its saved state, so the result is the same.
///
/// # Errors
/// As the stages; each error says what is wrong, where, and what to do.
pub fn run(recipe: &Recipe, cx: &Context) -> Result<Report> {
    stages(recipe, cx).map_err(remedies::in_recipe)
}

fn stages(recipe: &Recipe, cx: &Context) -> Result<Report> {
    let mut data = stages::data(recipe, cx)?;
    let recipe = &stages::recipe_for(recipe, &mut data, cx)?;
    let text = stages::text(recipe, cx)?;
    if let Some(report) = stages::open(recipe, &data, text.as_ref(), cx)? {
        return Ok(report);
    }
    let ids = stages::id_models(recipe, &data, text.as_ref(), cx)?;
    let (recipe, ids) = &stages::backbone(recipe, &data, ids, cx)?;
    let samples = stages::samples(recipe, &data, ids, cx)?;
    let aligned = stages::align(recipe, &data, ids, text.as_ref(), &samples, cx)?;
    let evaluated = stages::evaluate(recipe, &data, ids, text.as_ref(), aligned, cx)?;
    stages::report(recipe, &data, evaluated, cx)
}
