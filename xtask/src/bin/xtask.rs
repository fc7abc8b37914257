//! The command line of RA-Rec. It starts things and computes nothing: every stage is a function of a crate.

#[macro_use]
mod terminal;

mod aligned;
mod bench;
mod ci;
mod contracts;
mod counted;
mod data;
mod doctor;
mod effect;
mod fetch;
mod folder;
mod gpu_check;
mod ids;
mod lock;
mod log;
mod machine;
mod manifest;
mod named;
mod oddities;
mod print;
mod progress;
mod recipe;
mod recommend;
mod report;
mod run;
mod settings;
mod shared;
mod stop;
mod suite;
mod tensorboard;
mod text;
mod verify;

use crate::folder::Earlier;
use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use ra_core::{Backend, Precision};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Burn allocates and frees a tensor an operation; glibc gives large ones back to the system every time. Tests count
/// what a reader of damaged files takes, by an allocator of their own.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "RA-Rec in Rust: align any ID-based recommender to any frozen language model")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a recipe from raw files to the report.
    Run(Run),
    /// Run everything that CI runs as tests.
    Test,
    /// Format, lints, tests, the WGPU back end, documentation, dependency checks.
    Ci,
    /// Bring data and models by name.
    Fetch(Fetch),
    /// Look at a data set.
    #[command(subcommand)]
    Data(data::Data),
    /// Check golden cases.
    Verify(Verify),
    /// Recommend titles from a finished run.
    Recommend(Recommend),
    /// One report over one or several runs.
    Report {
        /// Run folders.
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// Show runs of different protocols in one table, with a warning.
        #[arg(long)]
        mixed_protocols: bool,
        /// Compare every row with this one of the same seed: a kind, a name, or a run's folder and a name, such as `distilled`,
        /// "ra-rec(sasrec, minilm)" or "b: ra-rec(sasrec, minilm)".
        #[arg(long, value_name = "ROW")]
        to: Option<String>,
        /// Where comparison.html, .md and .json go; beside the first run by default.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Measure the promised figures.
    Bench {
        /// A bench, or the start of several names; all without it.
        name: Option<String>,
        /// Where tensors live: cpu, wgpu or cuda.
        #[arg(long, default_value = "cpu")]
        backend: Backend,
        /// What a language model's matrices are kept in; other benches know none.
        #[arg(long, default_value = "f32")]
        precision: Precision,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check that models keep their contracts.
    Contracts {
        /// A folder of golden cases, for its language models.
        dir: PathBuf,
        /// Where tensors live: cpu, wgpu or cuda.
        #[arg(long, default_value = "cpu")]
        backend: Backend,
    },
    /// Golden cases, contracts, a run and benches on a GPU beside the CPU: one table.
    GpuCheck(GpuCheck),
    /// What this machine offers.
    Doctor,
}

#[derive(Args)]
struct Run {
    /// A name under xtask/recipes/, or a path to a file.
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

#[derive(Args)]
struct Fetch {
    /// What to bring.
    names: Vec<String>,
    /// Say what there is, with sizes and terms.
    #[arg(long)]
    list: bool,
}

#[derive(Args)]
struct Verify {
    /// A folder of golden cases.
    dir: PathBuf,
    /// Only cases of this kind or folder, or of this name; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Where tensors live: cpu, wgpu or cuda.
    #[arg(long, default_value = "cpu")]
    backend: Backend,
    /// What matrices are multiplied in, and how far a case may be off: tf32 is what CUDA makes of f32.
    #[arg(long, value_enum, default_value = "f32")]
    precision: verify::Rounding,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct GpuCheck {
    /// wgpu or cuda.
    #[arg(long)]
    backend: Backend,
    /// Folders of golden cases, that of language models first; those of the repository by default.
    #[arg(long)]
    cases: Vec<PathBuf>,
    /// A tiny run instead of the quickstart, and no benches.
    #[arg(long)]
    quick: bool,
}

#[derive(Args)]
struct Recommend {
    /// A finished run folder.
    #[arg(long)]
    run: PathBuf,
    /// A user of the data set.
    #[arg(long)]
    user: Option<String>,
    /// An item of a history, by its id or its title; may be given several times, oldest first.
    #[arg(long, value_name = "ID")]
    item: Vec<String>,
    /// An item of a history, by its title alone; may be given several times, oldest first.
    #[arg(long)]
    title: Vec<String>,
    /// Titles or ids, oldest first, separated by semicolons; write `\;` for a semicolon within a title.
    #[arg(long)]
    history: Option<String>,
    /// A row of the report, by its kind, such as `distilled`, or its name; RA-Rec by default, else the best one.
    #[arg(long)]
    row: Option<String>,
    /// How many items.
    #[arg(long, default_value_t = 10)]
    top: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Recommend {
    /// For whom, which is said in one of four ways.
    fn who(&self) -> Result<named::Who> {
        let Self { user, item, title, history, .. } = self;
        match (user, item.is_empty(), title.is_empty(), history) {
            (Some(user), true, true, None) => Ok(named::Who::User(user.clone())),
            (None, false, true, None) => Ok(named::Who::Items(item.clone())),
            (None, true, false, None) => Ok(named::Who::Titles(title.clone())),
            (None, true, true, Some(history)) => Ok(named::Who::History(history.clone())),
            _ => bail!(
                "say for whom in one way: --user ID, --item ID .., --title TITLE .., or --history \"TITLE; TITLE\""
            ),
        }
    }
}

fn main() -> ExitCode {
    log::listen();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(usage) => {
            terminal::note(usage.print());
            return if terminal::lost().is_none() {
                ExitCode::from(usage.exit_code() as u8)
            } else {
                ExitCode::FAILURE
            };
        }
    };
    let whole = || match terminal::lost() {
        None => Ok(()),
        Some(why) => bail!("stdout: what was said could not be written, all else is done: {why}"),
    };
    match start(command, &root()).and_then(|()| whole()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what, where, what to do.
            tell!("error: {}", terminal::one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn start(command: Command, root: &Path) -> Result<()> {
    match command {
        Command::Run(a) => {
            let (recipe, sets, backend) = (a.recipe, a.sets, a.backend);
            let earlier = match (a.resume, a.force) {
                (true, _) => Earlier::Resumed,
                (_, true) => Earlier::Replaced,
                _ => Earlier::Kept,
            };
            run::run(&run::RunArgs { recipe, sets, backend, out: a.out, earlier, suite: None }, root)
        }
        Command::Test => ci::test(),
        Command::Ci => ci::ci(),
        Command::Fetch(args) if args.list || args.names.is_empty() => {
            fetch::print_list();
            Ok(())
        }
        Command::Fetch(args) => args.names.iter().try_for_each(|name| {
            say!("{}", fetch::fetch(name, root)?.display());
            Ok(())
        }),
        Command::Data(command) => data::data(&command, root),
        Command::Verify(args) => verify::verify(&args.dir, &args.only, args.backend, args.precision, args.json),
        Command::Recommend(args) => {
            let who = args.who()?;
            let Recommend { run, row, top, json, .. } = args;
            recommend::recommend(&recommend::Asked { run, who, row, top, json }, root)
        }
        Command::Report { runs, mixed_protocols, to, out } => {
            report::compare(&runs, mixed_protocols, to.as_deref(), out.as_deref())
        }
        Command::Bench { name, backend, precision, json } => bench::bench(name.as_deref(), backend, precision, json),
        Command::Contracts { dir, backend } => contracts::contracts(&dir, backend),
        Command::GpuCheck(GpuCheck { backend, cases, quick }) => {
            let cases = if cases.is_empty() { gpu_check::own_cases(root) } else { cases };
            gpu_check::gpu_check(&gpu_check::Asked { backend, cases, quick }, root)
        }
        Command::Doctor => doctor::doctor(root),
    }
}

/// Where recipes, data, models, caches and runs lie: `RA_REC_ROOT`, or the repository this command was built in.
fn root() -> PathBuf {
    if let Some(root) = std::env::var_os("RA_REC_ROOT").filter(|root| !root.is_empty()) {
        return root.into();
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    built.canonicalize().unwrap_or_else(|_| PathBuf::from("."))
}
