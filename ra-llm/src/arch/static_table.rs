//! Static tables: a text is the mean of its tokens' vectors, without any layer (model2vec, Minish, 2024;
//! sentence-transformers' `StaticEmbedding`). They encode hundreds of thousands of titles a second.
use crate::dense::DenseLayers;
use crate::transformer::{Around, embedding};
use crate::{LlmError, Result};
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::{Error, Fingerprint, LanguageModel, LayerInput, LmSpec, Pooling, ensure_memory, fingerprint, read_bytes};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::path::{Path, PathBuf};

/// The names of the table: model2vec's and sentence-transformers'.
const TABLES: [&str; 2] = ["embeddings", "embedding.weight"];
/// The longest text, in tokens; model2vec's own limit.
const MOST_TOKENS: usize = 512;

/// A static table: no layers, so no soft prompt can enter it.
#[derive(Debug)]
struct StaticTable {
    /// One row per token.
    table: Tensor<2>,
    spec: LmSpec,
    dense: DenseLayers,
    device: Device,
}

/// A loaded table, and the fingerprint of its file.
#[derive(Debug)]
pub(crate) struct LoadedTable {
    pub(crate) model: Box<dyn LanguageModel>,
    pub(crate) tokens: usize,
    pub(crate) params: usize,
    pub(crate) fingerprint: Fingerprint,
}

/// Loads `model.safetensors` of `folder`. A file may share rows between tokens (`mapping`) and weigh tokens
/// (`weights`).
///
/// # Errors
/// Names the file, and the tensor that is missing or damaged.
pub(crate) fn load(folder: &Path, around: &Around, device: &Device) -> Result<LoadedTable> {
    let path = folder.join("model.safetensors");
    let remedy = "free some memory, or use a smaller table";
    let ensure = |numbers: u64| ensure_memory(&format!("loading {}", path.display()), numbers, device, remedy);
    // The file itself, which is read whole.
    ensure(std::fs::metadata(&path).map_or(0, |about| about.len()) / 4)?;
    let bytes = read_bytes(&path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::corrupt(&path, format!("damaged: {e}")))?;
    let table = TABLES.iter().find_map(|name| file.tensor(name).ok());
    let table = table.ok_or_else(|| problem(&path, format!("it holds no tensor named {}", TABLES.join(" or "))))?;
    let &[rows, width] = table.shape() else {
        return Err(problem(&path, format!("its table has the shape {:?}, not [tokens, width]", table.shape())));
    };
    let vectors = numbers(&path, &table)?;
    let mapping = file.tensor("mapping").ok().map(|mapping| rows_of_tokens(&path, &mapping, rows)).transpose()?;
    let mapping = mapping.unwrap_or_else(|| (0..rows).collect());
    let weights = file.tensor("weights").ok().map(|weights| numbers(&path, &weights)).transpose()?;
    let weights = weights.unwrap_or_else(|| vec![1.0; mapping.len()]);
    if weights.len() != mapping.len() || width == 0 || mapping.is_empty() {
        let told = format!("{} tokens of {width} numbers, {} weights", mapping.len(), weights.len());
        return Err(problem(&path, told));
    }
    ensure((mapping.len() as u64).saturating_mul(width as u64))?;
    let own = |(row, weight): (&usize, &f32)| {
        let (row, weight) = (&vectors[row * width..(row + 1) * width], *weight);
        row.iter().map(move |x| x * weight).collect::<Vec<f32>>()
    };
    let values: Vec<f32> = mapping.iter().zip(&weights).flat_map(own).collect();
    if let Some(at) = values.iter().position(|x| !x.is_finite()) {
        return Err(problem(&path, format!("the vector of token {} holds {}", at / width, values[at])));
    }
    let pooling = around.reading.pooling.unwrap_or(Pooling::Mean);
    if pooling != Pooling::Mean {
        let told = "a static table is pooled by its mean: leave lm.pooling out, or set it to mean";
        return Err(Error::Settings(told.into()).into());
    }
    let spec = LmSpec { layers: 0, width, max_tokens: around.reading.at_most(MOST_TOKENS), causal: false, pooling };
    let table = Tensor::from_data(TensorData::new(values, [mapping.len(), width]), device);
    let model = StaticTable { table, spec, dense: around.dense.clone(), device: device.clone() };
    Ok(LoadedTable {
        model: Box::new(model),
        tokens: mapping.len(),
        params: rows * width,
        fingerprint: fingerprint([&bytes[..]]),
    })
}

fn problem(path: &PathBuf, told: String) -> LlmError {
    Error::corrupt(path, told).into()
}

fn numbers(path: &PathBuf, tensor: &TensorView<'_>) -> Result<Vec<f32>> {
    let bytes = tensor.data();
    Ok(match tensor.dtype() {
        Dtype::F64 => crate::weights::Format::F64.decode(bytes),
        Dtype::F32 => crate::weights::Format::F32.decode(bytes),
        Dtype::F16 => crate::weights::Format::F16.decode(bytes),
        Dtype::BF16 => crate::weights::Format::Bf16.decode(bytes),
        Dtype::I8 => bytes.iter().map(|value| f32::from(value.cast_signed())).collect(),
        other => return Err(problem(path, format!("its numbers are {other:?} (supported: f64, f32, f16, bf16, i8)"))),
    })
}

/// The row of each token, below `rows`.
fn rows_of_tokens(path: &PathBuf, mapping: &TensorView<'_>, rows: usize) -> Result<Vec<usize>> {
    let wide: Vec<i64> = match mapping.dtype() {
        Dtype::I64 => {
            let (values, _) = mapping.data().as_chunks();
            values.iter().map(|value| i64::from_le_bytes(*value)).collect()
        }
        Dtype::I32 => {
            let (values, _) = mapping.data().as_chunks();
            values.iter().map(|value| i64::from(i32::from_le_bytes(*value))).collect()
        }
        other => return Err(problem(path, format!("its mapping is {other:?} (supported: i64, i32)"))),
    };
    let row = |value: &i64| usize::try_from(*value).ok().filter(|row| *row < rows);
    let found: Option<Vec<usize>> = wide.iter().map(row).collect();
    found.ok_or_else(|| problem(path, format!("its mapping names a row beyond the table's {rows}")))
}

impl LanguageModel for StaticTable {
    fn spec(&self) -> LmSpec {
        self.spec
    }
    fn device(&self) -> Device {
        self.device.clone()
    }
    fn embed(&self, tokens: Tensor<2, Int>, _: Tensor<2, Int>) -> Tensor<3> {
        embedding(&self.table, tokens)
    }
    fn layer(&self, _: usize, input: LayerInput) -> Tensor<3> {
        input.hidden
    }
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        hidden
    }
    fn project(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.dense.forward(pooled)
    }
    fn output_width(&self) -> usize {
        self.dense.output_width(self.spec.width)
    }
}
