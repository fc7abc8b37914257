//! The encoder of T5 (Raffel et al., JMLR 2020) and of its relatives mT5 and T5 1.1: pre-norm, bidirectional, a bias by
//! relative position that all layers share, scores that are not scaled.
use super::limits::{activation, bad_epsilon, bad_width, no_layers, unsupported};
use super::{Build, Matrices, Sizes};
use crate::layer::{Attention, FeedForward, Layer, Norms};
use crate::positions::RelativeBias;
use crate::transformer::{Architecture, Around, Embeddings};
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::kernels::Activation;
use ra_core::{LanguageModel, Pooling};
use serde::{Deserialize, Serialize};

/// The part of a T5 `config.json` that affects the computation of its encoder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct T5Config {
    /// The number of rows of the token table.
    pub(crate) vocab_size: usize,
    /// The width of the hidden state.
    pub(crate) d_model: usize,
    /// The width of a head.
    pub(crate) d_kv: usize,
    /// The inner width of the feed-forward block.
    pub(crate) d_ff: usize,
    /// The number of layers.
    pub(crate) num_layers: usize,
    /// The number of attention heads.
    pub(crate) num_heads: usize,
    /// The maximum length of a text. The architecture has none; this is what the models were trained on.
    #[serde(default = "positions")]
    pub(crate) n_positions: usize,
    /// The number of buckets of relative positions.
    #[serde(default = "buckets")]
    pub(crate) relative_attention_num_buckets: usize,
    /// The distance beyond which all tokens share a bucket.
    #[serde(default = "max_distance")]
    pub(crate) relative_attention_max_distance: usize,
    /// The epsilon of the norms.
    #[serde(default = "epsilon")]
    pub(crate) layer_norm_epsilon: f64,
    /// The activation, after `gated-` if it multiplies a second matrix.
    #[serde(default = "relu")]
    pub(crate) feed_forward_proj: String,
}

fn positions() -> usize {
    512
}

fn buckets() -> usize {
    32
}

fn max_distance() -> usize {
    128
}

fn epsilon() -> f64 {
    1e-6
}

fn relu() -> String {
    "relu".into()
}

/// The names of the token table: files hold it once or twice, under either.
const TOKEN_TABLES: [&str; 2] = ["encoder.embed_tokens.weight", "shared.weight"];

impl T5Config {
    fn is_gated(&self) -> bool {
        self.feed_forward_proj.starts_with("gated-")
    }

    fn activation(&self) -> Option<Activation> {
        match self.feed_forward_proj.strip_prefix("gated-") {
            // T5 1.1 was trained with the tanh form under this name.
            Some("gelu") => Some(Activation::GeluTanh),
            Some(name) => activation(name),
            None => activation(&self.feed_forward_proj),
        }
    }

    fn layer(&self, weights: &mut Weights, index: usize, device: &Device) -> Layer {
        let (width, inner, heads) = (self.d_model, self.d_ff, self.num_heads * self.d_kv);
        let name = |layer: usize, part: &str| format!("encoder.block.{index}.layer.{layer}.{part}");
        let mut linear = |layer, part: &str, dims| weights.linear(&name(layer, part), dims, false, device);
        let [query, key, value] =
            ["q", "k", "v"].map(|part| linear(0, &format!("SelfAttention.{part}"), [width, heads]));
        let output = linear(0, "SelfAttention.o", [heads, width]);
        let (gate, up) = if self.is_gated() {
            let [gate, up] = ["wi_0", "wi_1"].map(|part| linear(1, &format!("DenseReluDense.{part}"), [width, inner]));
            (Some(gate), up)
        } else {
            (None, linear(1, "DenseReluDense.wi", [width, inner]))
        };
        let down = linear(1, "DenseReluDense.wo", [inner, width]);
        let [before_attention, inner] = [0, 1]
            .map(|layer| weights.rms_norm(&name(layer, "layer_norm"), width, self.layer_norm_epsilon as f32, device));
        let activation = self.activation().unwrap_or(Activation::Relu);
        Layer {
            attention: Attention {
                // Undoes the usual scale of scores.
                query_scale: Some((self.d_kv as f32).sqrt()),
                ..Attention::new([query, key, value, output])
            },
            feed_forward: FeedForward { gate, up, down, activation },
            norms: Norms::Pre { attention: Some(before_attention), inner, after: None },
        }
    }
}

impl Build for T5Config {
    fn check(&self) -> Result<(), String> {
        let (buckets, most) = (self.relative_attention_num_buckets, self.relative_attention_max_distance);
        unsupported(&[
            (
                self.activation().is_none(),
                format!(
                    "feed_forward_proj {:?} (supported: relu, gelu, silu, gated-gelu, gated-silu)",
                    self.feed_forward_proj
                ),
            ),
            RelativeBias::bad(buckets, most),
            bad_width("d_model", self.d_model, 1),
            (self.num_heads == 0 || self.d_kv == 0, "a model without heads".into()),
            bad_epsilon("layer_norm_epsilon", self.layer_norm_epsilon),
            no_layers(self.num_layers),
        ])
    }

    fn build(&self, weights: &mut Weights, around: &Around, device: &Device) -> Box<dyn LanguageModel> {
        let width = self.d_model;
        let [own, shared] = TOKEN_TABLES;
        let tokens = weights.tensor(if weights.has(own) { own } else { shared }, [self.vocab_size, width], device);
        let size = [self.relative_attention_num_buckets, self.num_heads];
        let table = weights.take("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", &size);
        let architecture = Architecture {
            embeddings: Embeddings::new(tokens),
            layers: (0..self.num_layers).map(|index| self.layer(weights, index, device)).collect(),
            last_norm: Some(weights.rms_norm(
                "encoder.final_layer_norm",
                width,
                self.layer_norm_epsilon as f32,
                device,
            )),
            relative: Some(RelativeBias::new(&table, size, self.relative_attention_max_distance, device)),
            heads: [self.num_heads; 2],
            max_tokens: self.n_positions,
            causal: false,
            pooling: Pooling::Mean,
        };
        weights.ignore_heads(&["decoder.", "lm_head.", "shared.", "encoder.embed_tokens."]);
        around.transformer(architecture, device)
    }

    fn sizes(&self) -> Sizes {
        let (width, heads) = (self.d_model, self.num_heads.saturating_mul(self.d_kv));
        let inner = vec![self.d_ff; if self.is_gated() { 3 } else { 2 }];
        Sizes {
            layers: self.num_layers,
            layer: Sizes::of_layer(width, [heads; 2], &inner),
            tables: vec![[self.vocab_size, width], [self.relative_attention_num_buckets, self.num_heads]],
        }
    }

    fn matrices(&self) -> Matrices {
        let attention = [
            "layer.0.SelfAttention.q",
            "layer.0.SelfAttention.k",
            "layer.0.SelfAttention.v",
            "layer.0.SelfAttention.o",
        ];
        let inner: &[&str] = if self.is_gated() {
            &["layer.1.DenseReluDense.wi_0", "layer.1.DenseReluDense.wi_1", "layer.1.DenseReluDense.wo"]
        } else {
            &["layer.1.DenseReluDense.wi", "layer.1.DenseReluDense.wo"]
        };
        Matrices::single("encoder.block", &[&attention[..], inner].concat())
    }

    fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    fn token_tables(&self) -> &'static [&'static str] {
        &TOKEN_TABLES
    }
}
