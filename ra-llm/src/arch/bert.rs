//! BERT (Devlin et al., NAACL 2019): post-norm, bidirectional. MiniLM and most sentence encoders have this
//! architecture; RoBERTa, XLM-R and CamemBERT differ in the row of their first position.
use super::limits::{ACTIVATIONS, activation, bad_epsilon, bad_width, no_layers, unsupported};
use super::{Build, Matrices, Sizes};
use crate::layer::{Attention, FeedForward, Layer, Norms};
use crate::positions::RelativeBias;
use crate::transformer::{Architecture, Around, Embeddings};
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::kernels::Activation;
use ra_core::{LanguageModel, Pooling};
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
    /// The number of rows of the position table.
    #[serde(default = "positions")]
    pub(crate) max_position_embeddings: usize,
    /// The row of the first token's position: 0, but for RoBERTa and its relatives that after the padding token's id.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) position_offset: usize,
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

// Omitted, so that the identity of a BERT stays what it was before RoBERTa was supported.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(offset: &usize) -> bool {
    *offset == 0
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

/// The names of a layer's parts, which differ between relatives.
pub(super) struct Names {
    pub(super) layers: &'static str,
    /// Queries, keys, values and the output of attention.
    pub(super) attention: [&'static str; 4],
    /// The norm after attention, and that after the feed-forward block.
    pub(super) norms: [&'static str; 2],
    /// The two matrices of the feed-forward block.
    pub(super) inner: [&'static str; 2],
}

const NAMES: Names = Names {
    layers: "encoder.layer",
    attention: ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"],
    norms: ["attention.output.LayerNorm", "output.LayerNorm"],
    inner: ["intermediate.dense", "output.dense"],
};

impl BertConfig {
    /// Checks what all relatives share.
    pub(super) fn check_encoder(&self) -> Result<(), String> {
        let (offset, rows) = (self.position_offset, self.max_position_embeddings);
        unsupported(&[
            (
                activation(&self.hidden_act).is_none(),
                format!("hidden_act {:?} (supported: {ACTIVATIONS})", self.hidden_act),
            ),
            (
                self.position_embedding_type != "absolute",
                format!("position_embedding_type {:?} (supported: absolute)", self.position_embedding_type),
            ),
            bad_width("hidden_size", self.hidden_size, self.num_attention_heads),
            bad_epsilon("layer_norm_eps", self.layer_norm_eps),
            (self.is_decoder, "is_decoder true (supported: false)".into()),
            no_layers(self.num_hidden_layers),
            (offset >= rows, format!("{rows} rows of positions, the first of them row {offset}")),
        ])
    }

    /// Takes the tensors, named by `names`, from `weights`.
    pub(super) fn build_encoder(
        &self,
        names: &Names,
        relative: Option<RelativeBias>,
        weights: &mut Weights,
        around: &Around,
        device: &Device,
    ) -> Box<dyn LanguageModel> {
        let (width, inner, epsilon) = (self.hidden_size, self.intermediate_size, self.layer_norm_eps as f32);
        let activation = activation(&self.hidden_act).unwrap_or(Activation::Gelu);
        let layer = |weights: &mut Weights, index: usize| {
            let name = |part: &str| format!("{}.{index}.{part}", names.layers);
            let mut linear = |part: &str, dims| weights.linear(&name(part), dims, true, device);
            let attention = Attention::new(names.attention.map(|part| linear(part, [width, width])));
            let [up, down] = names.inner;
            let (up, down) = (linear(up, [width, inner]), linear(down, [inner, width]));
            let [after_attention, after_inner] =
                names.norms.map(|part| weights.layer_norm(&name(part), width, epsilon, device));
            Layer {
                attention,
                feed_forward: FeedForward { gate: None, up, down, activation },
                norms: Norms::Post { attention: after_attention, inner: after_inner },
            }
        };
        let (offset, rows, types) = (self.position_offset, self.max_position_embeddings, self.type_vocab_size);
        let tokens = weights.tensor("embeddings.word_embeddings.weight", [self.vocab_size, width], device);
        let positions = weights.tensor("embeddings.position_embeddings.weight", [rows, width], device);
        let embeddings = Embeddings {
            positions: Some(positions.slice([offset..rows])),
            token_type: weights.token_type([types, width], device),
            norm: Some(weights.layer_norm("embeddings.LayerNorm", width, epsilon, device)),
            ..Embeddings::new(tokens)
        };
        let layers = (0..self.num_hidden_layers).map(|index| layer(weights, index)).collect();
        weights.ignore_heads(&["pooler.", "cls.", "lm_head.", "classifier.", "vocab_", "qa_outputs."]);
        let architecture = Architecture {
            embeddings,
            layers,
            last_norm: None,
            relative,
            heads: [self.num_attention_heads; 2],
            max_tokens: rows - offset,
            causal: false,
            pooling: Pooling::First,
        };
        around.transformer(architecture, device)
    }

    /// The large tensors of a relative.
    pub(super) fn encoder_sizes(&self) -> Sizes {
        let width = self.hidden_size;
        let rows = [self.vocab_size, self.max_position_embeddings, self.type_vocab_size];
        Sizes {
            layers: self.num_hidden_layers,
            layer: Sizes::of_layer(width, [width; 2], &[self.intermediate_size; 2]),
            tables: rows.map(|rows| [rows, width]).to_vec(),
        }
    }
}

impl Names {
    /// The names of the matrices.
    pub(super) fn matrices(&self) -> Matrices {
        Matrices::single(self.layers, &[&self.attention[..], &self.inner].concat())
    }
}

/// The name of the token table of BERT and its relatives.
pub(super) const TOKEN_TABLES: [&str; 1] = ["embeddings.word_embeddings.weight"];

impl Build for BertConfig {
    fn check(&self) -> Result<(), String> {
        self.check_encoder()?;
        unsupported(&[(self.type_vocab_size == 0, "a model without token types".into())])
    }

    fn build(&self, weights: &mut Weights, around: &Around, device: &Device) -> Box<dyn LanguageModel> {
        self.build_encoder(&NAMES, None, weights, around, device)
    }

    fn sizes(&self) -> Sizes {
        self.encoder_sizes()
    }

    fn matrices(&self) -> Matrices {
        NAMES.matrices()
    }

    fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    fn token_tables(&self) -> &'static [&'static str] {
        &TOKEN_TABLES
    }
}
