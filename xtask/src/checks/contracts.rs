//! `cargo xtask contracts`: checks the contract of every model in a folder, on a back end. The tests check the same;
//! this command is for machines without cargo.
use crate::bench::dataset;
use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Tensor, TensorData};
use ra_align::{LayerwiseConfig, ProjectionKind};
use ra_core::testkit::contract::{check_aligner, check_language_model, check_recommender};
use ra_core::{
    Backend, Dataset, Device, History, IdTable, LmSpec, NoProgress, Pooling, Sequences, SplitMix, UserId, host_numbers,
    normal, open_device, rng, write_atomic,
};
use ra_eval::{EvalConfig, HeldOut, Part, Seen, evaluate};
use ra_idmodels::{IdConfig, IdMethod, Job};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The number of items in the data set that ID methods learn: item `t + 1` follows item `t`, and the first follows the
/// last.
const ITEMS: u32 = 12;

/// Checks the language models under `dir` (folders of golden cases), every ID method after two epochs, every alignment
/// module and the ranking, and prints one line per contract.
///
/// # Errors
/// If a contract is broken, or if there is no language model under `dir`.
pub(crate) fn contracts(dir: &Path, backend: Backend) -> Result<()> {
    let device = open_device(backend)?;
    let mut folders = Vec::new();
    find(dir, &mut folders)?;
    if folders.is_empty() {
        bail!("{}: holds no language model; name a folder of golden cases", dir.display());
    }
    let broken = quietly(|| check_all(dir, &folders, &device));
    if broken > 0 {
        bail!("{broken} contracts are broken on {}", backend.name());
    }
    Ok(())
}

/// A panic hook.
type Hook = Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Runs `checks` without printing the messages of panics on this thread: a broken contract panics, and the line of its
/// model reports it. The previous hook stays in use for other threads, and is restored afterwards.
fn quietly<T>(checks: impl FnOnce() -> T) -> T {
    let (before, own): (Hook, _) = (Arc::from(std::panic::take_hook()), std::thread::current().id());
    let others = before.clone();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() != own {
            others(panic);
        }
    }));
    let found = checks();
    std::panic::set_hook(Box::new(move |panic| before(panic)));
    found
}

/// Prints one line per contract, and returns how many are broken.
fn check_all(dir: &Path, folders: &[PathBuf], device: &Device) -> usize {
    let mut broken = 0;
    let mut tell = |name: &str, check: &dyn Fn() -> Result<()>| {
        let found = catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| bail!("{}", said(&*panic)));
        match found {
            Ok(()) => say!("ok   {name}"),
            Err(error) => {
                broken += 1;
                say!("FAIL {name}: {error:#}");
            }
        }
    };
    for folder in folders {
        let name = folder.strip_prefix(dir).unwrap_or(folder).display();
        for pooling in [Pooling::First, Pooling::Last, Pooling::Mean] {
            tell(&format!("{name}, {pooling:?}"), &|| language_model(folder, pooling, device));
        }
    }
    for kind in IdConfig::KINDS {
        tell(kind, &|| id_method(kind, device));
    }
    let projections = [
        ProjectionKind::Dense,
        ProjectionKind::LowRank(2),
        ProjectionKind::Diagonal,
        ProjectionKind::Vector,
        ProjectionKind::Shared,
    ];
    for projection in projections {
        tell(&format!("projection {projection:?}"), &|| aligner(projection, device));
    }
    tell("ranking", &|| ranking(device));
    broken
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// Collects model folders under `dir`, in order.
fn find(dir: &Path, folders: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("{}: cannot be read", dir.display()))?;
    let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths.into_iter().filter(|path| path.is_dir()) {
        if path.join("config.json").exists() && path.join("model.safetensors").exists() {
            folders.push(path);
        } else {
            find(&path, folders)?;
        }
    }
    Ok(())
}

fn language_model(folder: &Path, pooling: Pooling, device: &Device) -> Result<()> {
    let config: serde_json::Value = ra_core::read_json(&folder.join("config.json"))?;
    let words = config.get("vocab_size").and_then(serde_json::Value::as_u64).context("config.json lacks vocab_size")?;
    check_language_model(&ra_llm::load_weights(folder, Some(pooling), device)?, u32::try_from(words)?);
    Ok(())
}

