//! `serve`: a service over a bundle.
use crate::serve::{self, ServeConfig};
use anyhow::Result;
use ra_core::{Backend, open_device};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder of a bundle.
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// The address to listen on; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// The language model of a bundle that was exported without it.
    #[arg(long, value_name = "PATH")]
    lm: Option<PathBuf>,
    /// A file with the token that requests must bring; by default the variable RA_REC_TOKEN, if it is set.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The number of threads that answer, up to 1024; all cores by default.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

pub(super) fn serve(args: &Args) -> Result<()> {
    let Args { bundle, listen, lm, token_file, threads } = args;
    let config = ServeConfig {
        bundle: bundle.clone(),
        listen: listen.clone(),
        lm: lm.clone(),
        token_file: token_file.clone(),
        threads: threads.map(usize::from),
    };
    serve::serve(&config, &open_device(Backend::Cpu)?)
}
