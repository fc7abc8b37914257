//! The crate as its users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // helpers of tests are tests
mod browser;
mod golden;
mod ranking;
mod reports;
