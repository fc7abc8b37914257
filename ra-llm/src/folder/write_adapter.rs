//! Writes LoRA matrices as an adapter of PEFT.
use super::adapter::{CONFIG, PREFIX, WEIGHTS};
use crate::arch::Config;
use crate::{LlmError, Result};
use burn::tensor::Tensor;
use ra_core::{Error, write_atomic, write_json};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// The names of the files of an adapter.
pub const ADAPTER_FILES: [&str; 2] = [WEIGHTS, CONFIG];

const BERT: [&str; 6] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
];
/// Queries, keys and values are one matrix.
const GPT2: [&str; 4] = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];
const LLAMA: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

const DISTILBERT: [&str; 6] =
    ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2"];
const MPNET: [&str; 6] = [
    "attention.attn.q",
    "attention.attn.k",
    "attention.attn.v",
    "attention.attn.o",
    "intermediate.dense",
    "output.dense",
];

/// The names of a layer's matrices, what stands before the number of the layer, and how many matrices are one in the
/// first place; in the order of [`TransformerBlock::linears`](crate::transformer::TransformerBlock::linears). Nothing for
/// architectures whose files join other matrices.
fn layout(config: &Config) -> Option<(&'static [&'static str], &'static str, usize)> {
    match config {
        Config::Bert(_) => Some((&BERT, "encoder.layer", 1)),
        Config::DistilBert(_) => Some((&DISTILBERT, "transformer.layer", 1)),
        Config::Mpnet(_) => Some((&MPNET, "encoder.layer", 1)),
        Config::Gpt2(_) => Some((&GPT2, "h", 3)),
        Config::Llama(config) if config.is_fused() => None,
        Config::Llama(_) | Config::Gemma(_) => Some((&LLAMA, "layers", 1)),
        Config::ModernBert(_) | Config::NomicBert(_) | Config::T5(_) => None,
    }
}

/// A change `up down` of a matrix, row-major: `down` is `[rank, input]` and `up` is `[output, rank]`.
struct Change {
    rank: usize,
    down: Vec<f32>,
    up: Vec<f32>,
}

impl Change {
    fn new([down, up]: &[Tensor<2>; 2]) -> Self {
        let values = |tensor: Tensor<2>| tensor.transpose().into_data().iter::<f32>().collect();
        Self { rank: down.dims()[1], down: values(down.clone()), up: values(up.clone()) }
    }

    /// Changes of matrices with the same input as the change of the matrix that holds their outputs one after another.
    fn joined(parts: Vec<Self>) -> Self {
        let rank: usize = parts.iter().map(|part| part.rank).sum();
        let (mut down, mut up, mut before) = (Vec::new(), Vec::new(), 0);
        for part in parts {
            down.extend(part.down);
            for row in part.up.chunks_exact(part.rank) {
                let at = up.len() + before;
                up.resize(up.len() + rank, 0.0);
                up[at..at + part.rank].copy_from_slice(row);
            }
            before += part.rank;
        }
        Self { rank, down, up }
    }
}

/// Writes the matrices of `changes` for the layers from `first_layer` up.
pub(crate) fn write(
    config: &Config,
    base: &str,
    first_layer: usize,
    changes: &[[Tensor<2>; 2]],
    folder: &Path,
) -> Result<()> {
    let path = folder.join(WEIGHTS);
    let Some((names, before, fused)) = layout(config) else {
        let problem = "the matrices of this architecture cannot be written as an adapter yet; use bert, distilbert, mpnet, \
                       gpt2, llama, mistral, qwen2, qwen3 or gemma";
        return Err(Error::corrupt(path, problem).into());
    };
    let of_layer = names.len() - 1 + fused;
    if changes.is_empty() || !changes.len().is_multiple_of(of_layer) {
        let problem =
            format!("{} matrices cannot be those of layers of {of_layer}; are they another model's?", changes.len());
        return Err(Error::corrupt(path, problem).into());
    }
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let mut ranks = BTreeMap::new();
    for (layer, own) in changes.chunks_exact(of_layer).zip(first_layer..).map(|(own, layer)| (layer, own)) {
        let mut rest = own.iter().map(Change::new);
        for (place, name) in names.iter().enumerate() {
            let change = Change::joined(rest.by_ref().take(if place == 0 { fused } else { 1 }).collect());
            let module = format!("{before}.{layer}.{name}");
            for (side, values, is_down) in [("A", change.down, true), ("B", change.up, false)] {
                let other = values.len() / change.rank;
                let shape = if is_down { vec![change.rank, other] } else { vec![other, change.rank] };
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                tensors.insert(format!("{PREFIX}{module}.lora_{side}.weight"), (shape, bytes));
            }
            ranks.insert(module, change.rank);
        }
    }
    let fail = |e: safetensors::SafeTensorError| LlmError::from(Error::corrupt(&path, e.to_string()));
    let mut views = Vec::new();
    for (name, (shape, bytes)) in &tensors {
        views.push((name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(fail)?));
    }
    // As transformers and peft write it, which refuse files that do not say so.
    let notes = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    write_atomic(&path, &safetensors::serialize(views, Some(notes)).map_err(fail)?)?;
    let rank = ranks.values().copied().min().unwrap_or_default();
    // The scale is part of the matrices: alpha is the rank.
    let others: BTreeMap<&String, &usize> = ranks.iter().filter(|(_, own)| **own != rank).collect();
    let config = json!({
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": base,
        "inference_mode": true,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": others,
        "alpha_pattern": others,
        // Whole names: peft finds the number of a layer in `layers.0.mlp` only if more stands before it.
        "target_modules": ranks.keys().collect::<Vec<_>>(),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": matches!(config, Config::Gpt2(_)),
    });
    Ok(write_json(&folder.join(CONFIG), &config)?)
}
