//! Commands for the development of the project, in addition to those for all users.
use crate::bench;
use crate::checks::{ci, contracts, gpu_check, gpu_kit};
use crate::pages;
use anyhow::Result;
use clap::{Args, Subcommand};
use ra_core::{Backend, Precision};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run all tests that CI runs.
    Test,
    /// Check format, lints, tests, the guide and its quick start, documentation, packages, a workspace outside, the WGPU
    /// back end and dependencies.
    Ci,
    /// Write the pages that are generated from the source and from published reports.
    Pages {
        /// Write nothing; fail if a page is out of date or has a figure that is in no published report.
        #[arg(long)]
        check: bool,
    },
    /// Copy the report of a finished run into docs/results.
    Publish {
        /// The run folder.
        run: PathBuf,
        /// The name of the report in docs/results.
        #[arg(long)]
        name: String,
        /// The command that produced the report.
        #[arg(long)]
        command: String,
        /// The commit that the program was built from, if the run could not know it.
        #[arg(long)]
        commit: Option<String>,
    },
    /// Measure the published performance figures, beside what the machine can do at most.
    Bench(BenchCommand),
    /// Check that models keep their contracts.
    Contracts {
        /// A folder of golden cases, whose language models are checked.
        dir: PathBuf,
        /// The back end that computes tensors: cpu, wgpu or cuda.
        #[arg(long, default_value = "cpu")]
        backend: Backend,
    },
    /// Compare golden cases, contracts, a run and benchmarks on a GPU with the CPU, in one table.
    GpuCheck {
        /// The back end to check: wgpu or cuda.
        #[arg(long)]
        backend: Backend,
        /// Folders of golden cases, language models first; those of the repository by default.
        #[arg(long)]
        cases: Vec<PathBuf>,
        /// Use a tiny run instead of the quickstart, and run no benchmarks.
        #[arg(long)]
        quick: bool,
    },
    /// Pack all that a GPU machine without cargo and network needs to check and measure itself, below 60 MiB.
    GpuKit {
        /// The folder of the kit; an earlier kit is replaced.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// A program with CUDA that was built already, instead of a build.
        #[arg(long, value_name = "PROGRAM")]
        binary: Option<PathBuf>,
        /// Also pack a program with WGPU, to run on the same card through Vulkan; it is built if none is named.
        #[arg(long, value_name = "PROGRAM", num_args = 0..=1)]
        wgpu: Option<Option<PathBuf>>,
        /// Leave the data set and the model of the quickstart out.
        #[arg(long)]
        without_data: bool,
        /// Build with the release profile, which shares nothing with other builds.
        #[arg(long)]
        release: bool,
    },
}

/// The arguments of `bench`.
#[derive(Args)]
pub(super) struct BenchCommand {
    /// Benchmarks, each also by the first letters of several; all benchmarks by default.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The back end that computes tensors: cpu, wgpu or cuda.
    #[arg(long, default_value = "cpu")]
    backend: Backend,
    /// The number format of a language model's matrices; other benchmarks ignore it.
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// The number of threads; by default as many as a run has.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Run each benchmark on one thread too, and tell how much of several threads is used.
    #[arg(long)]
    scaling: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Measure nothing; compare two files that `--json` printed.
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"], conflicts_with_all = ["names", "threads", "scaling", "json"])]
    compare: Option<Vec<PathBuf>>,
    /// Also write the comparison as a page.
    #[arg(long, value_name = "PAGE", requires = "compare")]
    to: Option<PathBuf>,
}

impl BenchCommand {
    fn asked(self) -> bench::BenchArgs {
        let Self { names, backend, precision, threads, scaling, json, .. } = self;
        bench::BenchArgs { names, backend, precision, threads, scaling, json }
    }
}

pub(super) fn start(command: Command, root: &Path) -> Result<()> {
    match command {
        Command::Test => ci::test(),
        Command::Ci => ci::ci(),
        Command::Pages { check } => pages::pages(root, check),
        Command::Publish { run, name, command, commit } => pages::publish(&run, &name, &command, commit, root),
        Command::Bench(command) => match command.compare.as_deref() {
            Some([before, after]) => bench::compare(&[before.clone(), after.clone()], command.to.as_deref()),
            _ => bench::bench(&command.asked(), root),
        },
        Command::Contracts { dir, backend } => contracts::contracts(&dir, backend),
        Command::GpuCheck { backend, cases, quick } => {
            let cases = if cases.is_empty() { gpu_check::own_cases(root) } else { cases };
            gpu_check::gpu_check(&gpu_check::CheckArgs { backend, cases, quick }, root)
        }
        Command::GpuKit { to, binary, wgpu, without_data, release } => {
            gpu_kit::gpu_kit(&gpu_kit::KitArgs { to, binary, wgpu, without_data, release }, root)
        }
    }
}
