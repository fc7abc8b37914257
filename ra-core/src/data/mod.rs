//! What a data set is: users, items, their sequences, and the protocol under which a model is judged. No tensors.
mod dataset;
mod protocol;

pub use dataset::{Catalog, Dataset, DatasetHash, PADDING, Sample, Sequences};
pub use protocol::{Protocol, Rules, SELECTION};
