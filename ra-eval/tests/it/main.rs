//! The crate as its users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests
mod browser;
mod golden;
mod ranking;
mod reports;
