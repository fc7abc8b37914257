//! Tokenizers in GGUF files, against SentencePiece and the package `tokenizers`.
use crate::gguf_writer::{File, flag, golden, number, text, texts};
use crate::golden_of;
use ra_core::{Device, Tokenizer};
use ra_llm::HfTokenizer;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The tokenizer of a model with the tokenizer keys of `of`, and as many rows in its token table as they need.
fn tokenizer(of: &File, rows: usize) -> Result<HfTokenizer, String> {
    let mut file = golden("gpt2.gguf");
    file.keys.retain(|(key, _)| !key.starts_with("tokenizer."));
    file.keys.extend(of.keys.iter().filter(|(key, _)| key.starts_with("tokenizer.")).cloned());
    let table = file.tensors.iter_mut().find(|t| t.name == "token_embd.weight").unwrap();
    table.dims[1] = rows as u64;
    table.bytes.resize(4 * table.dims[0] as usize * rows, 0);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, file.bytes()).unwrap();
    ra_llm::load(&path, None, &Device::flex()).map(|lm| lm.tokenizer).map_err(|e| e.to_string())
}

#[test]
fn tokenizers_come_from_the_keys() {
    let bytes = ra_llm::load(&golden_of("gpt2.gguf"), None, &Device::flex()).unwrap().tokenizer;
    assert_eq!(bytes.special_tokens(), (vec![], vec![]));
    // Tokens 0..94 are "!".."~", then "Ġ", "to", "Ġto".
    let id = |c: char| c as u32 - 33;
    assert_eq!(bytes.tokenize(&["to be to"]).unwrap(), [vec![95, 94, id('b'), id('e'), 96]]);

    let words = ra_llm::load(&golden_of("bert.gguf"), None, &Device::flex()).unwrap().tokenizer;
    assert_eq!(words.special_tokens(), (vec![2], vec![3]));
    // As BertWordPieceTokenizer of the package `tokenizers` cuts them.
    let found = words.tokenize(&["Toy Story 2", "Cafés, naïve (電影)!", "the2nd thing's", "[SEP] ø"]).unwrap();
    assert_eq!(found[0], [82, 83, 32]);
    assert_eq!(found[1], [87, 64, 42, 89, 40, 90, 92, 41, 44]);
    assert_eq!(found[2], [84, 74, 59, 49, 23, 53, 93, 45, 22]);
    assert_eq!(found[3], [1, 22, 50, 61, 1, 1]);

    let pieces = ra_llm::load(&golden_of("llama.gguf"), None, &Device::flex()).unwrap().tokenizer;
    assert_eq!(pieces.special_tokens(), (vec![1], vec![]));
    // "to" scores above "▁t": "▁" + "to" become "▁to"; "▁to" + "y" become "▁toy"; "A" is the byte 65.
    assert_eq!(pieces.tokenize(&["toy to", "A"]).unwrap(), [vec![10, 8], vec![3, 11 + 65 - 60]]);
}

/// What SentencePiece finds in texts, by the file that holds its model (`tests/reference/make_pieces.py`).
#[derive(Deserialize)]
struct Found {
    texts: Vec<String>,
    ids: BTreeMap<String, Vec<Vec<u32>>>,
}

#[test]
fn pieces_are_those_of_sentencepiece() {
    let found: Found = serde_json::from_slice(&std::fs::read(golden_of("pieces.json")).unwrap()).unwrap();
    let frames =
        [("pieces_gemma", vec![2], vec![]), ("pieces_llama", vec![1], vec![]), ("pieces_xlmr", vec![0], vec![2])];
    assert_eq!(found.ids.keys().collect::<Vec<_>>(), frames.each_ref().map(|(name, ..)| name));
    for (name, open, close) in frames {
        let pieces = tokenizer(&golden(&format!("{name}.gguf")), 700).unwrap();
        assert_eq!(pieces.special_tokens(), (open, close), "{name}");
        for (text, want) in found.texts.iter().zip(&found.ids[name]) {
            assert_eq!(pieces.tokenize(&[text]).unwrap().remove(0), *want, "{name}: {text:?}");
        }
    }
}

