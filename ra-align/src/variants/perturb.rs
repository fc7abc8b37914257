//! ID vectors perturbed on purpose: does the language model use them at all?
use crate::config::IdSource;
use burn::tensor::Tensor;
use ra_core::{Dataset, History, Recommender, forward_recommender, normal, rng, splitmix64};
use rand::seq::SliceRandom;
use std::collections::HashMap;

/// An ID method whose vectors are replaced by those of an [`IdSource`].
#[derive(Debug)]
pub struct PerturbedIds<I> {
    ids: I,
    source: IdSource,
    seed: u64,
    /// Whose history a user is given, and which items stand in it.
    users: Vec<u32>,
    history: Vec<u32>,
    /// Whose vector an item is given.
    items: Vec<u32>,
}

impl<I: Recommender> PerturbedIds<I> {
    /// `source` of `ids`, for the users and items of `dataset`.
    pub fn new(ids: I, source: IdSource, dataset: &Dataset, seed: u64) -> Self {
        let order = |label: &str, from: u32, n: usize| {
            let mut order: Vec<u32> = (from..from + n as u32).collect();
            if source == IdSource::Permuted {
                order.shuffle(&mut rng(seed, label, 0));
            }
            order
        };
        // Row 0 of items is padding and stays where it is.
        let items = |label| std::iter::once(0).chain(order(label, 1, dataset.catalog.len())).collect();
        let users = order("permuted users", 0, dataset.users.len());
        Self { ids, source, seed, users, history: items("permuted histories"), items: items("permuted items") }
    }

    /// A vector per key that says nothing of whom it stands for, `[keys, dim]`.
    fn random_vectors(&self, keys: Vec<u64>) -> Tensor<2> {
        let (shape, device) = ([keys.len(), self.ids.dim()], self.ids.items(&[1]).device());
        if self.source == IdSource::Zero || keys.is_empty() {
            return Tensor::zeros(shape, &device);
        }
        let row = |key| normal([1, shape[1]], 1.0, &mut rng(self.seed, "random ids", key), &device).val();
        Tensor::cat(keys.into_iter().map(row).collect(), 0)
    }

    /// What somebody else did, made of other items.
    fn exchanged(&self, history: &History<'_>) -> (u32, Vec<u32>) {
        (self.users[history.user as usize], history.items.iter().map(|&i| self.history[i as usize]).collect())
    }
}

impl<I: Recommender> Recommender for PerturbedIds<I> {
    forward_recommender!(self => self.ids; dim, interests);
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        match self.source {
            IdSource::Original => self.ids.users(histories),
            IdSource::Permuted => {
                let exchanged: Vec<(u32, Vec<u32>)> = histories.iter().map(|h| self.exchanged(h)).collect();
                let exchanged: Vec<History<'_>> =
                    exchanged.iter().map(|(user, items)| History { user: *user, items }).collect();
                self.ids.users(&exchanged)
            }
            IdSource::Zero | IdSource::Random => {
                let key =
                    |h: &History<'_>| h.items.iter().fold(u64::from(h.user), |k, &i| splitmix64(k ^ u64::from(i)));
                let interests = self.interests();
                let keys = histories.iter().flat_map(|h| (0..interests as u64).map(move |k| splitmix64(key(h) ^ k)));
                self.random_vectors(keys.collect())
            }
        }
    }
    fn items(&self, items: &[u32]) -> Tensor<2> {
        match self.source {
            IdSource::Original => self.ids.items(items),
            IdSource::Permuted => self.ids.items(&items.iter().map(|&i| self.items[i as usize]).collect::<Vec<u32>>()),
            IdSource::Zero | IdSource::Random => self.random_vectors(items.iter().map(|&i| !u64::from(i)).collect()),
        }
    }
    fn additions(&self, history: &History<'_>) -> Vec<(u32, f32)> {
        match self.source {
            IdSource::Original => self.ids.additions(history),
            IdSource::Permuted => {
                let (user, items) = self.exchanged(history);
                let own: HashMap<u32, f32> = self.ids.additions(&History { user, items: &items }).into_iter().collect();
                (0..).zip(&self.items).filter_map(|(item, other)| Some((item, *own.get(other)?))).collect()
            }
            IdSource::Zero | IdSource::Random => Vec::new(),
        }
    }
}