fn id_method(kind: &str, device: &Device) -> Result<()> {
    let train = Sequences::from_numbers((0..ITEMS).map(|u| (u..u + 5).map(|t| t % ITEMS + 1).collect::<Vec<_>>()));
    let data = dataset(ITEMS as usize, ITEMS as usize, train);
    let folder = tempfile::tempdir()?;
    let vectors = normal([ITEMS as usize + 1, 8], 1.0, &mut rng(1, "vectors", 0), device).val();
    let mut config = json!({ "kind": kind });
    if kind == "import" {
        let items = folder.path().join("items.safetensors");
        write_vectors(&items, vectors.clone().slice([1..ITEMS as usize + 1]))?;
        config["items"] = json!(items);
    }
    let read = |config| serde_json::from_value::<IdConfig>(config).with_context(|| format!("the ID method {kind}"));
    if read(config.clone())?.train().is_some() {
        config["train"] = json!({ "epochs": 2, "batch": 16 });
    }
    let config = read(config)?;
    let features = config.reads_features().then_some(&vectors);
    let job = Job::new(&data, device);
    let job = features.map_or(job, |features| job.features(features));
    let trained = ra_idmodels::fit(&config, &job)?;
    let users = UserId::all(data.users.len()).zip(data.train.rows());
    let histories: Vec<History<'_>> = users.map(|(user, items)| History { user, items }).collect();
    check_recommender(&*trained.model, &histories, &data.catalog.all().collect::<Vec<_>>());
    Ok(())
}

/// Writes a table of vectors, `[rows, dim]`, in the format of other tools.
fn write_vectors(path: &Path, vectors: Tensor<2>) -> Result<()> {
    let shape = vectors.dims().to_vec();
    let bytes: Vec<u8> = host_numbers(vectors).into_iter().flat_map(f32::to_le_bytes).collect();
    let view = TensorView::new(Dtype::F32, shape, &bytes)?;
    Ok(write_atomic(path, &safetensors::serialize([("items", view)], None)?)?)
}

/// Checks that a ranking on the device equals that of the CPU. Vectors of small whole numbers have products that are
/// exact in any order, and many ties. Items with equal vectors tie, whatever the vector and whichever block they are
/// in; the last block is shorter than the others.
fn ranking(device: &Device) -> Result<()> {
    const USERS: usize = 70;
    const ITEMS: usize = 5000;
    let mut random = SplitMix::new(2);
    let mut rows = |most: usize| {
        let row = |user| (0..1 + user % most).map(|_| random.below(ITEMS) as u32 + 1).collect::<Vec<_>>();
        Sequences::from_numbers((0..USERS).map(row).collect::<Vec<_>>())
    };
    let (train, valid, test) = (rows(40), rows(1), rows(3));
    let data = Dataset { valid, test, ..dataset(USERS, ITEMS, train) };
    let ranked = |users: &[f32], items: &[f32], seen, device: &Device| {
        let table = |values: &[f32], rows| {
            Tensor::from_data(TensorData::new(values.to_vec(), [rows, values.len() / rows]), device)
        };
        let model = IdTable::new(table(users, USERS), table(items, ITEMS + 1));
        let config = EvalConfig { keep_top: 50, seen, block_mib: 1, ..EvalConfig::default() };
        let mut found = evaluate(&model, &HeldOut::new(&data, Part::Test), &config, &NoProgress);
        found.seconds = 0.0;
        found
    };
    let mut random = SplitMix::new(1);
    let mut table = |rows: usize| (0..rows * 8).map(|_| random.below(7) as f32 - 3.0).collect::<Vec<_>>();
    let (users, items) = (table(USERS), table(ITEMS + 1));
    let on = |device: &Device| ranked(&users, &items, Seen::Removed, device);
    let (here, cpu) = (on(device), on(&open_device(Backend::Cpu)?));
    ensure!(here.users == cpu.users && here.ranks == cpu.ranks, "targets have other ranks than on the CPU");
    ensure!(here.top == cpu.top, "the best items differ from those on the CPU");
    ensure!(here == cpu, "metrics differ from those on the CPU");
    let mut table = |rows: usize| (0..rows * 64).map(|_| random.unit() as f32 - 0.5).collect::<Vec<_>>();
    let (users, mut items) = (table(USERS), table(1 + ITEMS / 2));
    items.extend_from_within(64..);
    let twins = ranked(&users, &items, Seen::Kept, device);
    ensure!(twins.tied_share == 1.0, "items with equal vectors tie for only {} of the targets", twins.tied_share);
    Ok(())
}

fn aligner(projection: ProjectionKind, device: &Device) -> Result<()> {
    let spec = LmSpec { layers: 3, width: 6, max_tokens: 8, causal: false, pooling: Pooling::First };
    let config = LayerwiseConfig { projection, dim: 5, n_tok: 2, n_ctx: 3, first_layer: 1, init_std: 0.1 };
    check_aligner(&config.init(&spec, "user", 1, &device.clone().autodiff()), 5, 3, 6, device);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_panic_is_heard_again_after_the_checks() {
        let heard = Arc::new(AtomicUsize::new(0));
        // Other tests may panic meanwhile; their panics are still printed.
        let (counted, own, before) = (heard.clone(), std::thread::current().id(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| match std::thread::current().id() == own {
            true => drop(counted.fetch_add(1, Ordering::Relaxed)),
            false => before(panic),
        }));
        let panics = || drop(catch_unwind(|| panic!("said")));
        quietly(panics);
        assert_eq!(heard.load(Ordering::Relaxed), 0);
        panics();
        assert_eq!(heard.load(Ordering::Relaxed), 1);
    }
}
