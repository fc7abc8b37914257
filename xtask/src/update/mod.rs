//! Tomorrow's log: a bundle that goes on where an older one stopped.
//!
//! The log is merged with what the bundle knows, users and items by their own names. The recipe of the bundle is run on the
//! result, and its trainings start from the models of the bundle. The new vectors are turned onto the space of the old ones.
//! Then both bundles recommend to the same users, and the new one is written only if it is not worse.
mod compare;
mod merge;

pub use compare::{Compared, Measured, StoredVectors};
pub use merge::{LogHolds, Merged};

use crate::bundle::{Bundle, Draft, ExportConfig, KIND as BUNDLE, UPDATE};
use crate::context::{Context, Output};
use crate::recipe::{Recipe, rows};
use crate::stages::read;
use crate::store::{Earlier, lock};
use anyhow::{Context as _, Result, bail};
use compare::Asked;
use ra_core::{Device, UserId};
use ra_data::DataConfig;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The kind of the work folder in its marker.
const KIND: &str = "update";

const LOG: &str = "log.parquet";
const ITEMS: &str = "items.parquet";

/// What to update, and how.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct UpdateConfig {
    /// The older bundle.
    pub bundle: PathBuf,
    /// The language model of a bundle that was exported without it.
    pub lm: Option<PathBuf>,
    /// The new log.
    pub log: PathBuf,
    /// Titles of new items, or new titles of known ones.
    pub items: Option<PathBuf>,
    /// A column of the file of items with a group of each item.
    pub group: Option<String>,
    /// What the log holds; found out by default.
    pub holds: Option<LogHolds>,
    /// Keys of the bundle's recipe that change.
    pub sets: Vec<String>,
    /// Whether the names of users go into the new bundle; those of an older one that has them always do.
    pub names_users: bool,
    /// Whether to go on after the last finished stage of an update that was stopped.
    pub resume: bool,
    /// Whether an earlier bundle in the folder is replaced.
    pub replace: bool,
    /// Whether the new bundle is written even if it is worse.
    pub accept_worse: bool,
    /// The number of users that both bundles recommend to.
    pub users: usize,
}

/// Makes the bundle `to` from an older one and a new log. What it computes on the way, a run with its report among it, is in
/// the folder next to `to` whose name ends in `.update`. Models without a checkpoint in the bundle are found under `root`.
///
/// # Errors
/// As [`Bundle::open`], [`crate::run`] and [`export`](crate::bundle::export); if the log holds nothing new, or if the new
/// bundle is worse than the old one.
pub fn update(
    config: &UpdateConfig,
    to: &Path,
    root: &Path,
    device: &Device,
    output: &dyn Fn() -> Box<dyn Output>,
) -> Result<Compared> {
    refuse_own(config, to)?;
    lock::check(to, BUNDLE)?;
    let old = Bundle::open(&config.bundle, config.lm.as_deref(), device)?;
    let merged = Merged::new(&old, config)?;
    output().say(&merged.told());
    if merged.changed.is_empty() {
        bail!(
            "{}: holds no interaction that {} lacks, so there is nothing to learn from",
            config.log.display(),
            config.bundle.display()
        );
    }
    let place = std::path::absolute(to)?;
    let name = place.file_name().with_context(|| format!("--to {}: is not a folder with a name", to.display()))?;
    let work = place.with_file_name(format!("{}.update", name.to_string_lossy()));
    let (mut files, _lock) = lock::take(&work, KIND)?;
    files.claim(&[LOG, ITEMS])?;
    merged.write(&work.join(LOG), &work.join(ITEMS))?;
    let recipe = recipe(&old, &merged, config, &work)?;
    let run = work.join("run");
    let earlier = if config.resume { Earlier::Resumed } else { Earlier::Replaced };
    let cx = Context::new(&recipe, root, &run, earlier)?.telling(output());
    crate::run(&recipe, &cx)?;
    drop(cx);
    let also = old.manifest().rows.iter().skip(1).map(|row| row.name.clone()).collect();
    let export = ExportConfig {
        row: Some(old.manifest().rows[0].name.clone()),
        also,
        without_lm: old.manifest().lm.as_ref().is_some_and(|lm| !lm.inside),
        names_users: merged.names_users || config.names_users,
        group: merged.groups.is_some().then(|| merge::GROUP.into()),
        replace: config.replace,
    };
    let output = output();
    let mut draft = Draft::new(&run, to, &export, Some(&old), root, device, &*output)?;
    let asked = asked(&recipe, &merged, config.users, root)?;
    let compared = compare::compare(&old, &draft.bundle, &asked, std::mem::take(&mut draft.turned), &*output)?;
    compared.told().iter().for_each(|line| output.say(line));
    draft.add(UPDATE, &compared)?;
    if let (Some(worse), false) = (compared.worse(), config.accept_worse) {
        bail!(
            "{worse}: the new bundle is not written, and {} stays as it is; look at {}, or write it all the same by \
             --accept-worse",
            config.bundle.display(),
            run.join("report.html").display()
        );
    }
    let made = draft.place()?;
    crate::bundle::told(&made, to).iter().for_each(|line| output.say(line));
    Ok(compared)
}

