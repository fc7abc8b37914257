//! Which files hold the weights of a folder, and what the head of a safetensors file says lies where.
use crate::document::read_json;
use crate::format::Format;
use crate::weights::{Entry, Order};
use crate::{LlmError, Result};
use ra_core::{Error, lfs_pointer, lfs_pointer_error};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest header of a safetensors file, as in the format's own reader.
const MOST_HEADER: u64 = 100_000_000;

/// `model.safetensors`, or the index of shards and the shards that it names.
///
/// # Errors
/// Says what the folder holds instead of weights that can be read, and what to do.
pub(crate) fn locate(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>)> {
    let index = folder.join("model.safetensors.index.json");
    let whole = folder.join("model.safetensors");
    if whole.is_file() {
        return Ok((whole.clone(), vec![whole]));
    }
    if index.is_file() {
        let shards = shards(&index)?;
        let path = if let [one] = &shards[..] { one.clone() } else { index };
        return Ok((path, shards));
    }
    Err(Error::corrupt(whole, format!("it is not there{}", held_instead(folder))).into())
}

/// What a folder without `model.safetensors` holds, and the remedy.
fn held_instead(folder: &Path) -> String {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    let first = |fits: &dyn Fn(&str) -> bool| names.iter().find(|name| fits(name));
    if let Some(name) = first(&|name| name.starts_with("adapter_model.")) {
        return format!("; {name} is an adapter alone: merge it into its model first (peft's merge_and_unload)");
    }
    if let Some(name) = first(&|name| name.ends_with(".safetensors")) {
        return format!("; is {name} the one? Then give it this name");
    }
    if let Some(name) = first(&|name| name.to_lowercase().ends_with(".gguf")) {
        return format!("; to read {name}, name that file");
    }
    let pickled = |name: &str| [".bin", ".pt", ".pth", ".ckpt"].iter().any(|end| name.ends_with(end));
    if let Some(name) = first(&|name| name.starts_with("pytorch_model")).or_else(|| first(&pickled)) {
        return format!(
            "; {name} is a pickle, which is not read: convert it by `python3 -c \"from transformers import AutoModel; \
             AutoModel.from_pretrained('.').save_pretrained('.')\"` in its folder"
        );
    }
    let other = |name: &str| [".h5", ".msgpack", ".onnx", ".index"].iter().any(|end| name.ends_with(end));
    match first(&other) {
        Some(name) => format!("; {name} is of another library: convert it to safetensors with transformers"),
        None => "; download the weights".into(),
    }
}

/// The shards that an index names, each once; names that leave the folder are refused.
fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let map = read_json::<Index>(index)?.weight_map;
    let names: BTreeSet<String> = map.into_values().collect();
    let folder = index.parent().unwrap_or(Path::new("."));
    let path = |name: String| {
        if name.contains(['/', '\\']) || name.starts_with('.') || !name.ends_with(".safetensors") {
            return Err(Error::corrupt(
                index,
                format!("it names the shard {name:?}, which is no safetensors file beside it"),
            ));
        }
        Ok(folder.join(name))
    };
    let paths = names.into_iter().map(path).collect::<ra_core::Result<Vec<_>>>()?;
    if paths.is_empty() {
        return Err(Error::corrupt(index, "it names no shards").into());
    }
    Ok(paths)
}

/// The tensors of one file by the names they have there, and those in number formats that are not read.
pub(crate) struct Head {
    pub(crate) file: File,
    pub(crate) entries: Vec<(String, Entry)>,
    /// With how many numbers they have, and why they are not read.
    pub(crate) unread: Vec<(String, (usize, String))>,
}

/// Reads the head of a safetensors file, the `number`-th of its model.
///
/// # Errors
/// Names the path and what the file is or lacks.
pub(crate) fn read_head(path: &Path, number: usize) -> Result<Head> {
    let corrupt = |problem: String| LlmError::from(Error::corrupt(path, problem));
    let cut = |there: u64, whole: String| corrupt(format!("{there} of {whole} bytes are there; download it again"));
    let fail = |e| Error::io(path, "cannot read", e);
    let mut file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut start = Vec::new();
    Read::by_ref(&mut file).take(40).read_to_end(&mut start).map_err(fail)?;
    if lfs_pointer(&start) {
        return Err(lfs_pointer_error(path).into());
    }
    let Some((size, _)) = start.split_first_chunk::<8>() else {
        return Err(cut(length, "some".into()));
    };
    let size = u64::from_le_bytes(*size);
    if size > MOST_HEADER {
        let seems = match start[..] {
            [b'P', b'K', ..] | [0x80, ..] => ": it is a pickle of PyTorch under another name",
            [b'<', ..] => ": it is a page of the web; download the file itself",
            _ => "",
        };
        return Err(corrupt(format!("not a safetensors file{seems}")));
    }
    if size > length.saturating_sub(8) {
        return Err(cut(length, format!("more than {}", size + 8)));
    }
    let mut bytes = vec![0; size as usize];
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(8)).map_err(fail)?;
    file.read_exact(&mut bytes).map_err(fail)?;
    // The format's own reader wants the whole file in memory.
    let header: Metadata =
        serde_json::from_slice(&bytes).map_err(|e| corrupt(format!("not a whole safetensors file: {e}")))?;
    let whole = 8 + size + header.data_len() as u64;
    if length < whole {
        return Err(cut(length, whole.to_string()));
    }
    if length > whole {
        return Err(corrupt(format!("its tensors end at byte {whole}, the file at {length}; download it again")));
    }
    let (mut entries, mut unread) = (Vec::new(), Vec::new());
    for (name, info) in header.tensors() {
        let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let format = match info.dtype {
            Dtype::F32 => Format::F32,
            Dtype::F16 => Format::F16,
            Dtype::BF16 => Format::Bf16,
            // Integers are buffers such as position_ids, never weights.
            Dtype::I64 | Dtype::I32 | Dtype::U8 | Dtype::BOOL => continue,
            other => {
                let told = format!("{name} is {other:?}, expected f32, f16 or bf16");
                unread.push((name, (info.shape.iter().product(), told)));
                continue;
            }
        };
        let shape = info.shape.clone();
        let offset = 8 + size + from;
        entries.push((name, Entry { file: number, shape, format, offset, bytes: to - from, order: Order::Plain }));
    }
    Ok(Head { file, entries, unread })
}
