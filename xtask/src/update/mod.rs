//! Tomorrow's log: a bundle that goes on where an older one stopped.
//!
//! The log is merged with what the bundle knows, users and items by their own names. The recipe of the bundle is run on the
//! result, and its trainings start from the models of the bundle. The new vectors are rotated into the space of the old ones.
//! Then both bundles recommend to the same users, and the new one is written only if it is not worse.
mod compare;
mod merge;

pub use compare::{BundleComparison, MetricComparison, StoredVectors};
pub use merge::LogHolds;

use crate::bundle::{Bundle, BundleManifest, Draft, ExportConfig, UPDATE, beside, check_place};
use crate::context::{Context, Output};
use crate::recipe::{Recipe, rows};
use crate::stages::read;
use crate::store::{Earlier, lock};
use anyhow::{Context as _, Result, bail};
use compare::Asked;
use merge::{Merged, News};
use ra_core::{Dataset, Device, ItemId, nearest_existing, splitmix64};
use ra_data::{DataConfig, Split};
use ra_idmodels::IdMethod;
use std::path::{Path, PathBuf};

/// The kind of the work folder in its marker.
const KIND: &str = "update";

const LOG: &str = "log.parquet";
const ITEMS: &str = "items.parquet";

/// The number of users that bundles are compared on, unless set.
const USERS: usize = 2000;

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
    /// Whether to go on after the last finished stage of an update that was stopped or refused.
    pub resume: bool,
    /// Whether an earlier bundle in the folder is replaced.
    pub replace: bool,
    /// Whether the new bundle is written even if it is worse, or if nobody could be asked.
    pub accept_worse: bool,
    /// The most users that both bundles recommend to; 2,000 by default.
    pub users: Option<usize>,
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
) -> Result<BundleComparison> {
    let bundle = &config.bundle;
    // A link that is changed meanwhile leads nowhere else.
    let place = bundle.canonicalize().with_context(|| format!("--bundle {}: cannot be read", bundle.display()))?;
    let work = beside(to, "", ".update")?;
    refuse_own(config, &place, to, &work)?;
    check_place(to, config.replace)?;
    lock::check(&work, KIND)?;
    let old = Bundle::open(&place, config.lm.as_deref(), device)?;
    let reads = reads(&old, &config.sets)?;
    let merged = Merged::new(&old, config, &reads)?;
    let recipe = recipe(&old, &merged, config, &reads, &work)?;
    private(&work)?;
    let (mut files, _lock) = lock::take(&work, KIND)?;
    files.sweep()?;
    files.claim(&[LOG, ITEMS])?;
    let run = work.join("run");
    let learn = || -> Result<(Dataset, News)> {
        merged.write(&work.join(LOG), &work.join(ITEMS))?;
        let dataset = read(&recipe, root)?.dataset;
        let news = News::new(&old, &merged, &dataset);
        output().say(news.told());
        if news.users == 0 {
            bail!(
                "{}: holds no interaction that {} lacks, so there is nothing to learn from{}",
                config.log.display(),
                bundle.display(),
                if recipe.data.k_core > 1 { ", or k_core leaves all of it out" } else { "" }
            );
        }
        if let Some(told) = seen(&old) {
            output().say(&told);
        }
        let earlier = if config.resume { Earlier::Resumed } else { Earlier::Replaced };
        let cx = Context::new(&recipe, root, &run, earlier)?.telling(output());
        let under = || format!("{}: the run of the update; without --resume it starts again", run.display());
        crate::run(&recipe, &cx).with_context(under)?;
        Ok((dataset, news))
    };
    let (dataset, news) = learn().inspect_err(|_| {
        // Nothing was trained that could go on, and the merged log has the names of users.
        if !run.exists() {
            [LOG, ITEMS].iter().for_each(|file| drop(std::fs::remove_file(work.join(file))));
            lock::leave(&work);
        }
    })?;
    if BundleManifest::read(&place)? != *old.manifest() {
        bail!("{}: has become another bundle meanwhile; start again", bundle.display());
    }
    let export = ExportConfig {
        row: Some(old.manifest().rows[0].name.clone()),
        also: old.manifest().rows.iter().skip(1).map(|row| row.name.clone()).collect(),
        without_lm: old.manifest().lm.as_ref().is_some_and(|lm| !lm.inside),
        names_users: old.manifest().names_users || config.names_users,
        group: merged.groups.is_some().then(|| merge::GROUP.into()),
        replace: config.replace,
    };
    let output = output();
    let mut draft = Draft::new(&run, to, &export, Some(&old), root, device, &*output)?;
    let mut judge = || -> Result<BundleComparison> {
        draft.reads_as(&with_reading(old.data_config(), &reads))?;
        let asked = asked(&news, &dataset, recipe.seed, config.users.unwrap_or(USERS));
        let compared = compare::compare(&old, &draft.bundle, &asked, std::mem::take(&mut draft.turned), &*output)?;
        compared.told().iter().for_each(|line| output.say(line));
        draft.add(UPDATE, &compared)?;
        match compared.worse().filter(|_| !config.accept_worse) {
            None => Ok(compared),
            Some(worse) => bail!(
                "{worse}: the new bundle is not written, and {} stays as it is; look at {}, or write it all the same by \
                 --resume --accept-worse",
                bundle.display(),
                run.join("report.html").display()
            ),
        }
    };
    let compared = match judge() {
        Ok(compared) => compared,
        Err(error) => {
            draft.discard()?;
            return Err(error);
        }
    };
    let made = draft.place()?;
    crate::bundle::told(&made, to).iter().for_each(|line| output.say(line));
    output.say(&format!(
        "{}: holds the merged log, names of users included; remove it when you need it no more",
        work.display()
    ));
    Ok(compared)
}

