//! The command line, one file per command. It starts things and computes nothing.
mod data;
mod development;
mod doctor;
mod export;
mod fetch;
mod recommend;
mod report;
mod run;
mod serve;
mod tune;
mod update;
mod verify;

use crate::pages;
use crate::store::log;
use crate::terminal;
use anyhow::{Result, bail};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const ABOUT: &str = "RA-Rec in Rust: align any ID-based recommender to any frozen language model";

const ENVIRONMENT: &str = "Environment:\n  RA_REC_ROOT  The folder of data, models, caches and runs; by default the current one\n\n\
                           The guide is in docs/guide of the repository.";

#[derive(Parser)]
#[command(name = "ra-rec", about = ABOUT, version, after_help = ENVIRONMENT, disable_help_subcommand = true)]
struct RaRec {
    #[command(subcommand)]
    command: Command,
}

#[derive(Parser)]
#[command(name = "cargo xtask", about = ABOUT)]
struct Xtask {
    #[command(subcommand)]
    command: All,
}

/// The commands for all users.
#[derive(Subcommand)]
enum Command {
    /// Run a recipe from raw files to the report.
    Run(run::Args),
    /// Search the keys that the `[tune]` table of a recipe names, on the validation part only.
    Tune(tune::Args),
    /// Recommend titles from a finished run.
    Recommend(Box<recommend::Args>),
    /// Write a trained row as a bundle, which leaves the machine.
    Export(export::Args),
    /// Answer requests from a bundle over HTTP.
    Serve(serve::Args),
    /// Make a new bundle from an older one and a new log.
    Update(update::Args),
    /// Write one report over one or several runs.
    Report(report::Args),
    /// Describe, audit or export a data set.
    #[command(subcommand)]
    Data(data::Data),
    /// Download data and models by name.
    Fetch(fetch::Args),
    /// Check golden cases.
    Verify(verify::Args),
    /// Show what this machine offers: back ends, memory, disk, tools, data and models.
    Doctor,
    /// Print the completion script of a shell.
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: Shell,
    },
    /// Write man pages into a folder.
    Man {
        /// The folder; it is created if it does not exist.
        dir: PathBuf,
    },
}

/// The commands for all users, and those for the development of the project.
#[derive(Subcommand)]
enum All {
    #[command(flatten)]
    Everybody(Command),
    #[command(flatten)]
    Development(development::Command),
}

/// Returns the command line of `ra-rec`.
pub(crate) fn everybody() -> clap::Command {
    let mut command = RaRec::command();
    command.build();
    command
}

/// Returns the command line of `cargo xtask`.
pub(crate) fn everything() -> clap::Command {
    let mut command = Xtask::command();
    command.build();
    command
}

/// Runs `cargo xtask`: the commands of [`ra_rec`] and those for the development of the project. Recipes, data, models,
/// caches and runs are in `RA_REC_ROOT`, by default in the repository that this program was built in.
pub fn xtask() -> ExitCode {
    main::<Xtask>(|cli| match cli.command {
        All::Everybody(command) => start(command, &root(built_in())),
        All::Development(command) => development::start(command, &root(built_in())),
    })
}

/// Runs `ra-rec`. Recipes, data, models, caches and runs are in `RA_REC_ROOT`, by default in the current folder. If
/// that folder has no recipes, the project's recipes are available by name.
pub fn ra_rec() -> ExitCode {
    main::<RaRec>(|cli| start(cli.command, &root(".".into())))
}

fn start(command: Command, root: &Path) -> Result<()> {
    match command {
        Command::Run(args) => run::run(&args, root),
        Command::Tune(args) => tune::tune(&args, root),
        Command::Recommend(args) => recommend::recommend(&args, root),
        Command::Export(args) => export::export(&args, root),
        Command::Serve(args) => serve::serve(&args),
        Command::Update(args) => update::update(&args, root),
        Command::Report(args) => report::report(&args),
        Command::Data(command) => data::data(&command, root),
        Command::Fetch(args) => fetch::fetch(&args, root),
        Command::Verify(args) => verify::verify(&args),
        Command::Doctor => doctor::doctor(root),
        Command::Completions { shell } => {
            let script = pages::completions(shell)?;
            say!("{script}");
            Ok(())
        }
        Command::Man { dir } => {
            let pages = pages::man_pages(&dir)?;
            say!("{pages} pages in {}", dir.display());
            Ok(())
        }
    }
}

/// Parses the command line, starts the command, and prints a failure in one line.
fn main<C: Parser>(start: impl FnOnce(C) -> Result<()>) -> ExitCode {
    crate::machine::keep_freed();
    log::listen();
    let cli = match C::try_parse() {
        Ok(cli) => cli,
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
        Some(why) => bail!("stdout: the output could not be written; everything else is done: {why}"),
    };
    match start(cli).and_then(|()| whole()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what is wrong, where, and what to do.
            tell!("error: {}", terminal::one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// Returns the folder of recipes, data, models, caches and runs: `RA_REC_ROOT`, or `otherwise`.
fn root(otherwise: PathBuf) -> PathBuf {
    std::env::var_os("RA_REC_ROOT").filter(|root| !root.is_empty()).map_or(otherwise, PathBuf::from)
}

/// Returns the repository that this program was built in.
fn built_in() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    built.canonicalize().unwrap_or_else(|_| PathBuf::from("."))
}
