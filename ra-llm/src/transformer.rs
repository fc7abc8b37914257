//! The transformer that all architectures are made of: prefixes, attention, and the last layer at one row.
use crate::dense::DenseLayers;
use crate::layer::{Attention, Layer, Norm};
use crate::positions::{Angles, RelativeBias, distances};
use crate::reading::Reading;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor};
use ra_core::attention::{merge_heads, repeat_heads, split_heads};
use ra_core::kernels::{FrozenLinear, attend};
use ra_core::{
    BLOCKED, LanguageModel, LayerInput, LmSpec, PooledPath, PooledText, Pooling, TunableMatrices, gather_rows,
};

/// What surrounds an architecture: how its texts are read, and the dense layers after pooling.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) reading: Reading,
    pub(crate) dense: DenseLayers,
}

/// What an architecture is made of, and how it reads texts unless [`Around`] says otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Architecture {
    pub(crate) embeddings: Embeddings,
    /// At least one.
    pub(crate) layers: Vec<Layer>,
    /// The norm after the last layer.
    pub(crate) last_norm: Option<Norm>,
    /// The bias of scores by relative position, the same in every layer. That of a prefix is 0.
    pub(crate) relative: Option<RelativeBias>,
    /// The numbers of query heads, and of key and value heads.
    pub(crate) heads: [usize; 2],
    /// The length of the longest text that the architecture can read.
    pub(crate) max_tokens: usize,
    pub(crate) causal: bool,
    pub(crate) pooling: Pooling,
}

/// What comes before the layers: tables of which a row each is added, and a norm.
#[derive(Debug, Clone)]
pub(crate) struct Embeddings {
    pub(crate) tokens: Tensor<2>,
    /// What token embeddings are multiplied by.
    pub(crate) scale: Option<f32>,
    /// From the row of the first position on.
    pub(crate) positions: Option<Tensor<2>>,
    /// `[1, width]`.
    pub(crate) token_type: Option<Tensor<2>>,
    pub(crate) norm: Option<Norm>,
}

impl Embeddings {
    /// Token embeddings alone.
    pub(crate) fn new(tokens: Tensor<2>) -> Self {
        Self { tokens, scale: None, positions: None, token_type: None, norm: None }
    }

    fn forward(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3> {
        let mut hidden = embedding(&self.tokens, tokens);
        if let Some(scale) = self.scale {
            hidden = hidden * scale;
        }
        if let Some(table) = &self.positions {
            hidden = hidden + embedding(table, positions);
        }
        if let Some(token_type) = &self.token_type {
            hidden = hidden + token_type.clone().unsqueeze();
        }
        match &self.norm {
            Some(norm) => norm.forward(hidden),
            None => hidden,
        }
    }
}

impl Around {
    /// The model of this architecture.
    pub(crate) fn transformer(&self, architecture: Architecture, device: &Device) -> Box<dyn LanguageModel> {
        let [_, width] = architecture.embeddings.tokens.dims();
        let spec = LmSpec {
            layers: architecture.layers.len(),
            width,
            max_tokens: self.reading.at_most(architecture.max_tokens),
            causal: architecture.causal,
            pooling: self.reading.pooling.unwrap_or(architecture.pooling),
        };
        Box::new(Transformer { architecture, spec, dense: self.dense.clone(), device: device.clone() })
    }
}

/// A frozen transformer of any supported architecture.
#[derive(Debug, Clone)]
struct Transformer {
    architecture: Architecture,
    spec: LmSpec,
    dense: DenseLayers,
    device: Device,
}

impl Transformer {
    /// What is added to the scores of a layer, `[batch, 1 or heads, tokens, rows + tokens]`.
    fn bias(&self, layer: &Layer, input: &LayerInput) -> Tensor<4> {
        let [batch, _, tokens, keys] = input.bias.dims();
        let beside_prefix = |text: Tensor<4>| {
            let prefix = Tensor::zeros([batch, text.dims()[1], tokens, keys - tokens], &text.device());
            Tensor::cat(vec![prefix, text], 3)
        };
        let mut bias = input.bias.clone();
        if let Some(reach) = layer.attention.reach.filter(|reach| tokens > reach + 1) {
            let far = distances(&input.positions).abs().greater_elem(reach as i64).float() * BLOCKED;
            bias = bias + beside_prefix(far.reshape([batch, 1, tokens, tokens]));
        }
        match &self.architecture.relative {
            Some(relative) => bias + beside_prefix(relative.at(&input.positions)),
            None => bias,
        }
    }

