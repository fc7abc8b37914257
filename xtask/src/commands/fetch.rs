//! `fetch`: downloads data and models by name.
use crate::fetch;
use anyhow::Result;
use std::path::Path;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The names of the data sets and models to download; hf:OWNER/REPO is a model of a hub.
    names: Vec<String>,
    /// List all names, with sizes and terms.
    #[arg(long)]
    list: bool,
}

pub(super) fn fetch(args: &Args, root: &Path) -> Result<()> {
    if args.list || args.names.is_empty() {
        fetch::print_list();
        return Ok(());
    }
    args.names.iter().try_for_each(|name| {
        say!("{}", fetch::fetch(name, root)?.display());
        Ok(())
    })
}
