//! Models on a hub, by name. The names of files, the cache and the token are those of the crate `hf-hub`, so that what
//! a user has in that cache is found. The files come by [`super::transfer`], which checks and resumes them.
mod name;
mod refusal;
mod wanted;

pub(crate) use name::{HubName, PREFIX, parts_of};

use super::transfer::{Refused, Remote, Sum, Token, Unreachable, agent, text};
use super::wheel::sync_folder;
use crate::terminal::program;
use anyhow::{Context, Result, anyhow, ensure};
use hf_hub::{Cache, Repo, RepoType};
use name::{is_commit, is_hex, is_inside};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use ureq::Agent;
use wanted::Folders;

const ENDPOINT: &str = "https://huggingface.co";

/// A hub and the cache of what came from it.
#[derive(Debug)]
pub(crate) struct Hub {
    endpoint: String,
    cache: Cache,
    token: Option<Token>,
    is_offline: bool,
    agent: Agent,
}

/// A model of a hub in the cache, whole.
#[derive(Debug)]
pub(crate) struct Found {
    /// The model by its commit.
    pub(crate) name: HubName,
    /// Its folder, or its GGUF file.
    pub(crate) path: PathBuf,
    snapshot: PathBuf,
    files: Vec<String>,
}

/// What a hub says of a revision.
#[derive(Debug, Deserialize)]
struct Listing {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Large>,
}

/// A large file, which is known by its SHA-256.
#[derive(Debug, Deserialize)]
struct Large {
    sha256: String,
    size: Option<u64>,
}

impl Found {
    /// Returns the SHA-256 of each of its files.
    ///
    /// # Errors
    /// Names a file that cannot be read, or whose content is not the one that its place in the cache is named after.
    pub(crate) fn sums(&self) -> Result<BTreeMap<String, String>> {
        let sum = |file: &String| {
            let path = self.snapshot.join(file);
            let found = super::sha256(&path)?;
            let blob = path.canonicalize().unwrap_or(path);
            let name = blob.file_name().unwrap_or_default().to_string_lossy();
            // Large files are named by their SHA-256.
            ensure!(
                name.len() != found.len() || !is_hex(&name) || *name == found,
                "{}: is damaged; remove it, and call {} fetch {} again",
                blob.display(),
                program(),
                self.name
            );
            Ok((file.clone(), found))
        };
        self.files.iter().map(sum).collect()
    }
}

