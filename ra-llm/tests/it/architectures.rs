//! Every architecture meets the contract; relatives of Llama match states from transformers; files in shards and in
//! half precision.
use crate::{device, golden_of};
use burn::tensor::{Device, Int, Tensor};
use ra_core::testkit::contract::check_language_model;
use ra_core::{LanguageModel, LayerInput, LmSpec, PooledPath, PooledText, Pooling, TextBatch, encode, run_layers};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

fn load(folder: &Path) -> Box<dyn LanguageModel> {
    ra_llm::load_weights(folder, None, &device()).unwrap()
}

#[test]
fn gpt2_llama_and_its_relatives_meet_the_contract_under_every_pooling() {
    for (name, words) in [("gpt2/model", 97), ("llama/model", 97), ("mistral", 61), ("qwen2", 61), ("qwen3", 61)] {
        for pooling in [Pooling::First, Pooling::Last, Pooling::Mean] {
            let lm = ra_llm::load_weights(&golden_of(name), Some(pooling), &device()).unwrap();
            check_language_model(&lm, words);
        }
        assert_eq!(load(&golden_of(name)).spec().pooling, Pooling::Last);
    }
}

/// A model whose fast path forgets the prefix, or its gradient.
#[derive(Debug)]
struct Forgetful {
    lm: Box<dyn LanguageModel>,
    keeps_value: bool,
}

impl Forgetful {
    fn path(&self) -> &dyn PooledPath {
        self.lm.pooled().unwrap()
    }
}

impl LanguageModel for Forgetful {
    fn spec(&self) -> LmSpec {
        self.lm.spec()
    }
    fn device(&self) -> Device {
        self.lm.device()
    }
    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3> {
        self.lm.embed(tokens, positions)
    }
    fn layer(&self, index: usize, input: LayerInput) -> Tensor<3> {
        self.lm.layer(index, input)
    }
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.lm.finish(hidden)
    }
    fn pooled(&self) -> Option<&dyn PooledPath> {
        Some(self)
    }
}

impl PooledPath for Forgetful {
    fn last_layer_at(&self, input: LayerInput, rows: Tensor<1, Int>) -> Tensor<3> {
        self.path().last_layer_at(input, rows)
    }
    fn pooled_text(&self, input: LayerInput, rows: Tensor<1, Int>) -> PooledText {
        self.path().pooled_text(input, rows)
    }
    fn pooled_layer(&self, text: &PooledText, prefix: Option<Tensor<3>>) -> Tensor<2> {
        self.path().pooled_layer(text, prefix.filter(|_| self.keeps_value).map(Tensor::detach))
    }
}

/// Returns the message of a check that fails.
fn panic_of(check: impl FnOnce()) -> String {
    let cause = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).unwrap_err();
    cause
        .downcast::<String>()
        .map(|told| *told)
        .or_else(|cause| cause.downcast::<&str>().map(|told| told.to_string()))
        .unwrap()
}

#[test]
fn a_fast_path_that_forgets_the_prefix_is_found_whatever_is_pooled() {
    for pooling in [Pooling::Last, Pooling::Mean] {
        for (keeps_value, fault) in
            [(false, "the fast path of the last layer differs by"), (true, "no gradient reaches")]
        {
            let lm = ra_llm::load_weights(&golden_of("gpt2/model"), Some(pooling), &device()).unwrap();
            let lm = Forgetful { lm, keeps_value };
            let told = panic_of(|| check_language_model(&lm, 97));
            assert!(told.contains(fault), "{told}");
        }
    }
}

#[test]
fn a_pointer_to_a_model_has_all_that_the_model_has() {
    let lm: Arc<dyn LanguageModel> = load(&golden_of("gpt2/model")).into();
    let pointers: [&dyn LanguageModel; 3] = [&lm, &Box::new(lm.clone()), &&*lm];
    for pointer in pointers {
        assert!(pointer.pooled().is_some() && pointer.tunable().is_some() && pointer.spec() == lm.spec());
    }
}

