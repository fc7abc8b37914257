//! What the development of the project needs beside the commands of everybody.
use crate::bench;
use crate::checks::{ci, contracts, gpu_check};
use crate::pages;
use anyhow::Result;
use clap::Subcommand;
use ra_core::{Backend, Precision};
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run everything that CI runs as tests.
    Test,
    /// Format, lints, tests, the WGPU back end, documentation, dependency checks.
    Ci,
    /// Write the pages that are made of the source and of published reports.
    Pages {
        /// Write nothing; fail if a page is out of date or has a figure that no published report has.
        #[arg(long)]
        check: bool,
    },
    /// Copy the report of a finished run into docs/results.
    Publish {
        /// The run folder.
        run: PathBuf,
        /// What the report is called there.
        #[arg(long)]
        name: String,
        /// The command that made it.
        #[arg(long)]
        command: String,
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
    GpuCheck {
        /// wgpu or cuda.
        #[arg(long)]
        backend: Backend,
        /// Folders of golden cases, that of language models first; those of the repository by default.
        #[arg(long)]
        cases: Vec<PathBuf>,
        /// A tiny run instead of the quickstart, and no benches.
        #[arg(long)]
        quick: bool,
    },
}

pub(super) fn start(command: Command, root: &Path) -> Result<()> {
    match command {
        Command::Test => ci::test(),
        Command::Ci => ci::ci(),
        Command::Pages { check } => pages::pages(root, check),
        Command::Publish { run, name, command } => pages::publish(&run, &name, &command, root),
        Command::Bench { name, backend, precision, json } => {
            bench::bench(name.as_deref(), backend, precision, json, root)
        }
        Command::Contracts { dir, backend } => contracts::contracts(&dir, backend),
        Command::GpuCheck { backend, cases, quick } => {
            let cases = if cases.is_empty() { gpu_check::own_cases(root) } else { cases };
            gpu_check::gpu_check(&gpu_check::CheckArgs { backend, cases, quick }, root)
        }
    }
}
