//! Nomic BERT (Nussbaum et al., 2024): BERT with rotary positions and gated feed-forward blocks, without biases.
use super::limits::{bad_epsilon, bad_head_width, bad_width, no_layers, unsupported};
use super::rope::Rope;
use super::{Build, MOST_TOKENS, Matrices, Sizes};
use crate::transformer::{Angles, Architecture, Around, Norm, Rotary, Shape, TransformerBlock, by_rows, embedding};
use crate::weights::Weights;
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::{FrozenLinear, gated_silu};
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

#[derive(Debug, Clone)]
struct NomicBert {
    tokens: Tensor<2>,
    token_type: Option<Tensor<2>>,
    norm: Norm,
    layers: Vec<Layer>,
    rotary: Rotary,
}

#[derive(Debug, Clone)]
struct Layer {
    query: FrozenLinear,
    key: FrozenLinear,
    value: FrozenLinear,
    output: FrozenLinear,
    attention_norm: Norm,
    gate: FrozenLinear,
    up: FrozenLinear,
    down: FrozenLinear,
    output_norm: Norm,
}

impl NomicBertConfig {
    fn rope(&self) -> Rope {
        Rope::new(Some(self.rotary_emb_base), &[self.rope_parameters.as_ref()], self.rotary_emb_base)
    }

    fn head(&self) -> usize {
        self.n_embd / self.n_head.max(1)
    }

    fn layer(&self, weights: &mut Weights, index: usize, device: &Device) -> Layer {
        let (width, inner, epsilon) = (self.n_embd, self.n_inner, self.layer_norm_epsilon as f32);
        let name = |part: &str| format!("encoder.layers.{index}.{part}");
        let [query, key, value] = weights.fused(&name("attn.Wqkv"), width, [width; 3], false, device);
        let mut linear = |part: &str, dims| weights.linear(&name(part), dims, false, device);
        let output = linear("attn.out_proj", [width, width]);
        let [up, gate] = ["mlp.fc11", "mlp.fc12"].map(|part| linear(part, [width, inner]));
        let down = linear("mlp.fc2", [inner, width]);
        let [attention_norm, output_norm] =
            ["norm1", "norm2"].map(|part| weights.layer_norm(&name(part), width, epsilon, device));
        Layer { query, key, value, output, attention_norm, gate, up, down, output_norm }
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
        let architecture = NomicBert {
            tokens: weights.tensor("embeddings.word_embeddings.weight", [self.vocab_size, width], device),
            token_type: weights.token_type([types, width], device),
            norm: weights.layer_norm("emb_ln", width, self.layer_norm_epsilon as f32, device),
            layers: (0..self.n_layer).map(|index| self.layer(weights, index, device)).collect(),
            rotary: Rotary::new(around.reading.at_most(max_tokens), &frequencies, device),
        };
        weights.ignore(|name| ["pooler.", "cls."].iter().any(|head| name.starts_with(head)));
        let shape = Shape {
            layers: self.n_layer,
            width,
            heads: [self.n_head; 2],
            max_tokens,
            causal: false,
            pooling: Pooling::Mean,
        };
        around.transformer(architecture, shape, device)
    }

    fn sizes(&self) -> Sizes {
        let (width, inner) = (self.n_embd, self.n_inner);
        let layer = [[width, width]; 4].into_iter().chain([[width, inner]; 3]);
        let tables = vec![[self.vocab_size, width], [self.type_vocab_size, width]];
        Sizes { layers: self.n_layer, layer: layer.collect(), tables }
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

impl Architecture for NomicBert {
    type Block = Layer;

    fn blocks(&self) -> &[Layer] {
        &self.layers
    }
    fn blocks_mut(&mut self) -> &mut [Layer] {
        &mut self.layers
    }
    fn embed(&self, tokens: Tensor<2, Int>, _: Tensor<2, Int>) -> Tensor<3> {
        let tokens = embedding(&self.tokens, tokens);
        self.norm.forward(match &self.token_type {
            Some(token_type) => tokens + token_type.clone().unsqueeze(),
            None => tokens,
        })
    }
    fn rotary(&self, _: usize) -> Option<&Rotary> {
        Some(&self.rotary)
    }
}

impl TransformerBlock for Layer {
    fn linears(&mut self) -> Vec<&mut FrozenLinear> {
        let Self { query, key, value, output, gate, up, down, .. } = self;
        vec![query, key, value, output, gate, up, down]
    }
    fn attention_input(&self, hidden: Tensor<3>) -> Tensor<3> {
        hidden
    }
    fn query(&self, read: Tensor<3>, at: Option<&Angles>) -> Tensor<3> {
        Angles::applied(at, self.query.project(read))
    }
    fn key(&self, read: Tensor<3>, at: Option<&Angles>) -> Tensor<3> {
        Angles::applied(at, self.key.project(read))
    }
    fn value(&self, read: Tensor<3>) -> Tensor<3> {
        self.value.project(read)
    }
    fn finish_layer(&self, hidden: Tensor<3>, attended: Tensor<3>) -> Tensor<3> {
        let hidden = self.attention_norm.forward(self.output.project(attended) + hidden);
        let inner = |x: Tensor<2>| gated_silu(self.gate.forward(x.clone()), self.up.forward(x));
        let inner = by_rows(hidden.clone(), |x| self.down.forward(inner(x)));
        self.output_norm.forward(inner + hidden)
    }
}
