//! Validation: the metric that stops a training and that chooses a single number for finished towers.
use burn::tensor::Tensor;
use ra_core::{Error, History, ItemId, Recommender, Result, UserId, Validate, forward_recommender};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Returns the number in `tried` (ascending) with the highest metric, the first one on a tie. The log names it `what`.
pub(crate) fn grid_search(what: &str, tried: &[f32], mut metric: impl FnMut(f32) -> f64) -> f32 {
    let mut best = (f64::NEG_INFINITY, 0.0);
    for &number in tried {
        let metric = metric(number);
        if metric > best.0 {
            best = (metric, number);
        }
    }
    if tried.last() == Some(&best.1) {
        tracing::warn!(number = best.1, "{what}: the best number may be larger than any that was tried");
    }
    tracing::info!(number = best.1, validation = best.0, "{what}");
    best.1
}

/// Returns the metric that a number is chosen by.
///
/// # Errors
/// [`Error::Missing`] with `remedy` if there is none.
pub(crate) fn require_validation<'a>(validate: Option<Validate<'a>>, remedy: &str) -> Result<Validate<'a>> {
    validate.ok_or_else(|| Error::Missing { what: "a validation metric".into(), remedy: remedy.into() })
}

/// Vectors by their histories or items.
type Known<K> = Mutex<HashMap<K, Tensor<2>>>;

/// A model that computes the vectors of the same histories and items only once. The numbers that are tried do not
/// change them, and every trial validates on the same users.
#[derive(Debug)]
pub(crate) struct Memoized<R> {
    model: R,
    users: Known<Vec<(UserId, Vec<ItemId>)>>,
    items: Known<Vec<ItemId>>,
}

impl<R: Recommender> Memoized<R> {
    pub(crate) fn new(model: R) -> Self {
        Self { model, users: Mutex::default(), items: Mutex::default() }
    }
}

fn once<K: Hash + Eq>(known: &Known<K>, key: K, make: impl FnOnce() -> Tensor<2>) -> Tensor<2> {
    let find = |key| known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
    find(&key).unwrap_or_else(|| {
        let made = make();
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, made.clone());
        made
    })
}

impl<R: Recommender> Recommender for Memoized<R> {
    forward_recommender!(self => self.model; dim, interests, additions);
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let key = histories.iter().map(|history| (history.user, history.items.to_vec())).collect();
        once(&self.users, key, || self.model.users(histories))
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        once(&self.items, items.to_vec(), || self.model.items(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::Device;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A model whose vectors count the calls.
    #[derive(Debug, Default)]
    struct Counting(AtomicU32);

    impl Counting {
        fn next(&self, rows: usize) -> Tensor<2> {
            Tensor::full([rows, 1], self.0.fetch_add(1, Ordering::Relaxed) as f32, &Device::flex())
        }
    }

    impl Recommender for Counting {
        fn dim(&self) -> usize {
            1
        }
        fn interests(&self) -> usize {
            1
        }
        fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
            self.next(histories.len())
        }
        fn items(&self, items: &[ItemId]) -> Tensor<2> {
            self.next(items.len())
        }
        fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
            Vec::new()
        }
    }

    #[test]
    fn the_same_vectors_are_computed_once() {
        let model = Memoized::new(Counting::default());
        let users = |user, items: &[u32]| {
            let items = ItemId::list(items.iter().copied());
            model.users(&[History { user: UserId(user), items: &items }]).into_scalar::<f32>()
        };
        let items = |items: &[u32]| {
            model.items(&ItemId::list(items.iter().copied())).into_data().iter::<f32>().collect::<Vec<_>>()
        };
        assert_eq!([users(0, &[1]), users(0, &[1, 2]), users(1, &[1]), users(0, &[1])], [0.0, 1.0, 2.0, 0.0]);
        assert_eq!([items(&[1, 2]), items(&[2, 1]), items(&[1, 2])], [[3.0; 2], [4.0; 2], [3.0; 2]]);
    }
}
