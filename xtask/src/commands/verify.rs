//! `verify`: checks golden cases.
use crate::verify::{self, Rounding};
use anyhow::Result;
use ra_core::Backend;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A folder of golden cases.
    dir: PathBuf,
    /// Check only cases of this kind, folder or name; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// The back end that computes tensors: cpu, wgpu or cuda.
    #[arg(long, default_value = "cpu")]
    backend: Backend,
    /// The number format of matrix products, which determines how far a case may be off; tf32 is what CUDA uses for
    /// f32.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Rounding,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(args: &Args) -> Result<()> {
    verify::verify(&args.dir, &args.only, args.backend, args.precision, args.json)
}
