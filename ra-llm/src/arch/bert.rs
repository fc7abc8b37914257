//! BERT (Devlin et al., NAACL 2019): post-norm, bidirectional. MiniLM and most sentence encoders have this
//! architecture.
use super::limits::{bad_epsilon, unsupported};
use crate::reading::Reading;
use crate::transformer::{Angles, Architecture, Norm, Transformer, TransformerBlock, by_rows, embedding};
use crate::weights::Weights;
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::{Activation, FrozenLinear};
use ra_core::{LanguageModel, LmSpec, Pooling};
use serde::{Deserialize, Serialize};

/// The part of a BERT `config.json` that affects the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BertConfig {
    /// The number of rows of the token table.
    pub(crate) vocab_size: usize,
    /// The width of the hidden state.
    pub(crate) hidden_size: usize,
    /// The number of layers.
    pub(crate) num_hidden_layers: usize,
    /// The number of attention heads.
    pub(crate) num_attention_heads: usize,
    /// The inner width of the feed-forward block.
    pub(crate) intermediate_size: usize,
    /// The maximum length of a text.
    #[serde(default = "positions")]
    pub(crate) max_position_embeddings: usize,
    /// The number of rows of the token type table, of which only row 0 is used.
    #[serde(default = "types")]
    pub(crate) type_vocab_size: usize,
    /// The epsilon of the layer norms.
    #[serde(default = "epsilon")]
    pub(crate) layer_norm_eps: f64,
    /// The activation; `gelu` is the exact one.
    #[serde(default = "gelu")]
    pub(crate) hidden_act: String,
    /// The type of position embedding; only learned ones, `absolute`, are supported.
    #[serde(default = "absolute")]
    pub(crate) position_embedding_type: String,
    /// Whether a token attends only to itself and earlier tokens; not supported.
    #[serde(default)]
    pub(crate) is_decoder: bool,
}

// BERT's defaults: its early configurations omit these keys.
fn positions() -> usize {
    512
}

fn types() -> usize {
    2
}

fn epsilon() -> f64 {
    1e-12
}

fn gelu() -> String {
    "gelu".into()
}

fn absolute() -> String {
    "absolute".into()
}

/// In layer `l` keys and values read `[d^(l) ; h]` and queries read `h` (see [`ra_core::Prefix`] for `d^(l)`).
#[derive(Debug, Clone)]
struct Bert {
    tokens: Tensor<2>,
    positions: Tensor<2>,
    token_type: Tensor<2>,
    norm: Norm,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer {
    query: FrozenLinear,
    key: FrozenLinear,
    value: FrozenLinear,
    output: FrozenLinear,
    attention_norm: Norm,
    up: FrozenLinear,
    down: FrozenLinear,
    output_norm: Norm,
    activation: Activation,
}

impl BertConfig {
    /// Checks for settings that this crate does not support; the error says what to change.
    pub(crate) fn check(&self) -> Result<(), String> {
        unsupported(&[
            (
                activation(&self.hidden_act).is_none(),
                format!("hidden_act {:?} (supported: gelu, gelu_new, relu)", self.hidden_act),
            ),
            (
                self.position_embedding_type != "absolute",
                format!("position_embedding_type {:?} (supported: absolute)", self.position_embedding_type),
            ),
            (
                self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads.max(1)),
                format!(
                    "hidden_size {} with {} heads (it must be a multiple)",
                    self.hidden_size, self.num_attention_heads
                ),
            ),
            bad_epsilon("layer_norm_eps", self.layer_norm_eps),
            (self.is_decoder, "is_decoder true (supported: false)".into()),
            (self.num_hidden_layers == 0 || self.type_vocab_size == 0, "a model without layers or token types".into()),
        ])
    }

