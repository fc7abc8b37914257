//! Named tensors of weight files, read one by one, with every problem told at once.
use crate::format::Format;
use crate::transformer::Norm;
use crate::{LlmError, Result};
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::fused::{FrozenLinear, Layout};
use ra_core::{Error, Fingerprint, fingerprint, fingerprint_file};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The longest header of a safetensors file, as in the format's own reader.
const MOST_HEADER: u64 = 100_000_000;

/// The tensors of a model that have not been taken yet. They stay on disk until they are taken, so that a model costs
/// little more memory than itself while it is loaded.
///
/// A tensor that is missing or of the wrong shape is noted and replaced by zeros, so that [`Weights::finish`] names all
/// problems of a file in one error.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    files: Vec<(PathBuf, File)>,
    entries: BTreeMap<String, Entry>,
    problems: Vec<String>,
    fingerprint: Fingerprint,
}

/// Where a tensor lies.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) file: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) format: Format,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) order: Order,
}

/// In what order the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Row-major, as its shape says.
    Plain,
    /// Row-major, as its shape says backwards.
    Transposed,
    /// The rows of this many heads in the order of interleaved rotary pairs, `0, half, 1, half + 1, ..`.
    Interleaved(usize),
}

impl Weights {
    /// Opens the weights of a Hugging Face folder: `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` names. One of the `prefixes` of names is dropped.
    ///
    /// # Errors
    /// Names the path and what is wrong with the file.
    pub fn open(folder: &Path, prefixes: &[&str]) -> Result<Self> {
        let index = folder.join("model.safetensors.index.json");
        let whole = folder.join("model.safetensors");
        let paths = if whole.exists() || !index.exists() { vec![whole] } else { shards(&index)? };
        let prints = paths.iter().map(|p| fingerprint_file(p)).collect::<ra_core::Result<Vec<_>>>()?;
        let path = if paths.len() == 1 { paths[0].clone() } else { index };
        let print = match &prints[..] {
            [one] => one.clone(),
            many => {
                let names: Vec<String> = many.iter().map(ToString::to_string).collect();
                fingerprint(names.iter().map(String::as_bytes))
            }
        };
        let mut weights = Self::new(path, print);
        for path in paths {
            weights.add_safetensors(path, prefixes)?;
        }
        Ok(weights)
    }

    fn new(path: PathBuf, fingerprint: Fingerprint) -> Self {
        Self { path, files: Vec::new(), entries: BTreeMap::new(), problems: Vec::new(), fingerprint }
    }

