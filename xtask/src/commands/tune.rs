//! `tune`: searches keys of a recipe on validation.
use crate::context::Output;
use crate::store::Earlier;
use crate::suite::Settings;
use crate::terminal::progress::Bars;
use crate::tune;
use anyhow::Result;
use ra_core::Backend;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The name of a recipe with a `[tune]` table, or the path of a recipe file.
    recipe: PathBuf,
    /// Change a key of the recipe in all trials, such as train.steps=400 or tune.trials=40.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// The back end that computes tensors: cpu, wgpu or cuda; the recipe's choice by default.
    #[arg(long)]
    backend: Option<Backend>,
    /// The folder of the trials and of best.toml; runs/RECIPE-tune by default.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Continue the tuning in the folder; with a larger tune.trials, extend it.
    #[arg(long)]
    resume: bool,
    /// Replace the tuning in the folder.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

pub(super) fn tune(args: &Args, root: &Path) -> Result<()> {
    let earlier = Earlier::of_flags(args.resume, args.force);
    let Args { recipe, sets, backend, out, .. } = args;
    let output = &|| Box::new(Bars::new()) as Box<dyn Output>;
    let (out, backend) = (out.as_deref(), *backend);
    tune::run(recipe, &Settings { root, out, earlier, sets, backend, output })?;
    Ok(())
}
