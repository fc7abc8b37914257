//! ModernBERT (Warner et al., 2024): pre-norm, bidirectional, rotary positions. Most layers attend only to near tokens
//! and have a rotary base of their own; the first layer has no norm before attention.
use super::limits::{ACTIVATIONS, activation, bad_epsilon, bad_head_width, bad_width, no_layers, unsupported};
use super::near::{Kinds, Ropes};
use super::rope::Rope;
use super::{Build, MOST_TOKENS, Matrices, Sizes};
use crate::layer::{Attention, FeedForward, Layer, Norm, Norms};
use crate::transformer::{Architecture, Around, Embeddings};
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::kernels::Activation;
use ra_core::{LanguageModel, Pooling};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part of a ModernBERT `config.json` that affects the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ModernBertConfig {
    /// The number of rows of the token table.
    pub(crate) vocab_size: usize,
    /// The width of the hidden state.
    pub(crate) hidden_size: usize,
    /// The inner width of the feed-forward block.
    pub(crate) intermediate_size: usize,
    /// The number of layers.
    pub(crate) num_hidden_layers: usize,
    /// The number of attention heads.
    pub(crate) num_attention_heads: usize,
    /// The maximum length of a text.
    #[serde(default = "positions")]
    pub(crate) max_position_embeddings: usize,
    /// The epsilon of the norms.
    #[serde(default = "epsilon")]
    pub(crate) norm_eps: f64,
    /// The activation.
    #[serde(default = "gelu")]
    pub(crate) hidden_activation: String,
    /// Every so many layers, one attends to all tokens.
    #[serde(default = "every")]
    pub(crate) global_attn_every_n_layers: usize,
    /// The kind of each layer, in newer files: `sliding_attention` or `full_attention`.
    #[serde(default)]
    pub(crate) layer_types: Option<Vec<String>>,
    /// The number of tokens that a near layer reads, half of them before a token and half after it.
    #[serde(default = "window")]
    pub(crate) local_attention: usize,
    /// The base of the rotary angles of layers that attend to all tokens.
    #[serde(default)]
    pub(crate) global_rope_theta: Option<f64>,
    /// That of near layers.
    #[serde(default)]
    pub(crate) local_rope_theta: Option<f64>,
    /// The scaling of rotary angles.
    #[serde(default)]
    pub(crate) rope_scaling: Option<Value>,
    /// The place of both bases in newer files, by kind of layer.
    #[serde(default)]
    pub(crate) rope_parameters: Option<Value>,
    /// Whether attention has biases.
    #[serde(default)]
    pub(crate) attention_bias: bool,
    /// Whether the feed-forward blocks have biases.
    #[serde(default)]
    pub(crate) mlp_bias: bool,
    /// Whether the norms have biases.
    #[serde(default)]
    pub(crate) norm_bias: bool,
}

fn positions() -> usize {
    8192
}

fn epsilon() -> f64 {
    1e-5
}

fn gelu() -> String {
    "gelu".into()
}

fn every() -> usize {
    3
}

fn window() -> usize {
    128
}

