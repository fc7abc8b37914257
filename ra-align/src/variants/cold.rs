//! Cold items: items without training interactions, served by their titles alone.
use crate::validate::{Memoized, grid_search, require_validation};
use burn::tensor::{Tensor, TensorData};
use ra_core::{Dataset, Error, History, ItemId, Recommender, Result, UserId, Validate, forward_recommender};

/// The boosts that are tried, in standard deviations of a user's scores.
const BOOSTS: [f32; 13] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0];

/// The maximum number of users that the deviation is measured on.
const MAX_SAMPLED_USERS: usize = 512;

/// An ID method without knowledge of cold items. Each cold item gets, instead of its initial vector, the mean of all
/// items. The alignment centres it to 0, so only the title remains.
#[derive(Debug)]
pub struct TextForColdItems<I> {
    ids: I,
    cold: Cold,
    mean: Tensor<2>,
}

/// Which items have no training interactions.
#[derive(Debug)]
struct Cold(Vec<bool>);

impl Cold {
    fn of(dataset: &Dataset) -> Self {
        Self(dataset.popularity().iter().map(|&count| count == 0).collect())
    }

    /// Returns a column with 1 for each cold item of `items` and 0 for others, `[items, 1]`, on the device of `like`.
    fn column(&self, items: &[ItemId], like: &Tensor<2>) -> Tensor<2> {
        let cold: Vec<f32> = items.iter().map(|&item| f32::from(self.0[item.index()])).collect();
        Tensor::from_data(TensorData::new(cold, [items.len(), 1]), &like.device())
    }
}

impl<I: Recommender> TextForColdItems<I> {
    /// Wraps `ids` for the items of `dataset`, some of which were never trained on.
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
/// Scored by its title alone, a cold item ranks well among cold items, but any known item scores higher: its ID says
/// more than a title. One number, the same for all users and items, makes the two kinds comparable.
#[derive(Debug)]
pub struct ColdItemBoost<R> {
    model: R,
    cold: Cold,
    boost: f32,
}

impl<R: Recommender> ColdItemBoost<R> {
    /// Wraps `model` with the boost that `validate` rates highest, out of a few in standard deviations of a user's
    /// scores.
    ///
    /// # Errors
    /// [`Error::Missing`] without a metric; as [`check_cold`].
    pub fn fit(model: R, dataset: &Dataset, validate: Option<Validate<'_>>) -> Result<Self> {
        check_cold(dataset)?;
        let validate = require_validation(validate, "it chooses the boost: hold some interactions out for validation")?;
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

    /// Returns the number that is added.
    pub fn boost(&self) -> f32 {
        self.boost
    }
}

/// Checks that `dataset` has both cold and known items.
///
/// # Errors
/// [`Error::Missing`] if no item is cold, or if nearly all are.
pub fn check_cold(dataset: &Dataset) -> Result<()> {
    let cold = dataset.popularity()[1..].iter().filter(|&&count| count == 0).count();
    if cold == 0 {
        return Err(missing("a cold item", "hold some items out of the training part"));
    }
    if cold + 2 > dataset.catalog.len() {
        return Err(missing("a known item", "almost no item is in the training part: give it interactions"));
    }
    Ok(())
}

fn missing(what: &str, remedy: &str) -> Error {
    Error::Missing { what: what.into(), remedy: remedy.into() }
}

/// Returns the standard deviation of a user's scores of known items, averaged over the first users with a history.
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
    use ra_core::{Catalog, Device, IdTable, Sequences, host_numbers};

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

    /// The user's vector is 1; items 1, 2, 3 have 1, 9, 2. Item 2 is cold.
    fn ids() -> IdTable {
        let device = Device::flex();
        IdTable::new(Tensor::ones([1, 1], &device), Tensor::from_floats([[0.0], [1.0], [9.0], [2.0]], &device))
    }

    #[test]
    fn cold_items_get_the_mean_and_others_keep_their_own() {
        assert_eq!(
            host_numbers(TextForColdItems::new(ids(), &dataset()).items(&ItemId::list([1, 2, 3]))),
            [1.0, 4.0, 2.0]
        );
    }

    #[test]
    fn the_boost_is_the_one_that_validates_best_and_reaches_cold_items_alone() {
        let data = dataset();
        let scores = |model: &dyn Recommender| {
            let user = model.users(&[History { user: UserId(0), items: &ItemId::list([1, 3]) }]);
            host_numbers(user.matmul(model.items(&ItemId::list([1, 2, 3])).transpose()))
        };
        // The scores of the known items, 1 and 2, have a deviation of sqrt(1/2); 10.1 is nearest to 9 plus 1.5
        // deviations.
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
