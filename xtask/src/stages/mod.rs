//! The stages of a run, one function each, from values to values. [`crate::run`] chains them.
mod align;
mod backbone;
mod data;
mod evaluate;
mod id_models;
mod open;
mod report;
mod samples;
mod saved;
mod text;

pub use align::{Aligned, align};
pub use backbone::backbone;
pub use data::{Data, data, recipe_for};
pub use evaluate::{Evaluated, evaluate};
pub use id_models::{IdModels, id_models};
pub use open::open;
pub use report::report;
pub use samples::samples;
pub use text::{FrozenText, text};

pub(crate) use align::{load, row, saved_items};
pub(crate) use data::{located, read};
pub(crate) use saved::{ItemVectors, Saved};
