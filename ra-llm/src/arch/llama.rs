//! Llama (Touvron et al., 2023) and models with its architecture: Mistral, Qwen2 (biases on queries, keys and values),
//! Qwen3 (norms on the heads of queries and keys).
use super::limits::{bad_epsilon, unsupported};
use crate::reading::Reading;
use crate::transformer::{Angles, Architecture, Norm, Rotary, Transformer, TransformerBlock, by_rows, embedding};
use crate::weights::Weights;
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::{FrozenLinear, gated_silu};
use ra_core::{LanguageModel, LmSpec, Pooling};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The maximum length of a text: prompts are short, and a table of angles for 131,072 positions is large.
const MOST_TOKENS: usize = 8192;

/// The part of a Llama-like `config.json` that affects the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LlamaConfig {
    /// `llama`, `mistral`, `qwen2` or `qwen3`.
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
    /// The scaling of rotary angles; not supported.
    #[serde(default)]
    pub(crate) rope_scaling: Option<Value>,
    /// The place of base and scaling in newer files.
    #[serde(default)]
    pub(crate) rope_parameters: Option<Value>,
    /// The activation.
    #[serde(default = "silu")]
    pub(crate) hidden_act: String,
    /// Whether the attention's projections have biases.
    #[serde(default)]
    pub(crate) attention_bias: Option<bool>,
    /// Whether the feed-forward block has biases; not supported.
    #[serde(default)]
    pub(crate) mlp_bias: bool,
    /// The sliding window: the most tokens that a token attends to.
    #[serde(default)]
    pub(crate) sliding_window: Option<usize>,
    /// Whether the window is used; Qwen2 has one that is not.
    #[serde(default)]
    pub(crate) use_sliding_window: Option<bool>,
}

fn epsilon() -> f64 {
    1e-6
}

fn silu() -> String {
    "silu".into()
}

#[derive(Debug, Clone)]
struct Llama {
    tokens: Tensor<2>,
    layers: Vec<Layer>,
    norm: Norm,
    rotary: Rotary,
}

#[derive(Debug, Clone)]
struct Layer {
    attention_norm: Norm,
    query: FrozenLinear,
    key: FrozenLinear,
    value: FrozenLinear,
    /// The head norms of queries and keys.
    head_norms: Option<[Norm; 2]>,
    output: FrozenLinear,
    inner_norm: Norm,
    gate: FrozenLinear,
    up: FrozenLinear,
    down: FrozenLinear,
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

    /// The numbers of inputs and outputs of a layer's matrices.
    pub(crate) fn matrices(&self) -> Vec<[usize; 2]> {
        let ([heads, kv_heads], width) =
            (self.heads().map(|heads| heads.saturating_mul(self.head())), self.hidden_size);
        vec![[width, heads], [width, kv_heads], [width, kv_heads], [heads, width]]
            .into_iter()
            .chain([[width, self.intermediate_size]; 3])
            .collect()
    }

    fn theta(&self) -> f64 {
        let newer = self.rope_parameters.as_ref().and_then(|p| p.get("rope_theta")).and_then(Value::as_f64);
        self.rope_theta.or(newer).unwrap_or(10_000.0)
    }

    /// The name of the scaling of rotary angles, if there is one.
    fn scaling(&self) -> Option<String> {
        [&self.rope_scaling, &self.rope_parameters].into_iter().flatten().find_map(|table| {
            let kind = table.get("rope_type").or_else(|| table.get("type"));
            let kind = kind.map_or_else(|| table.to_string(), |k| k.as_str().unwrap_or_default().to_string());
            let named = table.get("rope_type").is_some() || table.get("type").is_some();
            let plain = kind == "default" || (table.get("rope_theta").is_some() && !named);
            (!plain && !table.is_null()).then_some(kind)
        })
    }

