//! A language model from another crate: what CONTRIBUTING.md shows. A pre-norm causal transformer with random weights.
use burn::module::Module;
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::transformer::{PositionWiseFeedForward, PositionWiseFeedForwardConfig};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig};
use burn::tensor::{Device, Int, Tensor};
use ra_core::{LanguageModel, LayerInput, LmSpec, Pooling};

#[derive(Module, Debug)]
struct Block {
    norm_1: LayerNorm,
    attention: MultiHeadAttention,
    norm_2: LayerNorm,
    mlp: PositionWiseFeedForward,
}

#[derive(Module, Debug)]
pub(crate) struct AcmeLm {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    width: usize,
}

impl AcmeLm {
    pub(crate) fn new(vocab: usize, width: usize, layers: usize, device: &Device) -> Self {
        let block = |_| Block {
            norm_1: LayerNormConfig::new(width).init(device),
            attention: MultiHeadAttentionConfig::new(width, 2).with_dropout(0.0).init(device),
            norm_2: LayerNormConfig::new(width).init(device),
            mlp: PositionWiseFeedForwardConfig::new(width, 4 * width).with_dropout(0.0).init(device),
        };
        Self {
            tokens: EmbeddingConfig::new(vocab, width).init(device),
            positions: EmbeddingConfig::new(64, width).init(device),
            blocks: (0..layers).map(block).collect(),
            norm: LayerNormConfig::new(width).init(device),
            width,
        }
    }
}

impl LanguageModel for AcmeLm {
    fn spec(&self) -> LmSpec {
        LmSpec { layers: self.blocks.len(), width: self.width, max_tokens: 64, causal: true, pooling: Pooling::Last }
    }

    fn device(&self) -> Device {
        self.tokens.weight.device()
    }

    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3> {
        self.tokens.forward(tokens) + self.positions.forward(positions)
    }

    fn layer(&self, index: usize, input: LayerInput) -> Tensor<3> {
        let block = &self.blocks[index];
        let text = block.norm_1.forward(input.hidden.clone());
        let context = input.context(text.clone()); // the one extension point
        let attend = MhaInput::new(text, context.clone(), context).mask_attn(input.blocked());
        let hidden = input.hidden + block.attention.forward(attend).context;
        hidden.clone() + block.mlp.forward(block.norm_2.forward(hidden))
    }

    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.norm.forward(hidden)
    }
}
