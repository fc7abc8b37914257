//! `cargo xtask`: what users call, and what a change to the project has to pass.
use std::process::ExitCode;

/// Burn allocates and frees a tensor an operation; glibc gives large ones back to the system every time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ra_rec::commands::xtask()
}
