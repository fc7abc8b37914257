//! What a user of this crate relies on: golden values, contracts, checkpoints, and that training learns.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
use ra_core::{Catalog, Dataset, Device, History, Recommender, Sequences, Silent, contract::check_recommender};
use ra_idmodels::{
    Bert4RecConfig, Gru4RecConfig, IdConfig, Job, Loss, Pop, SasRecConfig, TrainConfig, Trained, golden,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Item `t + 1` follows item `t`, in a ring.
fn ring(items: u32) -> Dataset {
    let rows = |from: u32, n: u32| (from..from + n).map(|t| t % items + 1).collect::<Vec<u32>>();
    Dataset {
        name: "ring".into(),
        users: (0..24).map(|u| u.to_string()).collect(),
        catalog: Catalog::new((0..items).map(|i| i.to_string()).collect(), vec![String::new(); items as usize]),
        train: Sequences::from_rows((0..24).map(|u| rows(u, 3 + u % 5))),
        valid: Sequences::from_rows(vec![Vec::<u32>::new(); 24]),
        test: Sequences::from_rows(vec![Vec::<u32>::new(); 24]),
        filter: "none".into(),
        split: "none".into(),
    }
}

fn training() -> TrainConfig {
    TrainConfig { epochs: 80, lr: 0.01, batch: 12, patience: 0, ..TrainConfig::default() }
}

fn sasrec(loss: Loss) -> IdConfig {
    let train = training();
    IdConfig::Sasrec(SasRecConfig { dim: 16, max_length: 6, dropout: 0.1, loss, train, ..SasRecConfig::default() })
}

fn gru4rec(loss: Loss) -> IdConfig {
    let config = Gru4RecConfig { dim: 16, hidden: 24, layers: 2, max_length: 6, dropout: 0.1, ..Default::default() };
    IdConfig::Gru4Rec(Gru4RecConfig { loss, train: training(), ..config })
}

fn bert4rec() -> IdConfig {
    let config = Bert4RecConfig { dim: 16, inner: 32, max_length: 6, dropout: 0.1, ..Default::default() };
    // A post-norm encoder does not stand the rate of the others, and the cloze task has few targets an epoch.
    IdConfig::Bert4Rec(Bert4RecConfig { train: TrainConfig { epochs: 300, lr: 0.003, ..training() }, ..config })
}

fn train(config: &IdConfig, data: &Dataset, seed: u64) -> Trained {
    let job = Job { dataset: data, device: &Device::flex(), seed, validate: None, progress: &Silent, state: None };
    ra_idmodels::fit(config, &job).unwrap()
}

#[test]
fn every_model_agrees_with_its_golden_case() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let read = |name: String| -> BTreeMap<String, golden::Array> {
        let bytes = std::fs::read(dir.join(name)).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let numbers = |view: &safetensors::tensor::TensorView<'_>| match view.dtype() {
            safetensors::Dtype::F32 => {
                view.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
            }
            _ => view
                .data()
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64)
                .collect::<Vec<f64>>(),
        };
        file.iter().map(|(n, v)| (n.to_string(), (v.shape().to_vec(), numbers(&v)))).collect()
    };
    for model in ["sasrec", "gru4rec", "bert4rec", "bprmf", "lightgcn"] {
        let case = serde_json::from_slice(&std::fs::read(dir.join(format!("{model}.json"))).unwrap()).unwrap();
        let got = golden::verify_case(&case, &read(format!("{model}.input.safetensors"))).unwrap().unwrap();
        for (name, (shape, want)) in read(format!("{model}.expected.safetensors")) {
            let (found, values) = &got[&name];
            assert_eq!(*found, shape, "{model} {name}");
            let top = want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
            let (atol, rtol) = if name.starts_with("grad") { (1e-6, 1e-4) } else { (1e-5, 1e-5) };
            let error = values.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
            assert!(error <= atol + rtol * top, "{model} {name}: {error}");
        }
    }
}

