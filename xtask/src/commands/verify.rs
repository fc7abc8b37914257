//! Golden cases.
use crate::verify::{self, Rounding};
use anyhow::Result;
use ra_core::Backend;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A folder of golden cases.
    dir: PathBuf,
    /// Only cases of this kind or folder, or of this name; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Where tensors live: cpu, wgpu or cuda.
    #[arg(long, default_value = "cpu")]
    backend: Backend,
    /// What matrices are multiplied in, and how far a case may be off: tf32 is what CUDA makes of f32.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Rounding,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(args: &Args) -> Result<()> {
    verify::verify(&args.dir, &args.only, args.backend, args.precision, args.json)
}
