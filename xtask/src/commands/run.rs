//! Running a recipe, or a suite of them.
use crate::context::{Context, Output};
use crate::recipe::Recipe;
use crate::store::Earlier;
use crate::suite::{self, Suite};
use crate::terminal::progress::Bars;
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

pub(super) fn run(args: &Args, root: &Path) -> Result<()> {
    let earlier = match (args.resume, args.force) {
        (true, _) => Earlier::Resumed,
        (_, true) => Earlier::Replaced,
        _ => Earlier::Kept,
    };
    let Args { recipe, sets, backend, out, .. } = args;
    let terminal = || Box::new(Bars::new()) as Box<dyn Output>;
    if let Some(suite) = Suite::load(recipe, root)? {
        let (out, backend, output) = (out.as_deref(), *backend, &terminal);
        return suite::run(&suite, &suite::Settings { root, out, earlier, sets, backend, output });
    }
    let recipe = Recipe::load(recipe, sets, root)?.on(*backend);
    let out = out.clone().unwrap_or_else(|| root.join("runs").join(&recipe.name));
    let cx = Context::new(&recipe, root, &out, earlier)?.telling(terminal());
    crate::run(&recipe, &cx)?;
    Ok(())
}
