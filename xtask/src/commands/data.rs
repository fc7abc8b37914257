//! `data`: describes, audits and exports a data set.
use crate::recipe::{MAX_HISTORY, remedies, settings};
use crate::{fetch, machine};
use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use ra_core::{Check, Problem};
use ra_data::{CurateConfig, DataConfig, Prepared, SampleExport};
use serde::Serialize;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use toml::Table;

#[derive(Subcommand)]
pub(crate) enum Data {
    /// Show counts, histories, popularity and titles.
    Describe(Shown),
    /// Report leaks, overlaps, ties and gaps, and the effect of each on a metric.
    Audit(Shown),
    /// Write the filtered and split log as `interactions.parquet` and `items.parquet`.
    ///
    /// With `--set curate.method=..`, also write `samples.parquet`.
    Export {
        #[command(flatten)]
        source: Source,
        /// The folder to write into.
        #[arg(long)]
        out: PathBuf,
        /// Keep the log in files and only about this much of it in memory, such as 2GiB; writes
        /// `interactions/part-*.parquet`.
        #[arg(long)]
        memory: Option<ByteSize>,
    },
}

#[derive(Args)]
pub(crate) struct Shown {
    #[command(flatten)]
    source: Source,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The location of a data set.
#[derive(Args)]
pub(crate) struct Source {
    /// A name that fetch knows, or the interactions: a file, a folder or a pattern such as 'logs/*.parquet'.
    data: PathBuf,
    /// The file of titles, if DATA is a file of interactions.
    #[arg(long)]
    items: Option<PathBuf>,
    /// Fail on a row that cannot be read instead of skipping it.
    #[arg(long)]
    strict: bool,
    /// Change a key of a recipe's [data] table, such as k_core=5 or columns.user=who.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// The configuration after all `--set` arguments.
struct Request {
    config: DataConfig,
    curate: Option<CurateConfig>,
    /// The maximum number of items in a sample's history.
    max_history: usize,
}

impl Source {
    fn request(&self, root: &Path) -> Result<Request> {
        let mut table = Table::new();
        for set in &self.sets {
            // A key is written as in a recipe, or as in its `[data]` table.
            settings::apply(&mut table, set.strip_prefix("data.").unwrap_or(set))?;
        }
        for (key, is_given) in [("interactions", true), ("items", self.items.is_some())] {
            if is_given && table.contains_key(key) {
                bail!("--set {key}=..: the command line names the {key} already; leave one of them out");
            }
        }
        let mut wrong = Vec::new();
        let curate: Option<CurateConfig> = settings::take(&mut table, "curate", "", &mut wrong);
        let max_history = settings::take(&mut table, "max_history", "", &mut wrong).unwrap_or(MAX_HISTORY);
        let mut config: DataConfig = settings::section(table, "", &mut wrong);
        wrong.extend(Problem::if_below("max_history", max_history, 1).map(|problem| problem.to_string()));
        if !wrong.is_empty() {
            bail!("--set {}", wrong.join("; "));
        }
        let problems = curate.iter().flat_map(Check::problems).map(|problem| problem.within("curate"));
        Problem::refuse(&problems.collect::<Vec<_>>())?;
        config.strict |= self.strict;
        config.items = self.items.clone().or(config.items);
        let (path, name) = (&self.data, self.name());
        let named = fetch::is_data(&name);
        if !named && !path.exists() && !name.contains(['*', '?', '[']) {
            let known: Vec<&str> =
                fetch::list().iter().filter(|e| e.kind == fetch::Kind::Data).map(|e| &*e.name).collect();
            bail!("{name}: no such file and no known data set; known: {}", known.join(", "));
        }
        let config = if named && !path.exists() {
            fetch::locate_data(&name, root)?.into_config(config)
        } else {
            DataConfig { interactions: Some(path.clone()), ..config }
        };
        Ok(Request { config, curate, max_history })
    }

    /// Returns the name of the data set for messages.
    fn name(&self) -> String {
        self.data.display().to_string()
    }

    fn read(&self, root: &Path) -> Result<Prepared> {
        Ok(ra_data::prepare(&self.name(), &self.request(root)?.config)?)
    }
}

pub(super) fn data(command: &Data, root: &Path) -> Result<()> {
    start(command, root).map_err(remedies::in_data)
}

fn start(command: &Data, root: &Path) -> Result<()> {
    match command {
        Data::Describe(args) => {
            let prepared = args.source.read(root)?;
            args.show(&ra_data::describe(&prepared))
        }
        Data::Audit(args) => args.show(&ra_data::audit(&args.source.read(root)?)),
        Data::Export { source, out, memory } => {
            let Request { config, curate, max_history } = source.request(root)?;
            let samples = curate.as_ref().map(|curate| SampleExport { curate, max_history, seed: SEED });
            match memory {
                Some(memory) => export_within(&source.name(), &config, samples, *memory, out)?,
                None => export(&source.name(), &config, samples, out)?,
            }
            say!("{}", out.display());
            Ok(())
        }
    }
}

/// The seed that samples are drawn with.
const SEED: u64 = 1;

fn export(name: &str, config: &DataConfig, samples: Option<SampleExport<'_>>, out: &Path) -> Result<()> {
    // Whatever can fail early fails before a long log is read.
    ra_data::check_export(config, false, out)?;
    let prepared = ra_data::prepare(name, config)?;
    let chosen = |samples: SampleExport<'_>| {
        let SampleExport { curate, max_history, seed } = samples;
        ra_data::curate(&prepared.dataset, curate, max_history, seed).map(|curated| (curated, max_history))
    };
    let curated = samples.map(chosen).transpose()?;
    ra_data::to_parquet(&prepared, out)?;
    if let Some((curated, max_history)) = curated {
        say!("{curated}");
        ra_data::samples_to_parquet(&prepared, &curated.samples, max_history, &out.join("samples.parquet"))?;
    }
    say!("{}\nfingerprint {}", ra_data::describe(&prepared), prepared.dataset.fingerprint());
    Ok(())
}

fn export_within(
    name: &str,
    config: &DataConfig,
    samples: Option<SampleExport<'_>>,
    memory: ByteSize,
    out: &Path,
) -> Result<()> {
    let memory = usize::try_from(memory.as_u64()).context("--memory")?;
    let bounded = ra_data::to_parquet_within(name, config, samples, memory, out)?;
    if let Some(curated) = &bounded.curated {
        say!("{curated}");
    }
    let [train, valid, test] = bounded.interactions;
    say!(
        "{name}: {} users, {} items, {train} interactions train, {valid} validate, {test} test",
        bounded.users,
        bounded.items
    );
    let peak = machine::peak_mib().map_or_else(|| "unknown".into(), |mib| format!("{mib} MiB"));
    say!("{} partitions, peak memory {peak}\nfingerprint {}", bounded.partitions, bounded.fingerprint);
    Ok(())
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
