//! What a data set is: users, items and their sequences. No tensors.
mod dataset;
mod training;

pub use dataset::{Catalog, Dataset, DatasetHash, PADDING, Sample, Sequences};
pub use training::{Curve, CurvePoint, LedgerRow, trainable_params};
