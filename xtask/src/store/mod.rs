//! The output of runs: their folders, manifests and logs.
mod folder;
pub(crate) mod lock;
pub(crate) mod log;
mod manifest;
pub(crate) mod shared;
mod stop;
mod tensorboard;

pub use folder::Earlier;

pub(crate) use folder::{
    BlendManifest, GroundManifest, IdManifest, KIND, RunFolder, TowersManifest, id_fingerprint, read_users,
};
pub(crate) use manifest::{Chosen, Manifest, Pin, imports, inputs, start};

use anyhow::{Context, Result};
use log::Log;
use ra_eval::Report;
use shared::Shared;
use std::cell::OnceCell;
use std::fmt;
use std::path::PathBuf;

/// What a run needs to know about the suite, or other output of several runs, that it belongs to.
#[derive(Debug)]
pub(crate) struct Member {
    /// The folder of the suite, in which its runs share ID methods.
    pub(crate) suite: PathBuf,
    /// The kind of that folder in its marker.
    pub(crate) kind: &'static str,
    /// Whether the suite has already finished this run.
    pub(crate) done: bool,
}

/// The output of a run and what it finds there of its own. It is opened once the inputs of the run are known.
pub(crate) struct Store {
    path: PathBuf,
    earlier: Earlier,
    /// The suite that the run belongs to.
    member: Option<Member>,
    open: OnceCell<(RunFolder, Log)>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).field("earlier", &self.earlier).finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn new(path: PathBuf, earlier: Earlier, member: Option<Member>) -> Self {
        Self { path, earlier, member, open: OnceCell::new() }
    }

    /// Returns the report of the run of `manifest` if the suite has already finished it.
    pub(crate) fn done(&self, manifest: &Manifest) -> Result<Option<Report>> {
        let is_done = self.member.as_ref().is_some_and(|member| member.done);
        let found = is_done && folder::is_finished(&self.path, manifest)?;
        Ok(found.then(|| Report::read(&self.path)).transpose()?)
    }

    /// Returns the manifest of the run that is resumed; nothing if there is none that can be read.
    pub(crate) fn resumed(&self) -> Option<Manifest> {
        let is_resumed = self.earlier == Earlier::Resumed;
        is_resumed.then(|| Manifest::read(&self.path.join("manifest.json")).ok()).flatten()
    }

    /// Takes the folder for the run of `manifest`, and starts its log.
    ///
    /// # Errors
    /// As [`RunFolder::open`].
    pub(crate) fn open(&self, manifest: &Manifest) -> Result<()> {
        let folder = RunFolder::open(&self.path, manifest, self.earlier)?;
        let log = Log::open(&folder.file("log.jsonl"), &folder.curves()?)?;
        self.open.set((folder, log)).ok().context("a context serves one run: make another one for the next")
    }

    /// Returns the folder of the run.
    pub(crate) fn folder(&self) -> Result<&RunFolder> {
        Ok(&self.opened()?.0)
    }

    /// Records that `part` begins to train.
    pub(crate) fn begin(&self, part: &str) -> Result<()> {
        self.opened()?.1.begin(part);
        Ok(())
    }

    /// Returns where the runs of the suite share the ID method with this `key`; nothing outside a suite.
    pub(crate) fn shared(&self, key: impl FnOnce() -> String) -> Option<Shared> {
        self.member.as_ref().map(|member| Shared { suite: member.suite.clone(), kind: member.kind, key: key() })
    }

    fn opened(&self) -> Result<&(RunFolder, Log)> {
        self.open.get().context("the run folder is not open: stages::open comes after the data and the language model")
    }
}
