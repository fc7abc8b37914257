//! The crate as its users see it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests are tests
mod golden;
mod ranking;
mod reports;
