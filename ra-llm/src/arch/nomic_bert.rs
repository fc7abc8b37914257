//! Nomic BERT (Nussbaum et al., 2024): BERT with rotary positions and gated feed-forward blocks, without biases.
use super::limits::{bad_epsilon, bad_head_width, bad_width, no_layers, unsupported};
use super::rope::Rope;
use super::{Build, MOST_TOKENS, Matrices, Sizes};
use crate::layer::{Attention, FeedForward, Layer, Norms};
use crate::positions::Rotary;
use crate::transformer::{Architecture, Around, Embeddings};
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::kernels::Activation;
use ra_core::{LanguageModel, Pooling};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The part of a Nomic BERT `config.json` that affects the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NomicBertConfig {
    /// The number of rows of the token table.
    pub(crate) vocab_size: usize,
    /// The width of the hidden state.
    pub(crate) n_embd: usize,
    /// The number of layers.
    pub(crate) n_layer: usize,
    /// The number of attention heads.
    pub(crate) n_head: usize,
    /// The inner width of the feed-forward block.
    pub(crate) n_inner: usize,
    /// The maximum length of a text.
    #[serde(default = "positions")]
    pub(crate) n_positions: usize,
    /// The number of rows of the token type table, of which only row 0 is used; 0 if there is none.
    #[serde(default = "types")]
    pub(crate) type_vocab_size: usize,
    /// The epsilon of the layer norms.
    #[serde(default = "epsilon")]
    pub(crate) layer_norm_epsilon: f64,
    /// The base of the rotary angles.
    #[serde(default = "theta")]
    pub(crate) rotary_emb_base: f64,
    /// The share of a head that is rotated; only all of it is supported, and the publisher's default is none.
    #[serde(default)]
    pub(crate) rotary_emb_fraction: f64,
    /// Whether rotated pairs are neighbours; not supported.
    #[serde(default)]
    pub(crate) rotary_emb_interleaved: bool,
    /// The activation: only `swiglu` is supported.
    #[serde(default = "swiglu")]
    pub(crate) activation_function: String,
    /// Whether norms stand before attention; not supported.
    #[serde(default)]
    pub(crate) prenorm: bool,
    /// Whether attention is causal; not supported.
    #[serde(default)]
    pub(crate) causal: bool,
    /// Whether matrices have biases; not supported, and the publisher's default.
    #[serde(default = "biased")]
    pub(crate) qkv_proj_bias: bool,
    #[serde(default = "biased")]
    pub(crate) mlp_fc1_bias: bool,
    #[serde(default = "biased")]
    pub(crate) mlp_fc2_bias: bool,
    /// The place of base and scaling in transformers' own files.
    #[serde(default)]
    pub(crate) rope_parameters: Option<Value>,
    /// Other scalings of rotary angles; not supported.
    #[serde(default)]
    pub(crate) rotary_scaling_factor: Option<f64>,
    #[serde(default)]
    pub(crate) rotary_emb_scale_base: Option<f64>,
    /// Whether both blocks of a layer read the same state; not supported.
    #[serde(default)]
    pub(crate) parallel_block: bool,
    /// The number of experts; mixtures are not supported.
    #[serde(default)]
    pub(crate) num_experts: usize,
}

fn positions() -> usize {
    2048
}

fn types() -> usize {
    2
}

fn epsilon() -> f64 {
    1e-12
}

fn theta() -> f64 {
    1000.0
}

fn biased() -> bool {
    true
}

fn swiglu() -> String {
    "swiglu".into()
}

impl NomicBertConfig {
    fn rope(&self) -> Rope {
        Rope::new(Some(self.rotary_emb_base), &[self.rope_parameters.as_ref()], self.rotary_emb_base)
    }

    fn head(&self) -> usize {
        self.n_embd / self.n_head.max(1)
    }

