//! The trained models of a bundle as the start of another training.
use super::export;
use super::files::{BundleManifest, ITEMS, MANIFEST, MODEL};
use super::table;
use crate::store::RunFolder;
use anyhow::Result;
use ra_core::{Catalog, ItemId, fingerprint_file};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The checkpoints of a bundle, and the items that they know.
#[derive(Debug)]
pub(crate) struct Start {
    path: PathBuf,
    folder: RunFolder,
    manifest: BundleManifest,
    identity: String,
    items: HashMap<String, ItemId>,
}

impl Start {
    /// Opens a bundle; what is read of it is checked.
    ///
    /// # Errors
    /// As [`BundleManifest::checked`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        export::finish(path)?;
        let manifest = BundleManifest::read(path)?;
        manifest.check(path, std::iter::once(ITEMS))?;
        let (catalog, _) = table::catalog(path, &manifest)?;
        let items = catalog.all().map(|item| (catalog.id(item).to_owned(), item)).collect();
        let (identity, path) = (fingerprint_file(&path.join(MANIFEST))?.to_string(), path.to_path_buf());
        Ok(Self { folder: RunFolder::within(&path.join(MODEL))?, path, manifest, identity, items })
    }

    /// Returns the key of all that it holds.
    pub(crate) fn identity(&self) -> String {
        self.identity.clone()
    }

    /// Returns the number of each item of a catalogue in the bundle; nothing for one that it does not know.
    pub(crate) fn items(&self, catalog: &Catalog) -> Vec<Option<ItemId>> {
        catalog.all().map(|item| self.items.get(catalog.id(item)).copied()).collect()
    }

    /// Returns the number of items that its checkpoints know.
    pub(crate) fn known(&self) -> usize {
        self.items.len()
    }

    /// Returns the checkpoint of an ID method, if the bundle holds it.
    ///
    /// # Errors
    /// If it is not the one that was exported.
    pub(crate) fn id_method(&self, name: &str) -> Result<Option<PathBuf>> {
        self.checked(self.folder.id_checkpoint(name))
    }

    /// Returns the checkpoint of the towers of a row, if the bundle holds it.
    ///
    /// # Errors
    /// As [`id_method`](Self::id_method).
    pub(crate) fn towers(&self, row: &str) -> Result<Option<PathBuf>> {
        self.checked(self.folder.towers_checkpoint(row))
    }

    fn checked(&self, file: PathBuf) -> Result<Option<PathBuf>> {
        let name = file.strip_prefix(&self.path)?.to_string_lossy().into_owned();
        if !self.manifest.files.contains_key(&name) {
            return Ok(None);
        }
        self.manifest.check(&self.path, std::iter::once(name.as_str()))?;
        Ok(Some(file))
    }
}
