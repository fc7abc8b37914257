//! The crate as its users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests
#[cfg(feature = "report")]
mod browser;
#[cfg(feature = "report")]
mod driver;
mod golden;
mod matrices;
mod random;
#[cfg(feature = "tensor")]
mod ranking;
#[cfg(feature = "report")]
mod reports;
