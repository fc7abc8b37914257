//! The checks that a change must pass.
pub(crate) mod ci;
pub(crate) mod contracts;
pub(crate) mod gpu_check;
pub(crate) mod gpu_kit;
