//! DistilBERT (Sanh et al., 2019): BERT without token types, with other names.
use super::bert::{BertConfig, Names, TOKEN_TABLES};
use super::{Build, Sizes};
use crate::transformer::Around;
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::LanguageModel;
use serde::{Deserialize, Serialize};

/// The part of a DistilBERT `config.json` that affects the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DistilBertConfig {
    /// The number of rows of the token table.
    pub(crate) vocab_size: usize,
    /// The width of the hidden state.
    pub(crate) dim: usize,
    /// The number of layers.
    pub(crate) n_layers: usize,
    /// The number of attention heads.
    pub(crate) n_heads: usize,
    /// The inner width of the feed-forward block.
    pub(crate) hidden_dim: usize,
    /// The maximum length of a text.
    #[serde(default = "positions")]
    pub(crate) max_position_embeddings: usize,
    /// The activation.
    #[serde(default = "gelu")]
    pub(crate) activation: String,
}

fn positions() -> usize {
    512
}

fn gelu() -> String {
    "gelu".into()
}

const NAMES: Names = Names {
    layers: "transformer.layer",
    attention: ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"],
    norms: ["sa_layer_norm", "output_layer_norm"],
    inner: ["ffn.lin1", "ffn.lin2"],
};

impl DistilBertConfig {
    fn as_bert(&self) -> BertConfig {
        BertConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.dim,
            num_hidden_layers: self.n_layers,
            num_attention_heads: self.n_heads,
            intermediate_size: self.hidden_dim,
            max_position_embeddings: self.max_position_embeddings,
            position_offset: 0,
            type_vocab_size: 0,
            layer_norm_eps: 1e-12,
            hidden_act: self.activation.clone(),
            position_embedding_type: "absolute".into(),
            is_decoder: false,
        }
    }
}

impl Build for DistilBertConfig {
    fn check(&self) -> Result<(), String> {
        self.as_bert().check_encoder()
    }

    fn build(&self, weights: &mut Weights, around: &Around, device: &Device) -> Box<dyn LanguageModel> {
        self.as_bert().build_encoder(&NAMES, None, weights, around, device)
    }

    fn sizes(&self) -> Sizes {
        self.as_bert().encoder_sizes()
    }

    fn vocabulary(&self) -> usize {
        self.vocab_size
    }

    fn token_tables(&self) -> &'static [&'static str] {
        &TOKEN_TABLES
    }
}
