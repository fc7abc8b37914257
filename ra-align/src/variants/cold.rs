//! Items that nobody was seen with, served by their titles alone.
use crate::validate::{Memoized, grid_search, require_validation};
use burn::tensor::{Tensor, TensorData};
use ra_core::{Dataset, Error, History, ItemId, Recommender, Result, UserId, Validate, forward_recommender};

/// Boosts that are tried, in standard deviations of a user's scores.
const BOOSTS: [f32; 13] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0];

/// Users that the deviation is measured on at most.
const MAX_SAMPLED_USERS: usize = 512;

/// An ID method that knows nothing of cold items: instead of what it was initialised to, each gets the mean of all
/// items, which is 0 once the alignment has centred it, so that only the title is left.
#[derive(Debug)]
pub struct TextForColdItems<I> {
    ids: I,
    cold: Cold,
    mean: Tensor<2>,
}

/// Which items nobody was seen with.
#[derive(Debug)]
struct Cold(Vec<bool>);

impl Cold {
    fn of(dataset: &Dataset) -> Self {
        Self(dataset.popularity().iter().map(|&count| count == 0).collect())
    }

    /// 1 for each cold one of `items`, `[items, 1]`, beside `like`.
    fn column(&self, items: &[ItemId], like: &Tensor<2>) -> Tensor<2> {
        let cold: Vec<f32> = items.iter().map(|&item| f32::from(self.0[item.index()])).collect();
        Tensor::from_data(TensorData::new(cold, [items.len(), 1]), &like.device())
    }
}

impl<I: Recommender> TextForColdItems<I> {
    /// `ids` of the items of `dataset`, of which some were never trained on.
    pub fn new(ids: I, dataset: &Dataset) -> Self {
        let all: Vec<ItemId> = dataset.catalog.all().collect();
        let mean = ids.items(&all).mean_dim(0);
        Self { ids, cold: Cold::of(dataset), mean }
    }
}

impl<I: Recommender> Recommender for TextForColdItems<I> {
    forward_recommender!(self => self.ids; dim, interests, users, additions);
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        let own = self.ids.items(items);
        let cold = self.cold.column(items, &own);
        own.clone() + (self.mean.clone() - own) * cold
    }
}

/// A recommender that adds one number to the score of each cold item.
///
/// Told by its title alone, a cold item has a fair place among its like, but an item that is known scores higher
/// whatever it is: its ID says more than any title. One number, the same for all users and items, lets the two kinds
/// meet.
#[derive(Debug)]
pub struct ColdItemBoost<R> {
    model: R,
    cold: Cold,
    boost: f32,
}

impl<R: Recommender> ColdItemBoost<R> {
    /// `model` with the boost that `validate` likes best; a few are tried, in standard deviations of a user's scores.
    ///
    /// # Errors
    /// [`Error::Missing`] without a metric, and as [`check_cold`].
    pub fn fit(model: R, dataset: &Dataset, validate: Option<Validate<'_>>) -> Result<Self> {
        check_cold(dataset)?;
        let validate =
            require_validation(validate, "a boost is chosen by it: hold some interactions out for validation")?;
        let unit = deviation(&model, dataset);
        let memoized = Memoized::new(&model);
        let mut tried = ColdItemBoost { model: &memoized, cold: Cold::of(dataset), boost: 0.0 };
        let boost = unit
            * grid_search("the boost of cold items, in standard deviations", &BOOSTS, |boost| {
                tried.boost = boost * unit;
                validate(&tried)
            });
        let cold = tried.cold;
        Ok(Self { model, cold, boost })
    }

    /// What is added.
    pub fn boost(&self) -> f32 {
        self.boost
    }
}

/// Whether `dataset` has what a boost is for.
///
/// # Errors
/// [`Error::Missing`] when nothing is cold, and when all is.
pub fn check_cold(dataset: &Dataset) -> Result<()> {
    let cold = dataset.popularity()[1..].iter().filter(|&&count| count == 0).count();
    if cold == 0 {
        return Err(missing("a cold item", "hold some items out of the training part"));
    }
    if cold + 2 > dataset.catalog.len() {
        return Err(missing("a known item", "nearly nothing stands in the training part: give it interactions"));
    }
    Ok(())
}

