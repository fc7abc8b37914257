//! Data sets from their public homes: downloaded, checked as far as checksums are published, unpacked or turned into
//! tables.
use super::transfer::{Refused, Remote, Sum, agent, text};
use super::wheel::Wheel;
use super::{DOWNLOADS, Entry, KIND, Origin, SOURCE};
use crate::terminal::program;
use anyhow::{Context, Result};
use ra_core::OutputFolder;
use ra_data::{DataConfig, TitleParts};
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use ureq::Agent;

/// The files of a data set at its public home.
#[derive(Debug, Clone)]
pub(super) struct Web {
    pub(super) files: Vec<Published>,
    pub(super) make: Make,
    /// The size of the download in words, as its home says.
    pub(super) size: &'static str,
    /// Where a person finds the files.
    pub(super) home: String,
}

/// A published file.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) url: String,
    /// Whether a file `URL.md5` stands beside it.
    pub(super) has_md5: bool,
}

/// What becomes of the files.
#[derive(Debug, Clone)]
pub(super) enum Make {
    /// A zip file; its needed members stay as they are.
    Members(Wheel),
    /// Reviews and metadata, which become tables of interactions and items. A title is made of these columns, or of the
    /// usual one.
    Tables(&'static [&'static str]),
}

/// The tables that are made, by the names that a user may also give them.
const TABLES: [&str; 2] = super::entries::AMAZON_FILES;

/// The names under which an export writes them.
const EXPORTED: [&str; 2] = ["interactions.parquet", "items.parquet"];

/// A file as it came.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    url: String,
    bytes: u64,
    sha256: String,
    /// The published checksum that it was compared with; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    md5: String,
}

impl Web {
    /// Returns the files of the data set: the log and the items.
    pub(super) fn files(&self) -> &[&'static str] {
        match &self.make {
            Make::Members(zip) => zip.files,
            Make::Tables(_) => &TABLES,
        }
    }

    /// Downloads the files of `entry` into `downloads`, and makes the new folder `ready` of them.
    pub(super) fn bring(&self, entry: &Entry, downloads: &Path, ready: &Path) -> Result<Origin> {
        let agent = agent();
        let names: Vec<String> = self.files.iter().map(|file| file.name().to_owned()).collect();
        let unfinished = names.iter().flat_map(|name| Remote::files(name));
        let claimed: Vec<String> = unfinished.collect();
        OutputFolder::open(downloads, DOWNLOADS)?.claim(&claimed.iter().map(String::as_str).collect::<Vec<_>>())?;
        let seen = self.files.iter().map(|file| file.download(&agent, downloads)).collect::<Result<Vec<_>>>()?;
        ra_core::point(format_args!("downloaded {}", entry.name));
        let paths: Vec<PathBuf> = names.iter().map(|name| downloads.join(name)).collect();
        match &self.make {
            Make::Members(zip) => {
                OutputFolder::open(ready, KIND)?.claim(&[zip.files, zip.extras, &[SOURCE]].concat())?;
                let told = || format!("{}: remove it if it is no zip file, and try again", paths[0].display());
                zip.unpack(&paths[0], ready).with_context(told)?;
            }
            Make::Tables(titles) => self.tables(entry, [&paths[0], &paths[1]], titles, ready)?,
        }
        let (package, version, sha256) = Default::default();
        Ok(Origin {
            name: entry.name.to_string(),
            package,
            version,
            sha256,
            files: seen,
            terms: entry.terms.to_owned(),
        })
    }

    /// Makes the tables of reviews and metadata, as the command `data export` does.
    fn tables(&self, entry: &Entry, [reviews, metadata]: [&Path; 2], titles: &[&str], ready: &Path) -> Result<()> {
        tell!("{}: making tables of reviews and metadata", entry.name);
        let mut config =
            DataConfig { interactions: Some(reviews.into()), items: Some(metadata.into()), ..DataConfig::default() };
        if !titles.is_empty() {
            let titles = titles.iter().map(|title| (*title).to_owned()).collect();
            config.columns.title = Some(TitleParts::Several(titles));
        }
        let made = ready.with_extension("made");
        ra_data::to_parquet(&ra_data::prepare(&entry.name, &config)?, &made)?;
        OutputFolder::open(ready, KIND)?.claim(&[&EXPORTED[..], &[SOURCE]].concat())?;
        for name in EXPORTED {
            fs::rename(made.join(name), ready.join(name)).with_context(|| ready.display().to_string())?;
        }
        Ok(())
    }

    /// Returns how a person gets the data set without this program.
    pub(super) fn by_hand(&self, entry: &Entry) -> String {
        let (home, name, program) = (&self.home, &entry.name, program());
        match &self.make {
            Make::Members(zip) => {
                format!("get {home} and put {} into data/{name}/ (also as .zst)", zip.files.join(" and "))
            }
            Make::Tables(titles) => {
                let set = match titles {
                    [] => String::new(),
                    titles => format!(" --set 'columns.title=[\"{}\"]'", titles.join("\", \"")),
                };
                format!(
                    "get {home}. Then `{program} data export REVIEWS --items METADATA{set} --out data/{name}`, \
                     or write data/{name}/interactions.tsv with columns user, item, pos (the order within the user) \
                     and data/{name}/items.tsv with item, title (also as .zst), \
                     or pass `--set data.interactions=PATH --set data.items=PATH`"
                )
            }
        }
    }
}

impl Published {
    /// Returns the last part of the address.
    fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }

    fn download(&self, agent: &Agent, into: &Path) -> Result<Seen> {
        let (name, to) = (self.name().to_owned(), into.join(self.name()));
        let md5 = if self.has_md5 { self.md5(agent)? } else { None };
        if md5.is_none() {
            tell!("{name}: no checksum is published; the one of the file that comes is recorded in {SOURCE}");
        }
        let sum = md5.clone().map(Sum::Md5);
        let remote = Remote { url: self.url.clone(), name, token: None, bytes: None, sum };
        let sha256 = remote.download(agent, &to)?;
        let bytes = fs::metadata(&to)?.len();
        Ok(Seen { url: self.url.clone(), bytes, sha256, md5: md5.unwrap_or_default() })
    }

    /// Returns the published checksum, if there is one.
    fn md5(&self, agent: &Agent) -> Result<Option<String>> {
        let found = match text(agent, &format!("{}.md5", self.url), None) {
            Ok(found) => found,
            Err(error) => {
                let is_absent =
                    error.downcast_ref::<Refused>().is_some_and(|it| [403, 404, 410].contains(&it.status()));
                return if is_absent { Ok(None) } else { Err(error) };
            }
        };
        // `MD5 (a.zip) = SUM` or `SUM  a.zip`.
        let is_sum = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(found.split_whitespace().find(is_sum).map(str::to_lowercase))
    }
}

impl Display for Web {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let checked = match self.files.iter().all(|file| file.has_md5) {
            true => "checked by the published md5",
            false => "no checksum is known",
        };
        let urls: Vec<&str> = self.files.iter().map(|file| file.url.as_str()).collect();
        write!(f, "{} ({checked}; not yet tried on the real files)", urls.join(" and "))
    }
}
