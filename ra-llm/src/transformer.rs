//! The common part of the architectures: prefixes, attention, and the last layer at one row.
use crate::reading::Reading;
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::attention::{merge_heads, repeat_heads, split_heads};
use ra_core::kernels::{Activation, FrozenLinear, attend, layer_norm, rms_norm, rotate};
use ra_core::{
    BLOCKED, LanguageModel, LayerInput, LmSpec, PooledPath, PooledText, Pooling, TunableMatrices, gather_rows,
};
use std::fmt::Debug;

/// One layer of an architecture, without the attention itself.
pub(crate) trait TransformerBlock: Debug + Clone + Send + Sync {
    /// Its weight matrices.
    fn linears(&mut self) -> Vec<&mut FrozenLinear>;

    /// The input of queries, keys and values, `[batch, rows, width]`: the normed state in pre-norm models, the state
    /// itself in post-norm ones. A prefix is added next to it and is not normed.
    fn attention_input(&self, hidden: Tensor<3>) -> Tensor<3>;

    /// `[batch, rows, heads * head]`.
    fn query(&self, read: Tensor<3>, at: Option<&Angles>) -> Tensor<3>;

    /// `[batch, rows, kv heads * head]`; a prefix has no position, and no angles.
    fn key(&self, read: Tensor<3>, at: Option<&Angles>) -> Tensor<3>;

    /// `[batch, rows, kv heads * head]`.
    fn value(&self, read: Tensor<3>) -> Tensor<3>;

    /// Computes the layer's output from its input and the attended values, `[batch, rows, heads * head]`.
    fn finish_layer(&self, hidden: Tensor<3>, attended: Tensor<3>) -> Tensor<3>;
}

/// An architecture: its layers, and what comes before and after them.
pub(crate) trait Architecture: Debug + Clone + Send + Sync {
    /// The type of its layers.
    type Block: TransformerBlock;

    /// Its layers.
    fn blocks(&self) -> &[Self::Block];

    /// Its layers, mutable.
    fn blocks_mut(&mut self) -> &mut [Self::Block];

    /// See [`LanguageModel::embed`].
    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3>;

    /// See [`LanguageModel::finish`].
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        hidden
    }

    /// The rotary angles of a layer, if the architecture has rotary positions.
    fn rotary(&self, _layer: usize) -> Option<&Rotary> {
        None
    }

    /// How far apart two tokens may be for one to attend to the other in a layer; `None` if any distance is fine. A
    /// prefix has no position: every token attends to it.
    fn reach(&self, _layer: usize) -> Option<usize> {
        None
    }

    /// The bias of scores by relative position, the same in every layer. That of a prefix is 0.
    fn relative_bias(&self) -> Option<&RelativeBias> {
        None
    }

    /// The cap `c` of scores, which become `c tanh(score / c)`.
    fn score_cap(&self) -> Option<f32> {
        None
    }
}

/// What surrounds an architecture: how its texts are read, and the dense layers after pooling.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) reading: Reading,
    pub(crate) dense: Vec<Dense>,
}

/// The shape of a transformer, and how texts are read unless [`Around`] says otherwise.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) layers: usize,
    pub(crate) width: usize,
    /// The numbers of query heads, and of key and value heads.
    pub(crate) heads: [usize; 2],
    /// The length of the longest text that the architecture can read.
    pub(crate) max_tokens: usize,
    pub(crate) causal: bool,
    pub(crate) pooling: Pooling,
}

impl Around {
    /// The model of this architecture and shape.
    pub(crate) fn transformer<A: Architecture + 'static>(
        &self,
        architecture: A,
        shape: Shape,
        device: &Device,
    ) -> Box<dyn LanguageModel> {
        let Shape { layers, width, heads: [heads, kv_heads], max_tokens, causal, pooling } = shape;
        let (max_tokens, pooling) = (self.reading.at_most(max_tokens), self.reading.pooling.unwrap_or(pooling));
        let spec = LmSpec { layers, width, max_tokens, causal, pooling };
        let (dense, device) = (self.dense.clone(), device.clone());
        Box::new(Transformer { architecture, heads, kv_heads, spec, dense, device })
    }
}

