//! Finds the weight files of a folder and the model's tensors in them.
use super::document::read_json;
use super::names::Spelling;
use crate::Result;
use crate::arch::Config;
use crate::weights::{Entry, Format, Order, Weights};
use ra_core::{Error, SafetensorsHeader, TensorHeader};
use safetensors::Dtype;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Opens the weights of a Hugging Face folder: `model.safetensors`, or the shards that `model.safetensors.index.json`
/// lists. The prefix before the name of the token table is removed from every name; tensors without it are not part of
/// the model.
///
/// # Errors
/// Names the path and what is wrong with the file.
pub(crate) fn open(folder: &Path, config: &Config) -> Result<Weights> {
    open_with(folder, &|names| {
        let spelling = Spelling::of(names, config.any().token_tables())?;
        match spelling.relative_of_bert().filter(|_| config.is_bert()) {
            Some(relative) => Err(format!(
                "its tensors are those of {relative}, a relative of bert; set \"model_type\" in config.json to \
                 {relative:?}"
            )),
            None => Ok(spelling),
        }
    })
}

/// Opens the weights of a folder whose tensors have the names that are asked for.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_plain(folder: &Path) -> Result<Weights> {
    open_with(folder, &|_| Ok(Spelling::default()))
}

fn open_with(folder: &Path, spell: &dyn Fn(&[&str]) -> Result<Spelling, String>) -> Result<Weights> {
    let (path, files) = locate(folder)?;
    let headers = files.iter().map(|file| SafetensorsHeader::read(file)).collect::<ra_core::Result<Vec<_>>>()?;
    let names =
        headers.iter().flat_map(|header| header.tensors.iter().filter(is_weight).map(|(name, _)| name.as_str()));
    let spelling = spell(&names.collect::<Vec<_>>()).map_err(|problem| Error::corrupt(&path, problem))?;
    let (mut entries, mut unread, mut problems) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (file, header) in headers.into_iter().enumerate() {
        let mut outside = Vec::new();
        for (name, tensor) in header.tensors.into_iter().filter(|(name, tensor)| is_weight(&(name, tensor))) {
            let (own, format) = (spelling.own(&name), format(tensor.dtype));
            match (own, format) {
                (Some(own), Some(format)) => {
                    let TensorHeader { shape, offset, bytes, .. } = tensor;
                    let entry = Entry { file, shape, format, offset, bytes, order: Order::Plain };
                    if entries.insert(own, entry).is_some() {
                        problems.push(format!("{name} occurs twice"));
                    }
                }
                (Some(own), None) => {
                    let problem = format!("{name} is {:?}, expected f32, f16 or bf16", tensor.dtype);
                    unread.insert(own, (tensor.shape.iter().product(), problem));
                }
                (None, Some(_)) => outside.push(name),
                (None, None) => {}
            }
        }
        if let Some(first) = outside.first() {
            tracing::info!(first, tensors = outside.len(), "heads are not part of the encoder");
        }
    }
    let mut weights = Weights::new(path, &files, entries)?.with_unread(unread);
    problems.into_iter().for_each(|problem| weights.note(problem));
    Ok(weights)
}

/// Integer tensors are buffers such as position_ids, never weights.
fn is_weight((_, tensor): &(&String, &TensorHeader)) -> bool {
    !matches!(tensor.dtype, Dtype::I64 | Dtype::I32 | Dtype::U8 | Dtype::BOOL)
}

pub(crate) fn format(dtype: Dtype) -> Option<Format> {
    match dtype {
        Dtype::F32 => Some(Format::F32),
        Dtype::F16 => Some(Format::F16),
        Dtype::BF16 => Some(Format::Bf16),
        _ => None,
    }
}

/// Finds `model.safetensors`, or the index of shards and the shards that it lists.
///
/// # Errors
/// Names what the folder holds instead of readable weights, and what to do.
fn locate(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>)> {
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
    Err(Error::corrupt(whole, format!("not found{}", held_instead(folder))).into())
}

/// Describes what a folder without `model.safetensors` holds, and the remedy.
fn held_instead(folder: &Path) -> String {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    let first = |fits: &dyn Fn(&str) -> bool| names.iter().find(|name| fits(name));
    if let Some(name) = first(&|name| name.starts_with("adapter_model.")) {
        return format!("; {name} is only an adapter: give the folder of its model, and this one as its adapter");
    }
    if let Some(name) = first(&|name| name.starts_with("model-0") && name.ends_with(".safetensors")) {
        return format!("; {name} is a part of the model: download model.safetensors.index.json too, and all parts");
    }
    if let Some(name) = first(&|name| name.ends_with(".safetensors")) {
        return format!("; if {name} is the model, rename it to model.safetensors");
    }
    if let Some(name) = first(&|name| name.to_lowercase().ends_with(".gguf")) {
        return format!("; to load {name}, use the path of that file");
    }
    let pickled = |name: &str| [".bin", ".pt", ".pth", ".ckpt"].iter().any(|end| name.ends_with(end));
    if let Some(name) = first(&|name| name.starts_with("pytorch_model")).or_else(|| first(&pickled)) {
        return format!(
            "; {name} is a pickle, which is not supported: convert it with `python3 -c \"from transformers import \
             AutoModel; AutoModel.from_pretrained('.').save_pretrained('.')\"` in its folder"
        );
    }
    let other = |name: &str| [".h5", ".msgpack", ".onnx", ".index"].iter().any(|end| name.ends_with(end));
    match first(&other) {
        Some(name) => format!("; {name} is for another library: convert it to safetensors with transformers"),
        None => "; download the weights".into(),
    }
}

/// The shards that an index lists, each once; names that leave the folder are errors.
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
                format!("it lists the shard {name:?}, which is not a safetensors file next to it"),
            ));
        }
        Ok(folder.join(name))
    };
    let paths = names.into_iter().map(path).collect::<ra_core::Result<Vec<_>>>()?;
    if paths.is_empty() {
        return Err(Error::corrupt(index, "it lists no shards").into());
    }
    Ok(paths)
}
