//! The common part of the architectures: prefixes, attention, and the last layer at one row.
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::attention::{merge_heads, repeat_heads, split_heads};
use ra_core::kernels::{FrozenLinear, attend, layer_norm, rms_norm, rotate};
use ra_core::{LanguageModel, LayerInput, LmSpec, PooledPath, PooledText, TunableMatrices, gather_rows};
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

    /// The rotary angles, if the architecture has rotary positions.
    fn rotary(&self) -> Option<&Rotary> {
        None
    }
}

/// A frozen transformer of any supported architecture.
#[derive(Debug, Clone)]
pub(crate) struct Transformer<A> {
    pub(crate) architecture: A,
    pub(crate) heads: usize,
    /// The number of key and value heads.
    pub(crate) kv_heads: usize,
    pub(crate) spec: LmSpec,
    pub(crate) device: Device,
}

impl<A: Architecture> Transformer<A> {
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

    fn angles(&self, positions: Tensor<2, Int>) -> Option<Angles> {
        self.architecture.rotary().map(|rotary| rotary.at(positions))
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

/// Gathers one query per row: `[batch, 1, tokens, keys]` to `[batch, 1, 1, keys]`.
fn bias_at(bias: Tensor<4>, rows: Tensor<1, Int>) -> Tensor<4> {
    let [batch, _, _, keys] = bias.dims();
    bias.gather(2, rows.reshape([batch, 1, 1, 1]).expand([batch, 1, 1, keys]))
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
        let (read, at) = (block.attention_input(input.hidden.clone()), self.angles(input.positions));
        let [key, value] = self.memory(block, read.clone(), input.prefix, at.as_ref());
        let query = block.query(read, at.as_ref());
        block.finish_layer(input.hidden, attend(query, key, value, input.bias, self.heads, self.spec.causal))
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
        let block = self.last();
        let (read, at) = (block.attention_input(input.hidden.clone()), self.angles(input.positions.clone()));
        let bias = bias_at(input.bias, rows.clone());
        let here = self.angles(positions_at(input.positions, rows.clone()));
        let query = block.query(gather_rows(read.clone(), rows.clone()), here.as_ref());
        let [key, value] = self.memory(block, read, input.prefix, at.as_ref());
        // There is one query, and the bias says what it reads, whether or not the model is causal.
        block.finish_layer(gather_rows(input.hidden, rows), attend(query, key, value, bias, self.heads, false))
    }

    fn pooled_text(&self, input: LayerInput, rows: Tensor<1, Int>) -> PooledText {
        let block = self.last();
        let [batch, ..] = input.bias.dims();
        let (read, at) = (block.attention_input(input.hidden.clone()), self.angles(input.positions.clone()));
        let here = self.angles(positions_at(input.positions, rows.clone()));
        let query = split_heads(block.query(gather_rows(read.clone(), rows.clone()), here.as_ref()), self.heads);
        let scale = 1.0 / (query.dims()[3] as f32).sqrt();
        let query = query * scale; // [batch, heads, 1, head]
        let [key, value] = self.memory(block, read, None, at.as_ref()).map(|x| self.per_query_head(x));
        let bias = bias_at(input.bias, rows.clone());
        let scores = query.clone().matmul(key.swap_dims(2, 3)) + bias;
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
                let scores = text.query.clone().unsqueeze_dim::<4>(2).matmul(key.swap_dims(2, 3));
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

impl Rotary {
    /// Computes `theta^(-2j / head) * position` in double precision, for positions below `positions`.
    pub(crate) fn new(positions: usize, head: usize, theta: f64, device: &Device) -> Self {
        let half = head / 2;
        let angle = |at: usize| (at / half) as f64 * theta.powf(-2.0 * (at % half) as f64 / head as f64);
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
    /// Rotates every head of `x`, `[batch, rows, heads * head]`.
    pub(crate) fn apply_rotary(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, rows, width] = x.dims();
        let lift = |a: &Tensor<2>| if x.is_autodiff() { Tensor::from_inner(a.clone()) } else { a.clone() };
        let (cos, sin) = (lift(&self.cos), lift(&self.sin));
        rotate(x.reshape([batch * rows, width]), cos, sin).reshape([batch, rows, width])
    }
}

/// Looks up rows of a frozen table: `[batch, tokens, width]`.
pub(crate) fn embedding(table: &Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    let ([batch, tokens], [_, width]) = (ids.dims(), table.dims());
    table.clone().select(0, ids.flatten(0, 1)).reshape([batch, tokens, width])
}
