//! Named tensors of weight files, read one by one; all problems are reported together.
mod format;
mod misfit;

pub(crate) use format::{Format, ggml_formats_read, ggml_name};

use crate::folder::adapter::Adapter;
use crate::layer::Norm;
use crate::{LlmError, Result};
use burn::tensor::{Device, Tensor, TensorData};
use misfit::{Misfit, one_line};
use ra_core::kernels::{FrozenLinear, Layout};
use ra_core::{Error, Fingerprint, fingerprint, fingerprint_file};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The tensors of a model that have not been taken yet. They stay on disk until then, so loading a model needs little
/// more memory than the model itself.
///
/// A tensor that is missing or has the wrong shape is noted and replaced by zeros, so that [`Weights::finish`] reports
/// all problems of a file in one error.
#[derive(Debug)]
pub(crate) struct Weights {
    path: PathBuf,
    files: Vec<File>,
    entries: BTreeMap<String, Entry>,
    /// Tensors in unsupported number formats: how many numbers they have, and the problem to report if one is needed.
    unread: BTreeMap<String, (usize, String)>,
    misfits: Vec<Misfit>,
    fingerprint: Fingerprint,
    /// What is added to tensors as they are taken.
    adapter: Option<Adapter>,
}

/// The place and form of a tensor in its file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) file: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) format: Format,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) order: Order,
}

/// The order in which a tensor's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Row-major in the given shape.
    Plain,
    /// Row-major in the reversed shape.
    Transposed,
    /// Rows of this many heads in the order of interleaved rotary pairs, `0, half, 1, half + 1, ..`.
    Interleaved(usize),
}

