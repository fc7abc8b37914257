//! One process at a time writes into a folder.
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

const LOCK: &str = ".ra-rec.lock";

/// Whether `folder` holds anything but a lock and what a killed write left.
pub(crate) fn holds_files(folder: &Path) -> bool {
    let counts = |name: &OsStr| name != LOCK && !ra_core::is_unfinished(name);
    folder.read_dir().is_ok_and(|mut all| all.any(|entry| entry.is_ok_and(|entry| counts(&entry.file_name()))))
}

/// Takes the folder for this process until the file is dropped; the system lets go of it however the process ends.
///
/// # Errors
/// Names the folder, and the process that has it.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let place = folder.join(LOCK);
    let cannot = || format!("{}: cannot be written (is the disk full or the folder read-only?)", place.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(&place).with_context(cannot)?;
    let mut owner = String::new();
    let read = (&file).take(64).read_to_string(&mut owner);
    if read.is_err() || !owner.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!("{}: is no lock of ours, which holds the number of a process; move it away", place.display());
    }
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).with_context(cannot)?;
            std::io::Seek::rewind(&mut file).with_context(cannot)?;
            write!(file, "{}", std::process::id()).with_context(cannot)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            bail!("{}: process {owner} is running here; wait for it, or name another folder by --out", folder.display())
        }
        // A file system without locks: as it was before there were any.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}
