//! The command line: one file a command. It starts things and computes nothing.
mod data;
mod development;
mod doctor;
mod fetch;
mod recommend;
mod report;
mod run;
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

#[derive(Parser)]
#[command(name = "ra-rec", about = ABOUT, version)]
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

/// What everybody needs.
#[derive(Subcommand)]
enum Command {
    /// Run a recipe from raw files to the report.
    Run(run::Args),
    /// Recommend titles from a finished run.
    Recommend(recommend::Args),
    /// One report over one or several runs.
    Report(report::Args),
    /// Look at a data set.
    #[command(subcommand)]
    Data(data::Data),
    /// Bring data and models by name.
    Fetch(fetch::Args),
    /// Check golden cases.
    Verify(verify::Args),
    /// What this machine offers.
    Doctor,
    /// Print what a shell completes.
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: Shell,
    },
    /// Write man pages into a folder.
    Man {
        /// The folder, which is made if it is not there.
        dir: PathBuf,
    },
}

/// These, and what the development of the project needs.
#[derive(Subcommand)]
enum All {
    #[command(flatten)]
    Everybody(Command),
    #[command(flatten)]
    Development(development::Command),
}

/// The command line of `ra-rec`.
pub(crate) fn everybody() -> clap::Command {
    let mut command = RaRec::command();
    command.build();
    command
}

/// The command line of `cargo xtask`.
pub(crate) fn everything() -> clap::Command {
    let mut command = Xtask::command();
    command.build();
    command
}

/// `cargo xtask`: the commands of [`ra_rec`] and those of the project's development. Recipes, data, models, caches and runs
/// lie in `RA_REC_ROOT`, or in the repository that it was built in.
pub fn xtask() -> ExitCode {
    main::<Xtask>(|cli| match cli.command {
        All::Everybody(command) => start(command, &root(built_in())),
        All::Development(command) => development::start(command, &root(built_in())),
    })
}

/// `ra-rec`: recipes, data, models, caches and runs lie in `RA_REC_ROOT`, or in the folder that it is called in. Where that
/// has no recipes of its own, those of the project are known by name.
pub fn ra_rec() -> ExitCode {
    main::<RaRec>(|cli| start(cli.command, &root(".".into())))
}

fn start(command: Command, root: &Path) -> Result<()> {
    match command {
        Command::Run(args) => run::run(&args, root),
        Command::Recommend(args) => recommend::recommend(&args, root),
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

/// Parses the command line, starts what it asks for, and tells a failure in one line.
fn main<C: Parser>(start: impl FnOnce(C) -> Result<()>) -> ExitCode {
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
        Some(why) => bail!("stdout: what was said could not be written, all else is done: {why}"),
    };
    match start(cli).and_then(|()| whole()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what, where, what to do.
            tell!("error: {}", terminal::one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// Where recipes, data, models, caches and runs lie: `RA_REC_ROOT`, or `otherwise`.
fn root(otherwise: PathBuf) -> PathBuf {
    std::env::var_os("RA_REC_ROOT").filter(|root| !root.is_empty()).map_or(otherwise, PathBuf::from)
}

/// The repository that this command was built in.
fn built_in() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    built.canonicalize().unwrap_or_else(|_| PathBuf::from("."))
}
