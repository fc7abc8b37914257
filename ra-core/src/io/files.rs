//! Atomic file writes, and fingerprints of content.
use crate::{Error, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Reads a whole file.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(path, "cannot read", e))
}

/// Writes `bytes` to `path` so that a reader sees either the old or the new content, never a part: it fills a temporary
/// file in the same folder, flushes it to disk and renames it.
///
/// # Errors
/// [`Error::Io`] with the path; the previous content is untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(|e| cannot_write(path, e))?;
    file.finish()
}

/// A file that is written in pieces and appears as a whole: [`write_atomic`] for content that does not fit into memory. If
/// it is dropped before [`finish`](Self::finish), nothing is left of it.
#[derive(Debug)]
pub struct AtomicFile {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl AtomicFile {
    /// Starts a file that will be `path`. Its folder is made if there is none.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn create(path: &Path) -> Result<Self> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = std::fs::create_dir_all(folder).and_then(|()| temporary(folder));
        Ok(Self { file: made.map_err(|e| cannot_write(path, e))?, path: path.into() })
    }

    /// Flushes the file to disk and puts it in its place.
    ///
    /// # Errors
    /// [`Error::Io`] with the path; the previous content is untouched.
    pub fn finish(self) -> Result<()> {
        let Self { file, path } = self;
        file.as_file().sync_all().map_err(|e| cannot_write(&path, e))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        crate::point(format_args!("rename {name}"));
        file.persist(&path).map_err(|e| cannot_write(&path, e.error))?;
        crate::point(format_args!("renamed {name}"));
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::io(path, "cannot write (is the disk full or the folder read-only?)", error)
}

/// Creates a temporary file with the permissions of any new file. The default, owner-only, would persist after the
/// rename.
#[cfg(unix)]
fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(UNFINISHED).permissions(mode).tempfile_in(folder)
}

#[cfg(not(unix))]
fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)
}

/// The prefix of the names of temporary files that [`write_atomic`] has not yet renamed.
const UNFINISHED: &str = ".ra-rec-tmp-";

/// Whether a file of this name was left behind by an interrupted [`write_atomic`].
pub fn is_unfinished(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(UNFINISHED)
}

/// Whether a file that starts with `bytes` is a Git LFS pointer, which a clone contains instead of a large file.
pub fn lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

/// The error for a file that is a [Git LFS pointer](lfs_pointer).
pub fn lfs_pointer_error(path: &Path) -> Error {
    Error::corrupt(path, "is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`")
}

/// Runs `read` and turns a panic into an error that names `path`: readers in other crates panic on some damaged files.
///
/// # Errors
/// Those of `read`, and [`Error::Corrupt`] if it panics.
pub fn catch_panic<T, E: From<Error>>(path: &Path, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // Nothing observes state that the panic left half-updated.
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(Error::corrupt(path, "damaged: its reader failed; download it again").into()))
}

/// Reads a JSON file.
///
/// # Errors
/// [`Error::Io`], or [`Error::Corrupt`] with the line and column.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read_bytes(path)?).map_err(|e| Error::corrupt(path, format!("not the expected JSON: {e}")))
}

/// Writes pretty-printed JSON with [`write_atomic`].
///
/// # Errors
/// Those of [`write_atomic`].
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::corrupt(path, format!("cannot be written as JSON: {e}")))?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}

/// The first 128 bits of a SHA-256 in hexadecimal; identifies the inputs that something was made from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    fn of(hash: Sha256) -> Self {
        Self(hash.finalize()[..16].iter().map(|b| format!("{b:02x}")).collect())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fingerprints `parts`, each with its length, so that different splits of the same bytes differ.
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
    let mut hash = Fingerprinter::default();
    for part in parts {
        hash.part(part.len());
        hash.bytes(part);
    }
    hash.finish()
}

/// Computes [`fingerprint`] for parts that are never in memory as a whole.
#[derive(Debug, Default)]
pub struct Fingerprinter(Sha256);

impl Fingerprinter {
    /// Starts a part of `length` bytes.
    pub fn part(&mut self, length: usize) {
        self.0.update((length as u64).to_le_bytes());
    }

    /// Adds bytes to the current part.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the fingerprint of all parts.
    pub fn finish(self) -> Fingerprint {
        Fingerprint::of(self.0)
    }
}

/// Fingerprints a file of any size without reading it into memory; equals [`fingerprint`] of its content as one part.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn fingerprint_file(path: &Path) -> Result<Fingerprint> {
    let fail = |e| Error::io(path, "cannot read", e);
    let mut file = std::fs::File::open(path).map_err(fail)?;
    let mut hash = Sha256::new();
    hash.update(file.metadata().map_err(fail)?.len().to_le_bytes());
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part).map_err(fail)? {
            0 => return Ok(Fingerprint::of(hash)),
            n => hash.update(&part[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomic(&path, b"old").unwrap();
        let blocked = dir.path().join("a.json/b.json");
        assert!(write_atomic(&blocked, b"new").unwrap_err().to_string().contains("b.json"));
        assert_eq!(read_bytes(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_has_the_fingerprint_of_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for size in [0, 3, 3 << 20] {
            let bytes: Vec<u8> = (0..size).map(|i| i as u8).collect();
            write_atomic(&path, &bytes).unwrap();
            assert_eq!(fingerprint_file(&path).unwrap(), fingerprint([&bytes[..]]));
        }
    }

    #[test]
    fn a_pointer_is_told_from_a_file() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
        assert!(lfs_pointer(pointer) && !lfs_pointer(b"version,item\n") && !lfs_pointer(b""));
        assert!(lfs_pointer_error(Path::new("a.bin")).to_string().contains("a.bin: is a Git LFS pointer"));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(fingerprint([&b"ab"[..], b"c"]), fingerprint([&b"a"[..], b"bc"]));
    }
}
