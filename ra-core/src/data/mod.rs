//! What a data set is: users, items, their sequences, and the protocol under which a model is judged. No tensors.
mod dataset;
mod ids;
mod protocol;

pub use dataset::{Catalog, Dataset, DatasetHash, Sample, Sequences};
pub use ids::{ItemId, UserId};
pub use protocol::{Protocol, Rules, SELECTION};
