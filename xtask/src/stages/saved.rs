//! What a finished run has left.
use crate::recipe::Recipe;
use crate::store::RunFolder;
use anyhow::Result;
use burn::tensor::Tensor;
use ra_core::{Dataset, Device, ItemId, Recommender};
use std::cell::RefCell;
use std::collections::HashMap;

/// What the rows of a finished run are loaded from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) folder: &'a RunFolder,
    /// The data set of the run. It may have more items at its end.
    pub(crate) dataset: &'a Dataset,
    /// The number of items that the run had.
    pub(crate) known: usize,
    /// The item vectors that are in memory already.
    pub(crate) vectors: &'a ItemVectors,
    pub(crate) device: &'a Device,
}

/// The item vectors of rows with towers by row, each `[items + 1, dim]` with padding in row 0: no item passes through a
/// language model twice.
#[derive(Debug, Default)]
pub(crate) struct ItemVectors(RefCell<HashMap<String, Tensor<2>>>);

impl ItemVectors {
    pub(crate) fn new(known: HashMap<String, Tensor<2>>) -> Self {
        Self(RefCell::new(known))
    }

    /// Returns the vectors of all `items` of a row: those in memory, or else those that `saved` returns, and the model's for
    /// the items after them; nothing if neither has any.
    pub(crate) fn of(
        &self,
        row: &str,
        model: &dyn Recommender,
        items: usize,
        saved: impl FnOnce() -> Result<Option<Tensor<2>>>,
    ) -> Result<Option<Tensor<2>>> {
        let known = self.0.borrow().get(row).cloned();
        let Some(known) = known.map_or_else(saved, |known| Ok(Some(known)))? else { return Ok(None) };
        let more: Vec<ItemId> = (known.dims()[0]..=items).map(|number| ItemId(number as u32)).collect();
        let all = if more.is_empty() { known } else { Tensor::cat(vec![known, model.items(&more)], 0) };
        self.0.borrow_mut().insert(row.to_owned(), all.clone());
        Ok(Some(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use ra_core::History;

    /// Gives an item its number as its vector, and notes for which it was asked.
    #[derive(Debug, Default)]
    struct Noting(std::sync::Mutex<Vec<u32>>);

    fn column(values: Vec<f32>) -> Tensor<2> {
        let rows = values.len();
        Tensor::from_data(TensorData::new(values, [rows, 1]), &Device::flex())
    }

    impl Recommender for Noting {
        fn dim(&self) -> usize {
            1
        }
        fn interests(&self) -> usize {
            1
        }
        fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
            column(vec![0.0; histories.len()])
        }
        fn items(&self, items: &[ItemId]) -> Tensor<2> {
            self.0.lock().unwrap().extend(items.iter().map(|item| item.0));
            column(items.iter().map(|item| item.0 as f32).collect())
        }
        fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
            Vec::new()
        }
    }

    #[test]
    fn only_the_items_after_the_known_ones_are_asked_for_and_once() {
        let (model, vectors) = (Noting::default(), ItemVectors::default());
        let values = |found: Option<Tensor<2>>| found.map(|own| own.into_data().iter::<f32>().collect::<Vec<_>>());
        assert_eq!(values(vectors.of("row", &model, 2, || Ok(None)).unwrap()), None, "no vectors were saved");
        let saved = || Ok(Some(column(vec![0.0, 9.5, 8.5])));
        for (items, wanted) in [(2, vec![0.0, 9.5, 8.5]), (3, vec![0.0, 9.5, 8.5, 3.0])] {
            assert_eq!(values(vectors.of("row", &model, items, saved).unwrap()), Some(wanted));
        }
        let grown = vectors.of("row", &model, 5, || panic!("they are in memory")).unwrap();
        assert_eq!(values(grown), Some(vec![0.0, 9.5, 8.5, 3.0, 4.0, 5.0]));
        assert_eq!(*model.0.lock().unwrap(), [3, 4, 5]);
    }
}