    fn layer(&self, weights: &mut Weights, index: usize, rotary: Rotary, device: &Device) -> Layer {
        let (width, inner, epsilon) = (self.n_embd, self.n_inner, self.layer_norm_epsilon as f32);
        let name = |part: &str| format!("encoder.layers.{index}.{part}");
        let [query, key, value] = weights.fused(&name("attn.Wqkv"), width, [width; 3], false, device);
        let mut linear = |part: &str, dims| weights.linear(&name(part), dims, false, device);
        let output = linear("attn.out_proj", [width, width]);
        let [up, gate] = ["mlp.fc11", "mlp.fc12"].map(|part| linear(part, [width, inner]));
        let down = linear("mlp.fc2", [inner, width]);
        let [after_attention, after_inner] =
            ["norm1", "norm2"].map(|part| weights.layer_norm(&name(part), width, epsilon, device));
        Layer {
            attention: Attention { rotary: Some(rotary), ..Attention::new([query, key, value, output]) },
            feed_forward: FeedForward { gate: Some(gate), up, down, activation: Activation::Silu },
            norms: Norms::Post { attention: after_attention, inner: after_inner },
        }
    }
}

impl Build for NomicBertConfig {
    fn check(&self) -> Result<(), String> {
        let [theta, scaling] = self.rope().problems();
        unsupported(&[
            (
                // transformers calls the same blocks by their activation.
                !matches!(self.activation_function.as_str(), "swiglu" | "silu"),
                format!("activation_function {:?} (supported: swiglu)", self.activation_function),
            ),
            (self.prenorm, "prenorm true (supported: false)".into()),
            (self.causal, "causal true (supported: false)".into()),
            (self.qkv_proj_bias || self.mlp_fc1_bias || self.mlp_fc2_bias, "biases (supported: none)".into()),
            (self.num_experts > 0, "a mixture of experts".into()),
            (self.rotary_emb_interleaved, "rotary_emb_interleaved true (supported: false)".into()),
            (
                self.rotary_emb_fraction != 1.0,
                format!("rotary_emb_fraction {} (supported: 1)", self.rotary_emb_fraction),
            ),
            theta,
            scaling,
            bad_width("n_embd", self.n_embd, self.n_head),
            bad_head_width(self.head()),
            bad_epsilon("layer_norm_epsilon", self.layer_norm_epsilon),
            (self.rotary_scaling_factor.is_some(), "rotary_scaling_factor (supported: none)".into()),
            (self.rotary_emb_scale_base.is_some(), "rotary_emb_scale_base (supported: none)".into()),
            (self.parallel_block, "parallel_block true (supported: false)".into()),
            no_layers(self.n_layer),
        ])
    }

    fn build(&self, weights: &mut Weights, around: &Around, device: &Device) -> Box<dyn LanguageModel> {
        let (width, types) = (self.n_embd, self.type_vocab_size);
        let max_tokens = self.n_positions.min(MOST_TOKENS);
        let frequencies = self.rope().frequencies(self.head());
        let rotary = Rotary::new(around.reading.at_most(max_tokens), &frequencies, device);
        let tokens = weights.tensor("embeddings.word_embeddings.weight", [self.vocab_size, width], device);
        let embeddings = Embeddings {
            token_type: weights.token_type([types, width], device),
            norm: Some(weights.layer_norm("emb_ln", width, self.layer_norm_epsilon as f32, device)),
            ..Embeddings::new(tokens)
        };
        let layers = (0..self.n_layer).map(|index| self.layer(weights, index, rotary.clone(), device)).collect();
        weights.ignore_heads(&["pooler.", "cls."]);
        let architecture = Architecture {
            embeddings,
            layers,
            last_norm: None,
            relative: None,
            heads: [self.n_head; 2],
            max_tokens,
            causal: false,
            pooling: Pooling::Mean,
        };
        around.transformer(architecture, device)
    }

    fn sizes(&self) -> Sizes {
        let width = self.n_embd;
        Sizes {
            layers: self.n_layer,
            layer: Sizes::of_layer(width, [width; 2], &[self.n_inner; 3]),
            tables: vec![[self.vocab_size, width], [self.type_vocab_size, width]],
        }
    }

    fn matrices(&self) -> Matrices {
        Matrices {
            layers: "encoder.layers",
            names: vec![("attn.Wqkv", 3), ("attn.out_proj", 1), ("mlp.fc12", 1), ("mlp.fc11", 1), ("mlp.fc2", 1)],
        }
    }

    fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    fn token_tables(&self) -> &'static [&'static str] {
        &["embeddings.word_embeddings.weight"]
    }
}