impl ModernBertConfig {
    fn kinds(&self) -> Kinds<'_> {
        match &self.layer_types {
            Some(kinds) => Kinds::Listed(kinds),
            None => Kinds::Every { every: self.global_attn_every_n_layers, first: 0 },
        }
    }

    fn head(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    fn ropes(&self) -> Ropes {
        let rope = |near: bool, theta, usual| {
            let table = Ropes::table(self.rope_parameters.as_ref(), near);
            Rope::new(theta, &[self.rope_scaling.as_ref(), table], usual)
        };
        let (near, full) = (self.local_rope_theta, self.global_rope_theta);
        Ropes { near: rope(true, near, 10_000.0), full: rope(false, full, 160_000.0) }
    }

    fn norm(&self, weights: &mut Weights, name: &str, device: &Device) -> Norm {
        let (width, epsilon) = (self.hidden_size, self.norm_eps as f32);
        if self.norm_bias {
            weights.layer_norm(name, width, epsilon, device)
        } else {
            weights.scale_norm(name, width, epsilon, device)
        }
    }

    fn layer(&self, weights: &mut Weights, index: usize, device: &Device) -> Layer {
        let (width, inner) = (self.hidden_size, self.intermediate_size);
        let name = |part: &str| format!("layers.{index}.{part}");
        let [query, key, value] = weights.fused(&name("attn.Wqkv"), width, [width; 3], self.attention_bias, device);
        let [gate, up] = weights.fused(&name("mlp.Wi"), width, [inner; 2], self.mlp_bias, device);
        let output = weights.linear(&name("attn.Wo"), [width, width], self.attention_bias, device);
        let down = weights.linear(&name("mlp.Wo"), [inner, width], self.mlp_bias, device);
        let activation = activation(&self.hidden_activation).unwrap_or(Activation::Gelu);
        Layer {
            attention: Attention::new([query, key, value, output]),
            feed_forward: FeedForward { gate: Some(gate), up, down, activation },
            norms: Norms::Pre {
                // The first layer reads what has just been normed.
                attention: (index > 0).then(|| self.norm(weights, &name("attn_norm"), device)),
                inner: self.norm(weights, &name("mlp_norm"), device),
                after: None,
            },
        }
    }
}

impl Build for ModernBertConfig {
    fn check(&self) -> Result<(), String> {
        let [other, count] = self.kinds().problems(self.num_hidden_layers);
        unsupported(&[
            (
                activation(&self.hidden_activation).is_none(),
                format!("hidden_activation {:?} (supported: {ACTIVATIONS})", self.hidden_activation),
            ),
            bad_width("hidden_size", self.hidden_size, self.num_attention_heads),
            other,
            count,
            bad_head_width(self.head()),
            bad_epsilon("norm_eps", self.norm_eps),
            no_layers(self.num_hidden_layers),
        ])?;
        unsupported(&self.ropes().problems())
    }

    fn build(&self, weights: &mut Weights, around: &Around, device: &Device) -> Box<dyn LanguageModel> {
        let width = self.hidden_size;
        let max_tokens = self.max_position_embeddings.min(MOST_TOKENS);
        let positions = around.reading.at_most(max_tokens);
        let (rotaries, kinds) = (self.ropes().rotaries(positions, self.head(), device), self.kinds());
        let layer = |index| {
            let mut layer = self.layer(weights, index, device);
            kinds.place(index, &rotaries, self.local_attention / 2, &mut layer.attention);
            layer
        };
        let layers = (0..self.num_hidden_layers).map(layer).collect();
        let tokens = weights.tensor("embeddings.tok_embeddings.weight", [self.vocab_size, width], device);
        let [norm, last_norm] = ["embeddings.norm", "final_norm"].map(|name| Some(self.norm(weights, name, device)));
        weights.ignore_heads(&["head.", "decoder.", "classifier."]);
        let architecture = Architecture {
            embeddings: Embeddings { norm, ..Embeddings::new(tokens) },
            layers,
            last_norm,
            relative: None,
            heads: [self.num_attention_heads; 2],
            max_tokens,
            causal: false,
            pooling: Pooling::First,
        };
        around.transformer(architecture, device)
    }

    fn sizes(&self) -> Sizes {
        let width = self.hidden_size;
        Sizes {
            layers: self.num_hidden_layers,
            layer: Sizes::of_layer(width, [width; 2], &[self.intermediate_size; 3]),
            tables: vec![[self.vocab_size, width]],
        }
    }

    fn matrices(&self) -> Matrices {
        Matrices { layers: "layers", names: vec![("attn.Wqkv", 3), ("attn.Wo", 1), ("mlp.Wi", 2), ("mlp.Wo", 1)] }
    }

    fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    fn token_tables(&self) -> &'static [&'static str] {
        &["embeddings.tok_embeddings.weight"]
    }
}
