//! Data sets: users, items and their sequences. No tensors.
mod dataset;
mod ids;
mod template;
mod training;

pub use dataset::{Catalog, Dataset, DatasetHash, Sample, Sequences};
pub use ids::{ItemId, UserId};
pub use template::TextTemplate;
pub use training::{Curve, CurvePoint, ParamRow, trainable_params};
