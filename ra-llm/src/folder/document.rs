//! The small files of a model folder, as people save them: JSON or text, in UTF-8 with or without a byte order mark.
use ra_core::{Error, Result, read_text};
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads a JSON file.
///
/// # Errors
/// Those of [`read_text`], or the line and column of invalid JSON.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = read_text(path)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(path, format!("not the expected JSON: {e}")))
}

/// Reads a JSON file, or returns `None` if there is none.
///
/// # Errors
/// Those of [`read_json`].
pub(crate) fn read_optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if path.is_file() { read_json(path).map(Some) } else { Ok(None) }
}
