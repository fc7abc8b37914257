//! A layer of a transformer: attention, a feed-forward block, and where the norms stand.
use crate::positions::{Angles, Rotary};
use burn::tensor::Tensor;
use ra_core::kernels::{Activation, FrozenLinear, gated_silu, layer_norm, rms_norm};

/// One layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) attention: Attention,
    pub(crate) feed_forward: FeedForward,
    pub(crate) norms: Norms,
}

/// The matrices of attention, and what differs from plain scaled attention.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    pub(crate) query: FrozenLinear,
    pub(crate) key: FrozenLinear,
    pub(crate) value: FrozenLinear,
    pub(crate) output: FrozenLinear,
    /// The head norms of queries and keys.
    pub(crate) head_norms: Option<[Norm; 2]>,
    /// What queries are multiplied by, besides the usual scale.
    pub(crate) query_scale: Option<f32>,
    pub(crate) rotary: Option<Rotary>,
    /// How far apart two tokens may be for one to attend to the other; `None` if any distance is fine. A prefix has no
    /// position: every token attends to it.
    pub(crate) reach: Option<usize>,
    /// The cap `c` of scores, which become `c tanh(score / c)`.
    pub(crate) score_cap: Option<f32>,
}

/// `down(activation(up x))`, or with a gate `down(activation(gate x) * up x)` (Shazeer, "GLU variants improve
/// transformer", 2020).
#[derive(Debug, Clone)]
pub(crate) struct FeedForward {
    pub(crate) gate: Option<FrozenLinear>,
    pub(crate) up: FrozenLinear,
    pub(crate) down: FrozenLinear,
    pub(crate) activation: Activation,
}

/// Where the norms of a layer stand.
#[derive(Debug, Clone)]
pub(crate) enum Norms {
    /// Before each block; `after` are further ones at the end of both.
    Pre { attention: Option<Norm>, inner: Norm, after: Option<Box<[Norm; 2]>> },
    /// After the sum of each block and its input.
    Post { attention: Norm, inner: Norm },
}

/// A norm that is never trained: a layer norm, or a root mean square norm if there is no `beta`.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) gamma: Tensor<1>,
    pub(crate) beta: Option<Tensor<1>>,
    pub(crate) epsilon: f32,
}

impl Layer {
    /// The weight matrices, in a fixed order.
    pub(crate) fn linears(&mut self) -> impl Iterator<Item = &mut FrozenLinear> {
        let Attention { query, key, value, output, .. } = &mut self.attention;
        let FeedForward { gate, up, down, .. } = &mut self.feed_forward;
        [query, key, value, output].into_iter().chain(gate).chain([up, down])
    }

    /// The input of queries, keys and values, `[batch, rows, width]`: the normed state in pre-norm models, the state
    /// itself in post-norm ones. A prefix is added next to it and is not normed.
    pub(crate) fn attention_input(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.norms {
            Norms::Pre { attention: Some(norm), .. } => norm.forward(hidden),
            Norms::Pre { attention: None, .. } | Norms::Post { .. } => hidden,
        }
    }

    /// Computes the layer's output from its input and the attended values, `[batch, rows, heads * head]`.
    pub(crate) fn finish(&self, hidden: Tensor<3>, attended: Tensor<3>) -> Tensor<3> {
        let attended = self.attention.output.project(attended);
        match &self.norms {
            Norms::Pre { inner, after: None, .. } => {
                let hidden = attended + hidden;
                self.feed_forward.forward(inner.forward(hidden.clone())) + hidden
            }
            Norms::Pre { inner, after: Some(after), .. } => {
                let [after_attention, after_inner] = &**after;
                let hidden = after_attention.forward(attended) + hidden;
                after_inner.forward(self.feed_forward.forward(inner.forward(hidden.clone()))) + hidden
            }
            Norms::Post { attention, inner } => {
                let hidden = attention.forward(attended + hidden);
                inner.forward(self.feed_forward.forward(hidden.clone()) + hidden)
            }
        }
    }
}

impl Attention {
    /// Plain attention by the matrices of queries, keys, values and the output.
    pub(crate) fn new([query, key, value, output]: [FrozenLinear; 4]) -> Self {
        Self {
            query,
            key,
            value,
            output,
            head_norms: None,
            query_scale: None,
            rotary: None,
            reach: None,
            score_cap: None,
        }
    }

    /// `[batch, rows, heads * head]`.
    pub(crate) fn query(&self, read: Tensor<3>, at: Option<&Angles>) -> Tensor<3> {
        let query = self.place(self.query.project(read), 0, at);
        match self.query_scale {
            Some(scale) => query * scale,
            None => query,
        }
    }

    /// `[batch, rows, kv heads * head]`; a prefix has no position, and no angles.
    pub(crate) fn key(&self, read: Tensor<3>, at: Option<&Angles>) -> Tensor<3> {
        self.place(self.key.project(read), 1, at)
    }

    /// `[batch, rows, kv heads * head]`.
    pub(crate) fn value(&self, read: Tensor<3>) -> Tensor<3> {
        self.value.project(read)
    }

    /// Applies head norm and rotary position; a prefix is normed as well but has no position.
    fn place(&self, x: Tensor<3>, which: usize, at: Option<&Angles>) -> Tensor<3> {
        let x = match &self.head_norms {
            Some(norms) => norms[which].forward(x),
            None => x,
        };
        match at {
            Some(angles) => angles.apply_rotary(x),
            None => x,
        }
    }
}

impl FeedForward {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, rows, width] = x.dims();
        let x = x.reshape([batch * rows, width]);
        let inner = match (&self.gate, self.activation) {
            (None, activation) => self.up.activated(x, activation),
            (Some(gate), Activation::Silu) => gated_silu(gate.forward(x.clone()), self.up.forward(x)),
            (Some(gate), activation) => gate.activated(x.clone(), activation) * self.up.forward(x),
        };
        let [_, width] = self.down.dims();
        self.down.forward(inner).reshape([batch, rows, width])
    }
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
