//! Maps the content of a GGUF file to that of a Hugging Face folder: configuration, tensors, tokenizer.
use super::file::Gguf;
use crate::arch::{Config, Gpt2Config, LlamaConfig};
use crate::reading::RequestedPooling;
use crate::weights::{Order, Weights};
use crate::{LlmError, Result};
use ra_core::{Error, Pooling};
use std::collections::BTreeMap;

/// The supported Llama-like architectures by their GGUF names; Mistral is `llama`.
const LLAMA_LIKE: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// Tensor names in GGUF and in a Hugging Face folder; those of a layer follow the layer's prefix.
const LLAMA_NAMES: [(&str, &str); 14] = [
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

const GPT2_NAMES: [(&str, &str); 10] = [
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

/// The model's configuration.
///
/// # Errors
/// [`LlmError::Architecture`], or the missing key.
pub(crate) fn config(gguf: &Gguf) -> Result<Config> {
    let architecture = gguf.text("general.architecture").unwrap_or("none").to_string();
    let size = |key: &str| gguf.size(&format!("{architecture}.{key}"));
    let number = |key: &str| gguf.number(&format!("{architecture}.{key}"));
    let lacks =
        |key: &str| LlmError::from(Error::corrupt(gguf.path(), format!("the key {architecture}.{key} is missing")));
    let vocabulary = || gguf.tensors.get("token_embd.weight").and_then(|t| t.shape.first().copied()).unwrap_or(0);
    let has = |name: &str| gguf.tensors.contains_key(name);
    let flag = |key: &str| gguf.flag(&format!("{architecture}.{key}"));
    let scaled = |key: &str| number(key).is_some_and(|factor| factor != 1.0 && factor != 0.0);
    for (key, differs) in [
        ("attention.causal", flag("attention.causal") == Some(false)),
        ("attn_logit_softcapping", scaled("attn_logit_softcapping")),
        ("attention.max_alibi_bias", scaled("attention.max_alibi_bias")),
        ("rope.scale_linear", scaled("rope.scale_linear")),
        (
            "rope.scaling.factor",
            gguf.text(&format!("{architecture}.rope.scaling.type")).is_none() && scaled("rope.scaling.factor"),
        ),
    ] {
        if differs {
            return Err(Error::corrupt(
                gguf.path(),
                format!("{architecture}.{key} is set, which is not supported; use another model"),
            )
            .into());
        }
    }
    if LLAMA_LIKE.contains(&architecture.as_str()) {
        let scaling = gguf.text(&format!("{architecture}.rope.scaling.type")).filter(|kind| *kind != "none");
        // Llama 3 stores its scaled angles as a tensor.
        let scaling = scaling.or(has("rope_freqs.weight").then_some("rope_freqs"));
        if number("expert_count").is_some_and(|experts| experts > 0.0) {
            return Err(Error::corrupt(gguf.path(), "a mixture of experts, which is not supported").into());
        }
        let config = LlamaConfig {
            vocab_size: vocabulary(),
            hidden_size: size("embedding_length")?,
            intermediate_size: size("feed_forward_length")?,
            num_hidden_layers: size("block_count")?,
            num_attention_heads: size("attention.head_count")?,
            num_key_value_heads: number("attention.head_count_kv").map(|n| n as usize),
            head_dim: number("attention.key_length").map(|n| n as usize),
            max_position_embeddings: size("context_length")?,
            rms_norm_eps: number("attention.layer_norm_rms_epsilon")
                .ok_or_else(|| lacks("attention.layer_norm_rms_epsilon"))?,
            rope_theta: number("rope.freq_base"),
            rope_scaling: scaling.map(|kind| serde_json::json!({ "rope_type": kind })),
            rope_parameters: None,
            hidden_act: "silu".into(),
            attention_bias: (architecture == "llama").then(|| has("blk.0.attn_q.bias")),
            mlp_bias: has("blk.0.ffn_up.bias"),
            sliding_window: number("attention.sliding_window").map(|n| n as usize),
            use_sliding_window: None,
            rope_divisors: false,
            partial_rotary_factor: None,
            model_type: architecture.clone(),
        };
        if let Some(turned) = number("rope.dimension_count").filter(|&turned| turned != config.head() as f64) {
            let problem =
                format!("rotary positions for {turned} of {} numbers of a head (supported: all)", config.head());
            return Err(Error::corrupt(gguf.path(), problem).into());
        }
        return Ok(Config::Llama(config));
    }
    if architecture == "gpt2" {
        return Ok(Config::Gpt2(Gpt2Config {
            vocab_size: vocabulary(),
            n_embd: size("embedding_length")?,
            n_layer: size("block_count")?,
            n_head: size("attention.head_count")?,
            n_positions: size("context_length")?,
            n_inner: Some(size("feed_forward_length")?),
            layer_norm_epsilon: number("attention.layer_norm_epsilon")
                .ok_or_else(|| lacks("attention.layer_norm_epsilon"))?,
            activation_function: "gelu_new".into(),
            scale_attn_by_inverse_layer_idx: false,
            scale_attn_weights: true,
        }));
    }
    Err(LlmError::Architecture {
        path: gguf.path().into(),
        found: architecture,
        supported: "llama, mistral, qwen2, qwen3, gpt2 in GGUF",
    })
}

/// The pooling that an embedding model's file requests.
pub(crate) fn pooling(gguf: &Gguf) -> Option<RequestedPooling> {
    let architecture = gguf.text("general.architecture")?;
    let number = gguf.number(&format!("{architecture}.pooling_type"))?;
    let known = [(1.0, Pooling::Mean), (2.0, Pooling::First), (3.0, Pooling::Last)];
    match known.into_iter().find(|(known, _)| *known == number) {
        Some((_, pooling)) => Some(RequestedPooling::Known(pooling)),
        // Unspecified or none: not an embedding model.
        None if number == -1.0 || number == 0.0 => None,
        None if number == 4.0 => Some(RequestedPooling::Unknown("rank".into())),
        None => Some(RequestedPooling::Unknown(format!("number {number}"))),
    }
}

/// The tensors by their names in a Hugging Face folder.
///
/// # Errors
/// Names the file that cannot be read.
pub(crate) fn weights(gguf: &Gguf, config: &Config) -> Result<Weights> {
    let (names, layers, gpt2) = match config {
        Config::Gpt2(_) => (&GPT2_NAMES[..], "h", true),
        _ => (&LLAMA_NAMES[..], "layers", false),
    };
    let rename = |name: &str| -> Option<String> {
        let (layer, rest) = match name.strip_prefix("blk.").and_then(|r| r.split_once('.')) {
            Some((layer, rest)) => (format!("{layers}.{layer}."), rest),
            None => (String::new(), name),
        };
        let (stem, kind) = rest.rsplit_once('.')?;
        let (_, own) = names.iter().find(|(gguf, _)| *gguf == stem)?;
        Some(format!("{layer}{own}.{kind}"))
    };
    let paths = gguf.paths().to_vec();
    let mut tensors = BTreeMap::new();
    for (name, mut entry) in gguf.tensors.clone() {
        let name = rename(&name).unwrap_or(name);
        if let Config::Llama(config) = config
            && config.model_type == "llama"
        {
            let [heads, kv_heads] = config.heads();
            if name.contains("self_attn.q_proj.") {
                entry.order = Order::Interleaved(heads);
            } else if name.contains("self_attn.k_proj.") {
                entry.order = Order::Interleaved(kv_heads);
            }
        }
        // GGUF stores GPT-2's Conv1D as a linear layer.
        if gpt2 && (name.contains(".attn.c_") || name.contains(".mlp.c_")) && entry.shape.len() == 2 {
            entry.shape.reverse();
            entry.order = Order::Transposed;
        }
        tensors.insert(name, entry);
    }
    let first = paths.first().cloned().unwrap_or_default();
    Weights::new(first, &paths, tensors)
}
