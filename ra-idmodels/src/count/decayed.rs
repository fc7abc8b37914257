//! What counting methods share: a history whose items count less the older they are, and scores of single items.
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::kernels::Sparse;
use ra_core::{History, ItemId, Problem, Recommender, host_numbers};
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
/// vectors of some items, `[items, width]`. A history has the same bits whatever histories are beside it.
pub(crate) fn sums(rows: impl Fn(&[ItemId]) -> Tensor<2>, histories: &[History<'_>], decay: f64) -> Tensor<2> {
    let read: BTreeSet<ItemId> = histories.iter().flat_map(|history| history.items).copied().collect();
    // Padding stands in where no history has an item.
    let read: Vec<ItemId> = if read.is_empty() { vec![ItemId::PADDING] } else { read.into_iter().collect() };
    let shares = histories.iter().map(|history| {
        let place = |item| read.partition_point(|other| *other < item) as u32;
        items(history, decay).map(move |(item, share)| (place(item), share as f32))
    });
    let (shares, vectors) = (Sparse::from_rows(read.len(), shares), rows(&read));
    let ([_, width], device) = (vectors.dims(), vectors.device());
    let sums = shares.product(&host_numbers(vectors), width);
    Tensor::from_data(TensorData::new(sums, [histories.len(), width]), &device)
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