/// Refuses to write over what is read.
fn refuse_own(config: &UpdateConfig, to: &Path) -> Result<()> {
    if let (Ok(to), Ok(old)) = (to.canonicalize(), config.bundle.canonicalize())
        && to == old
    {
        bail!(
            "--to {}: is the older bundle, which stays until the new one is whole; name another folder",
            to.display()
        );
    }
    let read: Vec<PathBuf> = [Some(&config.log), config.items.as_ref()].into_iter().flatten().cloned().collect();
    Ok(ra_core::refuse_inputs_within(to, &read)?)
}

/// Returns the recipe of the bundle for the merged log, with trainings that start from the bundle.
fn recipe(old: &Bundle, merged: &Merged, config: &UpdateConfig, work: &Path) -> Result<Recipe> {
    let manifest = old.manifest();
    let mut recipe = Recipe::resolved(&manifest.recipe)?;
    let DataConfig { dedupe, k_core, .. } = recipe.data;
    recipe.name.clone_from(&manifest.recipe_name);
    recipe.data_name.clone_from(&manifest.name);
    recipe.data = DataConfig {
        interactions: Some(work.join(LOG)),
        items: merged.has_titles().then(|| work.join(ITEMS)),
        dedupe,
        k_core,
        ..DataConfig::default()
    };
    recipe.start_from = Some(std::path::absolute(&config.bundle)?);
    recipe.lm.path = old.lm_path(config.lm.as_deref()).map(std::path::absolute).transpose()?;
    // They say more about a row than an update asks.
    recipe.rows.retain(|row| row != rows::PROBES && row != rows::COLD_LIFT);
    recipe.with(&config.sets)
}

/// Returns the users with new interactions, at most so many: what they did before their newest interaction, and that one.
fn asked(recipe: &Recipe, merged: &Merged, most: usize, root: &Path) -> Result<Vec<Asked>> {
    let dataset = read(recipe, root)?.dataset;
    let changed: HashSet<&str> = merged.changed.iter().map(String::as_str).collect();
    let id = |item: &ra_core::ItemId| dataset.catalog.id(*item).to_owned();
    let mut all = Vec::new();
    for user in UserId::all(dataset.users.len()) {
        let Some((newest, before)) = dataset.test.row(user).split_first() else { continue };
        if !before.is_empty() || !changed.contains(dataset.users[user.index()].as_str()) {
            continue;
        }
        let history = dataset.train.row(user).iter().chain(dataset.valid.row(user)).map(id).collect();
        all.push((ra_core::splitmix64(recipe.seed ^ u64::from(user.0)), Asked { history, newest: id(newest) }));
    }
    all.sort_by_key(|(order, _)| *order);
    Ok(all.into_iter().map(|(_, asked)| asked).take(most).collect())
}