fn missing(what: &str, remedy: &str) -> Error {
    Error::Missing { what: what.into(), remedy: remedy.into() }
}

/// Standard deviation of a user's scores of known items, on average over the first users with a history.
fn deviation<R: Recommender>(model: &R, dataset: &Dataset) -> f32 {
    let popularity = dataset.popularity();
    let known: Vec<ItemId> = dataset.catalog.all().filter(|&item| popularity[item.index()] > 0).collect();
    let histories = UserId::all(dataset.train.len()).map(|user| History { user, items: dataset.train.row(user) });
    let some: Vec<History<'_>> =
        histories.filter(|history| !history.items.is_empty()).take(MAX_SAMPLED_USERS).collect();
    let scores = model.users(&some).matmul(model.items(&known).transpose());
    scores.var(1).mean().sqrt().into_scalar::<f32>()
}

impl<R: Recommender> Recommender for ColdItemBoost<R> {
    fn dim(&self) -> usize {
        self.model.dim() + 1
    }
    forward_recommender!(self => self.model; interests, additions);
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let own = self.model.users(histories);
        let one = Tensor::ones([own.dims()[0], 1], &own.device());
        Tensor::cat(vec![own, one], 1)
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        let own = self.model.items(items);
        let boost = self.cold.column(items, &own) * self.boost;
        Tensor::cat(vec![own, boost], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Catalog, Device, IdTable, Sequences};

    fn dataset() -> Dataset {
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        let none = || Sequences::from_numbers([[0u32; 0]]);
        Dataset {
            name: "tiny".into(),
            users: names(1),
            catalog: Catalog::new(names(3), names(3)),
            train: Sequences::from_numbers([[1, 3]]),
            valid: none(),
            test: none(),
            filter: String::new(),
            split: String::new(),
        }
    }

    /// The user's vector is 1, items 1, 2, 3 have 1, 9, 2; nobody was seen with item 2.
    fn ids() -> IdTable {
        let device = Device::flex();
        IdTable::new(Tensor::ones([1, 1], &device), Tensor::from_floats([[0.0], [1.0], [9.0], [2.0]], &device))
    }

    fn host(x: Tensor<2>) -> Vec<f32> {
        x.into_data().iter().collect()
    }

    #[test]
    fn cold_items_get_the_mean_and_others_keep_their_own() {
        assert_eq!(host(TextForColdItems::new(ids(), &dataset()).items(&ItemId::list([1, 2, 3]))), [1.0, 4.0, 2.0]);
    }

    #[test]
    fn the_boost_is_the_one_that_validates_best_and_reaches_cold_items_alone() {
        let data = dataset();
        let scores = |model: &dyn Recommender| {
            let user = model.users(&[History { user: UserId(0), items: &ItemId::list([1, 3]) }]);
            host(user.matmul(model.items(&ItemId::list([1, 2, 3])).transpose()))
        };
        // The scores of known items, 1 and 2, have a deviation of sqrt(1/2); 10.1 is nearest to 9 and 1.5 of it.
        let near = |model: &dyn Recommender| -f64::from((scores(model)[1] - 10.1).abs());
        let boosted = ColdItemBoost::fit(ids(), &data, Some(&near)).unwrap();
        let got = scores(&boosted);
        assert_eq!([got[0], got[2]], [1.0, 2.0]);
        assert!((got[1] - 9.0 - 1.5 * 0.5f32.sqrt()).abs() < 1e-5, "{got:?}");
        assert!(ColdItemBoost::fit(ids(), &data, None).unwrap_err().to_string().contains("validation"));
        let all = Dataset { train: Sequences::from_numbers([[1, 2, 3]]), ..dataset() };
        assert!(
            ColdItemBoost::fit(ids(), &all, Some(&near)).unwrap_err().to_string().contains("out of the training part")
        );
    }
}