    /// Attention of `query` over `key` and `value` in a layer, `[batch, tokens, heads * head]`.
    fn attended(
        &self,
        layer: &Layer,
        query: Tensor<3>,
        [key, value]: [Tensor<3>; 2],
        bias: Tensor<4>,
        causal: bool,
    ) -> Tensor<3> {
        if layer.attention.score_cap.is_none() {
            let [heads, _] = self.architecture.heads;
            return attend(query, key, value, bias, heads, causal);
        }
        let [key, value] = [key, value].map(|x| self.per_query_head(x));
        let scores = scores(layer, self.scaled(query), key) + bias;
        merge_heads(softmax(scores, 3).matmul(value))
    }

    /// Scaled queries by head, `[batch, heads, tokens, head]`.
    fn scaled(&self, query: Tensor<3>) -> Tensor<4> {
        let [heads, _] = self.architecture.heads;
        let query = split_heads(query, heads);
        let scale = 1.0 / (query.dims()[3] as f32).sqrt();
        query * scale
    }

    fn last(&self) -> &Layer {
        &self.architecture.layers[self.spec.layers - 1]
    }

    /// Reshapes `[batch, rows, kv heads * head]` to `[batch, heads, rows, head]`, repeating heads that queries share.
    fn per_query_head(&self, x: Tensor<3>) -> Tensor<4> {
        let [heads, kv_heads] = self.architecture.heads;
        repeat_heads(split_heads(x, kv_heads), heads)
    }
}

/// The scores of scaled queries, before any bias.
fn scores(layer: &Layer, query: Tensor<4>, key: Tensor<4>) -> Tensor<4> {
    let scores = query.matmul(key.swap_dims(2, 3));
    match layer.attention.score_cap {
        Some(cap) => (scores / cap).tanh() * cap,
        None => scores,
    }
}

/// The keys and values of `[prefix ; text]`.
fn memory(attention: &Attention, read: Tensor<3>, prefix: Option<Tensor<3>>, at: Option<&Angles>) -> [Tensor<3>; 2] {
    let text = [attention.key(read.clone(), at), attention.value(read)];
    let Some(prefix) = prefix else { return text };
    let [key, value] = text;
    let [own_key, own_value] = [attention.key(prefix.clone(), None), attention.value(prefix)];
    [Tensor::cat(vec![own_key, key], 1), Tensor::cat(vec![own_value, value], 1)]
}

fn angles(layer: &Layer, positions: Tensor<2, Int>) -> Option<Angles> {
    layer.attention.rotary.as_ref().map(|rotary| rotary.at(positions))
}

/// Gathers one column per row: `[batch, tokens]` to `[batch, 1]`.
fn positions_at(positions: Tensor<2, Int>, rows: Tensor<1, Int>) -> Tensor<2, Int> {
    let [batch, _] = positions.dims();
    positions.gather(1, rows.reshape([batch, 1]))
}

/// Gathers one query per row: `[batch, heads, tokens, keys]` to `[batch, heads, 1, keys]`.
fn bias_at(bias: Tensor<4>, rows: Tensor<1, Int>) -> Tensor<4> {
    let [batch, heads, _, keys] = bias.dims();
    bias.gather(2, rows.reshape([batch, 1, 1, 1]).expand([batch, heads, 1, keys]))
}

impl LanguageModel for Transformer {
    fn spec(&self) -> LmSpec {
        self.spec
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3> {
        self.architecture.embeddings.forward(tokens, positions)
    }

    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.architecture.last_norm {
            Some(norm) => norm.forward(hidden),
            None => hidden,
        }
    }

    fn layer(&self, index: usize, input: LayerInput) -> Tensor<3> {
        let layer = &self.architecture.layers[index];
        let bias = self.bias(layer, &input);
        let (read, at) = (layer.attention_input(input.hidden.clone()), angles(layer, input.positions));
        let memory = memory(&layer.attention, read.clone(), input.prefix, at.as_ref());
        let query = layer.attention.query(read, at.as_ref());
        layer.finish(input.hidden, self.attended(layer, query, memory, bias, self.spec.causal))
    }

    fn project(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.dense.forward(pooled)
    }

    fn output_width(&self) -> usize {
        self.dense.output_width(self.spec.width)
    }

