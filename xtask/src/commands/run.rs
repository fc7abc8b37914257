//! `run`: runs a recipe, or a suite of recipes.
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
    /// The name of a recipe, or the path of a recipe file.
    recipe: PathBuf,
    /// Change a key of the recipe, such as align.n_tok=2; `id` means the last ID method, `id.bsarec` the one of that kind.
    /// Values on an axis of a suite take precedence, and a message lists them.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// The log to read instead of the recipe's: a file or a folder; the same as --set data.interactions=LOG.
    #[arg(long, value_name = "LOG")]
    data: Option<PathBuf>,
    /// The titles of its items; the same as --set data.items=ITEMS.
    #[arg(long, value_name = "ITEMS")]
    items: Option<PathBuf>,
    /// The back end that computes tensors: cpu, wgpu or cuda; the recipe's choice by default.
    #[arg(long)]
    backend: Option<Backend>,
    /// The run folder; runs/RECIPE by default.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Resume after the last finished stage.
    #[arg(long)]
    resume: bool,
    /// Replace a finished run of another recipe, seed or data in the folder; without this flag, the new run is refused.
    /// An identical run is always repeated, and an unfinished one is replaced with a warning.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

impl Args {
    /// Returns all settings, those of files first.
    fn sets(&self) -> Vec<String> {
        let files = [("data.interactions", &self.data), ("data.items", &self.items)];
        // Quoted, so that a path that looks like a list or a number is a path.
        let set = |(key, path): (&str, &Option<PathBuf>)| {
            let path = path.as_ref()?.to_string_lossy().into_owned();
            Some(format!("{key}={}", toml::Value::String(path)))
        };
        files.into_iter().filter_map(set).chain(self.sets.iter().cloned()).collect()
    }
}

pub(super) fn run(args: &Args, root: &Path) -> Result<()> {
    let earlier = Earlier::of_flags(args.resume, args.force);
    let Args { recipe, backend, out, .. } = args;
    let sets = &args.sets();
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
