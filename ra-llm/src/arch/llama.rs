//! Llama (Touvron et al., 2023) and models with its architecture: Mistral, Qwen2 (biases on queries, keys and values),
//! Qwen3 (norms on the heads of queries and keys), Phi-3 (queries, keys and values in one matrix, gate and up in
//! another).
use super::limits::{bad_epsilon, bad_head_width, bad_heads, bad_width, no_layers, unsupported};
use super::rope::Rope;
use super::{Build, LLAMA_MATRICES, MOST_TOKENS, Matrices, Sizes};
use crate::layer::{Attention, FeedForward, Layer, Norms};
use crate::positions::Rotary;
use crate::transformer::{Architecture, Around, Embeddings};
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::kernels::Activation;
use ra_core::{LanguageModel, Pooling};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part of a Llama-like `config.json` that affects the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LlamaConfig {
    /// `llama`, `mistral`, `qwen2`, `qwen3` or `phi3`.
    pub(crate) model_type: String,
    /// The number of rows of the token table.
    pub(crate) vocab_size: usize,
    /// The width of the hidden state.
    pub(crate) hidden_size: usize,
    /// The inner width of the feed-forward block.
    pub(crate) intermediate_size: usize,
    /// The number of layers.
    pub(crate) num_hidden_layers: usize,
    /// The number of query heads.
    pub(crate) num_attention_heads: usize,
    /// The number of key and value heads; by default that of query heads.
    #[serde(default)]
    pub(crate) num_key_value_heads: Option<usize>,
    /// The width of a head; by default the width divided by the number of heads.
    #[serde(default)]
    pub(crate) head_dim: Option<usize>,
    /// The maximum length of a text.
    pub(crate) max_position_embeddings: usize,
    /// The epsilon of the norms.
    #[serde(default = "epsilon")]
    pub(crate) rms_norm_eps: f64,
    /// The base of the rotary angles.
    #[serde(default)]
    pub(crate) rope_theta: Option<f64>,
    /// The scaling of rotary angles.
    #[serde(default)]
    pub(crate) rope_scaling: Option<Value>,
    /// The place of base and scaling in newer files.
    #[serde(default)]
    pub(crate) rope_parameters: Option<Value>,
    /// Whether the weights hold a divisor of each rotary angle, as GGUF files of scaled models do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) rope_divisors: bool,
    /// The share of a head that is rotated; only all of it is supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partial_rotary_factor: Option<f64>,
    /// The activation.
    #[serde(default = "silu")]
    pub(crate) hidden_act: String,
    /// Whether the attention's projections have biases.
    #[serde(default)]
    pub(crate) attention_bias: Option<bool>,
    /// Whether the feed-forward block has biases; not supported.
    #[serde(default)]
    pub(crate) mlp_bias: bool,
    /// Whether a token attends only to itself and earlier tokens; false in encoders made from language models.
    #[serde(default = "causal", skip_serializing_if = "Clone::clone")]
    pub(crate) is_causal: bool,
    /// The sliding window: the most tokens that a token attends to.
    #[serde(default)]
    pub(crate) sliding_window: Option<usize>,
    /// Whether the window is used; Qwen2 has one that is not.
    #[serde(default)]
    pub(crate) use_sliding_window: Option<bool>,
}

fn causal() -> bool {
    true
}

fn epsilon() -> f64 {
    1e-6
}

fn silu() -> String {
    "silu".into()
}

impl LlamaConfig {
    pub(crate) fn heads(&self) -> [usize; 2] {
        let heads = self.num_attention_heads;
        [heads, self.num_key_value_heads.unwrap_or(heads)]
    }

    pub(crate) fn head(&self) -> usize {
        // Qwen3's default is 128, whatever the width.
        let granted = (self.model_type == "qwen3").then_some(128);
        self.head_dim.or(granted).unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn rope(&self) -> Rope {
        Rope::new(self.rope_theta, &[self.rope_scaling.as_ref(), self.rope_parameters.as_ref()], 10_000.0)
    }

    pub(crate) fn is_fused(&self) -> bool {
        self.model_type == "phi3"
    }

    /// The rotary angles, which a file may divide once more.
    fn rotary(&self, weights: &mut Weights, positions: usize, device: &Device) -> Rotary {
        let mut frequencies = self.rope().frequencies(self.head());
        if self.rope_divisors {
            let divisors = weights.take("rope_freqs.weight", &[self.head() / 2]);
            if let Some(wrong) = divisors.iter().find(|divisor| divisor.is_nan() || **divisor <= 0.0) {
                weights.note(format!("rope_freqs.weight holds {wrong}, which cannot divide an angle"));
            }
            for (frequency, divisor) in frequencies.iter_mut().zip(divisors) {
                *frequency /= f64::from(divisor);
            }
        }
        Rotary::new(positions, &frequencies, device)
    }
}

impl Build for LlamaConfig {
    fn check(&self) -> Result<(), String> {
        let ([heads, kv_heads], [theta, scaling]) = (self.heads(), self.rope().problems());
        let part = self
            .partial_rotary_factor
            .or_else(|| self.rope_parameters.as_ref()?.get("partial_rotary_factor")?.as_f64());
        unsupported(&[
            (self.hidden_act != "silu", format!("hidden_act {:?} (supported: silu)", self.hidden_act)),
            scaling,
            (
                part.is_some_and(|part| part != 1.0),
                format!("partial_rotary_factor {} (supported: 1)", part.unwrap_or_default()),
            ),
            (self.mlp_bias, "mlp_bias true (supported: false)".into()),
            bad_width("hidden_size", self.hidden_size, 1),
            bad_heads(heads, kv_heads),
            bad_head_width(self.head()),
            bad_epsilon("rms_norm_eps", self.rms_norm_eps),
            theta,
            no_layers(self.num_hidden_layers),
        ])
    }

