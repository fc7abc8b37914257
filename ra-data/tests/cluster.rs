//! DataFusion in this process, and Ballista with a scheduler and two executors on loopback, build what this crate
//! builds.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ra_core::SplitMix;
use ra_data::{Budget, CurateConfig, CurateMethod, DataConfig, SampleExport, Split, to_parquet_within};
use std::fmt::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SEED: u64 = 9;

const HISTORY: usize = 8;

/// Processes that end with the test.
struct Cluster(Vec<Child>);

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ra_cluster(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ra-cluster"));
    command.args(args);
    command
}

/// Returns the first of `n` consecutive free ports.
fn ports(n: u16) -> u16 {
    (1..1000)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port())
        .find(|&first| first < u16::MAX - n && (first..first + n).all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok()))
        .unwrap()
}

fn start() -> (Cluster, String) {
    let first = ports(5);
    let port = first.to_string();
    let child = |args: &[&str]| ra_cluster(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut cluster = Cluster(vec![child(&["scheduler", "--port", &port])]);
    let wait = |port: u16| {
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(since.elapsed() < Duration::from_secs(60), "nothing listens on {port}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    wait(first);
    for own in [first + 1, first + 3] {
        cluster.0.push(child(&["executor", "--scheduler-port", &port, "--port", &own.to_string()]));
        wait(own);
    }
    (cluster, format!("df://localhost:{port}"))
}

/// A log with repeats, equal times, and users and items that are filtered out.
fn log(dir: &Path) -> DataConfig {
    let mut random = SplitMix::new(3);
    let mut rows = String::from("user\titem\tts\n");
    for _ in 0..6_000 {
        let (user, item) = (random.below(40) * random.below(30), random.below(20) * random.below(20));
        writeln!(rows, "u{user}\t{item}\t{}", 1_000 + random.below(3_000)).unwrap();
    }
    let titles = (1..400).map(|i| format!("{i}\tthing {} {} (1990)\n", i % 7, i % 11)).collect::<String>();
    let (log, items) = (dir.join("log.tsv"), dir.join("items.tsv"));
    std::fs::write(&log, rows).unwrap();
    std::fs::write(&items, format!("item\ttitle\n{titles}")).unwrap();
    DataConfig { interactions: Some(log), items: Some(items), k_core: 5, ..DataConfig::default() }
}

fn table(path: &Path) -> RecordBatch {
    let mut files: Vec<PathBuf> = match path.is_dir() {
        true => std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect(),
        false => vec![path.into()],
    };
    files.sort();
    let batches = files.iter().flat_map(|path| {
        let file = std::fs::File::open(path).unwrap();
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap)
    });
    let batches: Vec<RecordBatch> = batches.collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn build(config: &DataConfig, curate: &CurateConfig, scheduler: Option<&str>, out: &Path) -> serde_json::Value {
    let mut data = serde_json::to_value(config).unwrap();
    data["curate"] = serde_json::to_value(curate).unwrap();
    data["max_history"] = HISTORY.into();
    let mut command = ra_cluster(&["build", "--seed", &SEED.to_string(), "--data", &data.to_string(), "--out"]);
    command.arg(out).args(scheduler.into_iter().flat_map(|url| ["--scheduler", url]));
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn one_process_and_a_cluster_build_the_same_data_set() {
    let dir = tempfile::tempdir().unwrap();
    let (_cluster, url) = start();
    let plain = log(dir.path());
    let paper = CurateConfig { method: CurateMethod::Paper, budget: Budget::Share(0.2), ..CurateConfig::default() };
    let random = CurateConfig { method: CurateMethod::Random, budget: Budget::Count(50), ..CurateConfig::default() };
    let cases = [
        ("leave one out", plain.clone(), &paper),
        ("dedupe", DataConfig { dedupe: true, ..plain.clone() }, &random),
        ("last two", DataConfig { split: Split::LeaveLastN, leave_n: 2, ..plain.clone() }, &random),
        ("ratio", DataConfig { split: Split::Ratio, ..plain.clone() }, &random),
        ("temporal", DataConfig { split: Split::Temporal, ..plain.clone() }, &paper),
    ];
    for (case, config, curate) in cases {
        let own = dir.path().join("own");
        let expected = to_parquet_within(
            "cluster",
            &config,
            Some(SampleExport { curate, max_history: HISTORY, seed: SEED }),
            16 << 20,
            &own,
        )
        .unwrap();
        for (name, scheduler) in [("datafusion", None), ("ballista", Some(url.as_str()))] {
            let (since, out) = (Instant::now(), dir.path().join(name));
            let built = build(&config, curate, scheduler, &out);
            let seconds = since.elapsed().as_secs_f64();
            println!("{case}: {name} {seconds:.1} s, fingerprint {}", built["fingerprint"]);
            assert_eq!(built["fingerprint"], serde_json::to_value(&expected.fingerprint).unwrap(), "{case} {name}");
            for tables in ["interactions", "items.parquet", "samples.parquet"] {
                assert_eq!(table(&out.join(tables)), table(&own.join(tables)), "{case} {name} {tables}");
            }
        }
    }
}
