//! The trained models of a bundle as the start of another training.
use super::files::{BundleManifest, MANIFEST, MODEL};
use super::table;
use crate::store::RunFolder;
use anyhow::Result;
use ra_core::{Catalog, ItemId, fingerprint_file};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The checkpoints of a bundle, and the items that they know.
#[derive(Debug)]
pub(crate) struct Start {
    folder: RunFolder,
    identity: String,
    items: HashMap<String, ItemId>,
}

/// The checkpoint of an ID method, and the number of each item of a catalogue in it.
#[derive(Debug)]
pub(crate) struct StartOfIds<'a> {
    checkpoint: PathBuf,
    known: usize,
    items: &'a [Option<ItemId>],
}

impl Start {
    /// Opens a bundle after a check of every file.
    ///
    /// # Errors
    /// As [`BundleManifest::checked`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let manifest = BundleManifest::checked(path)?;
        let catalog = table::read(path, &manifest)?.0.catalog;
        let items = catalog.all().map(|item| (catalog.id(item).to_owned(), item)).collect();
        let identity = fingerprint_file(&path.join(MANIFEST))?.to_string();
        Ok(Self { folder: RunFolder::within(&path.join(MODEL))?, identity, items })
    }

    /// Returns the key of all that it holds.
    pub(crate) fn identity(&self) -> String {
        self.identity.clone()
    }

    /// Returns the number of each item of a catalogue in the bundle; nothing for one that it does not know.
    pub(crate) fn items(&self, catalog: &Catalog) -> Vec<Option<ItemId>> {
        catalog.all().map(|item| self.items.get(catalog.id(item)).copied()).collect()
    }

    /// Returns where the training of an ID method starts, for a catalogue with these [`items`](Self::items); nothing if the
    /// bundle does not hold the method.
    pub(crate) fn id_method<'a>(&self, name: &str, items: &'a [Option<ItemId>]) -> Option<StartOfIds<'a>> {
        let checkpoint = self.folder.id_checkpoint(name);
        checkpoint.exists().then_some(StartOfIds { checkpoint, known: self.items.len(), items })
    }

    /// Returns the checkpoint of the towers of a row, if the bundle holds it.
    pub(crate) fn towers(&self, row: &str) -> Option<PathBuf> {
        Some(self.folder.towers_checkpoint(row)).filter(|path| path.exists())
    }
}

impl StartOfIds<'_> {
    pub(crate) fn borrowed(&self) -> ra_idmodels::Start<'_> {
        let Self { checkpoint, known, items } = self;
        ra_idmodels::Start { checkpoint, known: *known, items }
    }
}
