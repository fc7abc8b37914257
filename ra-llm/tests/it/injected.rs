//! Every architecture against an independent implementation in double precision: its states, those under a prefix in
//! each layer, and the gradient that reaches each prefix (`tests/reference/make_architectures.py`).
use crate::device;
use burn::tensor::{Int, Tensor, TensorData};
use ra_core::testkit::contract::check_language_model;
use ra_core::{LanguageModel, Pooling, Prefix, TextBatch, Tokenizer, encode, int_tensor, mean_rows, run_layers};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

const CASES: [&str; 13] = [
    "distilbert",
    "embeddinggemma",
    "gemma2",
    "gemma3",
    "llama3",
    "llama_linear",
    "modernbert",
    "mpnet",
    "nomic_bert",
    "phi3",
    "roberta",
    "t5",
    "t5_gated",
];

fn reference(name: &str) -> PathBuf {
    Path::new("tests/reference").join(name)
}

/// The tensors of `expected.safetensors`.
pub(crate) struct Expected(Vec<u8>);

impl Expected {
    pub(crate) fn of(file: &Path) -> Self {
        Self(std::fs::read(file).unwrap())
    }

    fn shape<const D: usize>(&self, name: &str) -> [usize; D] {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        file.tensor(name).unwrap().shape().try_into().unwrap()
    }

    pub(crate) fn floats<const D: usize>(&self, name: &str) -> Tensor<D> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let bytes = file.tensor(name).unwrap().data();
        let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        Tensor::from_data(TensorData::new(values, self.shape::<D>(name)), &device())
    }

    fn integers(&self, name: &str) -> Vec<i64> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let bytes = file.tensor(name).unwrap().data();
        bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    pub(crate) fn text(&self) -> TextBatch {
        let shape: [usize; 2] = self.shape("ids");
        let ids: Vec<u32> = self.integers("ids").iter().map(|&id| u32::try_from(id).unwrap()).collect();
        let mask: Vec<f32> = self.integers("mask").iter().map(|&m| m as f32).collect();
        let tokens: Tensor<2, Int> = int_tensor(ids, shape, &device());
        TextBatch { tokens, mask: Tensor::from_data(TensorData::new(mask, shape), &device()) }
    }
}

/// Compares two tensors, relative to the largest number wanted.
#[track_caller]
pub(crate) fn close<const D: usize>(got: Tensor<D>, want: Tensor<D>, (absolute, relative): (f32, f32), what: &str) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let top: f32 = want.clone().abs().max().into_scalar();
    let far: f32 = (got - want).abs().max().into_scalar();
    assert!(far <= absolute + relative * top, "{what}: off by {far} of {top}");
}

fn check(name: &str, folder: &Path) {
    let lm = ra_llm::load_weights(folder, None, &device()).unwrap();
    let want = Expected::of(&reference(name).join("expected.safetensors"));
    let (text, layers) = (want.text(), lm.spec().layers);
    let [batch, tokens] = text.mask.dims();
    let real = text.mask.clone().reshape([batch, tokens, 1]);
    let states = |prefix: Option<&Prefix>| {
        let embedded = lm.embed(text.tokens.clone(), text.positions());
        let mut states = vec![embedded.clone()];
        let last = run_layers(&lm, 0..layers, embedded, &text, prefix, |_, state| states.push(state.clone()));
        (states, lm.finish(last))
    };
    let (plain, last) = states(None);
    for (layer, state) in plain.into_iter().enumerate() {
        let what = format!("{name}, state {layer}");
        close(state * real.clone(), want.floats(&format!("state.{layer}")), (1e-5, 1e-5), &what);
    }
    close(last * real.clone(), want.floats("last"), (1e-5, 1e-5), &format!("{name}, last"));

    let tracked: Vec<Tensor<3>> = (0..layers)
        .map(|layer| Tensor::from_inner(want.floats::<3>(&format!("prefix.{layer}"))).require_grad())
        .collect();
    let (hybrid, last) = states(Some(&Prefix::new(0, tracked.clone())));
    for (layer, state) in hybrid.into_iter().enumerate().skip(1) {
        let what = format!("{name}, state {layer} under a prefix");
        close(state.inner() * real.clone(), want.floats(&format!("hybrid.{layer}")), (1e-5, 1e-5), &what);
    }
    let what = format!("{name}, last under a prefix");
    close(last.clone().inner() * real, want.floats("hybrid_last"), (1e-5, 1e-5), &what);
    let direction = Tensor::from_inner(want.floats::<1>("r").unsqueeze::<2>());
    let grads = (mean_rows(last, &Tensor::from_inner(text.mask.clone())) * direction).sum().backward();
    for (layer, prefix) in tracked.iter().enumerate() {
        let what = format!("{name}, gradient of prefix {layer}");
        close(prefix.grad(&grads).unwrap(), want.floats(&format!("grad.{layer}")), (1e-6, 1e-4), &what);
    }
}

