//! Pretrained weights, if they were fetched, against reference values from transformers
//! (`tests/reference/make_real.py`).
use crate::golden_of;
use ra_core::{Device, TextBatch, Tokenizer, run_layers, testkit::skipped};
use ra_llm::PretrainedLm;
use serde_json::Value;
use std::path::PathBuf;

/// A model fetched by `cargo xtask fetch`, for `test`.
fn available(name: &str, test: &str) -> Option<PretrainedLm> {
    let root = std::env::var_os("RA_REC_ROOT").map_or_else(|| PathBuf::from(".."), PathBuf::from);
    let folder = root.join("models").join(name);
    if !folder.exists() {
        let how = if ["minilm", "smollm2", "gpt2-untrained"].contains(&name) {
            format!("cargo xtask fetch {name}")
        } else {
            format!("put it into models/{name}; see ra-llm/tests/reference")
        };
        skipped(test, &format!("{name} is not there ({how})"));
        return None;
    }
    Some(ra_llm::load(&folder, None, &Device::flex()).unwrap())
}

fn reference() -> Value {
    serde_json::from_slice(&std::fs::read(golden_of("real.json")).unwrap()).unwrap()
}

/// Checks that token ids are equal and the states after every layer are within 2e-5 of the layer's largest number.
fn agrees(lm: &PretrainedLm, cases: &Value) {
    let (open, close) = lm.tokenizer.special_tokens();
    for case in cases.as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let ids = [open.clone(), lm.tokenizer.tokenize(&[text]).unwrap().remove(0), close.clone()].concat();
        let want: Vec<u32> = case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(ids, want, "{text}");
        let batch = TextBatch::from_rows(&[&ids], &Device::flex());
        let embedded = lm.model.embed(batch.tokens.clone(), batch.positions());
        let mut states = vec![embedded.clone()];
        run_layers(&lm.model, 0..lm.model.spec().layers, embedded, &batch, None, |_, h| states.push(h.clone()));
        let width = lm.model.spec().width;
        for (layer, (got, want)) in states.iter().zip(case["states"].as_array().unwrap()).enumerate() {
            let got: Vec<f64> = got.to_data().iter::<f64>().collect();
            let top = got.iter().fold(0.0f64, |top, x| top.max(x.abs()));
            let last = &got[got.len() - width..];
            let want = want.as_array().unwrap();
            for (at, want) in want.iter().enumerate() {
                let (got, want) = (last[at * (width / want_count(case))], want.as_f64().unwrap());
                assert!((got - want).abs() <= 2e-5 * top, "{text}, state {layer}: {got} {want} (largest {top})");
            }
        }
    }
}

fn want_count(case: &Value) -> usize {
    case["states"][0].as_array().unwrap().len()
}

/// The mean of a text's last states.
fn vector(lm: &PretrainedLm, text: &str) -> Vec<f64> {
    let (open, close) = lm.tokenizer.special_tokens();
    let ids = [open, lm.tokenizer.tokenize(&[text]).unwrap().remove(0), close].concat();
    let batch = TextBatch::from_rows(&[&ids], &Device::flex());
    let last = ra_core::encode(&lm.model, &batch, None).last;
    ra_core::pool(ra_core::Pooling::Mean, last, &batch.mask).into_data().iter::<f64>().collect()
}