#[test]
fn relatives_of_llama_give_the_states_of_transformers() {
    for name in ["mistral", "qwen2", "qwen3"] {
        let want: Value = serde_json::from_slice(&std::fs::read(golden_of(name).join("states.json")).unwrap()).unwrap();
        let want_states = want["states"].as_array().unwrap();
        let ids: Vec<u32> = want["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let lm = load(&golden_of(name));
        let text = TextBatch::from_rows(&[&ids], &device());
        let embedded = lm.embed(text.tokens.clone(), text.positions());
        let mut states = vec![embedded.clone()];
        let last = run_layers(&lm, 0..lm.spec().layers, embedded, &text, None, |_, h| states.push(h.clone()));
        states.push(lm.finish(last));
        assert_eq!(states.len(), want_states.len(), "{name}");
        for (layer, (got, want)) in states.into_iter().zip(want_states).enumerate() {
            let want = want.as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
            let want: Vec<f64> = want.map(|x| x.as_f64().unwrap()).collect();
            let top = want.iter().fold(0.0f64, |top, x| top.max(x.abs()));
            for (got, want) in got.into_data().iter::<f64>().zip(&want) {
                assert!((got - want).abs() <= 1e-5 + 1e-5 * top, "{name}, state {layer}: {got} {want}");
            }
        }
    }
}

#[test]
fn a_text_is_as_long_as_its_architecture_takes_for_granted() {
    for (name, most) in [("llama/model", 2048), ("mistral", 8192), ("qwen2", 8192), ("qwen3", 8192)] {
        let dir = tempfile::tempdir().unwrap();
        rewrite(&golden_of(name), dir.path(), 1, false, "");
        let keys = ["max_position_embeddings", "sliding_window", "use_sliding_window"].map(|key| (key, Value::Null));
        crate::strangers::configure(dir.path(), &keys);
        assert_eq!(load(dir.path()).spec().max_tokens, most, "{name}");
    }
}

/// Rewrites a model's tensors, some of them into a second file, and adds an index.
fn rewrite(from: &Path, into: &Path, shards: usize, halve: bool, prefix: &str) {
    std::fs::copy(from.join("config.json"), into.join("config.json")).unwrap();
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .iter()
        .map(|(name, view)| {
            // The upper half of an f32 is a bf16.
            let data =
                if halve { view.data().chunks(4).flat_map(|b| [b[2], b[3]]).collect() } else { view.data().to_vec() };
            (format!("{prefix}{}", name.strip_prefix("model.").unwrap_or(name)), view.shape().to_vec(), data)
        })
        .collect();
    let dtype = if halve { Dtype::BF16 } else { Dtype::F32 };
    let name = |shard: usize| format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
    let mut map = serde_json::Map::new();
    for shard in 0..shards {
        let own: Vec<_> = tensors.iter().skip(shard).step_by(shards).collect();
        let views = own.iter().map(|(n, s, d)| (n.as_str(), TensorView::new(dtype, s.clone(), d).unwrap()));
        let file = if shards == 1 { "model.safetensors".into() } else { name(shard) };
        std::fs::write(into.join(file), safetensors::serialize(views, None).unwrap()).unwrap();
        map.extend(own.iter().map(|(n, ..)| (n.clone(), json!(name(shard)))));
    }
    if shards > 1 {
        let index = json!({ "metadata": {}, "weight_map": map });
        std::fs::write(into.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }
}

fn vector(lm: &dyn LanguageModel) -> Vec<f32> {
    let text = TextBatch::from_rows(&[&[7, 9, 11, 5]], &device());
    encode(lm, &text, None).pooled.into_data().iter::<f32>().collect()
}

#[test]
fn shards_and_names_with_a_prefix_are_the_same_model_and_halves_nearly() {
    let from = golden_of("llama/model");
    let whole = vector(&load(&from));
    for prefix in ["", "model."] {
        let dir = tempfile::tempdir().unwrap();
        rewrite(&from, dir.path(), 3, false, prefix);
        assert_eq!(vector(&load(dir.path())), whole);
        std::fs::remove_file(dir.path().join("model-00002-of-00003.safetensors")).unwrap();
        let told = ra_llm::load_weights(dir.path(), None, &device()).unwrap_err().to_string();
        assert!(told.contains("model-00002-of-00003.safetensors"), "{told}");
    }
    let dir = tempfile::tempdir().unwrap();
    rewrite(&from, dir.path(), 1, true, "");
    let far = vector(&load(dir.path())).iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far > 0.0 && far < 0.2, "bf16 moves the vector by {far}");
}

#[test]
fn an_index_that_leaves_its_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    rewrite(&golden_of("llama/model"), dir.path(), 2, false, "");
    let index = json!({ "weight_map": { "norm.weight": "../../model.safetensors" } });
    std::fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    let told = ra_llm::load_weights(dir.path(), None, &device()).unwrap_err().to_string();
    assert!(told.contains("index.json") && told.contains("../../model.safetensors"), "{told}");
}

#[test]
fn what_cannot_be_computed_is_refused_with_what_can() {
    let cases = [
        ("llama/model", "rope_scaling", json!({ "rope_type": "llama3", "factor": 8.0 }), "llama3"),
        ("llama/model", "hidden_act", json!("gelu"), "supported: silu"),
        ("llama/model", "num_key_value_heads", json!(3), "it must be a multiple"),
        ("gpt2/model", "activation_function", json!("relu"), "supported: gelu_new"),
        ("gpt2/model", "model_type", json!("mamba"), "supported: bert, camembert, distilbert"),
        ("bert/model", "position_embedding_type", json!("relative_key"), "supported: absolute"),
    ];
    for (model, key, value, told) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(golden_of(model).join("config.json")).unwrap()).unwrap();
        config[key] = value;
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let message = ra_llm::load_weights(dir.path(), None, &device()).unwrap_err().to_string();
        assert!(message.contains(told) && message.contains("config.json"), "{key}: {message}");
    }
}