/// Trains on a ring, writes and loads the model, and asks it what follows a history that ends in 3 and `short`, which
/// ends in 6.
fn learns(config: &IdConfig, short: &[u32]) {
    let (data, device) = (ring(7), Device::flex());
    let dir = tempfile::tempdir().unwrap();
    config.check().unwrap();
    let trained = train(config, &data, 3);
    let path = dir.path().join("model.safetensors");
    trained.save(&path).unwrap();
    let loaded = ra_idmodels::load(config, &data, &path, &device).unwrap();
    let all: Vec<u32> = data.catalog.all().collect();
    let histories = [History { user: 0, items: &[1, 2, 3] }, History { user: 1, items: short }];
    check_recommender(&*loaded.model, &histories, &all);
    let vectors = |model: &dyn Recommender| (model.users(&histories).into_data(), model.items(&all).into_data());
    assert_eq!(vectors(&*loaded.model), vectors(&*trained.model), "a checkpoint is the model, bit for bit");
    let next = loaded.model.users(&histories).matmul(loaded.model.items(&all).transpose()).argmax(1);
    assert_eq!(next.into_data().iter::<i64>().collect::<Vec<_>>(), vec![3, 6], "{config:?}: items 4 and 7 follow");
}

#[test]
fn training_learns_what_follows_and_survives_a_checkpoint() {
    for loss in [Loss::Softmax, Loss::Bce] {
        learns(&sasrec(loss), &[6]);
    }
}

#[test]
fn gru4rec_learns_what_follows_and_survives_a_checkpoint() {
    for loss in [Loss::Softmax, Loss::SampledSoftmax] {
        learns(&gru4rec(loss), &[6]);
    }
}

#[test]
fn bert4rec_learns_what_follows_and_survives_a_checkpoint() {
    // Users have three items or more, so training never shows a mask behind a single one.
    learns(&bert4rec(), &[5, 6]);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let data = ring(5);
    for config in [sasrec(Loss::Softmax), gru4rec(Loss::Softmax), bert4rec()] {
        let vectors = |seed| train(&config, &data, seed).model.items(&[1, 2, 3, 4, 5]).into_data();
        assert_eq!(vectors(1), vectors(1));
        assert_ne!(vectors(1), vectors(2));
    }
}

#[test]
fn a_long_history_counts_by_its_newest_items_and_an_empty_one_is_no_panic() {
    let (data, device) = (ring(5), Device::flex());
    let items = data.catalog.len();
    let long: Vec<u32> = (0..200).map(|t| t % 5 + 1).collect();
    let check = |model: &dyn Recommender, read: usize| {
        let vector = |items: &[u32]| model.users(&[History { user: 0, items }]).into_data();
        assert_eq!(vector(&long), vector(&long[long.len() - read..]));
        check_recommender(model, &[History { user: 0, items: &[] }, History { user: 1, items: &long }], &[1, 5]);
    };
    let (sasrec, gru4rec, bert4rec) = (SasRecConfig::default(), Gru4RecConfig::default(), Bert4RecConfig::default());
    check(&sasrec.init(items, 1, &device), sasrec.max_length);
    check(&gru4rec.init(items, 1, &device), gru4rec.max_length);
    // One of its places is the mask's.
    check(&bert4rec.init(items, 1, &device), bert4rec.max_length - 1);
}

#[test]
fn a_config_that_makes_no_sense_is_refused_by_its_key() {
    for (json, key) in [
        (r#"{"kind": "gru4rec", "hidden": 0}"#, "id.hidden"),
        (r#"{"kind": "gru4rec", "loss": "bce", "negatives": 0}"#, "id.negatives"),
        (r#"{"kind": "bert4rec", "heads": 3}"#, "id.heads"),
        (r#"{"kind": "bert4rec", "max_length": 1}"#, "id.max_length"),
        (r#"{"kind": "bert4rec", "mask": 0.0}"#, "id.mask"),
    ] {
        let config: IdConfig = serde_json::from_str(json).unwrap();
        let message = config.check().unwrap_err();
        assert!(message.contains(key), "{message}");
        assert!(json.contains(config.name()));
    }
    let typo = serde_json::from_str::<IdConfig>(r#"{"kind": "bert4rec", "mash": 0.3}"#).unwrap_err().to_string();
    assert!(typo.contains("mash"), "{typo}");
}

#[test]
fn popularity_counts_training_interactions() {
    let data = ring(4);
    let pop = Pop::new(&data, &Device::flex());
    check_recommender(&pop, &[History { user: 0, items: &[] }], &[1, 2, 3, 4]);
    let counts: Vec<f32> = pop.items(&[1, 2]).into_data().iter().collect();
    assert_eq!(counts, data.popularity()[1..3].iter().map(|&c| c as f32).collect::<Vec<_>>());
}
