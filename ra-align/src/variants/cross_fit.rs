//! Cross-fitting: ID vectors of training users from models that never saw them.
use burn::tensor::Tensor;
use ra_core::{Dataset, History, ItemId, Recommender, Sequences, UserId, forward_recommender, indices, splitmix64};

/// The number of iterations for a rotation. Singular values down to a millionth of the largest converge.
const STEPS: usize = 60;

/// An ID method whose vectors of a training user come from a model that was trained without that user.
///
/// An ID method has seen the very targets that the alignment learns from, and explains them far better than those at
/// test time. Cross-fitting removes this bias: the model of fold `k` is trained without the users of fold `k` and
/// provides their vectors. These are rotated into the space of the model of all users, so that the two models' item
/// vectors are as close as possible (orthogonal Procrustes; Schoenemann, 1966). Item vectors are those of the model of
/// all users.
#[derive(Debug)]
pub struct CrossFitIds<'a> {
    whole: &'a dyn Recommender,
    folds: Vec<(&'a dyn Recommender, Tensor<2>)>,
}

/// Returns the fold, out of `folds`, that a user belongs to.
fn fold_of(user: UserId, folds: usize) -> usize {
    (splitmix64(u64::from(user.0) ^ 0x0066_6F6C_6473) % folds as u64) as usize
}

/// Returns `dataset` without the training interactions of the users in fold `fold`.
pub fn without_fold(dataset: &Dataset, fold: usize, folds: usize) -> Dataset {
    let rows = UserId::all(dataset.train.len())
        .map(|user| if fold_of(user, folds) == fold { &[][..] } else { dataset.train.row(user) });
    Dataset { train: Sequences::from_rows(rows), ..dataset.clone() }
}

impl<'a> CrossFitIds<'a> {
    /// Combines the model of all users with those of the folds: `folds[k]` is trained on
    /// [`without_fold`]`(dataset, k, folds.len())`. `items` are those of the catalogue.
    ///
    /// # Panics
    /// If the models differ in width.
    pub fn new(whole: &'a dyn Recommender, folds: Vec<&'a dyn Recommender>, items: &[ItemId]) -> Self {
        let target = whole.items(items);
        let turned = |model: &'a dyn Recommender| {
            assert_eq!(model.dim(), whole.dim(), "one method, one width");
            (model, rotation(model.items(items), target.clone()))
        };
        Self { whole, folds: folds.into_iter().map(turned).collect() }
    }
}

/// Returns the orthogonal `[dim, dim]` matrix that brings `from` nearest to `to`, both `[items, dim]`: the orthogonal
/// factor of `from^T to`, by Newton-Schulz iteration.
fn rotation(from: Tensor<2>, to: Tensor<2>) -> Tensor<2> {
    let product = from.transpose().matmul(to);
    let norm = product.clone().square().sum().sqrt().clamp_min(1e-30).unsqueeze();
    (0..STEPS).fold(product / norm, |x, _| {
        let cube = x.clone().matmul(x.clone().transpose()).matmul(x.clone());
        x * 1.5 - cube * 0.5
    })
}

impl Recommender for CrossFitIds<'_> {
    forward_recommender!(self => self.whole; dim, interests, items);
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let (mut parts, mut order) = (Vec::new(), Vec::new());
        for (fold, (model, rotation)) in self.folds.iter().enumerate() {
            let own: Vec<usize> =
                (0..histories.len()).filter(|&at| fold_of(histories[at].user, self.folds.len()) == fold).collect();
            if !own.is_empty() {
                let theirs: Vec<History<'_>> = own.iter().map(|&at| histories[at]).collect();
                parts.push(model.users(&theirs).matmul(rotation.clone()));
                order.extend(own);
            }
        }
        if parts.is_empty() {
            return self.whole.users(histories);
        }
        let interests = self.interests();
        let mut places = vec![0; order.len() * interests];
        for (place, at) in order.into_iter().enumerate() {
            (0..interests).for_each(|k| places[at * interests + k] = place * interests + k);
        }
        let all = Tensor::cat(parts, 0);
        let device = all.device();
        all.select(0, indices(places, &device))
    }
    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        match self.folds.len() {
            0 => self.whole.additions(history),
            folds => self.folds[fold_of(history.user, folds)].0.additions(history),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Device, IdTable, normal, rng};

    fn table(rows: usize, label: &str) -> Tensor<2> {
        normal([rows, 6], 1.0, &mut rng(1, label, 0), &Device::flex()).val()
    }

    #[test]
    fn a_model_that_is_only_turned_says_the_same() {
        let (users, items) = (table(40, "users"), table(21, "items"));
        let random = table(6, "turn");
        let turn = rotation(random.clone(), random.clone().transpose()); // any orthogonal matrix
        let identity = turn.clone().matmul(turn.clone().transpose());
        let off: f32 = (identity - Tensor::eye(6, &Device::flex())).abs().max().into_scalar();
        assert!(off < 1e-4, "{off}");
        let whole = IdTable::new(users.clone(), items.clone());
        let turned = IdTable::new(users.matmul(turn.clone()), items.matmul(turn));
        let all: Vec<ItemId> = ItemId::all(20).collect();
        let crossed = CrossFitIds::new(&whole, vec![&turned, &turned, &turned], &all);
        let histories: Vec<History<'_>> = UserId::all(40).rev().map(|user| History { user, items: &[] }).collect();
        let error: f32 = (crossed.users(&histories) - whole.users(&histories)).abs().max().into_scalar();
        assert!(error < 1e-3, "{error}");
        ra_core::testkit::contract::check_recommender(&crossed, &histories[..5], &all);
    }

    #[test]
    fn every_user_is_left_out_once() {
        let rows = (0..30u32).map(|u| vec![u % 5 + 1; 3]);
        let empty = Sequences::from_numbers(vec![Vec::<u32>::new(); 30]);
        let dataset = Dataset {
            name: "d".into(),
            users: (0..30).map(|u| u.to_string()).collect(),
            catalog: ra_core::Catalog::new((0..5).map(|i| i.to_string()).collect(), vec![String::new(); 5]),
            train: Sequences::from_numbers(rows),
            valid: empty.clone(),
            test: empty,
            filter: String::new(),
            split: String::new(),
        };
        let left_out = |fold| {
            let part = without_fold(&dataset, fold, 3);
            UserId::all(30).filter(|&user| part.train.row(user).is_empty()).map(UserId::index).collect::<Vec<usize>>()
        };
        let mut all = [left_out(0), left_out(1), left_out(2)].concat();
        assert!((5..16).contains(&left_out(0).len()), "{all:?}");
        all.sort_unstable();
        assert_eq!(all, (0..30).collect::<Vec<_>>());
    }
}
