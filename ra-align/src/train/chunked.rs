//! Training with the graph of only a few texts at a time.
use crate::cache::{TextCache, in_order, near_length};
use burn::tensor::Tensor;
use ra_core::{LanguageModel, Prefix, indices};

/// One side of a step: the texts and the prefix of each.
pub(crate) type TextSide<'a> = (&'a [Vec<u32>], &'a Prefix);

/// Returns `loss` of both sides' vectors, including its gradient, while the language model keeps the states of at most
/// `size` texts.
///
/// The gradient of a text depends on the others only through the loss's gradient of its own vector. Vectors are
/// therefore computed without a graph, the loss gives the gradient of each vector, and then a few texts at a time are
/// computed again with a graph (Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
/// RepL4NLP 2021). The negatives are still those of the whole batch. The price is a second forward pass, from the first
/// layer for texts that do not fit into the cache.
pub(crate) fn by_chunks<L: LanguageModel + ?Sized>(
    lm: &L,
    cache: &TextCache,
    size: usize,
    sides: [TextSide<'_>; 2],
    loss: impl Fn([Tensor<2>; 2]) -> Tensor<1>,
) -> Tensor<1> {
    let sides = sides.map(|side| Chunks::new(side, size));
    let leaves = sides.each_ref().map(|side| Tensor::from_inner(side.vectors(lm, cache)).require_grad());
    let mut asked = loss(leaves.clone()).backward();
    // Anything else that the loss reads, such as a temperature or a head, gets its gradient here.
    let mut total = loss(leaves.clone().map(Tensor::detach));
    for (side, leaf) in sides.iter().zip(leaves) {
        if let Some(asked) = leaf.grad_remove(&mut asked) {
            for (layer, slope) in side.prefix.layers().iter().zip(side.slopes(lm, cache, &asked)) {
                let linear = (layer.clone() * Tensor::from_inner(slope)).sum();
                // Adds a gradient and the value 0.
                total = total + (linear.clone() - linear.detach());
            }
        }
    }
    total
}

/// One side, divided into texts that are computed together.
struct Chunks<'a> {
    texts: &'a [Vec<u32>],
    prefix: &'a Prefix,
    chunks: Vec<Vec<usize>>,
}

impl<'a> Chunks<'a> {
    fn new((texts, prefix): TextSide<'a>, size: usize) -> Self {
        let chunks = near_length(texts).iter().flat_map(|group| group.chunks(size)).map(<[usize]>::to_vec).collect();
        Self { texts, prefix, chunks }
    }

    /// Returns the texts of a chunk, and their prefix detached from the graph.
    fn part(&self, chunk: &[usize]) -> (Vec<Vec<u32>>, Prefix) {
        let plain = each_layer(self.prefix, |layer| {
            let layer = layer.clone().inner();
            let rows = indices(chunk.iter().copied(), &layer.device());
            layer.select(0, rows)
        });
        (chunk.iter().map(|&at| self.texts[at].clone()).collect(), plain)
    }

    /// Returns the vectors of the texts without a graph, `[texts, width]`.
    fn vectors<L: LanguageModel + ?Sized>(&self, lm: &L, cache: &TextCache) -> Tensor<2> {
        let part = |chunk: &Vec<usize>| {
            let (texts, prefix) = self.part(chunk);
            cache.encode(lm, &texts, Some(&prefix))
        };
        in_order(Tensor::cat(self.chunks.iter().map(part).collect(), 0), &self.chunks.concat())
    }

    /// Returns the gradient of `sum(vectors * asked)` for each layer of the prefix, `[texts, rows, width]`.
    fn slopes<L: LanguageModel + ?Sized>(&self, lm: &L, cache: &TextCache, asked: &Tensor<2>) -> Vec<Tensor<3>> {
        let mut found: Vec<Vec<Tensor<3>>> = vec![Vec::new(); self.prefix.layers().len()];
        for chunk in &self.chunks {
            let (texts, plain) = self.part(chunk);
            let own = each_layer(&plain, |layer| Tensor::from_inner(layer.clone()).require_grad());
            let asked = asked.clone().select(0, indices(chunk.iter().copied(), &asked.device()));
            let vectors = cache.encode(lm, &texts, Some(&own));
            let grads = (vectors * Tensor::from_inner(asked)).sum().backward();
            for (found, layer) in found.iter_mut().zip(own.layers()) {
                // A layer that nothing reads has no gradient.
                found.push(layer.grad(&grads).unwrap_or_else(|| layer.clone().inner().zeros_like()));
            }
        }
        let order = self.chunks.concat();
        found.into_iter().map(|parts| in_order(Tensor::cat(parts, 0), &order)).collect()
    }
}

fn each_layer(prefix: &Prefix, change: impl Fn(&Tensor<3>) -> Tensor<3>) -> Prefix {
    Prefix::new(prefix.first_layer(), prefix.layers().iter().map(change).collect())
}
