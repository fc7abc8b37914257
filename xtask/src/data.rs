//! `cargo xtask data`: looking at a data set, and handing it on.
use crate::{fetch, recipe};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use ra_data::{CurateConfig, DataConfig, Prepared};
use serde::Serialize;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

#[derive(Subcommand)]
pub(crate) enum Data {
    /// Counts, histories, popularity and titles.
    Describe(Shown),
    /// Leaks, overlaps, ties and gaps, and what each does to a metric.
    Audit(Shown),
    /// Write `interactions.parquet` and `items.parquet`, filtered and split; with `--set curate.method=..` also `samples.parquet`.
    Export {
        #[command(flatten)]
        source: Source,
        /// The folder to write into.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Shown {
    #[command(flatten)]
    source: Source,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Where a data set is.
#[derive(Args)]
pub(crate) struct Source {
    /// A name that fetch knows, or the interactions: a file, a folder or a pattern such as 'logs/*.parquet'.
    data: String,
    /// The titles, beside a file of interactions.
    #[arg(long)]
    items: Option<PathBuf>,
    /// A row that cannot be read is an error, not a row left out.
    #[arg(long)]
    strict: bool,
    /// Change a key of a recipe's [data] table, as in k_core=5 or columns.user=who.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl Source {
    fn read(&self, root: &Path) -> Result<(Prepared, DataConfig, Option<CurateConfig>)> {
        let mut table = Table::new();
        self.sets.iter().try_for_each(|set| recipe::apply(&mut table, set))?;
        let curate = table.remove("curate").map(Value::try_into).transpose().context("curate")?;
        let mut config: DataConfig = Value::Table(table).try_into().context("--set")?;
        config.strict |= self.strict;
        config.items = self.items.clone().or(config.items);
        let path = PathBuf::from(&self.data);
        let named = fetch::list().iter().any(|entry| entry.name == self.data);
        if !named && !path.exists() && !self.data.contains(['*', '?', '[']) {
            let known: Vec<&str> =
                fetch::list().iter().filter(|e| e.kind == fetch::Kind::Data).map(|e| e.name).collect();
            bail!("{}: no such file, nor the name of a data set; known are {}", self.data, known.join(", "));
        }
        let config = if named && !path.exists() {
            fetch::locate_data(&self.data, root)?.into_config(config)
        } else {
            DataConfig { interactions: Some(path), ..config }
        };
        Ok((ra_data::read(&self.data, &config)?, config, curate))
    }
}

pub(crate) fn data(command: &Data, root: &Path) -> Result<()> {
    match command {
        Data::Describe(args) => {
            let (prepared, ..) = args.source.read(root)?;
            args.show(&ra_data::Description { span: prepared.span(), ..ra_data::describe(&prepared.dataset)? })
        }
        Data::Audit(args) => args.show(&ra_data::audit(&args.source.read(root)?.0)),
        Data::Export { source, out } => {
            let (prepared, config, curate) = source.read(root)?;
            std::fs::create_dir_all(out).with_context(|| format!("{}: cannot be made", out.display()))?;
            ra_data::to_parquet(&prepared, out)?;
            if let Some(curate) = curate {
                let curated = ra_data::curate(&prepared.dataset, &curate, config.max_history, 1, None)?;
                say!("{curated}");
                let path = out.join("samples.parquet");
                ra_data::samples_to_parquet(&prepared, &curated.samples, config.max_history, &path)?;
            }
            say!("{}", ra_data::describe(&prepared.dataset)?);
            say!("{}", out.display());
            Ok(())
        }
    }
}

impl Shown {
    fn show<T: Serialize + Display>(&self, what: &T) -> Result<()> {
        if self.json {
            say!("{}", serde_json::to_string_pretty(what)?);
        } else {
            say!("{what}");
        }
        Ok(())
    }
}
