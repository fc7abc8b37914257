//! Training in memory that does not grow with the batch.
use crate::TextCache;
use crate::cache::{in_order, indices, near_length};
use burn::tensor::Tensor;
use ra_core::{LanguageModel, Prefix};

/// One side of a step: texts, and the prefix of each.
pub(crate) type TextSide<'a> = (&'a [Vec<u32>], &'a Prefix);

/// `loss` of both sides' vectors, its gradient included, with the graph of `size` texts at a time.
///
/// All that a text needs of the others for its gradient is what the loss asks of its own vector. So vectors are computed
/// without a graph, the loss says what it asks of each, and then a few texts at a time are computed once more with one
/// (Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, RepL4NLP 2021). Negatives stay
/// those of the whole batch; the price is a second forward pass.
pub(crate) fn by_chunks<L: LanguageModel + ?Sized>(
    lm: &L,
    cache: &TextCache,
    size: usize,
    sides: [TextSide<'_>; 2],
    loss: impl Fn([Tensor<2>; 2]) -> Tensor<1>,
) -> Tensor<1> {
    let leaves = sides.map(|(texts, prefix)| {
        let plain = each_layer(prefix, |layer| layer.clone().inner());
        Tensor::from_inner(cache.encode(lm, texts, Some(&plain))).require_grad()
    });
    let mut asked = loss(leaves.clone()).backward();
    // What else the loss reads, a temperature or a head, has its gradient here.
    let mut total = loss(leaves.clone().map(Tensor::detach));
    for ((texts, prefix), leaf) in sides.into_iter().zip(leaves) {
        if let Some(asked) = leaf.grad_remove(&mut asked) {
            for (layer, slope) in prefix.layers().iter().zip(slopes(lm, cache, size, (texts, prefix), &asked)) {
                let linear = (layer.clone() * Tensor::from_inner(slope)).sum();
                // Nothing is added but the gradient.
                total = total + linear.clone() - linear.detach();
            }
        }
    }
    total
}

/// The gradient of `sum(vectors * asked)` to each layer of the prefix, `[texts, rows, width]`.
fn slopes<L: LanguageModel + ?Sized>(
    lm: &L,
    cache: &TextCache,
    size: usize,
    (texts, prefix): TextSide<'_>,
    asked: &Tensor<2>,
) -> Vec<Tensor<3>> {
    let device = asked.device();
    let mut found: Vec<Vec<Tensor<3>>> = vec![Vec::new(); prefix.layers().len()];
    let chunks: Vec<Vec<usize>> =
        near_length(texts).iter().flat_map(|group| group.chunks(size)).map(<[usize]>::to_vec).collect();
    for chunk in &chunks {
        let rows = indices(chunk.iter().copied(), &device);
        let own = each_layer(prefix, |layer| {
            Tensor::from_inner(layer.clone().inner().select(0, rows.clone())).require_grad()
        });
        let texts: Vec<Vec<u32>> = chunk.iter().map(|&at| texts[at].clone()).collect();
        let vectors = cache.encode(lm, &texts, Some(&own));
        let grads = (vectors * Tensor::from_inner(asked.clone().select(0, rows))).sum().backward();
        for (found, layer) in found.iter_mut().zip(own.layers()) {
            // A layer that is not read, as below a fast path, has none.
            found.push(layer.grad(&grads).unwrap_or_else(|| layer.clone().inner().zeros_like()));
        }
    }
    let order = chunks.concat();
    found.into_iter().map(|parts| in_order(Tensor::cat(parts, 0), &order)).collect()
}

fn each_layer(prefix: &Prefix, change: impl Fn(&Tensor<3>) -> Tensor<3>) -> Prefix {
    Prefix::new(prefix.first_layer(), prefix.layers().iter().map(change).collect())
}
