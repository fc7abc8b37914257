//! Running a recipe, or a suite of them.
use crate::stages::evaluate::{self, RunArgs};
use crate::store::Earlier;
use anyhow::Result;
use ra_core::Backend;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The name of a recipe, or a path to a file.
    recipe: PathBuf,
    /// Change a key of the recipe, as in align.n_tok=2; `id` means the last ID method. What an axis of a suite says
    /// stays, and is told.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Where tensors live: cpu, wgpu or cuda; the recipe's choice by default.
    #[arg(long)]
    backend: Option<Backend>,
    /// The run folder; runs/RECIPE by default.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Go on after the last finished stage.
    #[arg(long)]
    resume: bool,
    /// Replace a finished run of another recipe, seed or data that is in the folder; without it, such a run stays and
    /// this one is refused. The very same run is made again either way, and an unfinished one is replaced with a
    /// warning.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

pub(super) fn run(args: Args, root: &Path) -> Result<()> {
    let earlier = match (args.resume, args.force) {
        (true, _) => Earlier::Resumed,
        (_, true) => Earlier::Replaced,
        _ => Earlier::Kept,
    };
    let Args { recipe, sets, backend, out, .. } = args;
    evaluate::run(&RunArgs { recipe, sets, backend, out, earlier, suite: None }, root)
}
