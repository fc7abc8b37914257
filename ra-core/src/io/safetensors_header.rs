//! The header of a safetensors file: its tensors and their places. The format's own reader needs the whole file in
//! memory; this one reads no tensor and trusts a length only as far as the file is long.
use super::files::{lfs_pointer, lfs_pointer_error};
use crate::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The longest header allowed, as in the format's own reader.
const MAX_HEADER: u64 = 100_000_000;

/// The header of a safetensors file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetensorsHeader {
    /// The tensors by name.
    pub tensors: BTreeMap<String, TensorHeader>,
    /// The metadata that the file's writer added.
    pub notes: BTreeMap<String, String>,
}

/// The header of one tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorHeader {
    /// The type of its numbers, which are little-endian.
    pub dtype: Dtype,
    /// Its shape; the numbers are row-major.
    pub shape: Vec<usize>,
    /// The position of its first byte in the file.
    pub offset: u64,
    /// Its size in bytes, as its shape and type require.
    pub bytes: u64,
}

impl SafetensorsHeader {
    /// Reads the header of the file at `path` and checks that the file contains all of its tensors.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Corrupt`] with what the file is or lacks, and what to do.
    pub fn read(path: &Path) -> Result<Self> {
        let corrupt = |problem: String| Error::corrupt(path, problem);
        let cut =
            |there: u64, whole: String| corrupt(format!("only {there} of {whole} bytes are there; download it again"));
        let fail = |e| Error::io(path, "cannot read", e);
        let mut file = File::open(path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let mut start = Vec::new();
        Read::by_ref(&mut file).take(40).read_to_end(&mut start).map_err(fail)?;
        if lfs_pointer(&start) {
            return Err(lfs_pointer_error(path));
        }
        let Some((size, _)) = start.split_first_chunk::<8>() else {
            return Err(cut(length, "some".into()));
        };
        let size = u64::from_le_bytes(*size);
        if size > MAX_HEADER {
            let seems = match start[..] {
                [b'P', b'K', ..] | [0x80, ..] => ": it is a renamed PyTorch pickle",
                [b'<', ..] => ": it is a web page; download the file itself",
                _ => "",
            };
            return Err(corrupt(format!("not a safetensors file{seems}")));
        }
        if size > length.saturating_sub(8) {
            return Err(cut(length, format!("more than {}", size + 8)));
        }
        let mut bytes = vec![0; size as usize];
        file.seek(SeekFrom::Start(8)).map_err(fail)?;
        file.read_exact(&mut bytes).map_err(fail)?;
        let header: Metadata =
            serde_json::from_slice(&bytes).map_err(|e| corrupt(format!("damaged safetensors file: {e}")))?;
        let whole = 8 + size + header.data_len() as u64;
        if length < whole {
            return Err(cut(length, whole.to_string()));
        }
        if length > whole {
            return Err(corrupt(format!("its tensors end at byte {whole}, the file at {length}; download it again")));
        }
        let tensors = header.tensors().into_iter().map(|(name, info)| {
            let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
            let (dtype, shape) = (info.dtype, info.shape.clone());
            (name, TensorHeader { dtype, shape, offset: 8 + size + from, bytes: to - from })
        });
        let notes = header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
        Ok(Self { tensors: tensors.collect(), notes: notes.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    #[test]
    fn a_header_says_where_tensors_lie_and_a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let (one, two) = ([1u8, 2, 3, 4], [5u8, 6]);
        let views = [
            ("a", TensorView::new(Dtype::F32, vec![1, 1], &one).unwrap()),
            ("b", TensorView::new(Dtype::F16, vec![1], &two).unwrap()),
        ];
        let notes = std::collections::HashMap::from([("made by".to_string(), "a test".to_string())]);
        let bytes = safetensors::serialize(views, Some(notes)).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let header = SafetensorsHeader::read(&path).unwrap();
        assert_eq!(header.notes["made by"], "a test");
        for (name, dtype, shape, content) in [("a", Dtype::F32, vec![1, 1], &one[..]), ("b", Dtype::F16, vec![1], &two)]
        {
            let TensorHeader { offset, bytes: count, .. } = header.tensors[name];
            assert_eq!((header.tensors[name].dtype, &header.tensors[name].shape), (dtype, &shape));
            assert_eq!(&bytes[offset as usize..(offset + count) as usize], content);
        }
        let refused = |bytes: &[u8], word: &str| {
            std::fs::write(&path, bytes).unwrap();
            let told = SafetensorsHeader::read(&path).unwrap_err().to_string();
            assert!(told.contains("model.safetensors") && told.contains(word), "{told}");
        };
        for end in 0..bytes.len() {
            refused(&bytes[..end], "download it again");
        }
        refused(&[&bytes[..], b"more"].concat(), "download it again");
        refused(b"PK\x03\x04 and so on, a zip of a pickle", "PyTorch pickle");
        refused(b"<!DOCTYPE html><html></html>", "a web page");
    }
}