impl Hub {
    /// Returns the hub of the environment, by the variables of `huggingface_hub`.
    pub(crate) fn from_env() -> Result<Self> {
        Self::of(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()), std::env::home_dir())
    }

    fn of(var: &dyn Fn(&str) -> Option<String>, user: Option<PathBuf>) -> Result<Self> {
        let any = |names: &[&str]| names.iter().find_map(|name| var(name));
        let expanded = |path: String| match (path.strip_prefix("~/").or_else(|| path.strip_prefix("$HOME/")), &user) {
            (Some(rest), Some(user)) => user.join(rest),
            _ => PathBuf::from(path),
        };
        let home = match any(&["HF_HOME"]) {
            Some(home) => expanded(home),
            None => match any(&["XDG_CACHE_HOME"]) {
                Some(caches) => Path::new(&caches).join("huggingface"),
                None => user
                    .clone()
                    .context("there is no home folder: set HF_HOME to one for models")?
                    .join(".cache/huggingface"),
            },
        };
        let cache = any(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).map_or_else(|| home.join("hub"), expanded);
        let kept = || match any(&["HF_TOKEN_PATH"]) {
            Some(file) => fs::read_to_string(file).ok().map(|token| token.trim().to_owned()),
            None => Cache::new(home.join("hub")).token(),
        };
        let endpoint = any(&["HF_ENDPOINT"]).unwrap_or_else(|| ENDPOINT.into());
        ensure!(
            endpoint.starts_with("http://") || endpoint.starts_with("https://"),
            "HF_ENDPOINT is {endpoint:?}; give an address such as {ENDPOINT}"
        );
        let is_on = |name| var(name).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&&*value.to_uppercase()));
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: Cache::new(std::path::absolute(cache)?),
            token: any(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
                .or_else(kept)
                .filter(|token| is_header(token))
                .map(Token),
            is_offline: is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
            agent: agent(),
        })
    }

    /// Returns the model `name`, and downloads the files that are missing. A branch or tag means the commit that it is
    /// at now; without a network, the one that it was at when it was last asked for.
    ///
    /// # Errors
    /// Says what is missing, and what to do.
    pub(crate) fn locate(&self, name: &HubName) -> Result<Found> {
        if self.is_offline {
            return self.kept(name).context("HF_HUB_OFFLINE is set, so nothing is downloaded");
        }
        match self.listing(name) {
            Ok(listing) => self.bring(name, &listing),
            Err(error) if error.is::<Unreachable>() || name.is_pinned() => match self.kept(name) {
                Ok(found) => {
                    tracing::warn!(%error, "{} is taken from the cache", found.name);
                    Ok(found)
                }
                Err(_) => Err(self.told(error, name)),
            },
            Err(error) => Err(self.told(error, name)),
        }
    }

    /// Returns the model `name` if it is in the cache, whole, without a look at the network.
    ///
    /// # Errors
    /// Says what is missing, and which command brings it.
    pub(crate) fn kept(&self, name: &HubName) -> Result<Found> {
        let folder = self.folder(name);
        let advice = || {
            format!(
                "{name} is not in the cache, whole ({}); {} fetch {name} brings it, with a network",
                folder.display(),
                program()
            )
        };
        let commit = if name.is_pinned() {
            name.revision().to_owned()
        } else {
            let file = folder.join("refs").join(name.revision());
            fs::read_to_string(file).map(|commit| commit.trim().to_owned()).map_err(|_| anyhow!(advice()))?
        };
        ensure!(is_commit(&commit), "{}: the cache has no commit for {}", folder.display(), name.revision());
        let snapshot = folder.join("snapshots").join(&commit);
        let names = names_within(&snapshot);
        let found = self.found(name, &commit, &names).with_context(advice)?;
        if name.file.is_none() && !names.contains(wanted::MODULES) {
            // Programs that load the model alone leave its pooling on the hub.
            tracing::warn!("{}: the cache has no {}; is it a sentence encoder?", found.name, wanted::MODULES);
        }
        Ok(found)
    }

    /// Returns the model whose snapshot has the files `names`.
    fn found(&self, name: &HubName, commit: &str, names: &BTreeSet<String>) -> Result<Found> {
        let snapshot = self.folder(name).join("snapshots").join(commit);
        let mut files = Vec::new();
        let path = match &name.file {
            Some(file) => {
                files.extend(wanted::gguf(names, file)?);
                snapshot.join(file)
            }
            None => {
                let read = |file: &str| fs::read_to_string(snapshot.join(file));
                let list = names.contains(wanted::MODULES).then(|| read(wanted::MODULES)).transpose()?;
                let folders = Folders::of(names, list.as_deref())?;
                files.extend(wanted::settings(names, &folders));
                files.extend(wanted::weights(names, &folders, &|file| Ok(read(file)?))?);
                snapshot.clone()
            }
        };
        Ok(Found { name: name.at(commit), path, snapshot, files })
    }

    /// Asks the hub for the files of a revision.
    fn listing(&self, name: &HubName) -> Result<Listing> {
        let url = format!("{}/api/{}?blobs=true", self.endpoint, self.repo(name).api_url());
        let answer = text(&self.agent, &url, self.token.as_ref())?;
        let listing: Listing = serde_json::from_str(&answer)
            .map_err(|error| anyhow!("{url}: is not the answer of a hub ({error}); is HF_ENDPOINT right?"))?;
        ensure!(is_commit(&listing.sha), "{url}: names no commit; is HF_ENDPOINT right?");
        Ok(listing)
    }

    /// Downloads what is missing of a revision: first the settings, so that weights stand only where all of them do.
    fn bring(&self, name: &HubName, listing: &Listing) -> Result<Found> {
        let names: BTreeSet<String> =
            listing.siblings.iter().map(|file| file.rfilename.clone()).filter(|file| is_inside(file)).collect();
        let named = || self.told_of(name);
        if name.file.is_none() {
            let list = match names.contains(wanted::MODULES) {
                true => {
                    self.bring_all(name, listing, &[wanted::MODULES.to_owned()])?;
                    let snapshot = self.folder(name).join("snapshots").join(&listing.sha);
                    Some(fs::read_to_string(snapshot.join(wanted::MODULES)).with_context(named)?)
                }
                false => None,
            };
            let folders = Folders::of(&names, list.as_deref()).with_context(named)?;
            // Weights that cannot be read are refused before they are downloaded.
            wanted::model(&names, &folders).with_context(named)?;
            self.bring_all(name, listing, &wanted::settings(&names, &folders))?;
        }
        let found = self.found(name, &listing.sha, &names).with_context(named)?;
        self.bring_all(name, listing, &found.files)?;
        self.remember(name, &listing.sha)?;
        Ok(found)
    }

    /// Downloads those of `files` that the cache lacks.
    fn bring_all(&self, name: &HubName, listing: &Listing, files: &[String]) -> Result<()> {
        let snapshot = self.folder(name).join("snapshots").join(&listing.sha);
        let is_missing = |file: &&Sibling| files.contains(&file.rfilename) && !snapshot.join(&file.rfilename).exists();
        let missing: Vec<&Sibling> = listing.siblings.iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        tell!("fetching {}: {}", name.at(&listing.sha), told_files(&missing, listing));
        missing.iter().try_for_each(|file| {
            self.bring_one(name, &listing.sha, file).map_err(|error| self.told(error, name))?;
            ra_core::point(format_args!("cached {}", file.rfilename));
            Ok(())
        })
    }

    /// Downloads a file into the cache: its content among the blobs, and a link to it among the names.
    fn bring_one(&self, name: &HubName, commit: &str, file: &Sibling) -> Result<()> {
        let own = &file.rfilename;
        let id = match (&file.lfs, &file.blob_id) {
            (Some(large), _) => large.sha256.clone(),
            (None, Some(id)) => id.clone(),
            // A mirror may not say. Any name that no other content has will do.
            (None, None) => ra_core::fingerprint([commit.as_bytes(), own.as_bytes()]).to_string(),
        };
        ensure!(is_hex(&id), "{own}: the hub names its content {id:?}, which is no hash");
        let blob = self.folder(name).join("blobs").join(id);
        if !blob.exists() {
            let url = format!("{}/{}/resolve/{commit}/{}", self.endpoint, self.repo(name).url(), escaped(own));
            let sum = file.lfs.as_ref().map(|large| Sum::Sha256(large.sha256.clone()));
            let bytes = file.lfs.as_ref().and_then(|large| large.size).or(file.size);
            let remote = Remote { url, name: own.clone(), token: self.token.clone(), bytes, sum };
            remote.download(&self.agent, &blob)?;
        }
        let link = self.folder(name).join("snapshots").join(commit).join(own);
        let steps = "../".repeat(own.matches('/').count() + 2);
        link_to(&blob, &format!("{steps}blobs/{}", blob.file_name().unwrap_or_default().display()), &link)
    }

    /// Writes down where the branch or tag is now, as other programs do.
    fn remember(&self, name: &HubName, commit: &str) -> Result<()> {
        let file = self.folder(name).join("refs").join(name.revision());
        if name.is_pinned() || fs::read_to_string(&file).is_ok_and(|known| known == commit) {
            return Ok(());
        }
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        Ok(ra_core::write_atomic(&file, commit.as_bytes())?)
    }

    /// Returns the folder of a model in the cache.
    fn folder(&self, name: &HubName) -> PathBuf {
        self.cache.path().join(self.repo(name).folder_name())
    }

    fn repo(&self, name: &HubName) -> Repo {
        Repo::with_revision(name.repo.clone(), RepoType::Model, name.revision().into())
    }

    fn told_of(&self, name: &HubName) -> String {
        format!("{name} ({}/{})", self.endpoint, name.repo)
    }

    /// Adds to `error` what to do.
    fn told(&self, error: anyhow::Error, name: &HubName) -> anyhow::Error {
        match error.downcast_ref::<Refused>() {
            Some(refused) => anyhow!("{}", refusal::told(self, name, refused)),
            None if error.is::<Unreachable>() => anyhow!("{name}: {error:#}; {}", refusal::otherwise(name)),
            None => error.context(self.told_of(name)),
        }
    }
}

