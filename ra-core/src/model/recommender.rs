//! The interface between models and evaluation or serving: two towers and a dot product.
use super::forward::forward_pointers;
use crate::{ItemId, UserId, indices};
use burn::tensor::{Tensor, TensorData};
use std::fmt::Debug;

/// A user's past interactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History<'a> {
    /// The dense user id; methods that only read `items` ignore it.
    pub user: UserId,
    /// The dense item ids, oldest first.
    pub items: &'a [ItemId],
}

/// A trained, frozen model whose score is `<user vector, item vector>`, or the largest such score if a user has several
/// vectors.
///
/// The trait is object-safe: a recipe holds a `Box<dyn Recommender>`, a library user a concrete type. ID methods and
/// RA-Rec itself implement it, so evaluation knows only one trait.
pub trait Recommender: Debug + Send + Sync {
    /// The width of user and item vectors.
    fn dim(&self) -> usize;

    /// The number of vectors per user: 1, or the number of interests of a method such as ComiRec. It has no default,
    /// for the same reason as [`additions`](Self::additions).
    fn interests(&self) -> usize;

    /// The user vectors, `[histories * interests, dim]`, with the vectors of one history next to each other, on the
    /// plain device, without gradients or dropout.
    fn users(&self, histories: &[History<'_>]) -> Tensor<2>;

    /// The item vectors, `[items, dim]`. Ids are dense; 0 is padding, and nothing relies on its vector.
    fn items(&self, items: &[ItemId]) -> Tensor<2>;

    /// What a history adds to the scores of single items beyond the dot product, such as the counts of a Markov chain.
    /// Two-tower models add nothing and return `Vec::new()`. It has no default: a wrapper that forgot it would compile
    /// and lose the whole signal of such a method.
    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)>;

    /// Returns the same model with other item vectors, `[items + 1, dim]` with padding in row 0, which it reads in
    /// histories and scores. Returns nothing if the model does not read its own item vectors in histories; then only the
    /// scored vectors can be replaced. A wrapper that does not forward this loses nothing but the reading.
    fn with_items(&self, items: &Tensor<2>) -> Option<Box<dyn Recommender>> {
        let _ = items;
        None
    }

    /// Returns, for a linear item-to-item model, the row of scores of each item, `[items + 1, items + 1]` with padding
    /// first: the scores of a history are then the sum of the rows of its distinct items. A service keeps these instead of
    /// vectors as wide as the catalogue. Everything else returns nothing, and a wrapper that does not forward this loses
    /// only speed.
    fn score_rows(&self) -> Option<Tensor<2>> {
        None
    }
}

/// Returns a model's validation score; higher is better. Every stage that selects a model takes an `Option<Validate>`;
/// without one it selects nothing and keeps the last model.
pub type Validate<'a> = &'a dyn Fn(&dyn Recommender) -> f64;

/// Writes, inside a wrapper's `impl`, the methods of [`Recommender`] that the wrapper forwards unchanged:
/// `forward_recommender!(self => self.ids; dim, interests, additions);`
#[macro_export]
macro_rules! forward_recommender {
    ($this:ident => $inner:expr; $($method:ident),+ $(,)?) => {
        $($crate::forward_recommender!(@$method $this, $inner);)+
    };
    (@dim $this:ident, $inner:expr) => {
        fn dim(&$this) -> usize {
            $crate::Recommender::dim(&$inner)
        }
    };
    (@interests $this:ident, $inner:expr) => {
        fn interests(&$this) -> usize {
            $crate::Recommender::interests(&$inner)
        }
    };
    (@users $this:ident, $inner:expr) => {
        fn users(&$this, histories: &[$crate::History<'_>]) -> $crate::Tensor<2> {
            $crate::Recommender::users(&$inner, histories)
        }
    };
    (@items $this:ident, $inner:expr) => {
        fn items(&$this, items: &[$crate::ItemId]) -> $crate::Tensor<2> {
            $crate::Recommender::items(&$inner, items)
        }
    };
    (@additions $this:ident, $inner:expr) => {
        fn additions(&$this, history: &$crate::History<'_>) -> Vec<($crate::ItemId, f32)> {
            $crate::Recommender::additions(&$inner, history)
        }
    };
}

forward_pointers!(impl Recommender {
    fn dim(&self) -> usize;
    fn interests(&self) -> usize;
    fn users(&self, histories: &[History<'_>]) -> Tensor<2>;
    fn items(&self, items: &[ItemId]) -> Tensor<2>;
    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)>;
    fn with_items(&self, items: &Tensor<2>) -> Option<Box<dyn Recommender>>;
    fn score_rows(&self) -> Option<Tensor<2>>;
});

/// The model's own scores, `[histories, items + 1]`: the best product over a history's vectors, plus the model's
/// additions. `vectors` are the item vectors, `[items + 1, dim]`, in the order of their ids from 0, which is padding.
pub fn scores<R: Recommender + ?Sized>(model: &R, histories: &[History<'_>], vectors: &Tensor<2>) -> Tensor<2> {
    let (rows, columns) = (histories.len(), vectors.dims()[0]);
    let products = model.users(histories).matmul(vectors.clone().transpose());
    let scores = products.reshape([rows, model.interests(), columns]).max_dim(1).squeeze_dim::<2>(1);
    let mut more = Vec::new();
    for (row, history) in histories.iter().enumerate() {
        for (item, own) in model.additions(history) {
            more.resize(rows * columns, 0.0f32);
            more[row * columns + item.index()] += own;
        }
    }
    if more.is_empty() {
        return scores;
    }
    let more = Tensor::from_data(TensorData::new(more, [rows, columns]), &scores.device());
    scores + more
}

/// A method whose trained form is two tables, such as matrix factorization.
#[derive(Debug, Clone)]
pub struct IdTable {
    users: Tensor<2>,
    items: Tensor<2>,
}

impl IdTable {
    /// Creates a model from `users`, `[users, dim]`, and `items`, `[items + 1, dim]`, with padding in row 0.
    ///
    /// # Panics
    /// If the widths differ.
    pub fn new(users: Tensor<2>, items: Tensor<2>) -> Self {
        assert_eq!(users.dims()[1], items.dims()[1], "user and item vectors have one width");
        Self { users, items }
    }
}

fn select(table: &Tensor<2>, rows: impl Iterator<Item = u32>) -> Tensor<2> {
    table.clone().select(0, indices(rows, &table.device()))
}

impl Recommender for IdTable {
    fn dim(&self) -> usize {
        self.items.dims()[1]
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        select(&self.users, histories.iter().map(|h| h.user.0))
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        select(&self.items, items.iter().map(|item| item.0))
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}
