//! `update`: a bundle that goes on where an older one stopped.
use crate::context::Output;
use crate::terminal::progress::Bars;
use crate::update::{self, LogHolds, UpdateConfig};
use anyhow::Result;
use ra_core::{Backend, open_device};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The older bundle. It stays as it is.
    #[arg(long, value_name = "OLD")]
    bundle: PathBuf,
    /// The new log: the whole of it, or new interactions alone. It is read as the run read its own; other columns are named
    /// by --set data.columns.user=..
    #[arg(long, value_name = "NEW")]
    log: PathBuf,
    /// Titles of new items, or new titles of known ones.
    #[arg(long, value_name = "ITEMS")]
    items: Option<PathBuf>,
    /// The folder of the new bundle.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The log holds everything that the bundle knows, and takes its place. Otherwise this is found out.
    #[arg(long, conflicts_with = "only_new")]
    everything: bool,
    /// The log holds new interactions alone, which follow those of the bundle. Otherwise this is found out.
    #[arg(long)]
    only_new: bool,
    /// Change a key of the bundle's recipe, such as id.train.epochs=20.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// A column of the file of items with a group of each item; groups of the older bundle are kept.
    #[arg(long, value_name = "COLUMN", requires = "items")]
    group: Option<String>,
    /// Put the names of users into the new bundle, even if the older one has none.
    #[arg(long)]
    names_users: bool,
    /// The language model of a bundle that was exported without it.
    #[arg(long, value_name = "PATH")]
    lm: Option<PathBuf>,
    /// The most users with new interactions that both bundles are compared on; 2,000 by default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    users: Option<u32>,
    /// Go on after the last finished stage of an update that was stopped or refused.
    #[arg(long)]
    resume: bool,
    /// Write the new bundle even if it is significantly worse than the older one, or if nobody can be asked.
    #[arg(long)]
    accept_worse: bool,
    /// Replace a bundle in the folder.
    #[arg(long)]
    force: bool,
}

pub(super) fn update(args: &Args, root: &Path) -> Result<()> {
    let holds = match (args.everything, args.only_new) {
        (true, _) => Some(LogHolds::Everything),
        (_, true) => Some(LogHolds::NewOnly),
        _ => None,
    };
    let config = UpdateConfig {
        bundle: args.bundle.clone(),
        lm: args.lm.clone(),
        log: args.log.clone(),
        items: args.items.clone(),
        group: args.group.clone(),
        holds,
        sets: args.sets.clone(),
        names_users: args.names_users,
        resume: args.resume,
        replace: args.force,
        accept_worse: args.accept_worse,
        users: args.users.map(|users| users as usize),
    };
    let output = || Box::new(Bars::new()) as Box<dyn Output>;
    update::update(&config, &args.to, root, &open_device(Backend::Cpu)?, &output)?;
    Ok(())
}
