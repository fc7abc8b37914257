//! Gemma (2024), Gemma 2 and Gemma 3 (Gemma Team, Google), and EmbeddingGemma (2025), which reads both ways.
//!
//! Norms stand before and, from Gemma 2 on, also after attention and the feed-forward block. Some layers attend only to
//! near tokens. Gemma 2 caps scores; Gemma 3 norms the heads of queries and keys instead, and its near layers have a
//! rotary base of their own.
use super::limits::{activation, bad_epsilon, bad_head_width, bad_heads, bad_width, no_layers, unsupported};
use super::near::{Kinds, Ropes};
use super::rope::Rope;
use super::{Build, LLAMA_MATRICES, MOST_TOKENS, Matrices, Sizes};
use crate::layer::{Attention, FeedForward, Layer, Norm, Norms};
use crate::transformer::{Architecture, Around, Embeddings};
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::kernels::Activation;
use ra_core::{LanguageModel, Pooling};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part of a Gemma `config.json` that affects the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GemmaConfig {
    /// `gemma`, `gemma2` or `gemma3_text`.
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
    /// The width of a head.
    #[serde(default = "head_dim")]
    pub(crate) head_dim: usize,
    /// The maximum length of a text.
    #[serde(default = "positions")]
    pub(crate) max_position_embeddings: usize,
    /// The epsilon of the norms.
    #[serde(default = "epsilon")]
    pub(crate) rms_norm_eps: f64,
    /// The activation. What the first Gemma calls `hidden_act` was a mistake: it has always been the tanh form of GELU.
    #[serde(default = "gelu")]
    pub(crate) hidden_activation: String,
    /// The older name of the activation, which only the first Gemma reads.
    #[serde(default = "gelu")]
    pub(crate) hidden_act: String,
    /// Queries are divided by the square root of this number; by default the width of a head.
    #[serde(default)]
    pub(crate) query_pre_attn_scalar: Option<f64>,
    /// The cap of scores (Gemma 2).
    #[serde(default)]
    pub(crate) attn_logit_softcapping: Option<f32>,
    /// The number of tokens that a near layer reads.
    #[serde(default)]
    pub(crate) sliding_window: Option<usize>,
    /// The kind of each layer: `sliding_attention` or `full_attention`.
    #[serde(default)]
    pub(crate) layer_types: Option<Vec<String>>,
    /// In older files of Gemma 3: every so many layers, one reads all tokens.
    #[serde(default)]
    pub(crate) sliding_window_pattern: Option<usize>,
    /// The base of the rotary angles.
    #[serde(default)]
    pub(crate) rope_theta: Option<f64>,
    /// That of near layers (Gemma 3).
    #[serde(default)]
    pub(crate) rope_local_base_freq: Option<f64>,
    /// The scaling of rotary angles, which near layers do not have.
    #[serde(default)]
    pub(crate) rope_scaling: Option<Value>,
    /// The place of bases and scaling in newer files, by kind of layer.
    #[serde(default)]
    pub(crate) rope_parameters: Option<Value>,
    /// Whether the attention's projections have biases.
    #[serde(default)]
    pub(crate) attention_bias: bool,
    /// Whether a token attends to later ones too (EmbeddingGemma).
    #[serde(default)]
    pub(crate) use_bidirectional_attention: bool,
    /// Whether the norms are stored as they are multiplied, as in GGUF; otherwise 1 is added to them.
    #[serde(default)]
    pub(crate) whole_norms: bool,
}

fn head_dim() -> usize {
    256
}

fn positions() -> usize {
    8192
}

fn epsilon() -> f64 {
    1e-6
}

fn gelu() -> String {
    "gelu_pytorch_tanh".into()
}

impl GemmaConfig {
    fn is_third(&self) -> bool {
        self.model_type == "gemma3_text"
    }

    fn heads(&self) -> [usize; 2] {
        let heads = self.num_attention_heads;
        [heads, self.num_key_value_heads.unwrap_or(heads)]
    }