#[test]
fn pre_tokenizers_cut_where_the_models_of_their_names_do() {
    let letters: Vec<String> = ('!'..='~').map(String::from).collect();
    let longer = ["12", "123", "1234", "xyz", "oW"];
    let tokens: Vec<&str> = letters.iter().map(String::as_str).chain(longer).collect();
    let id = |token: &str| tokens.iter().position(|t| *t == token).unwrap() as u32;
    let file = golden("gpt2.gguf")
        .with("tokenizer.ggml.tokens", texts(&tokens))
        .with("tokenizer.ggml.merges", texts(&["1 2", "12 3", "123 4", "o W"]))
        .with("tokenizer.ggml.bos_token_id", number(7))
        .without("tokenizer.ggml.token_type");
    let (all, threes, ones) = (&["1234"][..], &["123", "4"][..], &["1", "2", "3", "4"][..]);
    for (names, digits, whole, camel) in [
        ("default gpt-2 phi-2 roberta-bpe jina-v1-en jina-v2-code jina-v2-de jina-v2-es modern-bert", all, false, true),
        ("smollm", ones, false, true),
        ("llama-bpe llama3 llama-v3", threes, true, true),
        ("dbrx smaug-bpe", threes, false, true),
        ("qwen2 deepseek-r1-qwen", ones, false, true),
        ("tekken", ones, true, false),
        ("gpt-4o", threes, false, false),
    ] {
        for name in names.split(' ') {
            let cut = tokenizer(&file.with("tokenizer.ggml.pre", text(name)), 120).unwrap();
            let pieces = |text: &str| cut.tokenize(&[text]).unwrap().remove(0);
            let ids = |pieces: &[&str]| pieces.iter().map(|piece| id(piece)).collect::<Vec<_>>();
            assert_eq!(pieces("1234"), ids(digits), "{name}");
            assert_eq!(pieces("xyz"), ids(if whole { &["xyz"] } else { &["x", "y", "z"] }), "{name}");
            assert_eq!(pieces("oW"), ids(if camel { &["oW"] } else { &["o", "W"] }), "{name}");
            assert_eq!(cut.special_tokens(), (if whole { vec![7] } else { vec![] }, vec![]), "{name}");
        }
    }
}

#[test]
fn a_damaged_tokenizer_is_told_by_its_key() {
    let pieces = golden("pieces_xlmr.gguf");
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    for (file, told) in [
        (pieces.without(&key("scores")), "it holds no tokenizer.ggml.scores"),
        (pieces.without(&key("tokens")), "it holds no tokenizer.ggml.tokens"),
        (pieces.without(&key("bos_token_id")), "it holds no tokenizer.ggml.bos_token_id"),
        (pieces.with(&key("tokens"), texts(&["a"; 400])), "tokenizer.ggml.scores for 400 tokens"),
        (
            pieces.with(&key("precompiled_charsmap"), vec![9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 7]),
            "charsmap is damaged",
        ),
        (pieces.with(&key("model"), text("rwkv")), "tokenizer.ggml.model \"rwkv\" is not supported (supported: gpt2"),
    ] {
        let message = tokenizer(&file, 700).err().unwrap_or_default();
        assert!(message.contains(told) && message.contains("model.gguf"), "{message}");
    }
    // Without the flag, its kind decides: a text ends with a token.
    let ends = tokenizer(&pieces.without(&key("add_eos_token")), 700).unwrap().special_tokens();
    assert_eq!(ends, (vec![0], vec![2]));
    let none = pieces.with(&key("add_eos_token"), flag(false)).with(&key("add_bos_token"), flag(false));
    assert_eq!(tokenizer(&none, 700).unwrap().special_tokens(), (vec![], vec![]));
}