#[test]
fn every_architecture_gives_the_reference_states_and_gradients() {
    for name in CASES {
        check(name, &reference(name));
    }
}

#[test]
fn a_configuration_as_it_was_once_written_means_the_same() {
    let mut found = 0;
    for name in CASES {
        for other in ["config.old.json", "config.native.json"] {
            let config = reference(name).join(other);
            if !config.is_file() {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            std::fs::copy(config, dir.path().join("config.json")).unwrap();
            let weights = "model.safetensors";
            std::fs::copy(reference(name).join(weights), dir.path().join(weights)).unwrap();
            check(name, dir.path());
            found += 1;
        }
    }
    assert_eq!(found, 9, "the configurations that the script writes");
}

#[test]
fn every_architecture_meets_the_contract_under_every_pooling() {
    for name in CASES {
        for pooling in Pooling::ALL {
            let lm = ra_llm::load_weights(&reference(name), Some(pooling), &device()).unwrap();
            check_language_model(&lm, 61);
        }
    }
}

#[test]
fn rotary_positions_of_a_part_of_a_head_are_refused() {
    let told = ra_llm::load_weights(&reference("phi3_long"), None, &device()).unwrap_err().to_string();
    assert!(told.contains("longrope") && told.contains("partial_rotary_factor 0.75"), "{told}");
}

#[test]
fn dense_layers_after_pooling_are_applied() {
    for name in ["dense", "dense_now", "dense_two"] {
        let folder = reference("sentence").join(name);
        // The same model as an older and as the present version saves it.
        let expected = if name == "dense_now" { reference("sentence/dense") } else { folder.clone() };
        let want = Expected::of(&expected.join("expected.safetensors"));
        let lm = ra_llm::load(&folder, None, &device()).unwrap();
        let (text, vectors) = (want.text(), want.floats::<2>("sentence"));
        assert_eq!(lm.model.output_width(), vectors.dims()[1], "{name}");
        close(encode(&lm.model, &text, None).pooled, vectors, (1e-5, 1e-5), name);
    }
}

#[test]
fn poolings_are_those_of_sentence_transformers() {
    let want = Expected::of(&reference("sentence/poolings.safetensors"));
    let hidden = want.floats::<3>("hidden");
    let mask: Tensor<2> = {
        let values: Vec<f32> = want.integers("mask").iter().map(|&m| m as f32).collect();
        Tensor::from_data(TensorData::new(values, want.shape::<2>("mask")), &device())
    };
    for (pooling, name) in [
        (Pooling::First, "cls"),
        (Pooling::Last, "lasttoken"),
        (Pooling::Mean, "mean"),
        (Pooling::Max, "max"),
        (Pooling::MeanSqrtLen, "mean_sqrt_len_tokens"),
        (Pooling::Weighted, "weightedmean"),
    ] {
        close(ra_core::pool(pooling, hidden.clone(), &mask), want.floats(name), (1e-5, 1e-5), name);
    }
}

#[test]
fn static_tables_give_the_vectors_of_their_own_packages() {
    #[derive(serde::Deserialize)]
    struct Wanted {
        texts: Vec<String>,
        vectors: Vec<Vec<f32>>,
    }
    for name in ["model2vec", "model2vec_plain", "model2vec_shared", "sentence"] {
        let folder = reference("static").join(name);
        let bytes = std::fs::read(folder.join("expected.json")).unwrap();
        let Wanted { texts, vectors } = serde_json::from_slice(&bytes).unwrap();
        let lm = ra_llm::load(&folder, None, &device()).unwrap();
        assert_eq!((lm.model.spec().layers, lm.model.spec().pooling), (0, Pooling::Mean));
        assert_eq!(lm.tokenizer.special_tokens(), (vec![], vec![]));
        for (text, want) in texts.iter().zip(vectors) {
            let tokens = lm.tokenizer.tokenize(&[text]).unwrap().remove(0);
            let got = encode(&lm.model, &TextBatch::from_rows(&[&tokens], &device()), None).pooled;
            let mut got: Vec<f32> = got.into_data().iter().collect();
            // Only the length may differ: it is left to whoever compares vectors.
            let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            let scale = if length(&got) > 0.0 { length(&want) / length(&got) } else { 1.0 };
            assert!(name != "model2vec_plain" || (scale - 1.0).abs() < 1e-5, "{name}: {scale}");
            got.iter_mut().for_each(|x| *x *= scale);
            let far = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-5, "{name}, {text:?}: off by {far}");
        }
    }
}

