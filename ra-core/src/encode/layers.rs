//! Runs texts through a frozen language model: the only loop over layers in the workspace.
use crate::model::BLOCKED;
use crate::{
    LanguageModel, LayerInput, PooledPath, PooledText, Pooling, Prefix, TextBatch, attention_bias, gather_rows,
};
use burn::tensor::{Int, Tensor};
use std::ops::Range;

/// The result of [`encode`].
#[derive(Debug, Clone)]
pub struct Encoded {
    /// `[batch, output width]`, the pooled final state after [`LanguageModel::project`]: the text's vector.
    pub pooled: Tensor<2>,
    /// `[batch, tokens, width]`, the final state after [`LanguageModel::finish`].
    pub last: Tensor<3>,
}

/// Runs the layers `range` on `hidden` (`[batch, tokens, width]`, the input of the first of them) and passes each
/// layer's index and output to `visit`.
///
/// If the prefix is on an autodiff device, the result is differentiable with respect to it; nothing is kept for the
/// backward pass below the first layer that has one.
pub fn run_layers<L: LanguageModel + ?Sized>(
    lm: &L,
    range: Range<usize>,
    hidden: Tensor<3>,
    text: &TextBatch,
    prefix: Option<&Prefix>,
    visit: impl FnMut(usize, &Tensor<3>),
) -> Tensor<3> {
    Inputs::new(lm, text, prefix).run(lm, range, hidden, visit)
}

/// What all layers read besides their hidden state.
struct Inputs<'a> {
    positions: Tensor<2, Int>,
    plain: Tensor<4>,
    prefix: Option<(&'a Prefix, Tensor<4>)>,
}

impl<'a> Inputs<'a> {
    fn new<L: LanguageModel + ?Sized>(lm: &L, text: &TextBatch, prefix: Option<&'a Prefix>) -> Self {
        let bias = |rows| attention_bias(&text.mask, rows, lm.spec().causal);
        Self { positions: text.positions(), plain: bias(0), prefix: prefix.map(|p| (p, bias(p.rows()))) }
    }

    fn run<L: LanguageModel + ?Sized>(
        &self,
        lm: &L,
        range: Range<usize>,
        mut hidden: Tensor<3>,
        mut visit: impl FnMut(usize, &Tensor<3>),
    ) -> Tensor<3> {
        for index in range {
            hidden = lm.layer(index, self.layer(index, hidden));
            visit(index, &hidden);
        }
        hidden
    }

    fn layer(&self, index: usize, hidden: Tensor<3>) -> LayerInput {
        let own = self.prefix.as_ref().and_then(|(prefix, bias)| Some((prefix.layer(index)?, bias)));
        let (prefix, bias) = own.map_or((None, &self.plain), |(prefix, bias)| (Some(prefix.clone()), bias));
        LayerInput::new(hidden, prefix, bias.clone(), self.positions.clone())
    }
}

/// Encodes `text` with or without soft prompts; `prefix = None` gives the unchanged language model.
pub fn encode<L: LanguageModel + ?Sized>(lm: &L, text: &TextBatch, prefix: Option<&Prefix>) -> Encoded {
    let spec = lm.spec();
    let hidden = lm.embed(text.tokens.clone(), text.positions());
    let last = lm.finish(run_layers(lm, 0..spec.layers, hidden, text, prefix, |_, _| ()));
    Encoded { pooled: lm.project(pool(spec.pooling, last.clone(), &text.mask)), last }
}

/// The texts' vectors, `[batch, output width]`, from the input of layer `first`, `[batch, tokens, width]`. If only one
/// row is pooled, the last layer computes only that row.
pub fn encode_from<L: LanguageModel + ?Sized>(
    lm: &L,
    first: usize,
    hidden: Tensor<3>,
    text: &TextBatch,
    prefix: Option<&Prefix>,
) -> Tensor<2> {
    pooled_from(lm, first, hidden, text, prefix, &text.mask)
}

/// The texts' vectors, `[batch, output width]`, if `rows` (`[batch, rows, width]`) enter the language model as input tokens,
/// as in CoLLM (arXiv 2310.19488) and similar methods: before the text in a causal model, after it in a bidirectional
/// one. `embedded` is the text after [`LanguageModel::embed`]. The rows are never pooled.
pub fn encode_with_tokens<L: LanguageModel + ?Sized>(
    lm: &L,
    embedded: Tensor<3>,
    text: &TextBatch,
    rows: Tensor<3>,
) -> Tensor<2> {
    let [batch, count, _] = rows.dims();
    let device = text.mask.device();
    let cells = |value: f32| Tensor::full([batch, count], value, &device);
    let side = |rows: Tensor<2>| -> Tensor<2> {
        let parts = if lm.spec().causal { [rows, text.mask.clone()] } else { [text.mask.clone(), rows] };
        Tensor::cat(parts.to_vec(), 1)
    };
    let hidden = if lm.spec().causal { [rows, embedded] } else { [embedded, rows] };
    // The tokens are already embedded: only their number is still read.
    let longer = TextBatch { tokens: side(cells(0.0)).int(), mask: side(cells(1.0)) };
    pooled_from(lm, 0, Tensor::cat(hidden.to_vec(), 1), &longer, None, &side(cells(0.0)))
}

