//! What a data set is: users, items and their sequences. No tensors.
mod dataset;

pub use dataset::{Catalog, Dataset, DatasetHash, PADDING, Sample, Sequences};
