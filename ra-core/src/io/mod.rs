//! Atomic files, folders that are known to be ours, and available memory. No tensors.
mod files;
mod memory;
mod output_folder;
mod safetensors_header;
mod text;

pub use files::{
    AtomicFile, Fingerprint, Fingerprinter, catch_panic, fingerprint, fingerprint_file, is_unfinished, lfs_pointer,
    lfs_pointer_error, read_bytes, read_json, write_atomic, write_json,
};
#[cfg(feature = "tensor")]
pub use memory::ensure_memory;
pub use memory::{available_mib, ensure_host_memory, peak_mib};
pub use output_folder::{MARKER, OutputFolder, nearest_existing, refuse_inputs, refuse_inputs_within};
pub use safetensors_header::{SafetensorsHeader, TensorHeader};
pub use text::{BYTE_ORDER_MARK, other_encoding, read_text};