    fn pooled(&self) -> Option<&dyn PooledPath> {
        Some(self)
    }

    fn tunable(&self) -> Option<&dyn TunableMatrices> {
        Some(self)
    }
}

impl PooledPath for Transformer {
    fn last_layer_at(&self, input: LayerInput, rows: Tensor<1, Int>) -> Tensor<3> {
        let layer = self.last();
        let (read, at) = (layer.attention_input(input.hidden.clone()), angles(layer, input.positions.clone()));
        let bias = bias_at(self.bias(layer, &input), rows.clone());
        let here = angles(layer, positions_at(input.positions, rows.clone()));
        let query = layer.attention.query(gather_rows(read.clone(), rows.clone()), here.as_ref());
        let memory = memory(&layer.attention, read, input.prefix, at.as_ref());
        // There is one query, and the bias says what it reads, whether or not the model is causal.
        layer.finish(gather_rows(input.hidden, rows), self.attended(layer, query, memory, bias, false))
    }

    fn pooled_text(&self, input: LayerInput, rows: Tensor<1, Int>) -> PooledText {
        let layer = self.last();
        let ([batch, ..], [heads, _]) = (input.bias.dims(), self.architecture.heads);
        let (read, at) = (layer.attention_input(input.hidden.clone()), angles(layer, input.positions.clone()));
        let bias = bias_at(self.bias(layer, &input), rows.clone());
        let here = angles(layer, positions_at(input.positions, rows.clone()));
        let query = self.scaled(layer.attention.query(gather_rows(read.clone(), rows.clone()), here.as_ref()));
        let [key, value] = memory(&layer.attention, read, None, at.as_ref()).map(|x| self.per_query_head(x));
        let scores = scores(layer, query.clone(), key) + bias;
        let top = scores.clone().max_dim(3);
        let score = (scores.clone() - top.clone()).exp().sum_dim(3).log() + top;
        let context = softmax(scores, 3).matmul(value);
        PooledText {
            hidden: gather_rows(input.hidden, rows).squeeze_dim(1),
            query: query.squeeze_dim(2),
            context: context.squeeze_dim(2),
            score: score.reshape([batch, heads]),
        }
    }

    fn pooled_query(&self, hidden: Tensor<2>, positions: Tensor<1, Int>) -> Option<Tensor<3>> {
        let layer = self.last();
        let [batch] = positions.dims();
        let at = angles(layer, positions.reshape([batch, 1]));
        let query = layer.attention.query(layer.attention_input(hidden.unsqueeze_dim(1)), at.as_ref());
        Some(self.scaled(query).squeeze_dim(2))
    }

    fn pooled_layer(&self, text: &PooledText, prefix: Option<Tensor<3>>) -> Tensor<2> {
        let layer = self.last();
        let [batch, heads, head] = text.query.dims();
        let attended = match prefix {
            None => text.context.clone().reshape([batch, 1, heads * head]),
            Some(prefix) => {
                let key = self.per_query_head(layer.attention.key(prefix.clone(), None)); // [batch, heads, rows, head]
                let value = self.per_query_head(layer.attention.value(prefix));
                let scores = scores(layer, text.query.clone().unsqueeze_dim::<4>(2), key);
                let slot = text.score.clone().reshape([batch, heads, 1, 1]);
                let weights = softmax(Tensor::cat(vec![slot, scores], 3), 3);
                let values = Tensor::cat(vec![text.context.clone().unsqueeze_dim(2), value], 2);
                merge_heads(weights.matmul(values))
            }
        };
        layer.finish(text.hidden.clone().unsqueeze_dim(1), attended).squeeze_dim(1)
    }
}

impl TunableMatrices for Transformer {
    fn with_linears(
        &self,
        first: usize,
        change: &mut dyn FnMut(&FrozenLinear) -> FrozenLinear,
    ) -> Box<dyn LanguageModel> {
        let mut own = self.clone();
        for linear in own.architecture.layers.iter_mut().skip(first).flat_map(Layer::linears) {
            *linear = change(linear);
        }
        Box::new(own)
    }
}

/// Looks up rows of a frozen table: `[batch, tokens, width]`.
pub(crate) fn embedding(table: &Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    let ([batch, tokens], [_, width]) = (ids.dims(), table.dims());
    table.clone().select(0, ids.flatten(0, 1)).reshape([batch, tokens, width])
}
