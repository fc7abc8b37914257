//! What a step trains on: a function of the data, the seed and the step, so that a run can start again anywhere.
mod cloze;
mod next_item;
mod pairs;
mod prefixes;
mod sampler;

pub use cloze::Cloze;
pub use next_item::NextItem;
pub use pairs::Pairs;
pub use prefixes::Prefixes;

use ra_core::TrainBatch;

/// Batches of a kind of training, one a step.
pub trait Batches {
    /// Steps an epoch.
    fn steps(&self) -> usize;

    /// The batch of a step.
    fn batch(&mut self, step: usize) -> TrainBatch;
}
