//! ModernBERT (Warner et al., 2024): pre-norm, bidirectional, rotary positions. Most layers attend only to near tokens
//! and have a rotary base of their own; the first layer has no norm before attention.
use super::limits::{ACTIVATIONS, activation, bad_epsilon, bad_head_width, bad_width, no_layers, unsupported};
use super::near::{Kinds, NearLayers, Ropes};
use super::rope::Rope;
use super::{Build, MOST_TOKENS, Matrices, Sizes};
use crate::transformer::{Angles, Architecture, Around, Norm, Rotary, Shape, TransformerBlock, by_rows, embedding};
use crate::weights::Weights;
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::{Activation, FrozenLinear};
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

#[derive(Debug, Clone)]
struct ModernBert {
    tokens: Tensor<2>,
    norm: Norm,
    layers: Vec<Layer>,
    last_norm: Norm,
    kinds: NearLayers,
}

#[derive(Debug, Clone)]
struct Layer {
    attention_norm: Option<Norm>,
    query: FrozenLinear,
    key: FrozenLinear,
    value: FrozenLinear,
    output: FrozenLinear,
    inner_norm: Norm,
    /// The activated half, and the half that it multiplies.
    gate: FrozenLinear,
    up: FrozenLinear,
    down: FrozenLinear,
    activation: Activation,
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
        Layer {
            attention_norm: (index > 0).then(|| self.norm(weights, &name("attn_norm"), device)),
            query,
            key,
            value,
            output: weights.linear(&name("attn.Wo"), [width, width], self.attention_bias, device),
            inner_norm: self.norm(weights, &name("mlp_norm"), device),
            gate,
            up,
            down: weights.linear(&name("mlp.Wo"), [inner, width], self.mlp_bias, device),
            activation: activation(&self.hidden_activation).unwrap_or(Activation::Gelu),
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
        let size = [around.reading.at_most(max_tokens), self.head()];
        let (kinds, layers, reach) = (self.kinds(), self.num_hidden_layers, self.local_attention / 2);
        let architecture = ModernBert {
            tokens: weights.tensor("embeddings.tok_embeddings.weight", [self.vocab_size, width], device),
            norm: self.norm(weights, "embeddings.norm", device),
            layers: (0..self.num_hidden_layers).map(|index| self.layer(weights, index, device)).collect(),
            last_norm: self.norm(weights, "final_norm", device),
            kinds: NearLayers::new(&kinds, layers, &self.ropes(), reach, size, device),
        };
        weights.ignore(|name| ["head.", "decoder.", "classifier."].iter().any(|head| name.starts_with(head)));
        let shape = Shape {
            layers: self.num_hidden_layers,
            width,
            heads: [self.num_attention_heads; 2],
            max_tokens,
            causal: false,
            pooling: Pooling::First,
        };
        around.transformer(architecture, shape, device)
    }

    fn sizes(&self) -> Sizes {
        let (width, inner) = (self.hidden_size, self.intermediate_size);
        let layer = [[width, width]; 4].into_iter().chain([[width, inner]; 3]);
        Sizes { layers: self.num_hidden_layers, layer: layer.collect(), tables: vec![[self.vocab_size, width]] }
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

impl Architecture for ModernBert {
    type Block = Layer;

    fn blocks(&self) -> &[Layer] {
        &self.layers
    }
    fn blocks_mut(&mut self) -> &mut [Layer] {
        &mut self.layers
    }
    fn embed(&self, tokens: Tensor<2, Int>, _: Tensor<2, Int>) -> Tensor<3> {
        self.norm.forward(embedding(&self.tokens, tokens))
    }
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.last_norm.forward(hidden)
    }
    fn rotary(&self, layer: usize) -> Option<&Rotary> {
        Some(self.kinds.rotary(layer))
    }
    fn reach(&self, layer: usize) -> Option<usize> {
        self.kinds.reach(layer)
    }
}

impl TransformerBlock for Layer {
    fn linears(&mut self) -> Vec<&mut FrozenLinear> {
        let Self { query, key, value, output, gate, up, down, .. } = self;
        vec![query, key, value, output, gate, up, down]
    }
    fn attention_input(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.attention_norm {
            Some(norm) => norm.forward(hidden),
            None => hidden,
        }
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
        let hidden = self.output.project(attended) + hidden;
        let read = self.inner_norm.forward(hidden.clone());
        let inner = |x: Tensor<2>| self.gate.activated(x.clone(), self.activation) * self.up.forward(x);
        by_rows(read, |x| self.down.forward(inner(x))) + hidden
    }
}
