//! The small files of a model folder, as people save them: JSON or text, in UTF-8 with or without a byte order mark.
use ra_core::{Error, Result, lfs_pointer, lfs_pointer_error, read_bytes};
use serde::de::DeserializeOwned;
use std::path::Path;

/// The UTF-8 bytes of a text file, without its byte order mark.
///
/// # Errors
/// Names the path; a Git LFS pointer and UTF-16 are called what they are.
pub(crate) fn read_text(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = read_bytes(path)?;
    if lfs_pointer(&bytes) {
        return Err(lfs_pointer_error(path));
    }
    if matches!(bytes[..], [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{' | b'[', 0, ..] | [0, b'{' | b'[', ..]) {
        return Err(Error::corrupt(path, "UTF-16 text; save it as UTF-8"));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

/// A JSON file.
///
/// # Errors
/// As [`read_text`], or the line and column.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = read_text(path)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(path, format!("not the JSON expected: {e}")))
}

/// A JSON file that need not be there.
///
/// # Errors
/// As [`read_json`].
pub(crate) fn read_optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if path.is_file() { read_json(path).map(Some) } else { Ok(None) }
}
