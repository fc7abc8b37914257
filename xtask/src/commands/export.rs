//! `export`: a bundle of a finished run.
use crate::bundle::{self, ExportConfig};
use crate::terminal::progress::Bars;
use anyhow::Result;
use ra_core::{Backend, open_device};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder of a finished run.
    #[arg(long)]
    run: PathBuf,
    /// The folder of the bundle.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The row of the report, by kind or name; by default the one that the report recommends.
    #[arg(long)]
    row: Option<String>,
    /// A further row that answers if it is asked for; may be given several times.
    #[arg(long, value_name = "ROW")]
    also: Vec<String>,
    /// A column of the file of items with a group of each item, such as its category, for a limit per group.
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// Leave the files of the language model out; whoever opens the bundle gives them by --lm.
    #[arg(long)]
    without_lm: bool,
    /// Write the LoRA matrices of a tuned row, such as lora-text, as an adapter that PEFT reads, in place of a bundle.
    #[arg(long, requires = "row", conflicts_with_all = ["also", "group", "without_lm", "names_users", "force"])]
    adapter: bool,
    /// Put the names of users into the bundle, so that it answers for a user by name.
    #[arg(long)]
    names_users: bool,
    /// Replace a bundle in the folder.
    #[arg(long)]
    force: bool,
}

pub(super) fn export(args: &Args, root: &Path) -> Result<()> {
    let config = ExportConfig {
        row: args.row.clone(),
        also: args.also.clone(),
        without_lm: args.without_lm,
        names_users: args.names_users,
        group: args.group.clone(),
        replace: args.force,
    };
    let device = open_device(Backend::Cpu)?;
    if let (true, Some(row)) = (args.adapter, &args.row) {
        let model = bundle::export_adapter(&args.run, row, &args.to, root, &device)?;
        say!("{}: an adapter of {}; a run reads it by lm.adapter", args.to.display(), model.display());
        return Ok(());
    }
    let made = bundle::export(&args.run, &args.to, &config, root, &device, &Bars::new())?;
    bundle::told(&made, &args.to).iter().for_each(|line| say!("{line}"));
    Ok(())
}