impl Weights {
    /// The tensors of `files`, whose headers the caller has read; errors name `path`.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub(crate) fn new(path: PathBuf, files: &[PathBuf], entries: BTreeMap<String, Entry>) -> Result<Self> {
        let open = |path: &PathBuf| File::open(path).map_err(|e| Error::io(path, "cannot read", e));
        Ok(Self {
            path,
            files: files.iter().map(open).collect::<ra_core::Result<_>>()?,
            entries,
            unread: BTreeMap::new(),
            misfits: Vec::new(),
            fingerprint: fingerprint_files(files)?,
            adapter: None,
        })
    }

    /// Merges an adapter into the tensors.
    pub(crate) fn adapted(mut self, adapter: Option<Adapter>) -> Self {
        self.adapter = adapter;
        self
    }

    /// Adds tensors in unsupported number formats: how many numbers they have, and the problem to report if one is
    /// needed.
    pub(crate) fn with_unread(mut self, unread: BTreeMap<String, (usize, String)>) -> Self {
        self.unread = unread;
        self
    }

    /// Adds a problem that [`finish`](Self::finish) reports with the others.
    pub(crate) fn note(&mut self, problem: String) {
        self.misfits.push(Misfit::Other(problem));
    }

    /// The path of the file or of the index of shards.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The fingerprint of the file, or of all shards, and of the adapter.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        match &self.adapter {
            None => self.fingerprint.clone(),
            Some(adapter) => fingerprint(
                [&self.fingerprint, adapter.fingerprint()].map(ToString::to_string).iter().map(String::as_bytes),
            ),
        }
    }

    /// Whether a tensor of this name has not been taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name) || self.unread.contains_key(name)
    }

    /// The shape of a tensor that has not been taken yet.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| &entry.shape[..])
    }

    /// The number of parameters in all tensors not taken yet.
    pub(crate) fn params(&self) -> usize {
        let read = self.entries.values().map(|entry| entry.shape.iter().product::<usize>());
        read.chain(self.unread.values().map(|(numbers, _)| *numbers)).sum()
    }

    /// Takes a tensor's numbers, row-major, as f32.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let misfit = match self.entries.remove(name) {
            Some(entry) if entry.shape == shape => match self.read(&entry) {
                Ok(mut values) => match values.iter().position(|value| !value.is_finite()) {
                    None => {
                        self.adapter.iter_mut().for_each(|adapter| adapter.merge(name, shape, &mut values));
                        return values;
                    }
                    Some(at) => Misfit::Other(format!("{name} holds {} at number {at}", values[at])),
                },
                Err(error) => Misfit::Other(format!("{name} cannot be read: {error}")),
            },
            Some(entry) => Misfit::Other(format!("{name} is {:?}, expected {shape:?}", entry.shape)),
            None => self.unread.remove(name).map_or(Misfit::Missing(name.into()), |(_, told)| Misfit::Other(told)),
        };
        self.misfits.push(misfit);
        vec![0.0; shape.iter().product()]
    }

    fn read(&mut self, entry: &Entry) -> std::io::Result<Vec<f32>> {
        let file = &mut self.files[entry.file];
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

    /// Takes a tensor and puts it on a device.
    pub(crate) fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.take(name, &shape), shape), device)
    }

    /// Takes a linear layer from `input` to `output`, stored as `weight [output, input]` and, if it has one, `bias
    /// [output]`.
    pub(crate) fn linear(
        &mut self,
        name: &str,
        [input, output]: [usize; 2],
        bias: bool,
        device: &Device,
    ) -> FrozenLinear {
        let weight = self.take(&format!("{name}.weight"), &[output, input]);
        let bias = bias.then(|| self.take(&format!("{name}.bias"), &[output]));
        FrozenLinear::new(&weight, Layout::OutIn, bias, [input, output], device)
    }

    /// Takes linear layers from `input` to each of `outputs`, stored one below the other as one matrix.
    pub(crate) fn fused<const N: usize>(
        &mut self,
        name: &str,
        input: usize,
        outputs: [usize; N],
        bias: bool,
        device: &Device,
    ) -> [FrozenLinear; N] {
        let rows: usize = outputs.iter().sum();
        let weight = self.take(&format!("{name}.weight"), &[rows, input]);
        let bias = bias.then(|| self.take(&format!("{name}.bias"), &[rows]));
        let mut first = 0;
        outputs.map(|output| {
            let own = first..first + output;
            first = own.end;
            let bias = bias.as_ref().map(|bias| bias[own.clone()].to_vec());
            let weight = &weight[own.start * input..own.end * input];
            FrozenLinear::new(weight, Layout::OutIn, bias, [input, output], device)
        })
    }

    /// Takes the first row of BERT's table of token types, `[1, width]`, if it has any rows.
    pub(crate) fn token_type(&mut self, [types, width]: [usize; 2], device: &Device) -> Option<Tensor<2>> {
        let name = "embeddings.token_type_embeddings.weight";
        (types > 0).then(|| self.tensor(name, [types, width], device).slice([0..1]))
    }

    /// Refuses a configuration that needs far more numbers than the files have: missing tensors are replaced by zeros
    /// until all problems are reported. `asked` is `None` if it overflows.
    ///
    /// # Errors
    /// [`LlmError::Weights`] with both numbers.
    pub(crate) fn require(&self, asked: Option<u64>) -> Result<()> {
        let held = self.params();
        if asked.is_some_and(|asked| asked / 2 <= held as u64) {
            return Ok(());
        }
        let asked = asked.map_or("more".into(), |n| n.to_string());
        let problems =
            format!("the configuration asks for {asked} numbers, the weights have {held}; is it another model's?");
        Err(LlmError::Weights { path: self.path.clone(), problems })
    }

    /// Takes a layer norm stored as `weight` and `bias`.
    pub(crate) fn layer_norm(&mut self, name: &str, width: usize, epsilon: f32, device: &Device) -> Norm {
        let gamma = self.tensor(&format!("{name}.weight"), [width], device);
        Norm { gamma, beta: Some(self.tensor(&format!("{name}.bias"), [width], device)), epsilon }
    }

    /// Takes a layer norm without bias, stored as `weight`.
    pub(crate) fn scale_norm(&mut self, name: &str, width: usize, epsilon: f32, device: &Device) -> Norm {
        let gamma = self.tensor(&format!("{name}.weight"), [width], device);
        Norm { gamma, beta: Some(Tensor::zeros([width], device)), epsilon }
    }

    /// Takes a root mean square norm stored as `weight`.
    pub(crate) fn rms_norm(&mut self, name: &str, width: usize, epsilon: f32, device: &Device) -> Norm {
        Norm { gamma: self.tensor(&format!("{name}.weight"), [width], device), beta: None, epsilon }
    }

    /// Drops tensors that the architecture has but a frozen encoder does not use.
    pub(crate) fn ignore(&mut self, unused: impl Fn(&str) -> bool) {
        self.entries.retain(|name, _| !unused(name));
        self.unread.retain(|name, _| !unused(name));
        self.adapter.iter_mut().for_each(|adapter| adapter.ignore(&unused));
    }

    /// Drops tensors of heads and other parts that a frozen encoder does not use, by the beginnings of their names.
    pub(crate) fn ignore_heads(&mut self, heads: &[&str]) {
        self.ignore(|name| heads.iter().any(|head| name.starts_with(head)));
    }

    /// Checks that all tensors were found and none is left, nor anything of the adapter.
    ///
    /// # Errors
    /// [`LlmError::Weights`] with the first tensors that are missing, left over or of the wrong shape or type, and the
    /// number of the others.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.misfits.extend(self.entries.into_keys().chain(self.unread.into_keys()).map(Misfit::LeftOver));
        if self.misfits.is_empty() {
            return self.adapter.map_or(Ok(()), Adapter::finish);
        }
        Err(LlmError::Weights { path: self.path, problems: one_line(&self.misfits) })
    }
}

/// The fingerprint of a file's content, or of all files' in order.
fn fingerprint_files(files: &[PathBuf]) -> ra_core::Result<Fingerprint> {
    let prints = files.iter().map(|file| fingerprint_file(file)).collect::<ra_core::Result<Vec<_>>>()?;
    if let [one] = &prints[..] {
        return Ok(one.clone());
    }
    let names: Vec<String> = prints.iter().map(ToString::to_string).collect();
    Ok(fingerprint(names.iter().map(String::as_bytes)))
}
