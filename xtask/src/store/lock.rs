//! Output folders: one process at a time writes into a folder, and only if its contents are ours.
use anyhow::{Context, Result, bail};
use ra_core::{MARKER, OutputFolder};
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

const LOCK: &str = ".ra-rec.lock";

/// Checks that a folder for output of this `kind` holds no files of others and that no other process writes into it.
/// Creates nothing; [`take`] provides the lasting lock.
///
/// # Errors
/// Names the folder.
pub(crate) fn check(folder: &Path, kind: &str) -> Result<()> {
    check_files(folder, kind)?;
    if folder.join(LOCK).exists() {
        lock(folder)?;
    }
    Ok(())
}

/// Takes the folder for output of this `kind` until the lock is dropped.
///
/// # Errors
/// As [`check`].
pub(crate) fn take(folder: &Path, kind: &str) -> Result<(OutputFolder, File)> {
    check_files(folder, kind)?;
    let lock = lock(folder)?;
    Ok((OutputFolder::open(folder, kind)?, lock))
}

/// Removes the marker and the lock of a folder that holds nothing else of ours, and the folder if it is empty then.
pub(crate) fn leave(folder: &Path) {
    for name in [MARKER, LOCK] {
        std::fs::remove_file(folder.join(name)).ok();
    }
    std::fs::remove_dir(folder).ok();
}

fn check_files(folder: &Path, kind: &str) -> Result<()> {
    if !OutputFolder::open(folder, kind)?.is_ours() && holds_files(folder) {
        bail!("{}: holds files but no {kind} (there is no {MARKER}); name an empty folder", folder.display());
    }
    Ok(())
}

/// Returns whether `folder` holds anything other than a lock and what a killed write left.
fn holds_files(folder: &Path) -> bool {
    let counts = |name: &OsStr| name != LOCK && !ra_core::is_unfinished(name);
    folder.read_dir().is_ok_and(|mut all| all.any(|entry| entry.is_ok_and(|entry| counts(&entry.file_name()))))
}

/// Locks the folder for this process until the file is dropped. The system releases the lock however the process ends.
///
/// # Errors
/// Names the folder and the process that holds it.
fn lock(folder: &Path) -> Result<File> {
    let place = folder.join(LOCK);
    let cannot = || format!("{}: cannot be written (is the disk full or the folder read-only?)", place.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(&place).with_context(cannot)?;
    let mut owner = String::new();
    let read = (&file).take(64).read_to_string(&mut owner);
    if read.is_err() || !owner.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!("{}: is not a lock of ours, which holds the number of a process; move it away", place.display());
    }
    match file.try_lock() {
        // Whoever held it may have removed it since it was opened, and another may hold a new one.
        Ok(()) if !is_same_file(&file, &place) => lock(folder),
        Ok(()) => {
            file.set_len(0).with_context(cannot)?;
            std::io::Seek::rewind(&mut file).with_context(cannot)?;
            write!(file, "{}", std::process::id()).with_context(cannot)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            // It may not have written its number yet.
            let owner = if owner.is_empty() { "another process".into() } else { format!("process {owner}") };
            bail!("{}: {owner} is running here; wait for it, or name another folder (--out, --to)", folder.display())
        }
        // The file system has no locks, so the folder is used without one.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Whether an open file is still the one that has this name.
pub(crate) fn is_same_file(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |about: std::io::Result<std::fs::Metadata>| about.ok().map(|about| (about.dev(), about.ino()));
        let own = place(file.metadata());
        own.is_some() && own == place(std::fs::metadata(path))
    }
    #[cfg(not(unix))]
    {
        // An open file cannot be removed there.
        let _ = file;
        path.exists()
    }
}
