//! Maps the tensors of a GGUF file to those of a Hugging Face folder: their names and the order of their numbers.
use super::file::Gguf;
use crate::Result;
use crate::arch::{Config, GemmaConfig};
use crate::dense::{Dense, DenseActivation, DenseLayers};
use crate::weights::{Entry, Order, Weights};
use burn::tensor::Device;
use std::collections::BTreeMap;

/// Tensor names in GGUF and in a Hugging Face folder; those of a layer follow the layer's prefix.
type Names = &'static [(&'static str, &'static str)];

const BERT: Names = &[
    ("token_embd", "embeddings.word_embeddings"),
    ("position_embd", "embeddings.position_embeddings"),
    ("token_types", "embeddings.token_type_embeddings"),
    ("token_embd_norm", "embeddings.LayerNorm"),
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
    ("layer_output_norm", "output.LayerNorm"),
];

const LLAMA: Names = &[
    ("token_embd", "embed_tokens"),
    ("output_norm", "norm"),
    ("output", "lm_head"),
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// What Gemma 2 and 3 call differently from Llama; the first Gemma has the names of Llama.
const GEMMA: Names = &[
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];

/// Phi-3 has queries, keys and values in one matrix, gate and up in another.
const PHI3: Names = &[("attn_qkv", "self_attn.qkv_proj"), ("ffn_up", "mlp.gate_up_proj")];

const MODERN_BERT: Names = &[
    ("token_embd", "embeddings.tok_embeddings"),
    ("token_embd_norm", "embeddings.norm"),
    ("output_norm", "final_norm"),
    ("attn_norm", "attn_norm"),
    ("attn_qkv", "attn.Wqkv"),
    ("attn_output", "attn.Wo"),
    ("ffn_norm", "mlp_norm"),
    ("ffn_up", "mlp.Wi"),
    ("ffn_down", "mlp.Wo"),
];

const NOMIC_BERT: Names = &[
    ("token_embd", "embeddings.word_embeddings"),
    ("token_types", "embeddings.token_type_embeddings"),
    ("token_embd_norm", "emb_ln"),
    ("attn_qkv", "attn.Wqkv"),
    ("attn_output", "attn.out_proj"),
    ("attn_output_norm", "norm1"),
    ("ffn_up", "mlp.fc11"),
    ("ffn_gate", "mlp.fc12"),
    ("ffn_down", "mlp.fc2"),
    ("layer_output_norm", "norm2"),
];

const GPT2: Names = &[
    ("token_embd", "wte"),
    ("position_embd", "wpe"),
    ("output_norm", "ln_f"),
    ("output", "lm_head"),
    ("attn_norm", "ln_1"),
    ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"),
    ("ffn_norm", "ln_2"),
    ("ffn_up", "mlp.c_fc"),
    ("ffn_down", "mlp.c_proj"),
];

/// The names of an architecture, the first list before the second, and what stands before the number of a layer.
fn names(config: &Config) -> ([Names; 2], &'static str) {
    match config {
        Config::Bert(_) => ([&[], BERT], "encoder.layer"),
        Config::Gemma(config) if config.model_type != "gemma" => ([GEMMA, LLAMA], "layers"),
        Config::Gpt2(_) => ([&[], GPT2], "h"),
        Config::Llama(config) if config.model_type == "phi3" => ([PHI3, LLAMA], "layers"),
        Config::ModernBert(_) => ([&[], MODERN_BERT], "layers"),
        Config::NomicBert(_) => ([&[], NOMIC_BERT], "encoder.layers"),
        // No other configuration comes from a GGUF file.
        _ => ([&[], LLAMA], "layers"),
    }
}

/// A tensor's name in a Hugging Face folder; `None` if the architecture has no such tensor.
fn renamed(name: &str, (names, layers): ([Names; 2], &str)) -> Option<String> {
    let (layer, rest) = match name.strip_prefix("blk.").and_then(|r| r.split_once('.')) {
        Some((layer, rest)) => (format!("{layers}.{layer}."), rest),
        None => (String::new(), name),
    };
    let (stem, kind) = rest.rsplit_once('.')?;
    let (_, own) = names.iter().copied().flatten().find(|(gguf, _)| *gguf == stem)?;
    Some(format!("{layer}{own}.{kind}"))
}

/// Changes an entry to the order in which the file has a tensor's numbers.
fn reorder(entry: &mut Entry, name: &str, config: &Config) {
    match config {
        Config::Llama(config) if config.model_type == "llama" => {
            let [heads, kv_heads] = config.heads();
            if name.contains("self_attn.q_proj.") {
                entry.order = Order::Interleaved(heads);
            } else if name.contains("self_attn.k_proj.") {
                entry.order = Order::Interleaved(kv_heads);
            }
        }
        // A linear layer, where the folder has a Conv1D.
        Config::Gpt2(_) if (name.contains(".attn.c_") || name.contains(".mlp.c_")) && entry.shape.len() == 2 => {
            entry.shape.reverse();
            entry.order = Order::Transposed;
        }
        _ => {}
    }
}

/// The tensors by their names in a Hugging Face folder.
///
/// # Errors
/// Names the file that cannot be read.
pub(crate) fn weights(gguf: &Gguf, config: &Config) -> Result<Weights> {
    let (paths, names) = (gguf.paths().to_vec(), names(config));
    let renamed = gguf.tensors.iter().map(|(name, entry)| {
        let mut entry = entry.clone();
        let name = renamed(name, names).unwrap_or_else(|| name.clone());
        reorder(&mut entry, &name, config);
        (name, entry)
    });
    let tensors: BTreeMap<String, Entry> = renamed.collect();
    let first = paths.first().cloned().unwrap_or_default();
    Weights::new(first, &paths, tensors)
}

/// The dense layers after pooling that EmbeddingGemma may have, without biases and activations. Those that do not follow
/// each other in width stay among `weights`, which then names them.
pub(crate) fn dense(weights: &mut Weights, config: &Config, device: &Device) -> DenseLayers {
    let Config::Gemma(GemmaConfig { hidden_size: mut width, .. }) = *config else { return DenseLayers::default() };
    let mut layers = Vec::new();
    for name in ["dense_2", "dense_3"] {
        let Some(&[output, input]) = weights.shape(&format!("{name}.weight")) else { break };
        if input != width || output == 0 {
            break;
        }
        let linear = weights.linear(name, [input, output], false, device);
        layers.push(Dense { linear, activation: DenseActivation::Identity });
        width = output;
    }
    DenseLayers(layers)
}
