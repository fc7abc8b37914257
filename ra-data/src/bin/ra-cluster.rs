//! Data sets built by many machines; `cargo run --features ra-data/ballista --bin ra-cluster -- --help`.
//! Any Ballista 55 cluster will do; `scheduler` and `executor` start one where there is none.
#![allow(clippy::print_stdout)]
use ballista::prelude::SessionContextExt;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use clap::Parser;
use datafusion::prelude::SessionContext;
use ra_data::{CurateConfig, DataConfig, SampleExport, cluster};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Parser)]
#[command(about = "Data sets built by many machines")]
enum Command {
    /// Give out work.
    Scheduler {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1")]
        host: IpAddr,
        /// The port.
        #[arg(long, default_value_t = 50050)]
        port: u16,
    },
    /// Do work.
    Executor {
        /// Where the scheduler is.
        #[arg(long, default_value = "localhost")]
        scheduler: String,
        /// The scheduler's port.
        #[arg(long, default_value_t = 50050)]
        scheduler_port: u16,
        /// The address under which others reach this machine.
        #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
        host: IpAddr,
        /// A port for data; the next one is for orders.
        #[arg(long, default_value_t = 50051)]
        port: u16,
        /// Tasks at once.
        #[arg(long, default_value_t = 1)]
        tasks: usize,
    },
    /// Filter, split, draw, and write the tables.
    Build {
        /// A scheduler, as in df://localhost:50050; without one everything runs in this process.
        #[arg(long)]
        scheduler: Option<String>,
        /// What is read and how, as JSON: the keys of a `DataConfig`, and `curate` and `max_history` for samples.
        #[arg(long)]
        data: String,
        /// Seed of the draw.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A folder that all machines see.
        #[arg(long)]
        out: PathBuf,
    },
}

async fn start(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Scheduler { host, port } => {
            let config = SchedulerConfig { bind_host: host.to_string(), bind_port: port, ..SchedulerConfig::default() };
            let cluster = BallistaCluster::new_from_config(&config).await?;
            start_server(cluster, SocketAddr::new(host, port), Arc::new(config)).await?;
        }
        Command::Executor { scheduler, scheduler_port, host, port, tasks } => {
            let config = ExecutorProcessConfig {
                bind_host: host.to_string(),
                external_host: Some(host.to_string()),
                port,
                grpc_port: port + 1,
                scheduler_host: scheduler,
                scheduler_port,
                scheduler_connect_timeout_seconds: 30,
                vcores: tasks,
                ..ExecutorProcessConfig::default()
            };
            start_executor_process(Arc::new(config)).await?;
        }
        Command::Build { scheduler, data, seed, out } => {
            let mut data: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&data)?;
            let curate: Option<CurateConfig> = data.remove("curate").map(serde_json::from_value).transpose()?;
            let max_history = data.remove("max_history").map(serde_json::from_value).transpose()?.unwrap_or(50);
            let config: DataConfig = serde_json::from_value(data.into())?;
            let context = match scheduler {
                Some(url) => SessionContext::remote(&url).await?,
                None => SessionContext::new(),
            };
            let samples = curate.as_ref().map(|curate| SampleExport { curate, max_history, seed });
            let built = cluster::to_parquet_on(&context, "cluster", &config, samples, &out).await?;
            println!("{}", serde_json::to_string_pretty(&built)?);
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    start(Command::parse()).await
}
