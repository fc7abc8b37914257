//! The command line as users meet it, and the rules of the house as tests.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod cache;
mod cli;
mod damaged;
mod documents;
mod evaluation;
mod house;
mod kill;
mod safety;
