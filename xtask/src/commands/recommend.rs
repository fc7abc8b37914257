//! `recommend`: shows what a finished run recommends.
use crate::recommend::{self, Who};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder of a finished run.
    #[arg(long)]
    run: PathBuf,
    /// A user of the data set, by id.
    #[arg(long)]
    user: Option<String>,
    /// An item of the history, by id or title; may be given several times, oldest first.
    #[arg(long, value_name = "ID")]
    item: Vec<String>,
    /// An item of the history, by title only; may be given several times, oldest first.
    #[arg(long)]
    title: Vec<String>,
    /// Titles or ids of the history, oldest first, separated by semicolons; write `\;` for a semicolon within a title.
    #[arg(long)]
    history: Option<String>,
    /// A row of the report, by kind (such as `distilled`) or name; by default the row that
    /// validates best, which the report recommends.
    #[arg(long)]
    row: Option<String>,
    /// The number of items to recommend.
    #[arg(long, default_value_t = 10)]
    top: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Returns whom to recommend to, which is given in one of four ways.
    fn who(&self) -> Result<Who> {
        let Self { user, item, title, history, .. } = self;
        match (user, item.is_empty(), title.is_empty(), history) {
            (Some(user), true, true, None) => Ok(Who::User(user.clone())),
            (None, false, true, None) => Ok(Who::Items(item.clone())),
            (None, true, false, None) => Ok(Who::Titles(title.clone())),
            (None, true, true, Some(history)) => Ok(Who::History(history.clone())),
            _ => bail!("give exactly one of --user ID, --item ID .., --title TITLE .. and --history \"TITLE; TITLE\""),
        }
    }
}

pub(super) fn recommend(args: &Args, root: &Path) -> Result<()> {
    let found = recommend::recommend(&args.run, &args.who()?, args.row.as_deref(), args.top, root)?;
    match args.json {
        // Converted to a value first, whose keys are in alphabetical order.
        true => say!("{}", serde_json::to_string_pretty(&serde_json::to_value(&found)?)?),
        false => say!("{found}"),
    }
    Ok(())
}
