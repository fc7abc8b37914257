//! The temporary folder of an export, beside its final place.
use crate::table::cannot_write;
use crate::{DataError, Result};
use ra_core::{OutputFolder, is_unfinished};
use std::fs::{DirEntry, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use tempfile::TempDir;

/// A folder for unfinished tables, removed with this value. The lock in it shows that its maker is still running.
pub(crate) struct SpillFolder {
    // Dropped first, because some systems cannot remove a locked file.
    _lock: File,
    folder: TempDir,
}

impl SpillFolder {
    /// Creates a folder within `into`, which only one export at a time may write to. Removes leftovers of killed
    /// exports: their marker shows that they are ours, and their free lock that nobody is working in them.
    pub(crate) fn within(into: &Path) -> Result<Self> {
        let fail = |e| cannot_write(into, e);
        std::fs::create_dir_all(into).map_err(|e| match e.kind() {
            ErrorKind::NotADirectory => ra_core::Error::corrupt(into, "is inside a file; name another folder"),
            ErrorKind::AlreadyExists => {
                ra_core::Error::corrupt(into, "is a broken link or a file; name another folder")
            }
            _ => fail(e),
        })?;
        let folder = tempfile::Builder::new().prefix(SPILLED).tempdir_in(into).map_err(fail)?;
        // The lock gets its final name only once it is held, so a lock that nobody holds is a leftover.
        let unnamed = folder.path().join(".ra-rec-tmp-lock");
        let lock = File::create(&unnamed).map_err(fail)?;
        // Without locks on this file system, leftovers cannot be told apart from work in progress, so they stay.
        lock.try_lock().ok();
        std::fs::rename(&unnamed, folder.path().join(LOCK)).map_err(fail)?;
        // The marker comes last and other folders are examined afterwards, so that of two simultaneous exports at least
        // one sees the other.
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

    /// Leaves the folder in place when this value is dropped, and for good: without its marker, no later export takes it for
    /// a leftover.
    pub(crate) fn keep(&mut self) {
        self.folder.disable_cleanup(true);
        // A marker that cannot be removed is one that no later export can remove either.
        let _ = std::fs::remove_file(self.folder.path().join(ra_core::MARKER));
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what exports write into such a folder, and the folders that are then empty; anybody else's files stay.
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
    // If the folder holds anybody else's files, it stays.
    let _ = std::fs::remove_dir(folder);
    Ok(())
}

/// Removes a folder whose maker was killed before writing its marker: it holds only an empty lock that nobody holds,
/// and the marker that was never renamed. With anything else in it, the folder stays.
fn remove_unmarked(folder: &Path) {
    let entries: Vec<_> = folder.read_dir().into_iter().flatten().flatten().collect();
    let is_lock = |entry: &DirEntry| entry.file_name() == LOCK && entry.metadata().is_ok_and(|found| found.len() == 0);
    let is_free = |entry: &DirEntry| File::open(entry.path()).is_ok_and(|lock| lock.try_lock().is_ok());
    if entries.iter().any(is_lock)
        && entries.iter().all(|entry| if is_lock(entry) { is_free(entry) } else { is_unfinished(&entry.file_name()) })
    {
        // Files that cannot be removed do no harm.
        entries.iter().for_each(|entry| drop(std::fs::remove_file(entry.path())));
        let _ = std::fs::remove_dir(folder);
    }
}

/// The prefix of the names of such folders.
const SPILLED: &str = ".ra-rec-spill-";

/// The name of the kind of folder in its marker.
const KIND: &str = "spill";

/// The file that the maker locks.
const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_is_removed_and_what_was_kept_stays() {
        let into = tempfile::tempdir().unwrap();
        let fill = |spill: &SpillFolder| std::fs::write(spill.path().join("old.parquet"), "theirs").unwrap();
        let mut kept = SpillFolder::within(into.path()).unwrap();
        fill(&kept);
        kept.keep();
        let path = kept.path().to_owned();
        drop(kept);
        let mut killed = SpillFolder::within(into.path()).unwrap();
        fill(&killed);
        // A killed process removes nothing, and its lock is free.
        killed.folder.disable_cleanup(true);
        let leftover = killed.path().to_owned();
        drop(killed);
        assert!(leftover.join("old.parquet").exists());
        drop(SpillFolder::within(into.path()).unwrap());
        assert!(!leftover.exists(), "what a killed export left is removed");
        assert_eq!(std::fs::read_to_string(path.join("old.parquet")).unwrap(), "theirs");
    }

    #[test]
    fn two_exports_do_not_write_into_one_folder() {
        let into = tempfile::tempdir().unwrap();
        let first = SpillFolder::within(into.path()).unwrap();
        let told = SpillFolder::within(into.path()).map(drop).unwrap_err().to_string();
        assert!(told.contains("another export writes here"), "{told}");
        drop(first);
        SpillFolder::within(into.path()).unwrap();
        assert_eq!(into.path().read_dir().unwrap().count(), 0);
    }
}
