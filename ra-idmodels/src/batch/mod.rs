//! Training batches: each is a function of the data, the seed and the step, so a run can resume at any step.
mod cloze;
mod next_item;
mod pairs;
mod prefixes;
mod sampler;
mod shared;

pub use cloze::Cloze;
pub use next_item::NextItem;
pub use pairs::Pairs;
pub use prefixes::{EachPrefix, Prefixes};
pub use shared::WithShared;

use ra_core::TrainBatch;

/// The batches of one kind of training, one per step.
pub trait Batches {
    /// The number of steps per epoch.
    fn steps(&self) -> usize;

    /// Returns the batch of a step.
    fn batch(&mut self, step: usize) -> TrainBatch;
}

impl<B: Batches + ?Sized> Batches for Box<B> {
    fn steps(&self) -> usize {
        (**self).steps()
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        (**self).batch(step)
    }
}
