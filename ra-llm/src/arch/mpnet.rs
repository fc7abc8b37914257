//! MPNet (Song et al., NeurIPS 2020): BERT without token types, with a bias by relative position that all layers share.
use super::bert::{BertConfig, Names, TOKEN_TABLES};
use super::limits::unsupported;
use super::{Build, Matrices, Sizes};
use crate::positions::RelativeBias;
use crate::transformer::Around;
use crate::weights::Weights;
use burn::tensor::Device;
use ra_core::LanguageModel;
use serde::{Deserialize, Serialize};

/// The longest distance between two tokens that has a bucket of its own.
const MAX_DISTANCE: usize = 128;

/// The part of an MPNet `config.json` that affects the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MpnetConfig {
    #[serde(flatten)]
    pub(crate) encoder: BertConfig,
    /// The number of buckets of relative positions.
    #[serde(default = "buckets")]
    pub(crate) relative_attention_num_buckets: usize,
}

fn buckets() -> usize {
    32
}

const NAMES: Names = Names {
    layers: "encoder.layer",
    attention: ["attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"],
    norms: ["attention.LayerNorm", "output.LayerNorm"],
    inner: ["intermediate.dense", "output.dense"],
};

impl Build for MpnetConfig {
    fn check(&self) -> Result<(), String> {
        let buckets = self.relative_attention_num_buckets;
        self.encoder.check_encoder()?;
        unsupported(&[RelativeBias::bad(buckets, MAX_DISTANCE)])
    }

    fn build(&self, weights: &mut Weights, around: &Around, device: &Device) -> Box<dyn LanguageModel> {
        let size = [self.relative_attention_num_buckets, self.encoder.num_attention_heads];
        let table = weights.take("encoder.relative_attention_bias.weight", &size);
        let relative = RelativeBias::new(&table, size, MAX_DISTANCE, device);
        self.encoder.build_encoder(&NAMES, Some(relative), weights, around, device)
    }

    fn sizes(&self) -> Sizes {
        let mut sizes = self.encoder.encoder_sizes();
        sizes.tables.push([self.relative_attention_num_buckets, self.encoder.num_attention_heads]);
        sizes
    }

    fn matrices(&self) -> Matrices {
        NAMES.matrices()
    }

    fn vocabulary(&self) -> usize {
        self.encoder.vocab_size
    }

    fn token_tables(&self) -> &'static [&'static str] {
        &TOKEN_TABLES
    }
}
