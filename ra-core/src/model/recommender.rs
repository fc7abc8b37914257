//! What evaluation and serving know of a model: two towers and a dot product.
use super::forward::forward_pointers;
use crate::{ItemId, UserId, indices};
use burn::tensor::{Tensor, TensorData};
use std::fmt::Debug;

/// What a user did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History<'a> {
    /// Dense user id; a method that only reads `items` ignores it.
    pub user: UserId,
    /// Dense item ids, oldest first.
    pub items: &'a [ItemId],
}

/// A trained, frozen model whose score is `<user vector, item vector>`, the largest one where a user has several.
///
/// Object-safe: a recipe holds a `Box<dyn Recommender>`, a library user a concrete type. ID methods implement it, and
/// so does RA-Rec itself, which is why evaluation knows one trait only.
pub trait Recommender: Debug + Send + Sync {
    /// Width of both kinds of vectors.
    fn dim(&self) -> usize;

    /// Vectors a user: 1, or the interests of a method such as ComiRec. There is no default, as for
    /// [`additions`](Self::additions).
    fn interests(&self) -> usize;

    /// `[histories * interests, dim]`, the vectors of a history one after another; on the plain device, without
    /// gradients or dropout.
    fn users(&self, histories: &[History<'_>]) -> Tensor<2>;

    /// `[items, dim]`. Ids are dense; 0 is padding and gives a vector that nothing relies on.
    fn items(&self, items: &[ItemId]) -> Tensor<2>;

    /// What a history adds to the scores of single items, beyond the product of vectors: the counts of a Markov chain.
    /// Two towers add nothing, `Vec::new()`. There is no default: a wrapper that forgot it would lose the whole signal
    /// of such a method and still compile.
    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)>;
}

/// How good a model is on what is held out for choices, higher is better. Every stage that chooses takes this one type, as
/// `Option<Validate>`: without it nothing is chosen and the last model is kept.
pub type Validate<'a> = &'a dyn Fn(&dyn Recommender) -> f64;

/// Writes methods of [`Recommender`] that a wrapper hands on as they are, inside its `impl`:
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
});

/// The scores of histories as the model itself has them, `[histories, items + 1]`: the best of the products of a
/// history's vectors, and what the model adds. `vectors` are those of items, `[items + 1, dim]`, in the order of their
/// ids from 0, which is padding.
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

/// A method that leaves its training as two tables, such as matrix factorization.
#[derive(Debug, Clone)]
pub struct IdTable {
    users: Tensor<2>,
    items: Tensor<2>,
}

impl IdTable {
    /// `users` is `[users, dim]`, `items` is `[items + 1, dim]` with padding in row 0.
    ///
    /// # Panics
    /// When the widths differ.
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