/// A frozen transformer of any supported architecture.
#[derive(Debug, Clone)]
struct Transformer<A> {
    architecture: A,
    heads: usize,
    /// The number of key and value heads.
    kv_heads: usize,
    spec: LmSpec,
    /// The dense layers after pooling.
    dense: Vec<Dense>,
    device: Device,
}

impl<A: Architecture> Transformer<A> {
    /// What is added to the scores of a layer, `[batch, 1 or heads, tokens, rows + tokens]`.
    fn bias(&self, layer: usize, input: &LayerInput) -> Tensor<4> {
        let [batch, _, tokens, keys] = input.bias.dims();
        let beside_prefix = |text: Tensor<4>| {
            let prefix = Tensor::zeros([batch, text.dims()[1], tokens, keys - tokens], &text.device());
            Tensor::cat(vec![prefix, text], 3)
        };
        let mut bias = input.bias.clone();
        if let Some(reach) = self.architecture.reach(layer).filter(|reach| tokens > reach + 1) {
            let far = distances(&input.positions).abs().greater_elem(reach as i64).float() * BLOCKED;
            bias = bias + beside_prefix(far.reshape([batch, 1, tokens, tokens]));
        }
        match self.architecture.relative_bias() {
            Some(relative) => bias + beside_prefix(relative.at(&input.positions)),
            None => bias,
        }
    }

    /// Attention of `query` over `key` and `value`, `[batch, tokens, heads * head]`.
    fn attended(&self, query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, bias: Tensor<4>, causal: bool) -> Tensor<3> {
        if self.architecture.score_cap().is_none() {
            return attend(query, key, value, bias, self.heads, causal);
        }
        let [key, value] = [key, value].map(|x| self.per_query_head(x));
        let scores = self.scores(self.scaled(query), key) + bias;
        merge_heads(softmax(scores, 3).matmul(value))
    }

    /// Scaled queries by head, `[batch, heads, tokens, head]`.
    fn scaled(&self, query: Tensor<3>) -> Tensor<4> {
        let query = split_heads(query, self.heads);
        let scale = 1.0 / (query.dims()[3] as f32).sqrt();
        query * scale
    }

    /// The scores of scaled queries, before any bias.
    fn scores(&self, query: Tensor<4>, key: Tensor<4>) -> Tensor<4> {
        let scores = query.matmul(key.swap_dims(2, 3));
        match self.architecture.score_cap() {
            Some(cap) => (scores / cap).tanh() * cap,
            None => scores,
        }
    }

    /// The keys and values of `[prefix ; text]`.
    fn memory(
        &self,
        block: &A::Block,
        read: Tensor<3>,
        prefix: Option<Tensor<3>>,
        at: Option<&Angles>,
    ) -> [Tensor<3>; 2] {
        let text = [block.key(read.clone(), at), block.value(read)];
        let Some(prefix) = prefix else { return text };
        let [key, value] = text;
        let own = [block.key(prefix.clone(), None), block.value(prefix)];
        let [own_key, own_value] = own;
        [Tensor::cat(vec![own_key, key], 1), Tensor::cat(vec![own_value, value], 1)]
    }

    fn last(&self) -> &A::Block {
        &self.architecture.blocks()[self.spec.layers - 1]
    }

    fn angles(&self, layer: usize, positions: Tensor<2, Int>) -> Option<Angles> {
        self.architecture.rotary(layer).map(|rotary| rotary.at(positions))
    }

