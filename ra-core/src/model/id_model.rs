//! The interface between ID methods and training.
use crate::Recommender;
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor};
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
    /// The seed of this step's dropout masks; `None` turns dropout off.
    pub dropout: Option<u64>,
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

/// An ID method during training. Evaluation, alignment and serving only see [`IdModel::Fitted`].
pub trait IdModel: Module + ModuleDisplay {
    /// The frozen form: a table for methods that reduce to one, the model itself for those that read a history.
    type Fitted: Recommender + 'static;

    /// The loss of a batch, `[1]`.
    fn loss(&self, batch: &TrainBatch) -> Tensor<1>;

    /// The frozen form on the plain device.
    fn fitted(&self) -> Self::Fitted;
}