    /// Checks for settings that this crate does not support; the error says what to change.
    pub(crate) fn check(&self) -> Result<(), String> {
        let [heads, kv_heads] = self.heads();
        let scaling = self.scaling();
        unsupported(&[
            (self.hidden_act != "silu", format!("hidden_act {:?} (supported: silu)", self.hidden_act)),
            (scaling.is_some(), format!("rope_scaling {:?} (supported: none)", scaling.unwrap_or_default())),
            (self.mlp_bias, "mlp_bias true (supported: false)".into()),
            (
                heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads.max(1)),
                format!("{heads} heads with {kv_heads} of keys (it must be a multiple)"),
            ),
            (
                self.head() == 0 || !self.head().is_multiple_of(2) || self.head() > 1024,
                format!("head_dim {} (it must be even, 1024 at most)", self.head()),
            ),
            bad_epsilon("rms_norm_eps", self.rms_norm_eps),
            (
                !(self.theta() > 0.0 && self.theta().is_finite()),
                format!("rope_theta {} (it must be above 0)", self.theta()),
            ),
            (self.num_hidden_layers == 0, "a model without layers".into()),
        ])
    }

    /// Takes the tensors from `weights`; [`Weights::finish`] reports any misfit.
    pub(crate) fn build(&self, weights: &mut Weights, reading: Reading, device: &Device) -> Box<dyn LanguageModel> {
        let (width, inner, epsilon) = (self.hidden_size, self.intermediate_size, self.rms_norm_eps as f32);
        let ([heads, kv_heads], head) = (self.heads(), self.head());
        let qkv_bias = self.attention_bias.unwrap_or(self.model_type == "qwen2");
        let output_bias = self.attention_bias.unwrap_or(false) && self.model_type != "qwen2";
        let layer = |weights: &mut Weights, index: usize| {
            let name = |part: &str| format!("layers.{index}.{part}");
            let mut linear = |part: &str, dims, bias| weights.linear(&name(part), dims, bias, device);
            let query = linear("self_attn.q_proj", [width, heads * head], qkv_bias);
            let [key, value] =
                ["k", "v"].map(|part| linear(&format!("self_attn.{part}_proj"), [width, kv_heads * head], qkv_bias));
            let output = linear("self_attn.o_proj", [heads * head, width], output_bias);
            let [gate, up] = ["gate", "up"].map(|part| linear(&format!("mlp.{part}_proj"), [width, inner], false));
            let down = linear("mlp.down_proj", [inner, width], false);
            let mut norm = |part: &str, width| weights.rms_norm(&name(part), width, epsilon, device);
            let head_norms = (self.model_type == "qwen3")
                .then(|| ["q", "k"].map(|part| norm(&format!("self_attn.{part}_norm"), head)));
            let [attention_norm, inner_norm] =
                ["input_layernorm", "post_attention_layernorm"].map(|part| norm(part, width));
            Layer { attention_norm, query, key, value, head_norms, output, inner_norm, gate, up, down }
        };
        let window = self.sliding_window.filter(|_| self.use_sliding_window != Some(false)).unwrap_or(usize::MAX);
        let max_tokens = reading.at_most(self.max_position_embeddings.min(window).min(MOST_TOKENS));
        let architecture = Llama {
            tokens: weights.tensor("embed_tokens.weight", [self.vocab_size, width], device),
            layers: (0..self.num_hidden_layers).map(|index| layer(weights, index)).collect(),
            norm: weights.rms_norm("norm", width, epsilon, device),
            rotary: Rotary::new(max_tokens, head, self.theta(), device),
        };
        weights.ignore(|name| name == "lm_head.weight" || name.ends_with("rotary_emb.inv_freq"));
        let spec = LmSpec {
            layers: self.num_hidden_layers,
            width,
            max_tokens,
            causal: true,
            pooling: reading.pooling.unwrap_or(Pooling::Last),
        };
        Box::new(Transformer { architecture, heads, kv_heads, spec, device: device.clone() })
    }
}

impl Architecture for Llama {
    type Block = Layer;

    fn blocks(&self) -> &[Layer] {
        &self.layers
    }
    fn blocks_mut(&mut self) -> &mut [Layer] {
        &mut self.layers
    }
    fn embed(&self, tokens: Tensor<2, Int>, _: Tensor<2, Int>) -> Tensor<3> {
        embedding(&self.tokens, tokens)
    }
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.norm.forward(hidden)
    }
    fn rotary(&self) -> Option<&Rotary> {
        Some(&self.rotary)
    }
}

impl Layer {
    /// Applies head norm and rotary position; a prefix is normed as well but has no position.
    fn place(&self, x: Tensor<3>, which: usize, at: Option<&Angles>) -> Tensor<3> {
        let x = match &self.head_norms {
            Some(norms) => norms[which].forward(x),
            None => x,
        };
        match at {
            Some(angles) => angles.apply_rotary(x),
            None => x,
        }
    }
}

impl TransformerBlock for Layer {
    fn linears(&mut self) -> Vec<&mut FrozenLinear> {
        let Self { query, key, value, output, gate, up, down, .. } = self;
        vec![query, key, value, output, gate, up, down]
    }
    fn attention_input(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.attention_norm.forward(hidden)
    }
    fn query(&self, read: Tensor<3>, at: Option<&Angles>) -> Tensor<3> {
        self.place(self.query.project(read), 0, at)
    }
    fn key(&self, read: Tensor<3>, at: Option<&Angles>) -> Tensor<3> {
        self.place(self.key.project(read), 1, at)
    }
    fn value(&self, read: Tensor<3>) -> Tensor<3> {
        self.value.project(read)
    }
    fn finish_layer(&self, hidden: Tensor<3>, attended: Tensor<3>) -> Tensor<3> {
        let hidden = self.output.project(attended) + hidden;
        let read = self.inner_norm.forward(hidden.clone());
        let inner = |x: Tensor<2>| gated_silu(self.gate.forward(x.clone()), self.up.forward(x));
        by_rows(read, |x| self.down.forward(inner(x))) + hidden
    }
}