/// Refuses to write over what is read, or into it.
fn refuse_own(config: &UpdateConfig, bundle: &Path, to: &Path, work: &Path) -> Result<()> {
    if to.canonicalize().is_ok_and(|to| to == bundle) {
        bail!(
            "--to {}: is the older bundle, which stays until the new one is whole; name another folder",
            to.display()
        );
    }
    // A pattern is no folder.
    for (option, path) in [("--bundle", Some(bundle.to_path_buf())), ("--log", config.log.canonicalize().ok())] {
        let Some(path) = path.filter(|path| path.is_dir()) else { continue };
        if nearest_existing(to).is_some_and(|place| place.starts_with(&path)) {
            bail!(
                "--to {}: is within {option} {}, which is only read; name another folder",
                to.display(),
                path.display()
            );
        }
    }
    let read: Vec<PathBuf> = [Some(&config.log), config.items.as_ref()].into_iter().flatten().cloned().collect();
    ra_core::refuse_inputs_within(to, &read)?;
    Ok(ra_core::refuse_inputs_within(work, &read)?)
}

/// Makes a folder that only its owner may read: the merged log has the names of users.
fn private(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The keys of `data` that say how a log is read and filtered; an update decides the others itself.
const OF_DATA: [&str; 6] = ["columns", "text", "strict", "dedupe", "k_core", "min_rating"];

/// Returns a configuration that reads logs as another one does.
fn with_reading(own: &DataConfig, other: &DataConfig) -> DataConfig {
    let DataConfig { columns, text, strict, dedupe, k_core, min_rating, .. } = other.clone();
    DataConfig { columns, text, strict, dedupe, k_core, min_rating, ..own.clone() }
}

/// Returns the key of a setting.
fn key(set: &str) -> &str {
    set.split_once('=').map_or(set, |(key, _)| key).trim()
}

/// Returns whether a setting says how a log is read.
fn of_data(set: &&String) -> bool {
    key(set) == "data"
        || key(set).strip_prefix("data.").is_some_and(|key| !key.starts_with("curate") && key != "max_history")
}

/// Returns how logs are read: as the bundle says, with changes by `data.` keys.
fn reads(old: &Bundle, sets: &[String]) -> Result<DataConfig> {
    let is_ours = |set: &String| {
        let first = key(set).strip_prefix("data.").and_then(|key| key.split('.').next());
        first.is_some_and(|first| OF_DATA.contains(&first))
    };
    let own: Vec<String> = sets.iter().filter(of_data).cloned().collect();
    if let Some(set) = own.iter().find(|set| !is_ours(set)).or_else(|| sets.iter().find(|set| key(set) == "start_from"))
    {
        bail!(
            "--set {set}: an update decides this itself; give the log by --log and titles by --items, and of data only {}",
            OF_DATA.join(", ")
        );
    }
    // A column of titles counts only beside a file of titles, and a bundle has no paths.
    let mut recipe = Recipe::resolved(&old.manifest().recipe)?;
    let files = DataConfig { interactions: Some(LOG.into()), items: Some(ITEMS.into()), ..DataConfig::default() };
    recipe.data = with_reading(&files, &recipe.data);
    Ok(recipe.with(&own)?.data)
}

/// Returns the recipe of the bundle for the merged log, with trainings that start from the bundle.
fn recipe(old: &Bundle, merged: &Merged, config: &UpdateConfig, reads: &DataConfig, work: &Path) -> Result<Recipe> {
    let manifest = old.manifest();
    let mut recipe = Recipe::resolved(&manifest.recipe)?;
    recipe.name.clone_from(&manifest.recipe_name);
    recipe.data_name.clone_from(&manifest.name);
    recipe.data = DataConfig {
        interactions: Some(work.join(LOG)),
        items: merged.has_items().then(|| work.join(ITEMS)),
        text: reads.text.clone().filter(|_| merged.has_items()),
        dedupe: reads.dedupe,
        k_core: reads.k_core,
        ..DataConfig::default()
    };
    recipe.start_from = Some(old.path().to_path_buf());
    recipe.lm.path = old.lm_path(config.lm.as_deref()).map(std::path::absolute).transpose()?;
    recipe.lm.adapter = old.adapter_path().map(std::path::absolute).transpose()?;
    for id in &mut recipe.ids {
        let kind = id.kind();
        for path in id.method.paths_mut() {
            if !manifest.files.contains_key(&*path.to_string_lossy()) {
                bail!(
                    "{}: does not hold {}, which the method {kind} of its recipe reads; export it again with --also {kind}",
                    config.bundle.display(),
                    path.display()
                );
            }
            *path = old.path().join(&*path);
        }
    }
    // They say more about a row than an update asks.
    recipe.rows.retain(|row| row != rows::PROBES && row != rows::COLD_LIFT);
    let of_run: Vec<String> = config.sets.iter().filter(|set| !of_data(set)).cloned().collect();
    let recipe = recipe.with(&of_run)?;
    let is_row = |name: &str| recipe.id_rows().iter().any(|row| row == name) || recipe.has_row(name);
    if let Some(row) = manifest.rows.iter().find(|row| !is_row(&row.name)) {
        bail!("the bundle has the row {}, and the recipe would not: leave out the settings that remove it", row.name);
    }
    Ok(recipe)
}

/// Says whether the old weights may have seen what the run of the update holds out.
fn seen(old: &Bundle) -> Option<String> {
    let split = old.data_config().split;
    let holds_out_each = matches!(split, Split::LeaveOneOut | Split::LeaveLastN);
    (!holds_out_each).then(|| {
        format!(
            "the older bundle was trained under split = \"{split}\", so its weights may have seen last interactions of users \
             without new ones: figures in the report of this run may be too high; the comparison of the bundles is not \
             affected"
        )
    })
}

/// Returns users whose newest interaction is new to the older bundle, at most so many: what they did before it, and the item.
fn asked(news: &News, dataset: &Dataset, seed: u64, most: usize) -> Vec<Asked> {
    let id = |item: &ItemId| dataset.catalog.id(*item).to_owned();
    let mut users = news.comparable.clone();
    users.sort_by_key(|user| splitmix64(seed ^ u64::from(user.0)));
    let asked = |user| {
        let history = dataset.train.row(user).iter().chain(dataset.valid.row(user)).map(id).collect();
        Some(Asked { history, newest: dataset.test.row(user).first().map(id)? })
    };
    users.into_iter().filter_map(asked).take(most).collect()
}
