//! Items that nobody was seen with, served by their titles alone.
use burn::tensor::{Tensor, TensorData};
use ra_core::{Dataset, History, Recommender};

/// An ID method that knows nothing of cold items: instead of what it was initialised to, each gets the mean of all items, which
/// is 0 once the alignment has centred it, so that only the title is left.
#[derive(Debug)]
pub struct ColdByText<I> {
    ids: I,
    cold: Vec<bool>,
    mean: Tensor<2>,
}

impl<I: Recommender> ColdByText<I> {
    /// `ids` of the items of `dataset`, of which some were never trained on.
    pub fn new(ids: I, dataset: &Dataset) -> Self {
        let all: Vec<u32> = dataset.catalog.all().collect();
        let mean = ids.items(&all).mean_dim(0);
        Self { ids, cold: dataset.popularity().iter().map(|&count| count == 0).collect(), mean }
    }
}

impl<I: Recommender> Recommender for ColdByText<I> {
    fn dim(&self) -> usize {
        self.ids.dim()
    }
    fn interests(&self) -> usize {
        self.ids.interests()
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        self.ids.users(histories)
    }
    fn items(&self, items: &[u32]) -> Tensor<2> {
        let own = self.ids.items(items);
        let cold: Vec<f32> = items.iter().map(|&item| f32::from(self.cold[item as usize])).collect();
        let cold = Tensor::<2>::from_data(TensorData::new(cold, [items.len(), 1]), &own.device());
        own.clone() + (self.mean.clone() - own) * cold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Catalog, Device, IdTable, Sequences};

    #[test]
    fn cold_items_get_the_mean_and_others_keep_their_own() {
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        let none = || Sequences::from_rows(vec![Vec::new(); 1]);
        let dataset = Dataset {
            name: "tiny".into(),
            users: names(1),
            catalog: Catalog::new(names(3), names(3)),
            train: Sequences::from_rows([[1, 3]]),
            valid: none(),
            test: none(),
            filter: String::new(),
            split: String::new(),
        };
        let device = Device::flex();
        let items = Tensor::from_floats([[0.0], [1.0], [9.0], [2.0]], &device);
        let made = ColdByText::new(IdTable::new(Tensor::ones([1, 1], &device), items), &dataset);
        let got: Vec<f32> = made.items(&[1, 2, 3]).into_data().iter().collect();
        assert_eq!(got, [1.0, 4.0, 2.0]);
    }
}
