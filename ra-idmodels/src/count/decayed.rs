//! What counting methods share: a history whose items count less the older they are, and scores of single items.
use ra_core::{History, ItemId, Problem};

/// The items of a history, newest first, each with its weight: 1, `decay`, `decay^2`, and so on.
pub(super) fn items(history: &History<'_>, decay: f64) -> impl Iterator<Item = (ItemId, f64)> {
    history.items.iter().rev().scan(1.0, move |share, &item| {
        let own = *share;
        *share *= decay;
        Some((item, own))
    })
}

/// The items with a score above 0.
pub(super) fn positive(scores: &[f64]) -> Vec<(ItemId, f32)> {
    let scored = (0..).map(ItemId).zip(scores).skip(1).filter(|(_, score)| **score > 0.0);
    scored.map(|(item, &score)| (item, score as f32)).collect()
}

/// A decay that cannot be one.
pub(super) fn problem(decay: f32) -> Option<Problem> {
    let told = format!("is {decay}, it must be above 0 and at most 1");
    (!(decay > 0.0 && decay <= 1.0)).then(|| Problem::new("decay", told))
}
