//! BERT (Devlin et al., NAACL 2019), post-norm and bidirectional; MiniLM and most sentence encoders are of this shape.
use crate::Weights;
use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, Int, Tensor};
use ra_core::attention::{attend, merge_heads, project, split_heads};
use ra_core::{LanguageModel, LayerInput, LmSpec, PooledText, Pooling};
use serde::Deserialize;

/// The part of a BERT `config.json` that decides the computation.
#[derive(Debug, Clone, Deserialize)]
pub struct BertConfig {
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Inner width of the feed-forward block.
    pub intermediate_size: usize,
    /// Longest text.
    pub max_position_embeddings: usize,
    /// Rows of the token type table, of which only row 0 is used.
    pub type_vocab_size: usize,
    /// Stabiliser of the layer norms.
    pub layer_norm_eps: f64,
    /// Activation, `gelu` being the exact one.
    pub hidden_act: String,
}

#[derive(Module, Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
}

/// A frozen BERT encoder. In layer `l` keys and values read `[d^(l) ; h]`, queries read `h` (method notes, section 4).
#[derive(Debug)]
pub struct Bert {
    tokens: Embedding,
    positions: Embedding,
    token_types: Embedding,
    norm: LayerNorm,
    layers: Vec<Layer>,
    heads: usize,
    spec: LmSpec,
}

impl BertConfig {
    /// Takes the tensors out of `weights`; what did not fit is told by [`Weights::finish`].
    pub fn build(&self, weights: &mut Weights, pooling: Option<Pooling>, device: &Device) -> Bert {
        let (width, inner, eps) = (self.hidden_size, self.intermediate_size, self.layer_norm_eps);
        let layer = |weights: &mut Weights, index: usize| {
            let name = |part: &str| format!("encoder.layer.{index}.{part}");
            Layer {
                query: weights.linear(&name("attention.self.query"), width, width, device),
                key: weights.linear(&name("attention.self.key"), width, width, device),
                value: weights.linear(&name("attention.self.value"), width, width, device),
                output: weights.linear(&name("attention.output.dense"), width, width, device),
                attention_norm: weights.layer_norm(&name("attention.output.LayerNorm"), width, eps, device),
                up: weights.linear(&name("intermediate.dense"), width, inner, device),
                down: weights.linear(&name("output.dense"), inner, width, device),
                output_norm: weights.layer_norm(&name("output.LayerNorm"), width, eps, device),
            }
        };
        let bert = Bert {
            tokens: weights.embedding("embeddings.word_embeddings", self.vocab_size, width, device),
            positions: weights.embedding("embeddings.position_embeddings", self.max_position_embeddings, width, device),
            token_types: weights.embedding("embeddings.token_type_embeddings", self.type_vocab_size, width, device),
            norm: weights.layer_norm("embeddings.LayerNorm", width, eps, device),
            layers: (0..self.num_hidden_layers).map(|index| layer(weights, index)).collect(),
            heads: self.num_attention_heads,
            spec: LmSpec {
                layers: self.num_hidden_layers,
                width,
                max_tokens: self.max_position_embeddings,
                causal: false,
                pooling: pooling.unwrap_or(Pooling::First),
            },
        };
        // Heads for pre-training tasks; the encoder is used without them.
        weights.ignore(|name| name.starts_with("pooler.") || name.starts_with("cls."));
        bert
    }
}

impl Layer {
    /// From the attention's output and its residual to the layer's output.
    fn close(&self, residual: Tensor<3>, attended: Tensor<3>) -> Tensor<3> {
        let hidden = self.attention_norm.forward(project(&self.output, attended) + residual);
        let inner = gelu(project(&self.up, hidden.clone()));
        self.output_norm.forward(project(&self.down, inner) + hidden)
    }
}

impl LanguageModel for Bert {
    fn spec(&self) -> LmSpec {
        self.spec
    }

    fn device(&self) -> Device {
        self.tokens.weight.device()
    }

    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3> {
        let token_type = self.token_types.weight.val().slice([0..1]).unsqueeze_dim(0);
        self.norm.forward(self.tokens.forward(tokens) + self.positions.forward(positions) + token_type)
    }

    fn layer(&self, index: usize, input: LayerInput) -> Tensor<3> {
        let layer = &self.layers[index];
        let context = input.context(input.hidden.clone());
        let heads = |linear: &Linear, x: Tensor<3>| split_heads(project(linear, x), self.heads);
        let attended = attend(
            heads(&layer.query, input.hidden.clone()),
            heads(&layer.key, context.clone()),
            heads(&layer.value, context),
            input.bias,
        );
        layer.close(input.hidden, merge_heads(attended))
    }

    fn pooled_text(&self, input: LayerInput, rows: Tensor<1, Int>) -> Option<PooledText> {
        let layer = self.layers.last()?;
        let [batch, tokens, width] = input.hidden.dims();
        let head_dim = width / self.heads;
        let index = rows.clone().reshape([batch, 1, 1]).expand([batch, 1, width]);
        let hidden = input.hidden.clone().gather(1, index).reshape([batch, width]);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let query = (layer.query.forward(hidden.clone()) * scale).reshape([batch, self.heads, 1, head_dim]);
        let keys = split_heads(project(&layer.key, input.hidden.clone()), self.heads);
        let values = split_heads(project(&layer.value, input.hidden), self.heads);
        let index = rows.reshape([batch, 1, 1, 1]).expand([batch, 1, 1, tokens]);
        let scores = query.clone().matmul(keys.swap_dims(2, 3)) + input.bias.gather(2, index);
        let top = scores.clone().max_dim(3);
        let score = (scores.clone() - top.clone()).exp().sum_dim(3).log() + top;
        let context = softmax(scores, 3).matmul(values);
        Some(PooledText {
            hidden,
            query: query.squeeze_dim(2),
            context: context.squeeze_dim(2),
            score: score.reshape([batch, self.heads]),
        })
    }

    fn pooled_layer(&self, text: &PooledText, prefix: Option<Tensor<3>>) -> Tensor<2> {
        let [batch, heads, head_dim] = text.query.dims();
        let width = heads * head_dim;
        let Some(layer) = self.layers.last() else { return text.hidden.clone() };
        let attended = match prefix {
            None => text.context.clone().reshape([batch, 1, width]),
            Some(prefix) => {
                let keys = split_heads(project(&layer.key, prefix.clone()), heads); // [batch, heads, rows, head_dim]
                let values = split_heads(project(&layer.value, prefix), heads);
                let scores = text.query.clone().unsqueeze_dim::<4>(2).matmul(keys.swap_dims(2, 3));
                let slot = text.score.clone().reshape([batch, heads, 1, 1]);
                let weights = softmax(Tensor::cat(vec![slot, scores], 3), 3);
                let values = Tensor::cat(vec![text.context.clone().unsqueeze_dim(2), values], 2);
                merge_heads(weights.matmul(values))
            }
        };
        layer.close(text.hidden.clone().unsqueeze_dim(1), attended).squeeze_dim(1)
    }
}
