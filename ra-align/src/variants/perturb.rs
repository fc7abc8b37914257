//! ID vectors perturbed on purpose, to test whether the language model uses them at all.
use crate::config::IdSource;
use burn::tensor::Tensor;
use ra_core::{Dataset, History, ItemId, Recommender, UserId, forward_recommender, normal, rng, splitmix64};
use rand::Rng;
use rand::seq::SliceRandom;
use std::collections::HashMap;

/// Returns `ids`, shuffled if the source is [`IdSource::Permuted`].
fn permuted<T>(mut ids: Vec<T>, source: IdSource, random: &mut impl Rng) -> Vec<T> {
    if source == IdSource::Permuted {
        ids.shuffle(random);
    }
    ids
}

/// An ID method whose vectors are replaced by those of an [`IdSource`].
#[derive(Debug)]
pub struct PerturbedIds<I> {
    ids: I,
    source: IdSource,
    seed: u64,
    /// The user whose history each user gets, and the items that replace its items.
    users: Vec<UserId>,
    history: Vec<ItemId>,
    /// The item whose vector each item gets.
    items: Vec<ItemId>,
}

impl<I: Recommender> PerturbedIds<I> {
    /// Replaces the vectors of `ids` by those of `source`, for the users and items of `dataset`.
    pub fn new(ids: I, source: IdSource, dataset: &Dataset, seed: u64) -> Self {
        // Row 0 of the items is padding and stays in place.
        let items = |label| {
            let items = permuted(dataset.catalog.all().collect(), source, &mut rng(seed, label, 0));
            std::iter::once(ItemId::PADDING).chain(items).collect()
        };
        let users = permuted(UserId::all(dataset.users.len()).collect(), source, &mut rng(seed, "permuted users", 0));
        Self { ids, source, seed, users, history: items("permuted histories"), items: items("permuted items") }
    }

    /// Returns one vector per key, `[keys, dim]`, that carries no information about its user or item.
    fn random_vectors(&self, keys: Vec<u64>) -> Tensor<2> {
        let (shape, device) = ([keys.len(), self.ids.dim()], self.ids.items(&[ItemId(1)]).device());
        if self.source == IdSource::Zero || keys.is_empty() {
            return Tensor::zeros(shape, &device);
        }
        let row = |key| normal([1, shape[1]], 1.0, &mut rng(self.seed, "random ids", key), &device).val();
        Tensor::cat(keys.into_iter().map(row).collect(), 0)
    }

    /// Returns another user with a history of exchanged items.
    fn exchanged(&self, history: &History<'_>) -> (UserId, Vec<ItemId>) {
        (self.users[history.user.index()], history.items.iter().map(|i| self.history[i.index()]).collect())
    }
}

impl<I: Recommender> Recommender for PerturbedIds<I> {
    forward_recommender!(self => self.ids; dim, interests);
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        match self.source {
            IdSource::Original => self.ids.users(histories),
            IdSource::Permuted => {
                let exchanged: Vec<(UserId, Vec<ItemId>)> = histories.iter().map(|h| self.exchanged(h)).collect();
                let exchanged: Vec<History<'_>> =
                    exchanged.iter().map(|(user, items)| History { user: *user, items }).collect();
                self.ids.users(&exchanged)
            }
            IdSource::Zero | IdSource::Random => {
                let key =
                    |h: &History<'_>| h.items.iter().fold(u64::from(h.user.0), |k, i| splitmix64(k ^ u64::from(i.0)));
                let interests = self.interests();
                let keys = histories.iter().flat_map(|h| (0..interests as u64).map(move |k| splitmix64(key(h) ^ k)));
                self.random_vectors(keys.collect())
            }
        }
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        match self.source {
            IdSource::Original => self.ids.items(items),
            IdSource::Permuted => self.ids.items(&items.iter().map(|i| self.items[i.index()]).collect::<Vec<_>>()),
            IdSource::Zero | IdSource::Random => self.random_vectors(items.iter().map(|i| !u64::from(i.0)).collect()),
        }
    }
    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        match self.source {
            IdSource::Original => self.ids.additions(history),
            IdSource::Permuted => {
                let (user, items) = self.exchanged(history);
                let own: HashMap<ItemId, f32> =
                    self.ids.additions(&History { user, items: &items }).into_iter().collect();
                (0..).map(ItemId).zip(&self.items).filter_map(|(item, other)| Some((item, *own.get(other)?))).collect()
            }
            IdSource::Zero | IdSource::Random => Vec::new(),
        }
    }
}