fn cosine_of(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn cosine(lm: &PretrainedLm, a: &str, b: &str) -> f64 {
    cosine_of(&vector(lm, a), &vector(lm, b))
}

#[test]
fn minilm_layer_by_layer_and_its_cosines() {
    let Some(lm) = available("minilm", "minilm_layer_by_layer_and_its_cosines") else { return };
    agrees(&lm, &reference()["minilm"]);
    // Titles as in MovieLens.
    let others =
        [("Toy Story 2 (1999)", 0.783), ("A Bug's Life (1998)", 0.396), ("Silence of the Lambs, The (1991)", 0.294)];
    for (other, want) in others {
        let got = cosine(&lm, "Toy Story (1995)", other);
        assert!((got - want).abs() < 1e-3, "{other}: {got}");
    }
}

/// MiniLM as GGUF, written by `tests/reference/make_gguf.py`: the same identifiers, and vectors as far apart as the
/// coarser numbers make them.
#[test]
fn minilm_as_gguf_is_minilm() {
    let Some(lm) = available("minilm", "minilm_as_gguf_is_minilm") else { return };
    for (name, least) in [("minilm-F16.gguf", 0.999_999), ("minilm-Q8_0.gguf", 0.9995)] {
        let Some(file) = available(name, "minilm_as_gguf_is_minilm") else { continue };
        assert_eq!(file.asked.pooling, lm.asked.pooling);
        assert_eq!(file.tokenizer.special_tokens(), lm.tokenizer.special_tokens());
        for text in
            ["Toy Story (1995)", "Les Misérables, 電影 & naïveté", "unaffable [MASK] ##ing 😀", "A-1 Pictures' 2nd"]
        {
            assert_eq!(file.tokenizer.tokenize(&[text]).unwrap(), lm.tokenizer.tokenize(&[text]).unwrap(), "{text}");
            let (a, b) = (vector(&file, text), vector(&lm, text));
            let cosine = cosine_of(&a, &b);
            println!("{name}, {text}: cosine {cosine:.7}");
            assert!(cosine > least, "{name}, {text}: {cosine}");
        }
    }
}

#[test]
fn smollm2_layer_by_layer_and_how_it_goes_on() {
    let Some(lm) = available("smollm2", "smollm2_layer_by_layer_and_how_it_goes_on") else { return };
    let reference = reference();
    agrees(&lm, &reference["smollm2"]);
    // The head is the token table: the next token has the largest product with the last state.
    let next = &reference["smollm2_next"];
    let ids = lm.tokenizer.tokenize(&[next["text"].as_str().unwrap()]).unwrap().remove(0);
    let last = ra_core::encode(&lm.model, &TextBatch::from_rows(&[&ids], &Device::flex()), None).pooled;
    let all: Vec<u32> = (0..lm.tokenizer.vocabulary() as u32).collect();
    let table = TextBatch::from_rows(&[&all], &Device::flex());
    let table = lm.model.embed(table.tokens.clone(), table.positions()).squeeze_dim::<2>(0);
    let best = last.matmul(table.transpose()).argmax(1).into_scalar::<i64>();
    assert_eq!(best, next["id"].as_i64().unwrap(), "{}", next["token"]);
}

#[test]
fn gpt2s_vocabulary_cuts_known_strings() {
    let Some(lm) = available("gpt2-untrained", "gpt2s_vocabulary_cuts_known_strings") else { return };
    let ids =
        lm.tokenizer.tokenize(&["Hello world", "Hello, world!", " the quick brown fox", "2 x 1/4-inch très"]).unwrap();
    assert_eq!(ids[0], [15496, 995]);
    assert_eq!(ids[1], [15496, 11, 995, 0]);
    assert_eq!(ids[2], [262, 2068, 7586, 21831]);
    assert_eq!(ids[3], [17, 2124, 352, 14, 19, 12, 8589, 491, 14064, 82]);
    assert_eq!(lm.model.spec().width, 128);
}

/// Sentence encoders that people put into `models/` by hand, against transformers.
#[test]
fn encoders_give_the_vectors_of_transformers() {
    let reference: Value = serde_json::from_slice(&std::fs::read(golden_of("encoders.json")).unwrap()).unwrap();
    for (name, cases) in reference.as_object().unwrap() {
        let Some(lm) = available(name, "encoders_give_the_vectors_of_transformers") else { continue };
        let (open, close) = lm.tokenizer.special_tokens();
        // A sentence encoder is pooled as its folder asks.
        assert!(lm.model.spec().causal || lm.model.spec().pooling == ra_core::Pooling::Mean, "{name}");
        for case in cases.as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let ids = [open.clone(), lm.tokenizer.tokenize(&[text]).unwrap().remove(0), close.clone()].concat();
            let want: Vec<u32> = case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            assert_eq!(ids, want, "{name}, {text}");
            let batch = TextBatch::from_rows(&[&ids], &Device::flex());
            let last = ra_core::encode(&lm.model, &batch, None).last;
            let mean: Vec<f64> = ra_core::mean_rows(last, &batch.mask).into_data().iter().collect();
            let wanted: Vec<f64> = case["mean"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
            let top = mean.iter().fold(0.0f64, |top, x| top.max(x.abs()));
            for (want, got) in wanted.iter().zip(mean.iter().step_by(mean.len() / wanted.len())) {
                assert!((got - want).abs() <= 2e-5 * top, "{name}, {text}: {got} {want} (largest {top})");
            }
        }
    }
}