/// A copy of a case with a changed configuration.
fn changed(name: &str, changes: &[(&str, serde_json::Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(reference(name).join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    for (key, value) in changes {
        config[key] = value.clone();
    }
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    std::fs::copy(reference(name).join("model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    dir
}

#[test]
fn absurd_sizes_are_refused_before_anything_is_made() {
    use serde_json::json;
    let huge = json!(1_000_000_000_000_000_000u64);
    for (name, changes) in [
        ("gemma3", vec![("num_hidden_layers", huge.clone()), ("layer_types", json!(null))]),
        ("modernbert", vec![("num_hidden_layers", huge.clone()), ("layer_types", json!(null))]),
        ("gemma2", vec![("hidden_size", json!(0)), ("intermediate_size", huge.clone())]),
        ("llama3", vec![("hidden_size", json!(0)), ("num_hidden_layers", huge.clone())]),
        ("t5", vec![("d_model", json!(0)), ("num_heads", huge.clone())]),
        (
            "t5",
            vec![
                ("relative_attention_num_buckets", json!(4_000_000)),
                ("relative_attention_max_distance", json!(1 << 20)),
            ],
        ),
        ("mpnet", vec![("relative_attention_num_buckets", json!(2))]),
        ("roberta", vec![("hidden_size", json!(0))]),
        ("llama3", vec![("max_position_embeddings", json!(0))]),
    ] {
        let told = ra_llm::load_weights(changed(name, &changes).path(), None, &device()).unwrap_err().to_string();
        assert!(told.len() < 500, "{name} {changes:?}: {told}");
    }
}

#[test]
fn an_absent_key_is_the_default_and_null_is_none() {
    use serde_json::json;
    let text = Expected::of(&reference("gemma2").join("expected.safetensors")).text();
    let vector = |cap: serde_json::Value| {
        let dir = changed("gemma2", &[("attn_logit_softcapping", cap)]);
        let lm = ra_llm::load_weights(dir.path(), None, &device()).unwrap();
        encode(&lm, &text, None).pooled.into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let (none, small, wide) = (vector(json!(null)), vector(json!(2.0)), vector(json!(1e6)));
    let far = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far(&none, &wide) < 1e-4 && far(&none, &small) > 1e-3);
}

#[test]
fn a_key_of_this_crate_in_a_configuration_changes_nothing() {
    use serde_json::json;
    for (name, key) in [("roberta", "position_offset"), ("gemma3", "whole_norms"), ("llama3", "rope_divisors")] {
        let value = if key == "position_offset" { json!(5) } else { json!(true) };
        check(name, changed(name, &[(key, value)]).path());
    }
}

#[test]
fn modules_in_another_order_and_layers_for_tokens_are_refused() {
    use serde_json::json;
    let copy = |name: &str| {
        let dir = tempfile::tempdir().unwrap();
        for part in ["", "1_Pooling", "2_Dense"] {
            std::fs::create_dir_all(dir.path().join(part)).unwrap();
            for entry in std::fs::read_dir(reference(name).join(part)).unwrap().flatten() {
                if entry.path().is_file() {
                    std::fs::copy(entry.path(), dir.path().join(part).join(entry.file_name())).unwrap();
                }
            }
        }
        dir
    };
    let dir = copy("sentence/dense");
    let module =
        |path: &str, class: &str| json!({ "path": path, "type": format!("sentence_transformers.models.{class}") });
    let list = json!([module("", "Transformer"), module("2_Dense", "Dense"), module("1_Pooling", "Pooling")]);
    std::fs::write(dir.path().join("modules.json"), list.to_string()).unwrap();
    let told = ra_llm::load_weights(dir.path(), None, &device()).unwrap_err().to_string();
    assert!(told.contains("\"1_Pooling\" (Pooling) stands too late"), "{told}");
    for (key, value) in [("module_input_name", json!("token_embeddings")), ("use_residual", json!(true))] {
        let dir = copy("sentence/dense");
        let file = dir.path().join("2_Dense/config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        config[key] = value;
        std::fs::write(&file, config.to_string()).unwrap();
        let told = ra_llm::load_weights(dir.path(), None, &device()).unwrap_err().to_string();
        assert!(told.contains(key), "{told}");
    }
    let dir = copy("sentence/dense");
    std::fs::write(
        dir.path().join("2_Dense/config.json"),
        r#"{"in_features": 1000000000, "out_features": 1000000000}"#,
    )
    .unwrap();
    let told = ra_llm::load_weights(dir.path(), None, &device()).unwrap_err().to_string();
    assert!(told.contains("asks for 1000000000000000000 numbers"), "{told}");
}

#[test]
fn a_llama_may_read_both_ways() {
    let dir = changed("llama3", &[("is_causal", serde_json::json!(false))]);
    let lm = ra_llm::load_weights(dir.path(), None, &device()).unwrap();
    assert!(!lm.spec().causal);
    check_language_model(&lm, 61);
}
