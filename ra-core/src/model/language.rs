//! What encoding knows of a frozen language model.
use super::forward::forward_pointers;
use crate::kernels::FrozenLinear;
use crate::{Result, int_tensor};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// Which rows of the last hidden state become the text's vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// First token that is not padding (BERT's `[CLS]`).
    First,
    /// Last token that is not padding (causal models).
    Last,
    /// Mean over the tokens that are not padding (sentence encoders).
    Mean,
}

/// The shape of a language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LmSpec {
    /// Number of layers.
    pub layers: usize,
    /// Width of the hidden state.
    pub width: usize,
    /// Longest text in tokens.
    pub max_tokens: usize,
    /// Whether a token reads only those before it.
    pub causal: bool,
    /// How a text becomes one vector.
    pub pooling: Pooling,
}

/// Tokens of a batch of texts; padding may stand on either side.
#[derive(Debug, Clone)]
pub struct TextBatch {
    /// `[batch, tokens]`.
    pub tokens: Tensor<2, Int>,
    /// `[batch, tokens]`, 1 for text and 0 for padding.
    pub mask: Tensor<2>,
}

impl TextBatch {
    /// Pads `texts` on the right to the longest.
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

    /// `[batch, tokens]`: 0, 1, 2 .. over the tokens that are not padding; a prefix does not shift them.
    pub fn positions(&self) -> Tensor<2, Int> {
        (self.mask.clone().cumsum(1) - 1.0).clamp_min(0.0).int()
    }
}

/// What one layer reads.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LayerInput {
    /// `[batch, tokens, width]`.
    pub hidden: Tensor<3>,
    /// `[batch, rows, width]`, this layer's soft prompt, if it has one.
    pub prefix: Option<Tensor<3>>,
    /// `[batch, 1, tokens, rows + tokens]`: 0 where a query may read a key, a large negative number where not.
    pub bias: Tensor<4>,
    /// `[batch, tokens]`, for rotary position embeddings.
    pub positions: Tensor<2, Int>,
}

/// One row a text: `[batch, tokens, width]` at `rows`, `[batch]`, gives `[batch, 1, width]`.
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

    /// What keys and values read, `[batch, rows + tokens, width]`: the prefix, then `text`, which is what the layer's
    /// attention normally reads (the input-normed hidden state in pre-norm models). Queries read `text` alone.
    pub fn context(&self, text: Tensor<3>) -> Tensor<3> {
        match &self.prefix {
            Some(prefix) => Tensor::cat(vec![prefix.clone(), text], 1),
            None => text,
        }
    }

    /// `[batch, tokens, rows + tokens]`: `true` where a query may not read a key, for attention layers that want it so.
    pub fn blocked(&self) -> Tensor<3, Bool> {
        self.bias.clone().squeeze_dim::<3>(1).lower_elem(0.0)
    }
}

/// All that the last layer's pooled row needs of its text when that layer alone has a prefix: constants of the prompt.
///
/// With first- or last-token pooling only one row of the last layer is ever read, and attention over `[prefix ; text]`
/// is attention over `[prefix ; one slot]` whose score is the text's log-sum-exp and whose value is the text's own
/// attention output. Exact, and `3 * width + heads` numbers a prompt instead of a pass through the layer.
#[derive(Debug, Clone)]
pub struct PooledText {
    /// `[batch, width]`, the pooled row of the hidden state that enters the layer.
    pub hidden: Tensor<2>,
    /// `[batch, heads, head_dim]`, its query, scaled.
    pub query: Tensor<3>,
    /// `[batch, heads, head_dim]`, attention over the text alone.
    pub context: Tensor<3>,
    /// `[batch, heads]`, log-sum-exp of the text's scores.
    pub score: Tensor<2>,
}

/// A frozen pretrained transformer.
///
/// Object-safe, without parameters that anybody could train by accident: it lives on the plain device, where it is a
/// constant to autodiff, and must not apply dropout. An implementation adds a prefix by one line in `layer`:
/// keys and values read [`LayerInput::context`]. Five methods make a model; what a model can do beyond that, it tells by
/// [`pooled`](Self::pooled) and [`tunable`](Self::tunable).
pub trait LanguageModel: Debug + Send + Sync {
    /// The shape.
    fn spec(&self) -> LmSpec;

    /// The device of the weights.
    fn device(&self) -> Device;

    /// The state that enters layer 0, `[batch, tokens, width]`, from tokens and positions `[batch, tokens]`.
    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3>;

    /// Layer `index`, `[batch, tokens, width]`.
    fn layer(&self, index: usize, input: LayerInput) -> Tensor<3>;

    /// What follows the last layer, such as a final norm; works row by row. A model without gives `hidden` back.
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3>;

    /// The fast path of the last layer, if the model has one: `Some(self)`.
    fn pooled(&self) -> Option<&dyn PooledPath> {
        None
    }

    /// The weight matrices, if the model shows them: `Some(self)`.
    fn tunable(&self) -> Option<&dyn TunableMatrices> {
        None
    }
}

/// The last layer of a language model at the one row a text that first- and last-token pooling read.
///
/// Nothing here changes a result: `check_language_model` of the contracts holds each method to
/// [`LanguageModel::layer`].
pub trait PooledPath: LanguageModel {
    /// The last layer's output at one row a text, `[batch, 1, width]`, before [`LanguageModel::finish`]; the other rows
    /// are spared their queries and all that follows. `rows` is `[batch]`.
    fn last_layer_at(&self, input: LayerInput, rows: Tensor<1, Int>) -> Tensor<3>;

    /// The constants of the last layer's pooled row. `rows` is `[batch]`, the pooled position of each text; `input` has
    /// no prefix.
    fn pooled_text(&self, input: LayerInput, rows: Tensor<1, Int>) -> PooledText;

    /// The last layer's output at the pooled row, `[batch, width]`, before [`LanguageModel::finish`], from what
    /// [`pooled_text`](Self::pooled_text) gave and a prefix, `[batch, rows, width]`.
    fn pooled_layer(&self, text: &PooledText, prefix: Option<Tensor<3>>) -> Tensor<2>;
}

/// A language model whose weight matrices can be replaced: to tune it, or to keep it in another precision.
pub trait TunableMatrices: LanguageModel {
    /// This model with other weight matrices: `change` sees the matrices of the layers from `first` up, in a fixed
    /// order, and gives what takes their place.
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
    fn pooled(&self) -> Option<&dyn PooledPath>;
    fn tunable(&self) -> Option<&dyn TunableMatrices>;
});

/// Cuts text into a language model's tokens.
pub trait Tokenizer: Debug + Send + Sync {
    /// Tokens of each text, without special tokens, padding or truncation.
    ///
    /// # Errors
    /// [`crate::Error::Text`] names the first text that cannot be cut.
    fn tokenize(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>>;

    /// Special tokens that open and close a text.
    fn special_tokens(&self) -> (Vec<u32>, Vec<u32>);
}

/// `[batch, 1, tokens, rows + tokens]`: 0 where a query may read a key, a large negative number elsewhere. Every query
/// reads every prefix row, none reads padding, and in a causal model none reads a later token.
pub fn attention_bias(mask: &Tensor<2>, rows: usize, causal: bool) -> Tensor<4> {
    // Finite, so that a row without any readable key (left padding under a causal mask) stays a number.
    const BLOCKED: f32 = -1e9;
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
