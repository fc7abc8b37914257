//! Within a memory bound, all results equal those computed in memory.
use super::{config, write};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ra_core::SplitMix;
use ra_data::{
    Budget, CurateConfig, CurateMethod, DataConfig, SampleExport, Split, TimePoint, curate, prepare,
    samples_to_parquet, to_parquet, to_parquet_within,
};
use std::path::{Path, PathBuf};

const MEMORY: usize = 400_000;

const HISTORY: usize = 50;

/// A log with repeats, equal times, users and items that are filtered out, and an item without a title.
fn log(dir: &Path) -> DataConfig {
    let mut random = SplitMix::new(3);
    let mut rows = String::from("user\titem\tts\n");
    for _ in 0..20_000 {
        let (user, item) = (random.below(60) * random.below(40), random.below(25) * random.below(25));
        rows += &format!("u{user}\t{item}\t{}\n", 1_000 + random.below(3_000));
    }
    let titles = (1..600).map(|i| format!("{i}\tthing {} {}\n", i % 7, i % 11)).collect::<String>();
    config(write(dir, "log.tsv.zst", &rows), Some(write(dir, "titles.tsv", &format!("item\ttitle\n{titles}"))))
}

fn table(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_split_and_filter_gives_the_tables_of_the_log_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let plain = log(dir.path());
    let with = |change: &dyn Fn(&mut DataConfig)| {
        let mut config = plain.clone();
        change(&mut config);
        config
    };
    let test = write(dir.path(), "test.tsv", "user\titem\tts\nu0\t0\t5\nu4\t7\t1\nnew\tnew\t2\n");
    let configs = [
        plain.clone(),
        with(&|c| (c.dedupe, c.k_core) = (true, 7)),
        with(&|c| (c.k_core, c.split, c.leave_n) = (5, Split::LeaveLastN, 2)),
        with(&|c| c.split = Split::Ratio),
        with(&|c| (c.k_core, c.split) = (6, Split::Temporal)),
        with(&|c| {
            c.split = Split::Temporal;
            c.temporal_valid_from = Some(TimePoint::Number(2_000.0));
            c.temporal_test_from = Some(TimePoint::Number(3_000.0));
        }),
        with(&|c| (c.split, c.test) = (Split::Given, Some(test.clone()))),
    ];
    let paper = CurateConfig { method: CurateMethod::Paper, budget: Budget::Share(0.1), ..CurateConfig::default() };
    let random = CurateConfig { method: CurateMethod::Random, budget: Budget::Count(100), ..paper.clone() };
    for (config, choice) in configs.iter().zip([&paper, &random].into_iter().cycle()) {
        let (small, large) = (dir.path().join("small"), dir.path().join("large"));
        std::fs::create_dir_all(&large).unwrap();
        let bounded = to_parquet_within(
            "log",
            config,
            Some(SampleExport { curate: choice, max_history: HISTORY, seed: 9 }),
            MEMORY,
            &small,
        )
        .unwrap();
        assert!(bounded.partitions > 3, "the bound binds: {bounded:?}");
        let whole = prepare("log", config).unwrap();
        to_parquet(&whole, &large).unwrap();
        let data = &whole.dataset;
        assert_eq!(bounded.fingerprint, data.fingerprint());
        let totals = [data.train.total(), data.valid.total(), data.test.total()];
        assert_eq!(
            (bounded.users, bounded.items, bounded.interactions),
            (data.users.len(), data.catalog.len(), totals)
        );
        let parts: Vec<RecordBatch> = files(&small.join("interactions")).iter().map(|path| table(path)).collect();
        let parts = concat_batches(&parts[0].schema(), &parts).unwrap();
        assert_eq!(parts, table(&large.join("interactions.parquet")), "{}", data.split);
        assert_eq!(table(&small.join("items.parquet")), table(&large.join("items.parquet")));
        let chosen = curate(data, choice, HISTORY, 9).unwrap();
        samples_to_parquet(&whole, &chosen.samples, HISTORY, &large.join("samples.parquet")).unwrap();
        assert_eq!(table(&small.join("samples.parquet")), table(&large.join("samples.parquet")), "{}", data.split);
        assert_eq!(bounded.curated.unwrap(), chosen);
        let left = files(&small).iter().map(|p| p.file_name().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            left,
            [".ra-rec.json", "interactions", "items.parquet", "samples.parquet"],
            "and nothing else is left"
        );
    }
}

#[test]
fn what_cannot_fit_or_be_is_said_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (config, out) = (log(dir.path()), dir.path().join("out"));
    let error = |config: &DataConfig, samples, memory| {
        let error = to_parquet_within("log", config, samples, memory, &out).unwrap_err().to_string();
        assert!(files(&out).is_empty(), "{error}");
        error
    };
    assert!(error(&config, None, 4_000).starts_with("memory: "), "ids alone need more");
    let need = error(&config, None, 60_000);
    assert!(need.starts_with("memory: ") && need.contains("need at least") && need.contains(" MiB"), "{need}");
    assert!(error(&DataConfig { k_core: 5_000, ..config.clone() }, None, MEMORY).contains("k_core = 5000"));
    fn sampled(curate: &CurateConfig) -> SampleExport<'_> {
        SampleExport { curate, max_history: HISTORY, seed: 1 }
    }
    let hard = CurateConfig { method: CurateMethod::Hard, ..CurateConfig::default() };
    assert!(error(&config, Some(sampled(&hard)), MEMORY).contains("method is hard"));
    let all = CurateConfig { method: CurateMethod::Random, ..CurateConfig::default() };
    assert!(error(&config, Some(sampled(&all)), MEMORY).contains("budget is"));
}
