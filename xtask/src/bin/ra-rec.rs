//! `ra-rec`: runs recipes and recommends from finished runs.
use std::process::ExitCode;

/// Burn allocates and frees a tensor per operation; glibc returns large ones to the system every time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ra_rec::commands::ra_rec()
}
