//! What counting methods share: a history whose items count less the older they are, and scores of single items.
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{History, ItemId, Problem, Recommender};
use std::collections::BTreeSet;

/// The vectors of a method that scores single items alone: one zero each.
#[derive(Debug, Clone)]
pub(super) struct NoVectors(pub(super) Device);

impl Recommender for NoVectors {
    fn dim(&self) -> usize {
        1
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        Tensor::zeros([histories.len(), 1], &self.0)
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        Tensor::zeros([items.len(), 1], &self.0)
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}

/// The items of a history, newest first, each with its weight: 1, `decay`, `decay^2`, and so on.
pub(crate) fn items(history: &History<'_>, decay: f64) -> impl Iterator<Item = (ItemId, f64)> {
    history.items.iter().rev().scan(1.0, move |share, &item| {
        let own = *share;
        *share *= decay;
        Some((item, own))
    })
}

/// The sums of the vectors of the items of each history, weighted as by [`items`], `[histories, width]`. `rows` gives the
/// vectors of some items, `[items, width]`.
pub(super) fn sums(rows: impl Fn(&[ItemId]) -> Tensor<2>, histories: &[History<'_>], decay: f64) -> Tensor<2> {
    let read: BTreeSet<ItemId> = histories.iter().flat_map(|history| history.items).copied().collect();
    // Padding stands in where no history has an item.
    let read: Vec<ItemId> = if read.is_empty() { vec![ItemId::PADDING] } else { read.into_iter().collect() };
    let mut shares = vec![0.0; histories.len() * read.len()];
    for (own, history) in shares.chunks_exact_mut(read.len()).zip(histories) {
        for (item, share) in items(history, decay) {
            own[read.partition_point(|other| *other < item)] += share as f32;
        }
    }
    let (vectors, shares) = (rows(&read), TensorData::new(shares, [histories.len(), read.len()]));
    Tensor::<2>::from_data(shares, &vectors.device()).matmul(vectors)
}

/// The items with a score above 0.
pub(super) fn positive(scores: &[f64]) -> Vec<(ItemId, f32)> {
    let scored = (0..).map(ItemId).zip(scores).skip(1).filter(|(_, score)| **score > 0.0);
    scored.map(|(item, &score)| (item, score as f32)).collect()
}

/// A decay that cannot be one.
pub(crate) fn problem(decay: f32) -> Option<Problem> {
    let told = format!("is {decay}, it must be above 0 and at most 1");
    (!(decay > 0.0 && decay <= 1.0)).then(|| Problem::new("decay", told))
}
