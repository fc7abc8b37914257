//! Named tensors of a safetensors file, taken one by one, with every problem told at once.
use crate::{LlmError, Result};
use burn::module::Param;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{Error, Fingerprint, fingerprint, read_bytes};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The tensors of a file that have not been taken yet.
///
/// A tensor that is missing or of the wrong shape is noted and replaced by zeros, so that [`Weights::finish`] names all
/// problems of a file in one error.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    problems: Vec<String>,
    fingerprint: Fingerprint,
}

impl Weights {
    /// Reads `path`; numbers become f32, and a common `prefix.` of the architecture's names is dropped.
    ///
    /// # Errors
    /// Names the path and what is wrong with the file.
    pub fn read(path: &Path, prefix: &str) -> Result<Self> {
        let bytes = read_bytes(path)?;
        let corrupt = |e: String| Error::corrupt(path, format!("not a whole safetensors file: {e}"));
        let file = SafeTensors::deserialize(&bytes).map_err(|e| corrupt(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, view) in file.iter() {
            let short = name.strip_prefix(prefix).unwrap_or(name).to_string();
            match to_f32(view.dtype(), view.data()) {
                Some(values) => drop(tensors.insert(short, (view.shape().to_vec(), values))),
                // Integers are buffers such as position_ids, never weights.
                None if matches!(view.dtype(), Dtype::I64 | Dtype::I32 | Dtype::U8 | Dtype::BOOL) => {}
                None => problems.push(format!("{name} is {:?}, expected f32, f16 or bf16", view.dtype())),
            }
        }
        Ok(Self { path: path.into(), tensors, problems, fingerprint: fingerprint([bytes.as_slice()]) })
    }

    /// The fingerprint of the file.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Numbers in all tensors not taken yet.
    pub fn params(&self) -> usize {
        self.tensors.values().map(|(_, values)| values.len()).sum()
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let problem = match self.tensors.remove(name) {
            Some((found, values)) if found == shape => return values,
            Some((found, _)) => format!("{name} is {found:?}, expected {shape:?}"),
            None => format!("{name} is missing"),
        };
        self.problems.push(problem);
        vec![0.0; shape.iter().product()]
    }

    /// A tensor as a parameter.
    pub fn param<const D: usize>(&mut self, name: &str, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(self.take(name, &shape), shape), device))
    }

    /// A linear layer stored as `weight [out, in]` and `bias [out]`.
    pub fn linear(&mut self, name: &str, input: usize, output: usize, device: &Device) -> Linear {
        let stored: Param<Tensor<2>> = self.param(&format!("{name}.weight"), [output, input], device);
        // Burn keeps [in, out]; made contiguous once here, not at every product.
        let values = stored.val().transpose().into_data();
        let mut linear = LinearConfig::new(1, 1).init(device);
        linear.weight = Param::from_tensor(Tensor::from_data(values, device));
        linear.bias = Some(self.param(&format!("{name}.bias"), [output], device));
        linear
    }

    /// A layer norm stored as `weight` and `bias`.
    pub fn layer_norm(&mut self, name: &str, width: usize, epsilon: f64, device: &Device) -> LayerNorm {
        let mut norm = LayerNormConfig::new(width).with_epsilon(epsilon).init(device);
        norm.gamma = self.param(&format!("{name}.weight"), [width], device);
        norm.beta = Some(self.param(&format!("{name}.bias"), [width], device));
        norm
    }

    /// An embedding table stored as `weight [rows, width]`.
    pub fn embedding(&mut self, name: &str, rows: usize, width: usize, device: &Device) -> Embedding {
        let mut table = EmbeddingConfig::new(1, 1).init(device);
        table.weight = self.param(&format!("{name}.weight"), [rows, width], device);
        table
    }

    /// Drops tensors that the architecture has but a frozen encoder does not use.
    pub fn ignore(&mut self, unused: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !unused(name));
    }

    /// Checks that everything was there and nothing is left.
    ///
    /// # Errors
    /// [`LlmError::Weights`] names every tensor that is missing, left over or of the wrong shape or type.
    pub fn finish(mut self) -> Result<()> {
        self.problems.extend(self.tensors.keys().map(|name| format!("{name} is left over")));
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(LlmError::Weights { path: self.path, problems: self.problems.join("; ") })
    }
}

fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    match dtype {
        Dtype::F32 => Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        Dtype::BF16 => Some(halves(bytes).map(|h| f32::from_bits(u32::from(h) << 16)).collect()),
        Dtype::F16 => Some(halves(bytes).map(|h| burn::tensor::f16::from_bits(h).to_f32()).collect()),
        _ => None,
    }
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]))
}
