//! The interface between frozen language models and encoding.
use super::forward::forward_pointers;
use crate::kernels::FrozenLinear;
use crate::{Result, int_tensor};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// Which rows of the last hidden state become the text's vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The first token that is not padding (BERT's `[CLS]`).
    First,
    /// The last token that is not padding (causal models).
    Last,
    /// The mean over the tokens that are not padding (sentence encoders).
    Mean,
    /// The maximum of each number over the tokens that are not padding.
    Max,
    /// The sum over the tokens that are not padding, divided by the square root of their number.
    MeanSqrtLen,
    /// The mean over the tokens that are not padding, weighted by their positions 1, 2, ... (SGPT, Muennighoff, 2022).
    Weighted,
}

impl Pooling {
    /// Every pooling.
    pub const ALL: [Self; 6] = [Self::First, Self::Last, Self::Mean, Self::Max, Self::MeanSqrtLen, Self::Weighted];

    /// Whether one row of the last hidden state is all that is read.
    pub fn reads_one_row(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }
}

/// The shape of a language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LmSpec {
    /// The number of layers.
    pub layers: usize,
    /// The width of the hidden state.
    pub width: usize,
    /// The length of the longest text, in tokens.
    pub max_tokens: usize,
    /// Whether a token attends only to itself and earlier tokens.
    pub causal: bool,
    /// How a text becomes one vector.
    pub pooling: Pooling,
}

/// The tokens of a batch of texts, padded on either side.
#[derive(Debug, Clone)]
pub struct TextBatch {
    /// `[batch, tokens]`.
    pub tokens: Tensor<2, Int>,
    /// `[batch, tokens]`, 1 for text and 0 for padding.
    pub mask: Tensor<2>,
}

impl TextBatch {
    /// Pads `texts` on the right to the length of the longest.
    pub fn from_rows(texts: &[&[u32]], device: &Device) -> Self {
        let longest = texts.iter().map(|t| t.len()).max().unwrap_or(0).max(1);
        let mut tokens = vec![0u32; texts.len() * longest];
        let mut mask = vec![0f32; texts.len() * longest];
        for (row, text) in texts.iter().enumerate() {
            for (column, &token) in text.iter().enumerate() {
                tokens[row * longest + column] = token;
                mask[row * longest + column] = 1.0;
            }
        }
        let shape = [texts.len(), longest];
        Self {
            tokens: int_tensor(tokens, shape, device),
            mask: Tensor::from_data(TensorData::new(mask, shape), device),
        }
    }

    /// `[batch, tokens]`: 0, 1, 2, ... over the tokens that are not padding; a prefix does not shift them.
    pub fn positions(&self) -> Tensor<2, Int> {
        (self.mask.clone().cumsum(1) - 1.0).clamp_min(0.0).int()
    }
}

/// The input of one layer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LayerInput {
    /// `[batch, tokens, width]`.
    pub hidden: Tensor<3>,
    /// `[batch, rows, width]`, this layer's soft prompt, if it has one.
    pub prefix: Option<Tensor<3>>,
    /// `[batch, 1, tokens, rows + tokens]`: 0 if a query may attend to a key, otherwise a large negative number.
    pub bias: Tensor<4>,
    /// `[batch, tokens]`, for rotary position embeddings.
    pub positions: Tensor<2, Int>,
}

/// Gathers one row per text: `[batch, tokens, width]` at `rows`, `[batch]`, gives `[batch, 1, width]`.
pub fn gather_rows(x: Tensor<3>, rows: Tensor<1, Int>) -> Tensor<3> {
    let [batch, _, width] = x.dims();
    x.gather(1, rows.reshape([batch, 1, 1]).expand([batch, 1, width]))
}

impl LayerInput {
    pub(crate) fn new(
        hidden: Tensor<3>,
        prefix: Option<Tensor<3>>,
        bias: Tensor<4>,
        positions: Tensor<2, Int>,
    ) -> Self {
        Self { hidden, prefix, bias, positions }
    }

    /// The input of keys and values, `[batch, rows + tokens, width]`: the prefix, then `text`, which is what the
    /// layer's attention normally reads (the normalized hidden state in pre-norm models). Queries read `text` alone.
    pub fn context(&self, text: Tensor<3>) -> Tensor<3> {
        match &self.prefix {
            Some(prefix) => Tensor::cat(vec![prefix.clone(), text], 1),
            None => text,
        }
    }

    /// The mask as booleans, `[batch, tokens, rows + tokens]`: `true` if a query may not attend to a key.
    pub fn blocked(&self) -> Tensor<3, Bool> {
        self.bias.clone().squeeze_dim::<3>(1).lower_elem(0.0)
    }
}

/// All that the last layer's pooled row needs from its text if only that layer has a prefix: constants of the prompt.
///
/// With first- or last-token pooling only one row of the last layer is ever read. Attention over `[prefix ; text]` then
/// equals attention over `[prefix ; one slot]`, where the slot's score is the log-sum-exp of the text's scores and its
/// value is the text's own attention output. This is exact and costs `3 * width + heads` numbers per prompt instead of
/// a pass through the layer.
#[derive(Debug, Clone)]
pub struct PooledText {
    /// `[batch, width]`, the pooled row of the hidden state that enters the layer.
    pub hidden: Tensor<2>,
    /// `[batch, heads, head_dim]`, the pooled row's scaled query.
    pub query: Tensor<3>,
    /// `[batch, heads, head_dim]`, attention over the text alone.
    pub context: Tensor<3>,
    /// `[batch, heads]`, the log-sum-exp of the text's scores.
    pub score: Tensor<2>,
}

