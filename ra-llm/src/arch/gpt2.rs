//! GPT-2 (Radford et al., 2019): pre-norm, causal, learned positions.
use super::limits::{bad_epsilon, bad_width, no_layers, unsupported};
use super::{Build, Matrices, Sizes};
use crate::layer::{Attention, FeedForward, Layer, Norms};
use crate::transformer::{Architecture, Around, Embeddings};
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::kernels::{Activation, FrozenLinear, Layout};
use ra_core::{LanguageModel, Pooling};
use serde::{Deserialize, Serialize};

/// The part of a GPT-2 `config.json` that affects the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Gpt2Config {
    /// The number of rows of the token table.
    pub(crate) vocab_size: usize,
    /// The width of the hidden state.
    pub(crate) n_embd: usize,
    /// The number of layers.
    pub(crate) n_layer: usize,
    /// The number of attention heads.
    pub(crate) n_head: usize,
    /// The maximum length of a text.
    #[serde(default = "positions")]
    pub(crate) n_positions: usize,
    /// The inner width of the feed-forward block; four times the width by default.
    #[serde(default)]
    pub(crate) n_inner: Option<usize>,
    /// The epsilon of the layer norms.
    #[serde(default = "epsilon")]
    pub(crate) layer_norm_epsilon: f64,
    /// The activation; `gelu_new` is the tanh approximation.
    #[serde(default = "activation")]
    pub(crate) activation_function: String,
    /// A variant that is not supported.
    #[serde(default)]
    pub(crate) scale_attn_by_inverse_layer_idx: bool,
    /// Whether scores are divided by the square root of a head's width; `false` is not supported.
    #[serde(default = "scaled")]
    pub(crate) scale_attn_weights: bool,
}

fn positions() -> usize {
    1024
}

fn epsilon() -> f64 {
    1e-5
}

fn activation() -> String {
    "gelu_new".into()
}

fn scaled() -> bool {
    true
}

impl Build for Gpt2Config {
    fn check(&self) -> Result<(), String> {
        let tanh = matches!(self.activation_function.as_str(), "gelu_new" | "gelu_pytorch_tanh");
        unsupported(&[
            (!tanh, format!("activation_function {:?} (supported: gelu_new)", self.activation_function)),
            (!self.scale_attn_weights, "scale_attn_weights false (supported: true)".into()),
            (self.scale_attn_by_inverse_layer_idx, "scale_attn_by_inverse_layer_idx (supported: false)".into()),
            bad_width("n_embd", self.n_embd, self.n_head),
            bad_epsilon("layer_norm_epsilon", self.layer_norm_epsilon),
            no_layers(self.n_layer),
        ])
    }

    fn build(&self, weights: &mut Weights, around: &Around, device: &Device) -> Box<dyn LanguageModel> {
        let (width, epsilon) = (self.n_embd, self.layer_norm_epsilon as f32);
        let inner = self.n_inner.unwrap_or(4 * width);
        let layer = |weights: &mut Weights, index: usize| {
            let name = |part: &str| format!("h.{index}.{part}");
            let [query, key, value] = split(weights, &name("attn.c_attn"), width, device);
            let mut linear = |part: &str, [from, to]: [usize; 2]| {
                let weight = weights.take(&name(&format!("{part}.weight")), &[from, to]);
                let bias = weights.take(&name(&format!("{part}.bias")), &[to]);
                FrozenLinear::new(&weight, Layout::InOut, Some(bias), [from, to], device)
            };
            let output = linear("attn.c_proj", [width, width]);
            let (up, down) = (linear("mlp.c_fc", [width, inner]), linear("mlp.c_proj", [inner, width]));
            let [before_attention, inner] =
                ["ln_1", "ln_2"].map(|part| weights.layer_norm(&name(part), width, epsilon, device));
            Layer {
                attention: Attention::new([query, key, value, output]),
                feed_forward: FeedForward { gate: None, up, down, activation: Activation::GeluTanh },
                norms: Norms::Pre { attention: Some(before_attention), inner, after: None },
            }
        };
        let tokens = weights.tensor("wte.weight", [self.vocab_size, width], device);
        let positions = weights.tensor("wpe.weight", [self.n_positions, width], device);
        let architecture = Architecture {
            embeddings: Embeddings { positions: Some(positions), ..Embeddings::new(tokens) },
            layers: (0..self.n_layer).map(|index| layer(weights, index)).collect(),
            last_norm: Some(weights.layer_norm("ln_f", width, epsilon, device)),
            relative: None,
            heads: [self.n_head; 2],
            max_tokens: self.n_positions,
            causal: true,
            pooling: Pooling::Last,
        };
        // The head is the token table, or not used; the causal mask is computed, not read.
        weights.ignore(|name| {
            name == "lm_head.weight" || name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")
        });
        around.transformer(architecture, device)
    }

    fn sizes(&self) -> Sizes {
        let width = self.n_embd;
        let inner = self.n_inner.unwrap_or_else(|| width.saturating_mul(4));
        Sizes {
            layers: self.n_layer,
            layer: Sizes::of_layer(width, [width; 2], &[inner; 2]),
            tables: vec![[self.vocab_size, width], [self.n_positions, width]],
        }
    }

    fn matrices(&self) -> Matrices {
        // Queries, keys and values are one matrix.
        Matrices {
            layers: "h",
            names: vec![("attn.c_attn", 3), ("attn.c_proj", 1), ("mlp.c_fc", 1), ("mlp.c_proj", 1)],
        }
    }

    fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    fn token_tables(&self) -> &'static [&'static str] {
        &["wte.weight"]
    }
}

/// Splits one matrix, `[width, 3 * width]`, into queries, keys and values.
fn split(weights: &mut Weights, name: &str, width: usize, device: &Device) -> [FrozenLinear; 3] {
    let weight = weights.take(&format!("{name}.weight"), &[width, 3 * width]);
    let bias = weights.take(&format!("{name}.bias"), &[3 * width]);
    [0, 1, 2].map(|part| {
        let columns = part * width..(part + 1) * width;
        let own: Vec<f32> = weight.chunks_exact(3 * width).flat_map(|row| &row[columns.clone()]).copied().collect();
        FrozenLinear::new(&own, Layout::InOut, Some(bias[columns].to_vec()), [width, width], device)
    })
}
