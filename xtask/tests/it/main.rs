//! The command line as users see it, and the project's own rules as tests.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod bundle;
mod cache;
mod checks;
mod cli;
mod damaged;
mod documents;
#[path = "../../../ra-eval/tests/it/driver.rs"]
mod driver;
mod evaluation;
mod guide;
mod house;
mod hub;
mod kill;
mod kit;
mod page;
mod safety;
mod serve;
mod strangers_front;
mod strangers_recommend;
mod strangers_run;
mod texts;
mod tune;
mod update;
mod variants;

/// Cargo runs a test in its package's folder; a path from compile time may be another clone's that shares the target folder.
fn workspace() -> std::path::PathBuf {
    std::env::current_dir().unwrap().join("..")
}