    fn build(&self, weights: &mut Weights, around: &Around, device: &Device) -> Box<dyn LanguageModel> {
        let (width, inner, epsilon) = (self.hidden_size, self.intermediate_size, self.rms_norm_eps as f32);
        let ([heads, kv_heads], head) = (self.heads(), self.head());
        let qkv_bias = self.attention_bias.unwrap_or(self.model_type == "qwen2");
        let output_bias = self.attention_bias.unwrap_or(false) && self.model_type != "qwen2";
        // Qwen has a window in some of its layers alone: texts within it need not know which.
        let window = self.sliding_window.filter(|_| self.use_sliding_window != Some(false));
        let (reach, most) = match (self.model_type.as_str(), window) {
            ("mistral" | "phi3", window) => (window.map(|window| window.saturating_sub(1)), usize::MAX),
            (_, window) => (None, window.unwrap_or(usize::MAX)),
        };
        let max_tokens = self.max_position_embeddings.min(most).min(MOST_TOKENS);
        let rotary = self.rotary(weights, around.reading.at_most(max_tokens), device);
        let layer = |weights: &mut Weights, index: usize| {
            let name = |part: &str| format!("layers.{index}.{part}");
            let widths = [heads, kv_heads, kv_heads].map(|heads| heads * head);
            let [query, key, value] = if self.is_fused() {
                weights.fused(&name("self_attn.qkv_proj"), width, widths, qkv_bias, device)
            } else {
                let parts = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
                std::array::from_fn(|i| weights.linear(&parts[i], [width, widths[i]], qkv_bias, device))
            };
            let [gate, up] = if self.is_fused() {
                weights.fused(&name("mlp.gate_up_proj"), width, [inner; 2], false, device)
            } else {
                ["mlp.gate_proj", "mlp.up_proj"].map(|part| weights.linear(&name(part), [width, inner], false, device))
            };
            let output = weights.linear(&name("self_attn.o_proj"), [heads * head, width], output_bias, device);
            let down = weights.linear(&name("mlp.down_proj"), [inner, width], false, device);
            let mut norm = |part: &str, width| weights.rms_norm(&name(part), width, epsilon, device);
            let head_norms = (self.model_type == "qwen3")
                .then(|| ["q", "k"].map(|part| norm(&format!("self_attn.{part}_norm"), head)));
            let [before_attention, inner] =
                ["input_layernorm", "post_attention_layernorm"].map(|part| norm(part, width));
            let attention = Attention::new([query, key, value, output]);
            Layer {
                attention: Attention { head_norms, rotary: Some(rotary.clone()), reach, ..attention },
                feed_forward: FeedForward { gate: Some(gate), up, down, activation: Activation::Silu },
                norms: Norms::Pre { attention: Some(before_attention), inner, after: None },
            }
        };
        let architecture = Architecture {
            embeddings: Embeddings::new(weights.tensor("embed_tokens.weight", [self.vocab_size, width], device)),
            layers: (0..self.num_hidden_layers).map(|index| layer(weights, index)).collect(),
            last_norm: Some(weights.rms_norm("norm", width, epsilon, device)),
            relative: None,
            heads: [heads, kv_heads],
            max_tokens,
            causal: self.is_causal,
            pooling: Pooling::Last,
        };
        weights.ignore(|name| name == "lm_head.weight" || name.ends_with("rotary_emb.inv_freq"));
        around.transformer(architecture, device)
    }

    fn sizes(&self) -> Sizes {
        let (heads, width) = (self.heads().map(|heads| heads.saturating_mul(self.head())), self.hidden_size);
        Sizes {
            layers: self.num_hidden_layers,
            layer: Sizes::of_layer(width, heads, &[self.intermediate_size; 3]),
            tables: vec![[self.vocab_size, width]],
        }
    }

    fn matrices(&self) -> Matrices {
        if !self.is_fused() {
            return Matrices::single("layers", &LLAMA_MATRICES);
        }
        let names =
            vec![("self_attn.qkv_proj", 3), ("self_attn.o_proj", 1), ("mlp.gate_up_proj", 2), ("mlp.down_proj", 1)];
        Matrices { layers: "layers", names }
    }

    fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    fn token_tables(&self) -> &'static [&'static str] {
        &["embed_tokens.weight"]
    }
}