    /// Reshapes `[batch, rows, kv heads * head]` to `[batch, heads, rows, head]`, repeating heads that queries share.
    fn per_query_head(&self, x: Tensor<3>) -> Tensor<4> {
        repeat_heads(split_heads(x, self.kv_heads), self.heads)
    }
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

/// How far each key is behind or ahead of each query: position of the key less that of the query, `[batch, tokens,
/// tokens]`.
fn distances(positions: &Tensor<2, Int>) -> Tensor<3, Int> {
    positions.clone().unsqueeze_dim::<3>(1) - positions.clone().unsqueeze_dim::<3>(2)
}

/// Applies a row-wise operation to `[batch, rows, width]`.
pub(crate) fn by_rows(x: Tensor<3>, each: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<3> {
    let [batch, rows, width] = x.dims();
    let y = each(x.reshape([batch * rows, width]));
    let [_, width] = y.dims();
    y.reshape([batch, rows, width])
}

impl<A: Architecture + 'static> LanguageModel for Transformer<A> {
    fn spec(&self) -> LmSpec {
        self.spec
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3> {
        self.architecture.embed(tokens, positions)
    }

    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.architecture.finish(hidden)
    }

    fn layer(&self, index: usize, input: LayerInput) -> Tensor<3> {
        let block = &self.architecture.blocks()[index];
        let bias = self.bias(index, &input);
        let (read, at) = (block.attention_input(input.hidden.clone()), self.angles(index, input.positions));
        let [key, value] = self.memory(block, read.clone(), input.prefix, at.as_ref());
        let query = block.query(read, at.as_ref());
        block.finish_layer(input.hidden, self.attended(query, key, value, bias, self.spec.causal))
    }

    fn project(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.dense.iter().fold(pooled, |vector, dense| dense.forward(vector))
    }

    fn output_width(&self) -> usize {
        self.dense.last().map_or(self.spec.width, Dense::width)
    }

    fn pooled(&self) -> Option<&dyn PooledPath> {
        Some(self)
    }

    fn tunable(&self) -> Option<&dyn TunableMatrices> {
        Some(self)
    }
}

impl<A: Architecture + 'static> PooledPath for Transformer<A> {
    fn last_layer_at(&self, input: LayerInput, rows: Tensor<1, Int>) -> Tensor<3> {
        let (block, last) = (self.last(), self.spec.layers - 1);
        let (read, at) = (block.attention_input(input.hidden.clone()), self.angles(last, input.positions.clone()));
        let bias = bias_at(self.bias(last, &input), rows.clone());
        let here = self.angles(last, positions_at(input.positions, rows.clone()));
        let query = block.query(gather_rows(read.clone(), rows.clone()), here.as_ref());
        let [key, value] = self.memory(block, read, input.prefix, at.as_ref());
        // There is one query, and the bias says what it reads, whether or not the model is causal.
        block.finish_layer(gather_rows(input.hidden, rows), self.attended(query, key, value, bias, false))
    }

    fn pooled_text(&self, input: LayerInput, rows: Tensor<1, Int>) -> PooledText {
        let (block, last) = (self.last(), self.spec.layers - 1);
        let [batch, ..] = input.bias.dims();
        let (read, at) = (block.attention_input(input.hidden.clone()), self.angles(last, input.positions.clone()));
        let bias = bias_at(self.bias(last, &input), rows.clone());
        let here = self.angles(last, positions_at(input.positions, rows.clone()));
        let query = self.scaled(block.query(gather_rows(read.clone(), rows.clone()), here.as_ref()));
        let [key, value] = self.memory(block, read, None, at.as_ref()).map(|x| self.per_query_head(x));
        let scores = self.scores(query.clone(), key) + bias;
        let top = scores.clone().max_dim(3);
        let score = (scores.clone() - top.clone()).exp().sum_dim(3).log() + top;
        let context = softmax(scores, 3).matmul(value);
        PooledText {
            hidden: gather_rows(input.hidden, rows).squeeze_dim(1),
            query: query.squeeze_dim(2),
            context: context.squeeze_dim(2),
            score: score.reshape([batch, self.heads]),
        }
    }