    /// Takes the tensors from `weights`; [`Weights::finish`] reports any misfit.
    pub(crate) fn build(&self, weights: &mut Weights, reading: Reading, device: &Device) -> Box<dyn LanguageModel> {
        let (width, inner, epsilon) = (self.hidden_size, self.intermediate_size, self.layer_norm_eps as f32);
        let activation = activation(&self.hidden_act).unwrap_or(Activation::Gelu);
        let layer = |weights: &mut Weights, index: usize| {
            let name = |part: &str| format!("encoder.layer.{index}.{part}");
            let mut linear = |part: &str, dims| weights.linear(&name(part), dims, true, device);
            let [query, key, value] =
                ["query", "key", "value"].map(|part| linear(&format!("attention.self.{part}"), [width, width]));
            let output = linear("attention.output.dense", [width, width]);
            let (up, down) = (linear("intermediate.dense", [width, inner]), linear("output.dense", [inner, width]));
            let [attention_norm, output_norm] = ["attention.output.LayerNorm", "output.LayerNorm"]
                .map(|part| weights.layer_norm(&name(part), width, epsilon, device));
            Layer { query, key, value, output, attention_norm, up, down, output_norm, activation }
        };
        let architecture = Bert {
            tokens: weights.tensor("embeddings.word_embeddings.weight", [self.vocab_size, width], device),
            positions: weights.tensor(
                "embeddings.position_embeddings.weight",
                [self.max_position_embeddings, width],
                device,
            ),
            token_type: weights
                .tensor("embeddings.token_type_embeddings.weight", [self.type_vocab_size, width], device)
                .slice([0..1]),
            norm: weights.layer_norm("embeddings.LayerNorm", width, epsilon, device),
            layers: (0..self.num_hidden_layers).map(|index| layer(weights, index)).collect(),
        };
        // Heads of the pre-training tasks, which the encoder does not use.
        weights.ignore(|name| name.starts_with("pooler.") || name.starts_with("cls."));
        let heads = self.num_attention_heads;
        let spec = LmSpec {
            layers: self.num_hidden_layers,
            width,
            max_tokens: reading.at_most(self.max_position_embeddings),
            causal: false,
            pooling: reading.pooling.unwrap_or(Pooling::First),
        };
        Box::new(Transformer { architecture, heads, kv_heads: heads, spec, device: device.clone() })
    }
}

fn activation(name: &str) -> Option<Activation> {
    match name {
        "gelu" | "gelu_python" => Some(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Some(Activation::GeluTanh),
        "relu" => Some(Activation::Relu),
        _ => None,
    }
}

impl Architecture for Bert {
    type Block = Layer;

    fn blocks(&self) -> &[Layer] {
        &self.layers
    }
    fn blocks_mut(&mut self) -> &mut [Layer] {
        &mut self.layers
    }

    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3> {
        let placed = embedding(&self.tokens, tokens) + embedding(&self.positions, positions);
        self.norm.forward(placed + self.token_type.clone().unsqueeze())
    }
}

impl TransformerBlock for Layer {
    fn linears(&mut self) -> Vec<&mut FrozenLinear> {
        let Self { query, key, value, output, up, down, .. } = self;
        vec![query, key, value, output, up, down]
    }
    fn attention_input(&self, hidden: Tensor<3>) -> Tensor<3> {
        hidden
    }
    fn query(&self, read: Tensor<3>, _: Option<&Angles>) -> Tensor<3> {
        self.query.project(read)
    }
    fn key(&self, read: Tensor<3>, _: Option<&Angles>) -> Tensor<3> {
        self.key.project(read)
    }
    fn value(&self, read: Tensor<3>) -> Tensor<3> {
        self.value.project(read)
    }
    fn finish_layer(&self, hidden: Tensor<3>, attended: Tensor<3>) -> Tensor<3> {
        let hidden = self.attention_norm.forward(self.output.project(attended) + hidden);
        let inner = by_rows(hidden.clone(), |x| self.down.forward(self.up.activated(x, self.activation)));
        self.output_norm.forward(inner + hidden)
    }
}