    /// The tensors of one file whose header somebody else has read.
    pub(crate) fn from_parts(path: &Path, entries: BTreeMap<String, Entry>, problems: Vec<String>) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let own = Self::new(path.into(), fingerprint_file(path)?);
        Ok(Self { entries, files: vec![(path.into(), file)], problems, ..own })
    }

    fn add_safetensors(&mut self, path: PathBuf, prefixes: &[&str]) -> Result<()> {
        let corrupt = |e: String| Error::corrupt(&path, format!("not a whole safetensors file: {e}"));
        let fail = |e| Error::io(&path, "cannot read", e);
        let mut file = File::open(&path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(|_| corrupt("it has no header".into()))?;
        let header = u64::from_le_bytes(size);
        if header > MOST_HEADER.min(length.saturating_sub(8)) {
            return Err(corrupt(format!("its header of {header} bytes is longer than the file")).into());
        }
        let mut bytes = vec![0; header as usize];
        file.read_exact(&mut bytes).map_err(fail)?;
        // The format's own reader wants the whole file in memory.
        let header: Metadata = serde_json::from_slice(&bytes).map_err(|e| corrupt(e.to_string()))?;
        let start = 8 + bytes.len() as u64;
        if start + header.data_len() as u64 != length {
            let problem = format!("its tensors end at byte {}, the file at {length}", start + header.data_len() as u64);
            return Err(corrupt(problem).into());
        }
        for (name, info) in header.tensors() {
            let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
            let format = match info.dtype {
                Dtype::F32 => Format::F32,
                Dtype::F16 => Format::F16,
                Dtype::BF16 => Format::Bf16,
                // Integers are buffers such as position_ids, never weights.
                Dtype::I64 | Dtype::I32 | Dtype::U8 | Dtype::BOOL => continue,
                other => {
                    self.problems.push(format!("{name} is {other:?}, expected f32, f16 or bf16"));
                    continue;
                }
            };
            let short = prefixes.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(&name).to_string();
            let (shape, file) = (info.shape.clone(), self.files.len());
            let entry = Entry { file, shape, format, offset: start + from, bytes: to - from, order: Order::Plain };
            if self.entries.insert(short, entry).is_some() {
                self.problems.push(format!("{name} is there twice"));
            }
        }
        self.files.push((path, file));
        Ok(())
    }

    /// The file, or the index of shards.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The fingerprint of the file, or of all shards.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Numbers in all tensors not taken yet.
    pub fn params(&self) -> usize {
        self.entries.values().map(|entry| entry.shape.iter().product::<usize>()).sum()
    }

    /// The numbers of a tensor, row-major, as f32.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let problem = match self.entries.remove(name) {
            Some(entry) if entry.shape == shape => match self.read(&entry) {
                Ok(values) => match values.iter().position(|value| !value.is_finite()) {
                    None => return values,
                    Some(at) => format!("{name} holds {} at number {at}", values[at]),
                },
                Err(error) => format!("{name} cannot be read: {error}"),
            },
            Some(entry) => format!("{name} is {:?}, expected {shape:?}", entry.shape),
            None => format!("{name} is missing"),
        };
        self.problems.push(problem);
        vec![0.0; shape.iter().product()]
    }

    fn read(&mut self, entry: &Entry) -> std::io::Result<Vec<f32>> {
        let (_, file) = &mut self.files[entry.file];
        file.seek(SeekFrom::Start(entry.offset))?;
        let mut bytes = vec![0; entry.bytes as usize];
        file.read_exact(&mut bytes)?;
        let values = entry.format.decode(&bytes);
        let [rows, columns] = [entry.shape.first(), entry.shape.get(1)].map(|n| n.copied().unwrap_or(1));
        let row = |at: usize| &values[at * columns..(at + 1) * columns];
        Ok(match entry.order {
            Order::Plain => values,
            Order::Transposed => (0..values.len()).map(|at| values[at % columns * rows + at / columns]).collect(),
            Order::Interleaved(heads) => {
                let head = rows / heads;
                let stored = |at: usize| at / head * head + at % head % (head / 2) * 2 + at % head / (head / 2);
                (0..rows).flat_map(|at| row(stored(at))).copied().collect()
            }
        })
    }

    /// A tensor on a device.
    pub fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.take(name, &shape), shape), device)
    }

    /// A linear layer from `input` to `output`, stored as `weight [output, input]` and, if it has one, `bias [output]`.
    pub fn linear(&mut self, name: &str, [input, output]: [usize; 2], bias: bool, device: &Device) -> FrozenLinear {
        let weight = self.take(&format!("{name}.weight"), &[output, input]);
        let bias = bias.then(|| self.take(&format!("{name}.bias"), &[output]));
        FrozenLinear::new(&weight, Layout::OutIn, bias, [input, output], device)
    }

    /// A layer norm stored as `weight` and `bias`.
    pub(crate) fn layer_norm(&mut self, name: &str, width: usize, epsilon: f32, device: &Device) -> Norm {
        let gamma = self.tensor(&format!("{name}.weight"), [width], device);
        Norm { gamma, beta: Some(self.tensor(&format!("{name}.bias"), [width], device)), epsilon }
    }

    /// A root mean square norm stored as `weight`.
    pub(crate) fn rms_norm(&mut self, name: &str, width: usize, epsilon: f32, device: &Device) -> Norm {
        Norm { gamma: self.tensor(&format!("{name}.weight"), [width], device), beta: None, epsilon }
    }

    /// Drops tensors that the architecture has but a frozen encoder does not use.
    pub fn ignore(&mut self, unused: impl Fn(&str) -> bool) {
        self.entries.retain(|name, _| !unused(name));
    }

    /// Checks that everything was there and nothing is left.
    ///
    /// # Errors
    /// [`LlmError::Weights`] names every tensor that is missing, left over or of the wrong shape or type.
    pub fn finish(mut self) -> Result<()> {
        self.problems.extend(self.entries.keys().map(|name| format!("{name} is left over")));
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(LlmError::Weights { path: self.path, problems: self.problems.join("; ") })
    }
}

/// The shards that an index names, each once; names that leave the folder are refused.
fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let map = ra_core::read_json::<Index>(index)?.weight_map;
    let names: std::collections::BTreeSet<String> = map.into_values().collect();
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