    fn pooled_layer(&self, text: &PooledText, prefix: Option<Tensor<3>>) -> Tensor<2> {
        let block = self.last();
        let [batch, heads, head] = text.query.dims();
        let attended = match prefix {
            None => text.context.clone().reshape([batch, 1, heads * head]),
            Some(prefix) => {
                let key = self.per_query_head(block.key(prefix.clone(), None)); // [batch, heads, rows, head]
                let value = self.per_query_head(block.value(prefix));
                let scores = self.scores(text.query.clone().unsqueeze_dim::<4>(2), key);
                let slot = text.score.clone().reshape([batch, heads, 1, 1]);
                let weights = softmax(Tensor::cat(vec![slot, scores], 3), 3);
                let values = Tensor::cat(vec![text.context.clone().unsqueeze_dim(2), value], 2);
                merge_heads(weights.matmul(values))
            }
        };
        block.finish_layer(text.hidden.clone().unsqueeze_dim(1), attended).squeeze_dim(1)
    }
}

impl<A: Architecture + 'static> TunableMatrices for Transformer<A> {
    fn with_linears(
        &self,
        first: usize,
        change: &mut dyn FnMut(&FrozenLinear) -> FrozenLinear,
    ) -> Box<dyn LanguageModel> {
        let mut own = self.clone();
        for linear in own.architecture.blocks_mut().iter_mut().skip(first).flat_map(TransformerBlock::linears) {
            *linear = change(linear);
        }
        Box::new(own)
    }
}

/// A norm that is never trained: a layer norm, or a root mean square norm if there is no `beta`.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) gamma: Tensor<1>,
    pub(crate) beta: Option<Tensor<1>>,
    pub(crate) epsilon: f32,
}

impl Norm {
    /// Norms rows as wide as `gamma`; a wider `x` is split into such rows, as head norms need.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let (shape, [width]) = (x.dims(), self.gamma.dims());
        let rows = x.reshape([shape[0] * shape[1] * shape[2] / width, width]);
        let (gamma, epsilon) = (self.gamma.clone(), self.epsilon);
        let normed = match &self.beta {
            Some(beta) => layer_norm(rows, gamma, beta.clone(), epsilon),
            None => rms_norm(rows, gamma, epsilon),
        };
        normed.reshape(shape)
    }
}

/// The cosines and sines of all positions.
#[derive(Debug, Clone)]
pub(crate) struct Rotary {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

/// The cosines and sines of a batch's positions, `[batch * rows, head / 2]` each.
#[derive(Debug)]
pub(crate) struct Angles {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

/// The angle of each pair of a head per position: `theta^(-2j / head)` for `j` below `head / 2`.
pub(crate) fn rotary_frequencies(head: usize, theta: f64) -> Vec<f64> {
    (0..head / 2).map(|j| theta.powf(-2.0 * j as f64 / head as f64)).collect()
}

impl Rotary {
    /// Computes `frequency * position` in double precision, for positions below `positions`.
    pub(crate) fn new(positions: usize, frequencies: &[f64], device: &Device) -> Self {
        let half = frequencies.len();
        let angle = |at: usize| (at / half) as f64 * frequencies[at % half];
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = (0..positions * half).map(|at| f(angle(at)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [positions, half]), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }

    fn at(&self, positions: Tensor<2, Int>) -> Angles {
        let rows: Tensor<1, Int> = positions.flatten(0, 1);
        Angles { cos: self.cos.clone().select(0, rows.clone()), sin: self.sin.clone().select(0, rows) }
    }
}

impl Angles {
    /// Rotates `x` by the angles, if there are any: a prefix has none.
    pub(crate) fn applied(at: Option<&Self>, x: Tensor<3>) -> Tensor<3> {
        match at {
            Some(angles) => angles.apply_rotary(x),
            None => x,
        }
    }

