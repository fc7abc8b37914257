//! The folder that an export is made in, beside its place.
use crate::table::cannot_write;
use crate::{DataError, Result};
use ra_core::{OutputFolder, is_unfinished};
use std::fs::{DirEntry, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use tempfile::TempDir;

/// A folder for tables that are not whole yet, gone with this value; the lock within says that its maker is at work.
pub(crate) struct SpillFolder {
    // Dropped first: not every system removes what is locked.
    _lock: File,
    folder: TempDir,
}

impl SpillFolder {
    /// Makes one within `into`, which one export at a time writes to. Those that killed exports left go: their marker
    /// says that they are ours, and their lock that nobody is at work.
    pub(crate) fn within(into: &Path) -> Result<Self> {
        let fail = |e| cannot_write(into, e);
        std::fs::create_dir_all(into).map_err(|e| match e.kind() {
            ErrorKind::NotADirectory => ra_core::Error::corrupt(into, "lies under a file; name another folder"),
            ErrorKind::AlreadyExists => {
                ra_core::Error::corrupt(into, "is a link that leads nowhere, or a file; name another folder")
            }
            _ => fail(e),
        })?;
        let folder = tempfile::Builder::new().prefix(SPILLED).tempdir_in(into).map_err(fail)?;
        // It gets its name when it is held, so that one which nobody holds is a leftover.
        let unnamed = folder.path().join(".ra-rec-tmp-lock");
        let lock = File::create(&unnamed).map_err(fail)?;
        // Without locks on this file system nobody can tell leftovers from work: they stay.
        lock.try_lock().ok();
        std::fs::rename(&unnamed, folder.path().join(LOCK)).map_err(fail)?;
        // The marker comes last and others are looked at afterwards, so that of two exports at least one sees the
        // other.
        OutputFolder::open(folder.path(), KIND)?.claim(&[])?;
        for entry in into.read_dir().map_err(fail)?.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let named =
                name.to_string_lossy().starts_with(SPILLED) && Some(name.as_os_str()) != folder.path().file_name();
            let is_ours = || OutputFolder::open(&path, KIND).is_ok_and(|folder| folder.is_ours());
            if !named || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if !is_ours() {
                remove_unmarked(&path);
                continue;
            }
            let Ok(other) = File::open(path.join(LOCK)) else { continue };
            match other.try_lock() {
                Ok(()) => {
                    drop(other);
                    clear(&path).map_err(fail)?;
                }
                Err(TryLockError::WouldBlock) => {
                    let problem = "another export writes here; wait for it, or name another folder";
                    return Err(DataError::corrupt(into, problem));
                }
                Err(TryLockError::Error(_)) => {}
            }
        }
        Ok(Self { _lock: lock, folder })
    }

    /// Leaves the folder where it is when this value goes.
    pub(crate) fn keep(&mut self) {
        self.folder.disable_cleanup(true);
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what exports write into such a folder, and the folders that stand empty then; what another has put there stays.
fn clear(folder: &Path) -> std::io::Result<()> {
    let is_written = |name: &str| {
        name == LOCK
            || name == ra_core::MARKER
            || is_unfinished(name.as_ref())
            || name.ends_with(".parquet")
            || ["log", "items0", "items1", "items2"].contains(&name)
            || name.bytes().all(|byte| byte.is_ascii_digit())
    };
    for entry in folder.read_dir()? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            clear(&entry.path())?;
        } else if kind.is_file() && is_written(&entry.file_name().to_string_lossy()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    // With something of another's in it the folder stays.
    let _ = std::fs::remove_dir(folder);
    Ok(())
}

/// Removes a folder whose maker was killed before it had its marker: there is nothing in it but an empty lock, which nobody
/// holds, and the marker that was never given its name. With anything else in it the folder stays.
fn remove_unmarked(folder: &Path) {
    let entries: Vec<_> = folder.read_dir().into_iter().flatten().flatten().collect();
    let is_lock = |entry: &DirEntry| entry.file_name() == LOCK && entry.metadata().is_ok_and(|found| found.len() == 0);
    let is_free = |entry: &DirEntry| File::open(entry.path()).is_ok_and(|lock| lock.try_lock().is_ok());
    if entries.iter().any(is_lock)
        && entries.iter().all(|entry| if is_lock(entry) { is_free(entry) } else { is_unfinished(&entry.file_name()) })
    {
        // What cannot be removed is in nobody's way.
        entries.iter().for_each(|entry| drop(std::fs::remove_file(entry.path())));
        let _ = std::fs::remove_dir(folder);
    }
}

/// Begins the name of such a folder.
const SPILLED: &str = ".ra-rec-spill-";

/// What its marker calls it.
const KIND: &str = "spill";

/// Held by its maker.
const LOCK: &str = "lock";
