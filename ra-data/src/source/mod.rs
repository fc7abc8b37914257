//! What a file is: its first bytes, its packing, the folders and patterns that it is found by. This room believes no
//! name and no ending where the bytes say otherwise.
pub(crate) mod file;
pub(crate) mod first_bytes;
pub(crate) mod folder;
pub(crate) mod read;
mod unpack;
