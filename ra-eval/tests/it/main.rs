//! The crate as its users see it.
mod golden;
mod ranking;
mod reports;
