//! The interface between ID methods and training.
use crate::Recommender;
use crate::int_tensor::read_indices;
use burn::module::{Module, ModuleDisplay, Param};
use burn::tensor::{Int, Tensor, TensorData};
use std::sync::Arc;

/// The rows of one training step: concatenated sequences without padding.
#[derive(Debug, Clone)]
pub struct TrainBatch {
    /// The number of rows of each sequence; they sum to `n`.
    pub lengths: Arc<[usize]>,
    /// `[n]`, the dense user id of each row.
    pub users: Tensor<1, Int>,
    /// `[n]`, the input item of each row.
    pub items: Tensor<1, Int>,
    /// `[m]`, the rows that have a target; `None` if all do.
    pub rows: Option<Tensor<1, Int>>,
    /// `[m]`, the targets.
    pub positives: Tensor<1, Int>,
    /// `[m, k]`, items that the user does not have in the training data.
    pub negatives: Tensor<2, Int>,
    /// Negatives that are the same for all rows, for losses that share them.
    pub shared: Option<SharedNegatives>,
    /// The number of items of the catalogue.
    pub catalog: usize,
    /// The seed of this step's dropout masks; `None` turns dropout off.
    pub dropout: Option<u64>,
}

/// Negatives that are drawn once for all rows of a batch, so that all scores are one matrix product.
#[derive(Debug, Clone)]
pub struct SharedNegatives {
    /// `[k]`, the items, drawn with replacement.
    pub items: Tensor<1, Int>,
    /// `[k]`, the logarithm of the expected number of draws of each: `ln(k q)` for an item of probability `q`.
    pub log_expected: Tensor<1>,
}

impl TrainBatch {
    /// Selects the rows of `x`, `[n, width]`, that have a target: `[m, width]`.
    pub fn with_target(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.rows {
            Some(rows) => x.select(0, rows.clone()),
            None => x,
        }
    }
}

/// Renumbers batches so that they read a table of their own items alone.
#[derive(Debug)]
pub struct Renumbering {
    /// The place of each item among those of the batch; `FREE` for one that it does not have.
    places: Vec<u32>,
}

const FREE: u32 = u32::MAX;

impl Renumbering {
    /// Renumbers batches of a catalogue of this many items.
    pub fn new(catalog: usize) -> Self {
        Self { places: vec![FREE; catalog + 1] }
    }

    /// Returns the batch with its items numbered from 1 in ascending order, and the rows that these have in a table
    /// `[items + 1, dim]`; the first is padding.
    ///
    /// # Panics
    /// If an item is beyond the catalogue.
    pub fn renumber(&mut self, batch: TrainBatch) -> (TrainBatch, Vec<u32>) {
        let TrainBatch { items, positives, negatives, shared, .. } = &batch;
        let shared_items = shared.as_ref().map(|shared| read_indices(&shared.items)).unwrap_or_default();
        let parts = [read_indices(items), read_indices(positives), read_indices(negatives), shared_items];
        let mut rows = vec![0];
        self.places[0] = 0;
        for &item in parts.iter().flatten() {
            let place = &mut self.places[item as usize];
            if *place == FREE {
                *place = 0;
                rows.push(item);
            }
        }
        rows.sort_unstable();
        (0..).zip(&rows).for_each(|(place, &row)| self.places[row as usize] = place);
        let (shape, device) = (negatives.dims(), batch.items.device());
        let place = |&item: &u32| self.places[item as usize] as i32;
        let [items, positives, negatives, shared_items] =
            parts.map(|part| part.iter().map(place).collect::<Vec<i32>>());
        let line = |places: Vec<i32>| {
            let count = places.len();
            Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device)
        };
        let renumbered = TrainBatch {
            items: line(items),
            positives: line(positives),
            negatives: Tensor::from_data(TensorData::new(negatives, shape), &device),
            shared: batch.shared.map(|shared| SharedNegatives { items: line(shared_items), ..shared }),
            ..batch
        };
        rows.iter().for_each(|&row| self.places[row as usize] = FREE);
        (renumbered, rows)
    }
}

/// An ID method during training. Evaluation, alignment and serving only see [`IdModel::Fitted`].
pub trait IdModel: Module + ModuleDisplay {
    /// The frozen form: a table for methods that reduce to one, the model itself for those that read a history.
    type Fitted: Recommender + 'static;

    /// The loss of a batch, `[1]`.
    fn loss(&self, batch: &TrainBatch) -> Tensor<1>;

    /// The item table `[items + 1, dim]`, if the loss reads only the rows of the batch's items of it, as with sampled
    /// negatives. A step then sees a table of these rows alone and a batch that is numbered accordingly, and takes no
    /// time for the others; see [`Fit::run_by_rows`](crate::Fit::run_by_rows).
    fn item_rows(&mut self) -> Option<&mut Param<Tensor<2>>> {
        None
    }

    /// The frozen form on the plain device.
    fn fitted(&self) -> Self::Fitted;
}
