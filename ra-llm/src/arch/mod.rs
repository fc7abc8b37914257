//! The supported architectures: one file each, and what they have in common.
mod bert;
mod distilbert;
mod gemma;
mod gpt2;
mod limits;
mod llama;
mod modernbert;
mod mpnet;
mod near;
mod nomic_bert;
mod rope;
pub(crate) mod static_table;
mod t5;

pub(crate) use bert::BertConfig;
pub(crate) use distilbert::DistilBertConfig;
pub(crate) use gemma::GemmaConfig;
pub(crate) use gpt2::Gpt2Config;
pub(crate) use llama::LlamaConfig;
pub(crate) use modernbert::ModernBertConfig;
pub(crate) use mpnet::MpnetConfig;
pub(crate) use nomic_bert::NomicBertConfig;
pub(crate) use t5::T5Config;

pub(crate) use limits::activation;

use crate::transformer::Around;
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::LanguageModel;
use serde::Serialize;

/// The maximum length of a text for architectures that could read far more: prompts are short, and a table of angles
/// for 131,072 positions is large.
const MOST_TOKENS: usize = 8192;

/// What the rest of this crate asks of the configuration of an architecture.
pub(crate) trait Build {
    /// Checks for settings that this crate does not support; the error says what to change.
    fn check(&self) -> Result<(), String>;

    /// Takes the tensors from `weights`; [`Weights::finish`] reports any misfit.
    fn build(&self, weights: &mut Weights, around: &Around, device: &Device) -> Box<dyn LanguageModel>;

    /// The sizes of the large tensors.
    fn sizes(&self) -> Sizes;

    /// The names of the matrices in the layers.
    fn matrices(&self) -> Matrices;

    /// The number of rows of the token table.
    fn vocabulary(&self) -> usize;

    /// The names that the token table may have; any prefix before it in a file is before every name of the model.
    fn token_tables(&self) -> &'static [&'static str];
}

/// The sizes of a model's large tensors.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// The number of layers.
    pub(crate) layers: usize,
    /// The matrices of a layer.
    pub(crate) layer: Vec<[usize; 2]>,
    /// The tables around the layers.
    pub(crate) tables: Vec<[usize; 2]>,
}

impl Sizes {
    /// The matrices of a layer: queries, keys and values, and the output of attention from `heads`, the widths of all
    /// query heads and of all key heads; and so many `inner` ones.
    fn of_layer(width: usize, [heads, kv_heads]: [usize; 2], inner: &[usize]) -> Vec<[usize; 2]> {
        let attention = [[width, heads], [width, kv_heads], [width, kv_heads], [heads, width]];
        attention.into_iter().chain(inner.iter().map(|inner| [width, *inner])).collect()
    }
}

/// The names of the matrices in a model's layers, as its files spell them.
#[derive(Debug)]
pub(crate) struct Matrices {
    /// What stands before the number of the layer.
    pub(crate) layers: &'static str,
    /// The names, in the order of [`Layer::linears`](crate::layer::Layer::linears), and how
    /// many of those are stored as one.
    pub(crate) names: Vec<(&'static str, usize)>,
}

impl Matrices {
    /// Matrices that are stored one by one.
    fn single(layers: &'static str, names: &[&'static str]) -> Self {
        Self { layers, names: names.iter().map(|name| (*name, 1)).collect() }
    }
}

/// The names of Llama and its relatives.
const LLAMA_MATRICES: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// The configuration of a model with a supported architecture.
#[derive(Debug, Serialize)]
pub(crate) enum Config {
    Bert(BertConfig),
    DistilBert(DistilBertConfig),
    Gemma(GemmaConfig),
    Gpt2(Gpt2Config),
    Llama(LlamaConfig),
    ModernBert(ModernBertConfig),
    Mpnet(MpnetConfig),
    NomicBert(NomicBertConfig),
    T5(T5Config),
}

impl Config {
    /// The configuration as any other.
    pub(crate) fn any(&self) -> &dyn Build {
        match self {
            Self::Bert(config) => config,
            Self::DistilBert(config) => config,
            Self::Gemma(config) => config,
            Self::Gpt2(config) => config,
            Self::Llama(config) => config,
            Self::ModernBert(config) => config,
            Self::Mpnet(config) => config,
            Self::NomicBert(config) => config,
            Self::T5(config) => config,
        }
    }

    /// The number of parameters in the large tensors; `None` if it overflows.
    pub(crate) fn large_params(&self) -> Option<u64> {
        let Sizes { layers, layer, tables } = self.any().sizes();
        let sum = |all: Vec<[usize; 2]>| {
            all.iter().try_fold(0u64, |sum, &[a, b]| sum.checked_add((a as u64).checked_mul(b as u64)?))
        };
        sum(layer)?.checked_mul(layers as u64)?.checked_add(sum(tables)?)
    }

    /// Whether this is BERT itself and no relative.
    pub(crate) fn is_bert(&self) -> bool {
        matches!(self, Self::Bert(config) if config.position_offset == 0)
    }

    /// Whether its tokenizer may be a word list, `vocab.txt`.
    pub(crate) fn reads_words(&self) -> bool {
        self.is_bert() || matches!(self, Self::DistilBert(_) | Self::NomicBert(_))
    }

    /// The settings that affect the computation, however their file is written, with every default filled in.
    pub(crate) fn identity(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}
