//! What training knows of an ID method.
use crate::Recommender;
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor};

/// Next-item training rows of a batch, left-padded with item 0.
#[derive(Debug, Clone)]
pub struct NextItemBatch {
    /// `[batch]`, dense users.
    pub users: Tensor<1, Int>,
    /// `[batch, length]`, what was read.
    pub items: Tensor<2, Int>,
    /// `[batch, length]`, the item that followed; 0 where there is none.
    pub positives: Tensor<2, Int>,
    /// `[batch, length]`, an item the user has not in the training data; 0 where `positives` is 0.
    pub negatives: Tensor<2, Int>,
    /// `[n]`, flat indices into `[batch * length]` of the positions with a positive.
    pub rows: Tensor<1, Int>,
    /// Seed of this step's dropout masks; `None` switches dropout off.
    pub dropout: Option<u64>,
}

/// An ID method while it is trained. What evaluation, alignment and serving see of it is [`IdModel::Fitted`].
pub trait IdModel: Module + ModuleDisplay {
    /// The frozen form: a table for methods that are one, the model itself for those that read a history.
    type Fitted: Recommender + 'static;

    /// The loss of a batch, `[1]`.
    fn loss(&self, batch: &NextItemBatch) -> Tensor<1>;

    /// The frozen form on the plain device.
    fn fitted(&self) -> Self::Fitted;
}
