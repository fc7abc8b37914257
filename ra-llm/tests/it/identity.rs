//! The identity of a language model changes with everything that can change a result, and with nothing else.
use crate::folder;
use crate::gguf_writer::{golden, number};
use crate::strangers::{configure, load, store, tensors};
use serde_json::{Value, json};
use std::path::Path;

/// Replaces a text in a file of the folder.
fn replace(folder: &Path, name: &str, from: &str, to: &str) {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{name} has {from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn write(folder: &Path, name: &str, value: &Value) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value.to_string()).unwrap();
}

#[test]
fn one_thing_changed_is_another_model() {
    type Change = (&'static str, fn(&Path));
    let changes: [Change; 11] = [
        ("nothing", |_| ()),
        ("the stabiliser of the norms", |f| configure(f, &[("layer_norm_eps", json!(1e-1))])),
        ("the heads", |f| configure(f, &[("num_attention_heads", json!(2))])),
        ("the activation", |f| configure(f, &[("hidden_act", json!("relu"))])),
        ("two tokens", |f| {
            replace(f, "tokenizer.json", r#""toy": 5"#, r#""toy": 6"#);
            replace(f, "tokenizer.json", r#""story": 6"#, r#""story": 5"#);
        }),
        ("a special token around a text", |f| {
            replace(f, "tokenizer.json", r#""cls": ["[CLS]", 2]"#, r#""cls": ["[CLS]", 3]"#)
        }),
        ("one weight", |f| {
            let mut all = tensors(f);
            all[3].2[0] ^= 1;
            store(f, &all);
        }),
        ("the pooling it asks for", |f| {
            write(f, "1_Pooling/config.json", &json!({ "pooling_mode_mean_tokens": true }))
        }),
        ("another pooling", |f| write(f, "1_Pooling/config.json", &json!({ "pooling_mode_cls_token": true }))),
        ("its longest text", |f| write(f, "sentence_bert_config.json", &json!({ "max_seq_length": 9 }))),
        ("lower case", |f| write(f, "sentence_bert_config.json", &json!({ "do_lower_case": true }))),
    ];
    let print = |change: fn(&Path)| {
        let dir = folder();
        change(dir.path());
        load(dir.path()).fingerprint
    };
    let prints: Vec<_> = changes.iter().map(|(what, change)| (what, print(*change))).collect();
    for (at, (what, print)) in prints.iter().enumerate() {
        for (other, earlier) in &prints[..at] {
            assert_ne!(print, earlier, "{what} and {other}");
        }
    }
}

#[test]
fn how_a_configuration_is_written_is_no_part_of_it() {
    type Change = (&'static str, fn(&Path));
    let changes: [Change; 4] = [
        ("white space and order", |f| configure(f, &[])),
        ("a default left out", |f| configure(f, &[("layer_norm_eps", Value::Null), ("type_vocab_size", Value::Null)])),
        ("what decides nothing", |f| {
            configure(f, &[("transformers_version", json!("9.9")), ("use_cache", json!(false))])
        }),
        ("a read-me", |f| write(f, "README.md", &json!("words"))),
    ];
    let want = load(folder().path()).fingerprint;
    for (what, change) in changes {
        let dir = folder();
        change(dir.path());
        assert_eq!(load(dir.path()).fingerprint, want, "{what}");
    }
}

#[test]
fn of_a_gguf_file_everything_counts() {
    let dir = tempfile::tempdir().unwrap();
    let print = |file: &crate::gguf_writer::File| {
        let path = dir.path().join("model.gguf");
        std::fs::write(&path, file.bytes()).unwrap();
        load(&path).fingerprint
    };
    let file = golden("llama.gguf");
    let own = print(&file);
    assert_eq!(own, print(&file));
    let base = [6u32.to_le_bytes(), 5000f32.to_le_bytes()].concat();
    assert_ne!(own, print(&file.with("llama.rope.freq_base", base)), "rotary angles");
    assert_ne!(own, print(&file.with("llama.pooling_type", number(1))), "pooling");
    let mut weight = file.clone();
    weight.tensors[4].bytes[0] ^= 1;
    assert_ne!(own, print(&weight), "one weight");
}
