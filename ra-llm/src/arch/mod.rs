//! The supported architectures: one file each, and their common configuration.
mod bert;
mod gpt2;
mod limits;
mod llama;

pub(crate) use bert::BertConfig;
pub(crate) use gpt2::Gpt2Config;
pub(crate) use llama::LlamaConfig;

use crate::reading::Reading;
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::LanguageModel;
use serde::Serialize;

/// The configuration of a model with a supported architecture.
#[derive(Debug, Serialize)]
pub(crate) enum Config {
    Bert(BertConfig),
    Gpt2(Gpt2Config),
    Llama(LlamaConfig),
}

impl Config {
    /// Checks for settings that this crate does not support; the error says what to change.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Bert(config) => config.check(),
            Self::Gpt2(config) => config.check(),
            Self::Llama(config) => config.check(),
        }
    }

    /// Takes the tensors from `weights`; [`Weights::finish`] reports any misfit.
    pub(crate) fn build(&self, weights: &mut Weights, reading: Reading, device: &Device) -> Box<dyn LanguageModel> {
        match self {
            Self::Bert(config) => config.build(weights, reading, device),
            Self::Gpt2(config) => config.build(weights, reading, device),
            Self::Llama(config) => config.build(weights, reading, device),
        }
    }

    /// The number of parameters in the large tensors; `None` if it overflows.
    pub(crate) fn large_params(&self) -> Option<u64> {
        let (layers, layer, around) = match self {
            Self::Bert(c) => {
                let width = c.hidden_size;
                let inner = [width, c.intermediate_size];
                let rows = [c.vocab_size, c.max_position_embeddings, c.type_vocab_size].map(|rows| [rows, width]);
                (c.num_hidden_layers, vec![[width, width]; 4].into_iter().chain([inner; 2]).collect(), rows.to_vec())
            }
            Self::Gpt2(c) => {
                let width = c.n_embd;
                let inner = [width, c.n_inner.unwrap_or_else(|| width.saturating_mul(4))];
                let layer = vec![[width, width]; 4].into_iter().chain([inner; 2]).collect();
                (c.n_layer, layer, vec![[c.vocab_size, width], [c.n_positions, width]])
            }
            Self::Llama(c) => (c.num_hidden_layers, c.matrices(), vec![[c.vocab_size, c.hidden_size]]),
        };
        let sum = |all: Vec<[usize; 2]>| {
            all.iter().try_fold(0u64, |sum, &[a, b]| sum.checked_add((a as u64).checked_mul(b as u64)?))
        };
        sum(layer)?.checked_mul(layers as u64)?.checked_add(sum(around)?)
    }

    /// The number of rows of the token table.
    pub(crate) fn vocabulary(&self) -> usize {
        match self {
            Self::Bert(config) => config.vocab_size,
            Self::Gpt2(config) => config.vocab_size,
            Self::Llama(config) => config.vocab_size,
        }
    }

    /// The name of the token table; any prefix before it in a file is before every name of the model.
    pub(crate) fn token_table(&self) -> &'static str {
        match self {
            Self::Bert(_) => "embeddings.word_embeddings.weight",
            Self::Gpt2(_) => "wte.weight",
            Self::Llama(_) => "embed_tokens.weight",
        }
    }

    /// The settings that affect the computation, however their file is written, with every default filled in.
    pub(crate) fn identity(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}