    /// Rotates every head of `x`, `[batch, rows, heads * head]`.
    pub(crate) fn apply_rotary(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, rows, width] = x.dims();
        let lift = |a: &Tensor<2>| if x.is_autodiff() { Tensor::from_inner(a.clone()) } else { a.clone() };
        let (cos, sin) = (lift(&self.cos), lift(&self.sin));
        rotate(x.reshape([batch * rows, width]), cos, sin).reshape([batch, rows, width])
    }
}

/// A bias of scores by relative position, with logarithmic buckets (Raffel et al., "T5", JMLR 2020): distances below a
/// quarter of the number of buckets have one each, longer ones share those that are left, and all beyond
/// `max_distance` share the last. Keys before and after a query have half of the buckets each.
#[derive(Debug, Clone)]
pub(crate) struct RelativeBias {
    /// The bias of each head at distances `-max_distance..=max_distance`, `[2 * max_distance + 1, heads]`.
    by_distance: Tensor<2>,
    max_distance: usize,
}

impl RelativeBias {
    /// Buckets that [`new`](Self::new) cannot make, and what to say of them.
    pub(crate) fn bad(buckets: usize, max_distance: usize) -> (bool, String) {
        const FARTHEST: usize = 1 << 14;
        let wrong = buckets < 4 || max_distance <= buckets / 4 || max_distance > FARTHEST;
        let told = format!(
            "{buckets} buckets of relative positions up to a distance of {max_distance} (it must be 4 at least, up to a \
             distance above a quarter of them and of {FARTHEST} at most)"
        );
        (wrong, told)
    }

    /// `table` is `[buckets, heads]`; [`bad`](Self::bad) says which sizes are refused.
    pub(crate) fn new(table: &[f32], [buckets, heads]: [usize; 2], max_distance: usize, device: &Device) -> Self {
        let most = max_distance.cast_signed();
        let rows = (-most..=most).flat_map(|distance| {
            let bucket = bucket(distance, buckets, max_distance);
            table[bucket * heads..(bucket + 1) * heads].iter().copied()
        });
        let data = TensorData::new(rows.collect::<Vec<f32>>(), [2 * max_distance + 1, heads]);
        Self { by_distance: Tensor::from_data(data, device), max_distance }
    }

    /// `[batch, heads, tokens, tokens]`.
    fn at(&self, positions: &Tensor<2, Int>) -> Tensor<4> {
        let ([batch, tokens], [_, heads]) = (positions.dims(), self.by_distance.dims());
        let most = self.max_distance as i64;
        let rows = distances(positions).clamp(-most, most) + most;
        let bias = self.by_distance.clone().select(0, rows.reshape([batch * tokens * tokens]));
        bias.reshape([batch, tokens, tokens, heads]).permute([0, 3, 1, 2])
    }
}

/// The bucket of a key at this distance ahead of its query.
fn bucket(distance: isize, buckets: usize, max_distance: usize) -> usize {
    let half = buckets / 2;
    let (side, distance, own) = (if distance > 0 { half } else { 0 }, distance.unsigned_abs(), half / 2);
    if distance < own {
        return side + distance;
    }
    // In single precision, as the models were trained.
    let far = (distance as f32 / own as f32).ln() / (max_distance as f32 / own as f32).ln();
    side + (own + (far * (half - own) as f32) as usize).min(half - 1)
}

/// A dense layer after pooling, as sentence encoders have it.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    pub(crate) linear: FrozenLinear,
    pub(crate) activation: DenseActivation,
}

/// The activation of a [`Dense`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DenseActivation {
    Identity,
    Tanh,
    Sigmoid,
    Kernel(Activation),
}

impl Dense {
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self.activation {
            DenseActivation::Identity => self.linear.forward(x),
            DenseActivation::Tanh => self.linear.forward(x).tanh(),
            DenseActivation::Sigmoid => sigmoid(self.linear.forward(x)),
            DenseActivation::Kernel(activation) => self.linear.activated(x, activation),
        }
    }

    /// The number of outputs.
    pub(crate) fn width(&self) -> usize {
        let [_, output] = self.linear.dims();
        output
    }
}

/// Looks up rows of a frozen table: `[batch, tokens, width]`.
pub(crate) fn embedding(table: &Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    let ([batch, tokens], [_, width]) = (ids.dims(), table.dims());
    table.clone().select(0, ids.flatten(0, 1)).reshape([batch, tokens, width])
}