/// [`encode_from`] with pooling over the positions where `pooled` is 1.
fn pooled_from<L: LanguageModel + ?Sized>(
    lm: &L,
    first: usize,
    hidden: Tensor<3>,
    text: &TextBatch,
    prefix: Option<&Prefix>,
    pooled: &Tensor<2>,
) -> Tensor<2> {
    let spec = lm.spec();
    match pooled_rows(spec.pooling, pooled) {
        Some(rows) if first < spec.layers => {
            let (last, inputs) = (spec.layers - 1, Inputs::new(lm, text, prefix));
            let hidden = inputs.run(lm, first..last, hidden, |_, _| ());
            let input = inputs.layer(last, hidden);
            let row = match lm.pooled() {
                Some(path) => path.last_layer_at(input, rows),
                None => gather_rows(lm.layer(last, input), rows),
            };
            lm.project(lm.finish(row).squeeze_dim(1))
        }
        _ => {
            let last = run_layers(lm, first..spec.layers, hidden, text, prefix, |_, _| ());
            lm.project(pool(spec.pooling, lm.finish(last), pooled))
        }
    }
}

/// The pooled position of each text, `[batch]`, for poolings that read one row; `None` for the others.
pub(crate) fn pooled_rows(pooling: Pooling, mask: &Tensor<2>) -> Option<Tensor<1, Int>> {
    let [batch, tokens] = mask.dims();
    let numbered = Tensor::<1, Int>::arange(1..tokens as i64 + 1, &mask.device()).float().reshape([1, tokens]);
    match pooling {
        // The largest of `mask * (1, 2, ..)` is the last token; of `mask * (n, n - 1, ..)` the first.
        Pooling::Last => Some((mask.clone() * numbered).argmax(1).reshape([batch])),
        Pooling::First => Some((mask.clone() * (numbered.neg() + (tokens + 1) as f32)).argmax(1).reshape([batch])),
        Pooling::Mean | Pooling::Max | Pooling::MeanSqrtLen | Pooling::Weighted => None,
    }
}

/// Pools `[batch, tokens, width]` to `[batch, width]`, ignoring padding.
pub fn pool(pooling: Pooling, hidden: Tensor<3>, mask: &Tensor<2>) -> Tensor<2> {
    if let Some(rows) = pooled_rows(pooling, mask) {
        return gather_rows(hidden, rows).squeeze_dim(1);
    }
    let [batch, tokens, _] = hidden.dims();
    match pooling {
        Pooling::Max => {
            let absent = (mask.clone() - 1.0) * -BLOCKED;
            (hidden + absent.reshape([batch, tokens, 1])).max_dim(1).squeeze_dim(1)
        }
        Pooling::MeanSqrtLen => {
            let count = mask.clone().sum_dim(1).clamp_min(1.0);
            mean_rows(hidden, mask) * count.sqrt()
        }
        Pooling::Weighted => mean_rows(hidden, &(mask.clone().cumsum(1) * mask.clone())),
        // The others have returned.
        Pooling::Mean | Pooling::First | Pooling::Last => mean_rows(hidden, mask),
    }
}

/// The mask-weighted mean over tokens, `[batch, width]`.
pub fn mean_rows(hidden: Tensor<3>, mask: &Tensor<2>) -> Tensor<2> {
    let [batch, tokens, width] = hidden.dims();
    let sum = (hidden * mask.clone().reshape([batch, tokens, 1])).sum_dim(1).reshape([batch, width]);
    sum / mask.clone().sum_dim(1).clamp_min(1.0)
}

/// The constants of the last layer's pooled row (see [`PooledText`]) from the input of that layer, `[batch, tokens,
/// width]`: everything that a text contributes if only the last layer has a prefix. `None` if the pooling reads every
/// row.
pub fn pooled_text<L: PooledPath + ?Sized>(lm: &L, hidden: Tensor<3>, text: &TextBatch) -> Option<PooledText> {
    let spec = lm.spec();
    let rows = pooled_rows(spec.pooling, &text.mask)?;
    let bias = attention_bias(&text.mask, 0, spec.causal);
    Some(lm.pooled_text(LayerInput::new(hidden, None, bias, text.positions()), rows))
}

/// The texts' vectors, `[batch, output width]`, from the constants of [`pooled_text`] and the last layer's prefix.
pub fn encode_pooled<L: PooledPath + ?Sized>(lm: &L, text: &PooledText, prefix: Option<Tensor<3>>) -> Tensor<2> {
    lm.project(lm.finish(lm.pooled_layer(text, prefix).unsqueeze_dim(1)).squeeze_dim(1))
}