/// A frozen pretrained transformer.
///
/// The trait is object-safe and has no parameters that could be trained by accident: the model lives on the plain
/// device, where autodiff sees a constant, and must not apply dropout. An implementation supports a prefix with one
/// line in `layer`: keys and values read [`LayerInput::context`]. Five methods make a model; [`pooled`](Self::pooled)
/// and [`tunable`](Self::tunable) declare optional abilities.
pub trait LanguageModel: Debug + Send + Sync {
    /// The shape.
    fn spec(&self) -> LmSpec;

    /// The device of the weights.
    fn device(&self) -> Device;

    /// The input of layer 0, `[batch, tokens, width]`, from tokens and positions, both `[batch, tokens]`.
    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3>;

    /// Runs layer `index` and returns `[batch, tokens, width]`.
    fn layer(&self, index: usize, input: LayerInput) -> Tensor<3>;

    /// Applies what follows the last layer, such as a final norm, row by row. A model without it returns `hidden`.
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3>;

    /// Maps pooled vectors, `[batch, width]`, to the texts' vectors, `[batch, output width]`: the dense layers that
    /// some sentence encoders have after pooling. A model without them returns `pooled`.
    fn project(&self, pooled: Tensor<2>) -> Tensor<2> {
        pooled
    }

    /// The width of a text's vector.
    fn output_width(&self) -> usize {
        self.spec().width
    }

    /// The fast path of the last layer: `Some(self)` if the model has one.
    fn pooled(&self) -> Option<&dyn PooledPath> {
        None
    }

    /// The weight matrices: `Some(self)` if the model exposes them.
    fn tunable(&self) -> Option<&dyn TunableMatrices> {
        None
    }
}

/// The last layer of a language model at the one row per text that first- and last-token pooling reads.
///
/// No method changes a result: the contract `check_language_model` compares each of them with [`LanguageModel::layer`].
pub trait PooledPath: LanguageModel {
    /// The last layer's output at one row per text, `[batch, 1, width]`, before [`LanguageModel::finish`]. The other
    /// rows need no queries and nothing after them. `rows` is `[batch]`.
    fn last_layer_at(&self, input: LayerInput, rows: Tensor<1, Int>) -> Tensor<3>;

    /// The constants of the last layer's pooled row. `rows` is `[batch]`, the pooled position of each text; `input` has
    /// no prefix.
    fn pooled_text(&self, input: LayerInput, rows: Tensor<1, Int>) -> PooledText;

    /// The last layer's output at the pooled row, `[batch, width]`, before [`LanguageModel::finish`], from the result
    /// of [`pooled_text`](Self::pooled_text) and a prefix, `[batch, rows, width]`.
    fn pooled_layer(&self, text: &PooledText, prefix: Option<Tensor<3>>) -> Tensor<2>;

    /// The query of [`pooled_text`](Self::pooled_text), `[batch, heads, head_dim]`, from its hidden state, `[batch,
    /// width]`, and the positions of the pooled rows, `[batch]`: a cache that has the one need not keep the other. `None`
    /// if the model does not offer it.
    fn pooled_query(&self, _hidden: Tensor<2>, _positions: Tensor<1, Int>) -> Option<Tensor<3>> {
        None
    }
}

/// A language model whose weight matrices can be replaced, to fine-tune it or to store it in another precision.
pub trait TunableMatrices: LanguageModel {
    /// Returns this model with other weight matrices: `change` receives the matrices of the layers from `first`
    /// upwards, in a fixed order, and returns their replacements.
    fn with_linears(
        &self,
        first: usize,
        change: &mut dyn FnMut(&FrozenLinear) -> FrozenLinear,
    ) -> Box<dyn LanguageModel>;
}

forward_pointers!(impl LanguageModel {
    fn spec(&self) -> LmSpec;
    fn device(&self) -> Device;
    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3>;
    fn layer(&self, index: usize, input: LayerInput) -> Tensor<3>;
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3>;
    fn project(&self, pooled: Tensor<2>) -> Tensor<2>;
    fn output_width(&self) -> usize;
    fn pooled(&self) -> Option<&dyn PooledPath>;
    fn tunable(&self) -> Option<&dyn TunableMatrices>;
});

/// Splits text into a language model's tokens.
pub trait Tokenizer: Debug + Send + Sync {
    /// The tokens of each text, without special tokens, padding or truncation.
    ///
    /// # Errors
    /// [`crate::Error::Text`] with the first text that cannot be tokenized.
    fn tokenize(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>>;

    /// The special tokens before and after a text.
    fn special_tokens(&self) -> (Vec<u32>, Vec<u32>);
}

/// What is added to the score of a key that may not be read. Finite, so that a row without any key to attend to (left
/// padding under a causal mask) stays a number.
pub const BLOCKED: f32 = -1e9;

/// The attention bias, `[batch, 1, tokens, rows + tokens]`: 0 if a query may attend to a key, otherwise a large
/// negative number. Every query attends to every prefix row and never to padding; in a causal model it never attends to
/// a later token.
pub fn attention_bias(mask: &Tensor<2>, rows: usize, causal: bool) -> Tensor<4> {
    let [batch, tokens] = mask.dims();
    let device = mask.device();
    let padding = (mask.clone() - 1.0) * -BLOCKED; // 0 for text, BLOCKED for padding
    let mut bias: Tensor<4> = padding.reshape([batch, 1, 1, tokens]).expand([batch, 1, tokens, tokens]);
    if causal {
        let future = Tensor::<2>::ones([tokens, tokens], &device).triu(1) * BLOCKED;
        bias = (bias + future.reshape([1, 1, tokens, tokens])).clamp_min(BLOCKED);
    }
    if rows == 0 {
        return bias;
    }
    Tensor::cat(vec![Tensor::zeros([batch, 1, tokens, rows], &device), bias], 3)
}
