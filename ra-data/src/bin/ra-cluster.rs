//! Builds data sets on many machines; see `cargo run --features ra-data/ballista --bin ra-cluster -- --help`. Works
//! with any Ballista 55 cluster; `scheduler` and `executor` start one if you have none.
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
    /// Start a scheduler, which hands out work.
    Scheduler {
        /// The address to listen on.
        #[arg(long, default_value = "127.0.0.1")]
        host: IpAddr,
        /// The port to listen on.
        #[arg(long, default_value_t = 50050)]
        port: u16,
    },
    /// Start an executor, which does the work.
    Executor {
        /// The host of the scheduler.
        #[arg(long, default_value = "localhost")]
        scheduler: String,
        /// The port of the scheduler.
        #[arg(long, default_value_t = 50050)]
        scheduler_port: u16,
        /// The address under which other machines reach this one.
        #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
        host: IpAddr,
        /// The port for data; the next port is for control messages.
        #[arg(long, default_value_t = 50051)]
        port: u16,
        /// The number of tasks to run at once.
        #[arg(long, default_value_t = 1)]
        tasks: usize,
    },
    /// Filter, split and draw, and write the tables.
    Build {
        /// The scheduler, such as df://localhost:50050; without it everything runs in this process.
        #[arg(long)]
        scheduler: Option<String>,
        /// What to read and how, as JSON: the keys of a `DataConfig`, plus `curate` and `max_history` to also draw
        /// samples.
        #[arg(long)]
        data: String,
        /// The seed of the draw.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The output folder, which all machines must see.
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
