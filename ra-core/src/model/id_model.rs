//! What training knows of an ID method.
use crate::Recommender;
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor};
use std::sync::Arc;

/// The rows of one training step: sequences one after another, without padding.
#[derive(Debug, Clone)]
pub struct TrainBatch {
    /// Rows of each sequence; they sum to `n`.
    pub lengths: Arc<[usize]>,
    /// `[n]`, the dense user of each row.
    pub users: Tensor<1, Int>,
    /// `[n]`, the item that a row reads.
    pub items: Tensor<1, Int>,
    /// `[m]`, the rows that have a target; `None` when all have.
    pub rows: Option<Tensor<1, Int>>,
    /// `[m]`, the targets.
    pub positives: Tensor<1, Int>,
    /// `[m, k]`, items that the user has not in the training data.
    pub negatives: Tensor<2, Int>,
    /// Seed of this step's dropout masks; `None` switches dropout off.
    pub dropout: Option<u64>,
}

impl TrainBatch {
    /// The rows of `x`, `[n, width]`, that have a target, `[m, width]`.
    pub fn with_target(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.rows {
            Some(rows) => x.select(0, rows.clone()),
            None => x,
        }
    }
}

/// An ID method while it is trained. What evaluation, alignment and serving see of it is [`IdModel::Fitted`].
pub trait IdModel: Module + ModuleDisplay {
    /// The frozen form: a table for methods that are one, the model itself for those that read a history.
    type Fitted: Recommender + 'static;

    /// The loss of a batch, `[1]`.
    fn loss(&self, batch: &TrainBatch) -> Tensor<1>;

    /// The frozen form on the plain device.
    fn fitted(&self) -> Self::Fitted;
}
