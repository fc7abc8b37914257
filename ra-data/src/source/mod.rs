//! Finds and identifies files: by folder or pattern, first bytes and compression. Nothing here trusts a name or an
//! extension if the bytes say otherwise.
pub(crate) mod file;
pub(crate) mod first_bytes;
pub(crate) mod folder;
pub(crate) mod lines;
pub(crate) mod read;
mod unpack;
