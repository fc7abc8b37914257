//! LoRA adapters: peft's are merged as peft does it, and ours are read back, by this crate and by peft.
use crate::{device, golden_of, tokenizer};
use burn::tensor::Tensor;
use ra_core::{LanguageModel, TextBatch, encode, rng};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A copy of a golden model with a tokenizer.
fn model(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden_of(&format!("{name}/model")).join(file), dir.path().join(file)).unwrap();
    }
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer()).unwrap();
    dir
}

fn adapter(name: &str) -> PathBuf {
    golden_of(&format!("adapters/{name}"))
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn adapted(model: &Path, adapter: &Path) -> ra_llm::Result<ra_llm::PretrainedLm> {
    ra_llm::load_adapted(model, Some(adapter), None, &device())
}

/// The states of a text in the last layer.
fn states(lm: &dyn LanguageModel, ids: &[u32]) -> Vec<f32> {
    encode(lm, &TextBatch::from_rows(&[ids], &device()), None).last.into_data().iter().collect()
}

fn largest_difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

#[test]
fn an_adapter_changes_states_as_in_peft() {
    for name in ["bert", "gpt2", "llama", "llama-pattern"] {
        let known = json_of(&adapter(name).join("states.json"));
        let ids: Vec<u32> = serde_json::from_value(known["ids"].clone()).unwrap();
        let expected: Vec<Vec<f32>> = serde_json::from_value(known["last"].clone()).unwrap();
        let model = model(name.split('-').next().unwrap());
        let plain = ra_llm::load(model.path(), None, &device()).unwrap();
        let lm = adapted(model.path(), &adapter(name)).unwrap();
        assert!(largest_difference(&states(&*lm.model, &ids), &expected.concat()) < 2e-4, "{name}");
        assert!(largest_difference(&states(&*plain.model, &ids), &states(&*lm.model, &ids)) > 0.1, "{name}");
        assert_eq!(lm.params, plain.params);
        assert_ne!(lm.fingerprint, plain.fingerprint, "{name}: the identity covers the adapter");
    }
}

/// A copy of BERT's adapter with other keys in its configuration.
fn changed(keys: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut config = json_of(&adapter("bert").join("adapter_config.json"));
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    std::fs::write(dir.path().join("adapter_config.json"), config.to_string()).unwrap();
    std::fs::copy(adapter("bert").join("adapter_model.safetensors"), dir.path().join("adapter_model.safetensors"))
        .unwrap();
    dir
}

#[test]
fn what_is_not_supported_and_what_is_left_over_is_named() {
    let bert = model("bert");
    for (keys, told) in [
        (json!({ "use_dora": true }), "DoRA"),
        (json!({ "modules_to_save": ["classifier"] }), "modules_to_save"),
        (json!({ "bias": "all" }), "bias"),
        (json!({ "peft_type": "IA3" }), "IA3"),
        (json!({ "init_lora_weights": "pissa" }), "pissa"),
        (json!({ "a_new_kind": 3 }), "a_new_kind is 3"),
        (json!({ "target_modules": ["query", "value"] }), "target_modules and layers_to_transform do not name it"),
        (json!({ "layers_to_transform": 1 }), "layer.2"),
        (json!({ "r": 4 }), "rank 3"),
        (json!({ "alpha_pattern": { "query": 1, "self.query": 2 } }), "several patterns"),
        (json!({ "target_modules": "(" }), "not a supported expression"),
    ] {
        let error = adapted(bert.path(), changed(&keys).path()).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("adapter_"), "{keys}: {error}");
    }
    let other = adapted(model("llama").path(), &adapter("bert")).unwrap_err().to_string();
    assert!(other.contains("is no matrix of the model") && other.contains("another model"), "{other}");
    let empty = tempfile::tempdir().unwrap();
    assert!(adapted(bert.path(), empty.path()).unwrap_err().to_string().contains("adapter_config.json: not found"));
    std::fs::copy(adapter("bert").join("adapter_config.json"), empty.path().join("adapter_config.json")).unwrap();
    std::fs::write(empty.path().join("adapter_model.bin"), "x").unwrap();
    assert!(adapted(bert.path(), empty.path()).unwrap_err().to_string().contains("pickle"));
}

#[test]
fn an_adapter_alone_says_whose_it_is_and_how_it_is_used() {
    let told = ra_llm::load(&adapter("bert"), None, &device()).unwrap_err().to_string();
    assert!(told.contains("an adapter of golden/bert") && told.contains("as its adapter"), "{told}");
}

#[test]
fn a_scale_that_changes_changes_the_identity() {
    let bert = model("bert");
    let print = |keys: Value| adapted(bert.path(), changed(&keys).path()).unwrap().fingerprint;
    let own = print(json!({}));
    assert_ne!(print(json!({ "lora_alpha": 6 })), own);
    assert_eq!(print(json!({ "lora_dropout": 0.5, "revision": "main" })), own, "what has no effect does not count");
}

/// Random LoRA matrices for the layers of a model from `first` up.
fn random(lm: &dyn LanguageModel, first: usize, rank: usize) -> Vec<[Tensor<2>; 2]> {
    let (random, mut all) = (&mut rng(7, "adapter", 0), Vec::new());
    lm.tunable().unwrap().with_linears(first, &mut |linear| {
        let [input, output] = linear.dims();
        all.push([[input, rank], [rank, output]].map(|shape| ra_core::normal(shape, 0.2, random, &device()).val()));
        linear.clone()
    });
    all
}

/// `RA_REC_PEFT` may name a folder: models, adapters and states are written there, for `make_adapters.py check`.
#[test]
fn our_matrices_are_read_back_as_they_were_applied() {
    let ids = [5, 17, 3, 60, 22, 9, 41];
    for name in ["bert", "gpt2", "llama"] {
        let model = model(name);
        let lm = ra_llm::load(model.path(), None, &device()).unwrap().model;
        let matrices = random(&*lm, 1, 2);
        let mut next = matrices.iter();
        let tuned = lm.tunable().unwrap().with_linears(1, &mut |linear| {
            let [down, up] = next.next().unwrap().clone();
            linear.plus(down.matmul(up))
        });
        let kept = std::env::var("RA_REC_PEFT").ok().map(|folder| Path::new(&folder).join(name));
        let dir = tempfile::tempdir().unwrap();
        let to = kept.as_deref().unwrap_or(dir.path());
        std::fs::create_dir_all(to).unwrap();
        ra_llm::write_adapter(model.path(), 1, &matrices, to).unwrap();
        let read = adapted(model.path(), to).unwrap().model;
        let expected = states(&*tuned, &ids);
        assert!(largest_difference(&states(&*read, &ids), &expected) < 1e-4, "{name}");
        let width = lm.spec().width;
        let rows: Vec<&[f32]> = expected.chunks(width).collect();
        std::fs::write(to.join("states.json"), json!({ "last": rows }).to_string()).unwrap();
        let odd = ra_llm::write_adapter(model.path(), 1, &matrices[1..], to).unwrap_err().to_string();
        assert!(odd.contains("cannot be those of layers"), "{odd}");
    }
}
