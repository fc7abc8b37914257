//! Export of a tuned language model: the LoRA matrices of a row, as PEFT reads them.
use crate::recommend::chosen_row;
use crate::stages::{FrozenText, IdModels, ItemVectors, Saved, load, read};
use crate::store::{RunFolder, lock};
use anyhow::{Context, Result, bail};
use ra_core::Device;
use ra_eval::Report;
use std::path::{Path, PathBuf};

/// The kind of the folder in its marker.
const KIND: &str = "adapter";

/// Writes the LoRA matrices of a tuned row of a finished run to the folder `to`, for the language model of the run;
/// `row` is its kind or name. Data and models are under `root`. Returns the path of the model that the adapter belongs
/// to.
///
/// The adapter is the change of the language model alone. A row that reads IDs also has soft prompts, which stay in
/// the run.
///
/// # Errors
/// If the run is not finished or its inputs have changed; if the row is not tuned by LoRA, or if `to` holds anything
/// else.
pub fn export_adapter(run: &Path, row: &str, to: &Path, root: &Path, device: &Device) -> Result<PathBuf> {
    let (folder, manifest) = RunFolder::finished(run)?;
    let recipe = manifest.recipe()?;
    let (name, label) = chosen_row(&Report::read(run)?, &recipe, Some(row), "--row")?;
    let made_of = recipe.made_of(&name);
    let not_tuned =
        || format!("{label}: its language model is not tuned by LoRA; name a row such as lora or lora-text by --row");
    if !recipe.rows_read_text(&made_of) {
        bail!(not_tuned());
    }
    if let Some(adapter) = &recipe.lm.adapter {
        bail!(
            "{label}: was trained over the adapter {}, so its matrices do not fit the plain model; merge that adapter \
             into its model with peft, and run again with the result",
            adapter.display()
        );
    }
    let dataset = read(&recipe, root)?.dataset;
    manifest.check(&dataset)?;
    let path = FrozenText::kept_path(&recipe, root)?;
    let text = FrozenText::load_kept(&recipe, device, root)?;
    manifest.check_lm(&text.identity())?;
    let (known, vectors) = (dataset.catalog.len(), &ItemVectors::default());
    let saved = Saved { recipe: &recipe, folder: &folder, dataset: &dataset, known, vectors, device };
    let ids = IdModels::load(saved, &made_of, Some(&text))?;
    let aligned = load(saved, &made_of, &ids, Some(&text))?;
    let (first_layer, matrices) = aligned.lora(&name).with_context(not_tuned)?;
    let (mut files, _lock) = lock::take(to, KIND)?;
    files.sweep()?;
    files.claim(&ra_llm::ADAPTER_FILES)?;
    ra_llm::write_adapter(&path, first_layer, &matrices, to)?;
    Ok(path)
}