/// Makes `link` a name of the file `blob`, which is at `steps` from it.
fn link_to(blob: &Path, steps: &str, link: &Path) -> Result<()> {
    let failed = || format!("{}: cannot be linked to {}", link.display(), blob.display());
    let folder = link.parent().unwrap_or(link);
    fs::create_dir_all(folder).with_context(failed)?;
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(steps, link);
    // Elsewhere links need a privilege. A second name costs no space.
    #[cfg(not(unix))]
    let made = fs::hard_link(blob, link);
    // Another process may have made it.
    if made.is_err() && !link.exists() {
        made.with_context(failed)?;
    }
    #[cfg(not(unix))]
    let _ = steps;
    sync_folder(folder);
    Ok(())
}

/// Returns every file in and below a snapshot, with links that lead to one.
fn names_within(snapshot: &Path) -> BTreeSet<String> {
    let (mut names, mut open) = (BTreeSet::new(), vec![String::new()]);
    while let Some(part) = open.pop() {
        for entry in fs::read_dir(snapshot.join(&part)).into_iter().flatten().flatten() {
            let own = entry.file_name().to_string_lossy().into_owned();
            let name = if part.is_empty() { own } else { format!("{part}/{own}") };
            let path = entry.path();
            if path.is_file() {
                names.insert(name);
            } else if path.is_dir() && !path.is_symlink() {
                open.push(name);
            }
        }
    }
    names
}

/// Describes files, their size and their terms.
fn told_files(files: &[&Sibling], listing: &Listing) -> String {
    let size = |file: &&Sibling| file.lfs.as_ref().and_then(|large| large.size).or(file.size);
    let bytes: Option<u64> = files.iter().map(size).sum();
    let size = bytes.map_or_else(|| "of unknown size".into(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
    let licence = listing.tags.iter().find_map(|tag| tag.strip_prefix("license:"));
    let terms = licence.map_or_else(|| "its licence is on its page".into(), |licence| format!("licence {licence}"));
    let number = if files.len() == 1 { "1 file".into() } else { format!("{} files", files.len()) };
    format!("{number}, {size} ({terms})")
}

/// Returns a path as part of an address.
fn escaped(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Returns whether a token can be sent. A file may hold anything.
fn is_header(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
