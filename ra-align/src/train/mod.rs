//! Training of the towers, the only part of RA-Rec that learns.
mod chunked;
mod inputs;
mod job;
pub(crate) mod loss;
mod regularize;
mod sampler;
mod teacher;

pub use job::{FitResult, Job, fit};
pub use loss::{Candidates, bpr_in_batch, bpr_sampled, distill, info_nce, mmd, mse, softmax_in_batch};
