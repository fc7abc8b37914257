//! What a finished run has left.
use crate::recipe::Recipe;
use crate::store::RunFolder;
use ra_core::{Dataset, Device};

/// What the rows of a finished run are loaded from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) folder: &'a RunFolder,
    /// The data set of the run. It may have more items at its end.
    pub(crate) dataset: &'a Dataset,
    /// The number of items that the run had.
    pub(crate) known: usize,
    pub(crate) device: &'a Device,
}