    /// Which layers attend only to near tokens.
    fn kinds(&self) -> Kinds<'_> {
        if let Some(kinds) = &self.layer_types {
            return Kinds::Listed(kinds);
        }
        let every = match self.model_type.as_str() {
            "gemma" => 1,
            "gemma2" => 2,
            _ => self.sliding_window_pattern.unwrap_or(6).max(1),
        };
        Kinds::Every { every, first: every - 1 }
    }

    fn ropes(&self) -> Ropes {
        let [near, full] = [true, false].map(|near| Ropes::table(self.rope_parameters.as_ref(), near));
        let scaled = |theta, table, usual| Rope::new(theta, &[self.rope_scaling.as_ref(), table], usual);
        if self.is_third() {
            let near = Rope::new(self.rope_local_base_freq, &[near], 10_000.0);
            Ropes { near, full: scaled(self.rope_theta, full, 1_000_000.0) }
        } else {
            let [near, full] = [near, full].map(|table| scaled(self.rope_theta, table, 10_000.0));
            Ropes { near, full }
        }
    }

    /// How far apart tokens of a near layer may be.
    fn reach(&self) -> usize {
        let window = self.sliding_window.unwrap_or(4096);
        if self.use_bidirectional_attention { window / 2 } else { window.saturating_sub(1) }
    }

    fn norm(&self, weights: &mut Weights, name: &str, width: usize, device: &Device) -> Norm {
        let norm = weights.rms_norm(name, width, self.rms_norm_eps as f32, device);
        if self.whole_norms { norm } else { Norm { gamma: norm.gamma + 1.0, ..norm } }
    }

    fn layer(&self, weights: &mut Weights, index: usize, device: &Device) -> Layer {
        let (width, wide, head) = (self.hidden_size, self.intermediate_size, self.head_dim);
        let [heads, kv_heads] = self.heads().map(|heads| heads * head);
        let name = |part: &str| format!("layers.{index}.{part}");
        let mut linear = |part: &str, dims, bias| weights.linear(&name(part), dims, bias, device);
        let query = linear("self_attn.q_proj", [width, heads], self.attention_bias);
        let [key, value] =
            ["self_attn.k_proj", "self_attn.v_proj"].map(|part| linear(part, [width, kv_heads], self.attention_bias));
        let output = linear("self_attn.o_proj", [heads, width], self.attention_bias);
        let [gate, up] = ["mlp.gate_proj", "mlp.up_proj"].map(|part| linear(part, [width, wide], false));
        let down = linear("mlp.down_proj", [wide, width], false);
        let mut norm = |part: &str, width| self.norm(weights, &name(part), width, device);
        let head_norms = self.is_third().then(|| ["q", "k"].map(|part| norm(&format!("self_attn.{part}_norm"), head)));
        let [before_attention, after_attention] =
            ["input_layernorm", "post_attention_layernorm"].map(|part| norm(part, width));
        // In the first Gemma, the norm of that name stands before the feed-forward block.
        let (inner, after) = if self.model_type == "gemma" {
            (after_attention, None)
        } else {
            let [before, after] =
                ["pre_feedforward_layernorm", "post_feedforward_layernorm"].map(|part| norm(part, width));
            (before, Some(Box::new([after_attention, after])))
        };
        let scalar = self.query_pre_attn_scalar.filter(|scalar| *scalar != head as f64);
        let activation = activation(&self.hidden_activation).unwrap_or(Activation::GeluTanh);
        Layer {
            attention: Attention {
                head_norms,
                query_scale: scalar.map(|scalar| (head as f64 / scalar).sqrt() as f32),
                // Gemma 3 has the key and no cap.
                score_cap: self.attn_logit_softcapping.filter(|_| self.model_type == "gemma2"),
                ..Attention::new([query, key, value, output])
            },
            feed_forward: FeedForward { gate: Some(gate), up, down, activation },
            norms: Norms::Pre { attention: Some(before_attention), inner, after },
        }
    }
}

impl Build for GemmaConfig {
    fn check(&self) -> Result<(), String> {
        let ([heads, kv_heads], [other, count]) = (self.heads(), self.kinds().problems(self.num_hidden_layers));
        let scalar = self.query_pre_attn_scalar.unwrap_or(1.0);
        unsupported(&[
            (
                activation(&self.hidden_activation).is_none(),
                format!("hidden_activation {:?} (supported: gelu_pytorch_tanh)", self.hidden_activation),
            ),
            (
                self.model_type == "gemma" && !self.hidden_act.starts_with("gelu"),
                format!("hidden_act {:?} (supported: gelu, gelu_pytorch_tanh)", self.hidden_act),
            ),
            other,
            count,
            (self.sliding_window == Some(0), "sliding_window 0 (it must be at least 1)".into()),
            (!(scalar > 0.0 && scalar.is_finite()), format!("query_pre_attn_scalar {scalar} (it must be above 0)")),
            (
                self.attn_logit_softcapping.is_some_and(|cap| cap.is_nan() || cap <= 0.0),
                "attn_logit_softcapping of 0 or below (it must be above 0)".into(),
            ),
            bad_width("hidden_size", self.hidden_size, 1),
            bad_heads(heads, kv_heads),
            bad_head_width(self.head_dim),
            bad_epsilon("rms_norm_eps", self.rms_norm_eps),
            no_layers(self.num_hidden_layers),
        ])?;
        unsupported(&self.ropes().problems())
    }

    fn build(&self, weights: &mut Weights, around: &Around, device: &Device) -> Box<dyn LanguageModel> {
        let width = self.hidden_size;
        let max_tokens = self.max_position_embeddings.min(MOST_TOKENS);
        let positions = around.reading.at_most(max_tokens);
        let (rotaries, kinds) = (self.ropes().rotaries(positions, self.head_dim, device), self.kinds());
        let layer = |index| {
            let mut layer = self.layer(weights, index, device);
            kinds.place(index, &rotaries, self.reach(), &mut layer.attention);
            layer
        };
        let layers = (0..self.num_hidden_layers).map(layer).collect();
        let tokens = weights.tensor("embed_tokens.weight", [self.vocab_size, width], device);
        let last_norm = Some(self.norm(weights, "norm", width, device));
        weights.ignore(|name| name == "lm_head.weight" || name.ends_with("rotary_emb.inv_freq"));
        let both_ways = self.use_bidirectional_attention;
        let architecture = Architecture {
            embeddings: Embeddings { scale: Some((width as f32).sqrt()), ..Embeddings::new(tokens) },
            layers,
            last_norm,
            relative: None,
            heads: self.heads(),
            max_tokens,
            causal: !both_ways,
            pooling: if both_ways { Pooling::Mean } else { Pooling::Last },
        };
        around.transformer(architecture, device)
    }

    fn sizes(&self) -> Sizes {
        let (heads, width) = (self.heads().map(|heads| heads.saturating_mul(self.head_dim)), self.hidden_size);
        Sizes {
            layers: self.num_hidden_layers,
            layer: Sizes::of_layer(width, heads, &[self.intermediate_size; 3]),
            tables: vec![[self.vocab_size, width]],
        }
    }

    fn matrices(&self) -> Matrices {
        Matrices::single("layers", &LLAMA_MATRICES)
    }

    fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    fn token_tables(&self) -> &'static [&'static str] {
        &["embed_tokens.weight"]
    }
}
