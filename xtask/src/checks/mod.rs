//! What a change has to pass.
pub(crate) mod ci;
pub(crate) mod contracts;
pub(crate) mod gpu_check;
