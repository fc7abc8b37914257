//! Loads model folders that are right, or wrong in every way that users meet. `cargo xtask verify`, which joins this
//! crate with the alignment, checks golden values.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
mod adapters;
mod architectures;
mod damaged;
mod gguf;
mod gguf_tokenizers;
mod gguf_writer;
mod identity;
mod injected;
mod precision;
mod real;
mod strangers;
mod titles;

use ra_core::{Device, LanguageModel, Pooling, TextBatch, Tokenizer, encode, testkit::contract::check_language_model};
use std::path::{Path, PathBuf};

/// The device of the back end that `RA_REC_BACKEND` names; the CPU's by default.
fn device() -> Device {
    ra_core::testkit::contract::device(std::env::var("RA_REC_BACKEND").ok().as_deref())
}

/// A file or folder of `tests/golden` (the cases that `verify` runs) or `tests/reference` (other reference values).
fn golden_of(name: &str) -> PathBuf {
    let tests = Path::new("tests");
    let golden = tests.join("golden").join(name);
    if golden.exists() { golden } else { tests.join("reference").join(name) }
}

fn golden() -> PathBuf {
    golden_of("bert/model")
}

/// A copy of the golden model that a test may damage, with a matching tokenizer.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden().join(name), dir.path().join(name)).unwrap();
    }
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer()).unwrap();
    dir
}

/// A word tokenizer with `[CLS]` and `[SEP]`, and with padding and truncation configured, as sentence encoders have
/// them.
fn tokenizer() -> String {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "toy", "story"];
    let vocab: Vec<String> = words.iter().enumerate().map(|(i, w)| format!("{w:?}: {i}")).collect();
    format!(
        r#"{{"version": "1.0",
        "truncation": {{"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}},
        "padding": {{"strategy": {{"Fixed": 16}}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}},
        "added_tokens": [], "normalizer": {{"type": "Lowercase"}}, "pre_tokenizer": {{"type": "Whitespace"}},
        "post_processor": {{"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}}, "decoder": null,
        "model": {{"type": "WordLevel", "vocab": {{{}}}, "unk_token": "[UNK]"}}}}"#,
        vocab.join(", ")
    )
}

fn message(dir: &Path) -> String {
    ra_llm::load(dir, None, &device()).unwrap_err().to_string()
}

#[test]
fn bert_meets_the_contract_under_every_pooling() {
    for pooling in [Pooling::First, Pooling::Last, Pooling::Mean] {
        let lm = ra_llm::load_weights(&golden(), Some(pooling), &device()).unwrap();
        check_language_model(&lm, 97);
    }
}

#[test]
fn baked_padding_and_truncation_are_gone_and_the_frame_is_known() {
    let dir = folder();
    let lm = ra_llm::load(dir.path(), None, &device()).unwrap();
    assert_eq!(lm.tokenizer.special_tokens(), (vec![2], vec![3]));
    assert_eq!(lm.tokenizer.tokenize(&["Toy story toy story toy", ""]).unwrap(), vec![vec![5, 6, 5, 6, 5], vec![]]);
    let text = TextBatch::from_rows(&[&[2, 5, 6, 3]], &device());
    assert_eq!(encode(&lm.model, &text, None).pooled.dims(), [1, 32]);
    assert_eq!(lm.model.spec().pooling, Pooling::First);
}

#[test]
fn a_damaged_or_foreign_folder_is_named() {
    let dir = folder();
    let path = |name: &str| dir.path().join(name);
    let weights = std::fs::read(path("model.safetensors")).unwrap();
    for cut in [0, 7, 100, weights.len() - 1] {
        std::fs::write(path("model.safetensors"), &weights[..cut]).unwrap();
        assert!(message(dir.path()).contains("model.safetensors"), "cut at {cut}");
    }
    std::fs::write(path("model.safetensors"), &weights).unwrap();

    std::fs::write(path("tokenizer.json"), "{").unwrap();
    assert!(message(dir.path()).contains("tokenizer.json"));
    std::fs::write(path("tokenizer.json"), tokenizer()).unwrap();

    let config = std::fs::read_to_string(path("config.json")).unwrap();
    std::fs::write(path("config.json"), config.replace("\"bert\"", "\"mamba\"")).unwrap();
    let told = message(dir.path());
    assert!(told.contains("mamba") && told.contains("supported: bert, camembert, distilbert"), "{told}");

    std::fs::remove_file(path("config.json")).unwrap();
    assert!(message(dir.path()).contains("config.json"));
}

#[test]
fn tensors_that_do_not_fit_are_named_in_one_short_line() {
    let dir = folder();
    let path = dir.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2")).unwrap();
    let told = message(dir.path());
    assert!(told.contains("encoder.layer.2.attention.output.LayerNorm.bias, "), "{told}");
    assert!(told.ends_with("and 13 more are left over"), "{told}");

    std::fs::write(&path, config.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4")).unwrap();
    let told = message(dir.path());
    assert!(told.contains("encoder.layer.3.attention.self.query.weight, "), "{told}");
    assert!(told.ends_with("and 13 more are missing"), "{told}");

    std::fs::write(&path, config.replace("\"vocab_size\": 97", "\"vocab_size\": 96")).unwrap();
    let told = message(dir.path());
    assert!(told.contains("embeddings.word_embeddings.weight is [97, 32], expected [96, 32]"), "{told}");
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let dir = folder();
    let path = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let told = message(dir.path());
    assert!(told.contains("holds NaN at number") && told.contains("model.safetensors"), "{told}");
}
