//! Model folders as people have them: names, configurations and layouts of other years and other tools.
use crate::{device, folder, message};
use ra_core::{LanguageModel, Pooling, TextBatch, encode};
use ra_llm::PretrainedLm;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A tensor: name, shape and the bytes of its f32 values.
pub(crate) type Stored = (String, Vec<usize>, Vec<u8>);

pub(crate) fn tensors(folder: &Path) -> Vec<Stored> {
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, view)| (name.to_string(), view.shape().to_vec(), view.data().to_vec())).collect()
}

pub(crate) fn store(folder: &Path, tensors: &[Stored]) {
    let view = |(name, shape, data): &'_ Stored| (name.clone(), shape.clone(), data.clone());
    let all: Vec<_> = tensors.iter().map(view).collect();
    let views = all
        .iter()
        .map(|(name, shape, data)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    std::fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Renames all tensors and adds `further` ones.
fn rename(folder: &Path, name: impl Fn(&str) -> String, further: &[&str]) {
    let mut all: Vec<Stored> =
        tensors(folder).into_iter().map(|(own, shape, data)| (name(&own), shape, data)).collect();
    all.extend(further.iter().map(|name| (name.to_string(), vec![2], vec![0; 8])));
    store(folder, &all);
}

/// Changes the configuration; `null` removes a key.
pub(crate) fn configure(folder: &Path, changes: &[(&str, Value)]) {
    let path = folder.join("config.json");
    let mut config: Map<String, Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value) in changes {
        match value {
            Value::Null => drop(config.remove(*key)),
            value => drop(config.insert((*key).into(), value.clone())),
        }
    }
    std::fs::write(path, Value::Object(config).to_string()).unwrap();
}

pub(crate) fn load(folder: &Path) -> PretrainedLm {
    ra_llm::load(folder, None, &device()).unwrap()
}

fn vector(lm: &dyn LanguageModel) -> Vec<f32> {
    encode(lm, &TextBatch::from_rows(&[&[2, 5, 6, 5, 3]], &device()), None).pooled.into_data().iter().collect()
}

/// The vector of the unchanged golden model.
fn plain() -> Vec<f32> {
    vector(&load(folder().path()).model)
}

fn write(path: &Path, value: &Value) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value.to_string()).unwrap();
}

#[test]
fn names_of_google_s_time_and_heads_of_other_tasks_are_the_same_model() {
    let old = |name: &str| {
        let (norm, rest) = (name.contains("LayerNorm"), name.rsplit_once('.').unwrap());
        match rest {
            (stem, "weight") if norm => format!("{stem}.gamma"),
            (stem, "bias") if norm => format!("{stem}.beta"),
            _ => name.into(),
        }
    };
    let heads = ["cls.predictions.bias", "cls.predictions.transform.LayerNorm.gamma", "cls.seq_relationship.weight"];
    for (prefix, further) in [("", &heads[..]), ("bert.", &heads), ("bert.", &["classifier.weight", "dropout.p"])] {
        let dir = folder();
        rename(dir.path(), |name| format!("{prefix}{}", old(name)), further);
        assert_eq!(vector(&load(dir.path()).model), plain(), "{prefix:?} {further:?}");
    }
}

#[test]
fn a_number_format_that_is_not_read_matters_to_the_model_alone() {
    for (prefix, tensor, told) in [
        ("bert.", "classifier.weight", None),
        ("", "cls.predictions.bias", None),
        ("bert.", "bert.embeddings.LayerNorm.weight", Some("embeddings.LayerNorm.weight is F64, expected f32")),
        ("bert.", "bert.embeddings.word_embeddings.weight", Some("word_embeddings.weight is F64, expected f32")),
    ] {
        let dir = folder();
        let mut all: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors(dir.path())
            .into_iter()
            .map(|(name, shape, data)| (format!("{prefix}{name}"), Dtype::F32, shape, data))
            .collect();
        match all.iter_mut().find(|(name, ..)| name == tensor) {
            Some((_, dtype, _, data)) => (*dtype, *data) = (Dtype::F64, data.repeat(2)),
            None => all.push((tensor.into(), Dtype::F64, vec![2], vec![0; 16])),
        }
        let views = all
            .iter()
            .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        std::fs::write(dir.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
        match told {
            None => assert_eq!(vector(&load(dir.path()).model), plain(), "{tensor}"),
            Some(told) => assert!(message(dir.path()).contains(told), "{}", message(dir.path())),
        }
    }
}

#[test]
fn a_word_before_every_name_is_no_part_of_it() {
    for prefix in
        ["_orig_mod.", "module.", "model.bert.", "0.auto_model.", "_orig_mod.module.bert.", "net.encoder.bert."]
    {
        let dir = folder();
        rename(dir.path(), |name| format!("{prefix}{name}"), &[]);
        assert_eq!(vector(&load(dir.path()).model), plain(), "{prefix}");
    }
    let dir = folder();
    rename(dir.path(), |name| format!("roberta.{name}"), &[]);
    assert!(message(dir.path()).contains("roberta, a relative of bert; set \"model_type\""));

    let dir = folder();
    let both: Vec<Stored> = ["query.", "document."]
        .iter()
        .flat_map(|prefix| tensors(dir.path()).into_iter().map(move |(n, s, d)| (format!("{prefix}{n}"), s, d)))
        .collect();
    store(dir.path(), &both);
    let told = message(dir.path());
    assert!(told.contains("several models") && told.len() < 300, "{told}");

    let dir = folder();
    rename(dir.path(), |name| format!("x{}", name.replace('.', "_")), &[]);
    let told = message(dir.path());
    assert!(told.contains("more are missing") && told.contains("more are left over"), "{told}");
    assert!(told.len() < 400, "{told}");
}

#[test]
fn an_old_configuration_has_the_defaults_of_its_architecture() {
    let google =
        ["model_type", "architectures", "layer_norm_eps", "hidden_act", "type_vocab_size", "position_embedding_type"];
    let whole = load(folder().path());
    for keys in [&google[..], &google[..1], &google[..2], &google[2..3], &google[3..4], &google[4..5]] {
        let dir = folder();
        let type_vocab_size_tells = keys.contains(&"type_vocab_size") && keys.contains(&"model_type");
        let without: Vec<(&str, Value)> = keys.iter().map(|key| (*key, Value::Null)).collect();
        configure(dir.path(), &without);
        if type_vocab_size_tells {
            configure(dir.path(), &[("attention_probs_dropout_prob", json!(0.1))]);
        }
        let lm = load(dir.path());
        assert_eq!(vector(&lm.model), plain(), "without {keys:?}");
        assert_eq!(lm.fingerprint, whole.fingerprint, "without {keys:?}");
    }
    // Google's original name of the file.
    let dir = folder();
    std::fs::rename(dir.path().join("config.json"), dir.path().join("bert_config.json")).unwrap();
    assert_eq!(vector(&load(dir.path()).model), plain());

    for (changes, told) in [
        (vec![("hidden_size", Value::Null), ("vocab_size", Value::Null)], "it lacks vocab_size, hidden_size; add"),
        (
            vec![("model_type", json!("electra"))],
            "architecture \"electra\" is not supported (supported: bert, camembert",
        ),
        (vec![("model_type", Value::Null), ("architectures", json!(["ElectraModel"]))], "\"ElectraModel\""),
        (
            vec![("model_type", Value::Null), ("architectures", json!(["BertGenerationEncoder"]))],
            "\"BertGenerationEncoder\"",
        ),
        (
            vec![("model_type", Value::Null), ("architectures", Value::Null), ("embedding_size", json!(16))],
            "add \"model_type\", such as \"model_type\": \"bert\"",
        ),
        (vec![("is_decoder", json!(true))], "is_decoder true (supported: false)"),
        (vec![("quantization_config", json!({ "quant_method": "gptq" }))], "quantised by gptq"),
    ] {
        let dir = folder();
        configure(dir.path(), &changes);
        let message = message(dir.path());
        assert!(message.contains(told) && message.contains("config.json"), "{changes:?}: {message}");
    }
}

#[test]
fn small_files_may_begin_with_a_byte_order_mark_and_a_pointer_is_called_one() {
    for name in ["config.json", "tokenizer.json"] {
        let dir = folder();
        let path = dir.path().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
        assert_eq!(vector(&load(dir.path()).model), plain(), "{name}");
        for mark in [&[0xff, 0xfe][..], &[]] {
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            std::fs::write(&path, [mark, &wide].concat()).unwrap();
            let told = message(dir.path());
            assert!(told.contains("UTF-16") && told.contains(name), "{told}");
        }
    }
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let dir = folder();
        let path = dir.path().join(name);
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:00ff\nsize 90868376\n").unwrap();
        let told = message(dir.path());
        assert!(told.contains("Git LFS pointer") && told.contains("git lfs pull") && told.contains(name), "{told}");
    }
}

#[test]
fn weights_that_are_not_there_are_told_by_what_is() {
    let dir = folder();
    let path = dir.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
    let told = message(dir.path());
    assert!(told.contains(&format!("{} of {} bytes are there", whole.len() - 7, whole.len())), "{told}");
    for (start, told) in
        [(&b"PK\x03\x04"[..], "PyTorch pickle"), (b"\x80\x02", "PyTorch pickle"), (b"<!DOCTYPE html>", "a web page")]
    {
        std::fs::write(&path, [start, &[1; 90]].concat()).unwrap();
        assert!(message(dir.path()).contains(told));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(message(dir.path()).contains("model.safetensors: not found; download the weights"));
    for (name, told) in [
        ("flax_model.msgpack", "is for another library"),
        ("pytorch_model.bin", "pytorch_model.bin is a pickle, which is not supported: convert it with"),
        ("tiny.gguf", "to load tiny.gguf, use the path of that file"),
        ("model.fp16.safetensors", "if model.fp16.safetensors is the model, rename it"),
        ("adapter_model.safetensors", "is only an adapter"),
    ] {
        std::fs::write(dir.path().join(name), b"").unwrap();
        let message = message(dir.path());
        assert!(message.contains(told), "{message}");
    }
    // The hub's cache: the model is in a subfolder.
    let hub = tempfile::tempdir().unwrap();
    let within = hub.path().join("snapshots/0123");
    write(&within.join("config.json"), &json!({}));
    assert!(message(hub.path()).contains(&format!("use the folder {}", within.display())));
    let file = folder().path().join("config.json");
    assert!(message(&file).contains("cannot read"), "it is gone");
    let dir = folder();
    assert!(message(&dir.path().join("config.json")).contains("for a Hugging Face model, use its folder"));
}

fn modules(transformer: &str, further: &[(&str, &str)]) -> Value {
    let module =
        |(path, class): &(&str, &str)| json!({ "path": path, "type": format!("sentence_transformers.models.{class}") });
    let all = [(transformer, "Transformer")].iter().chain(further).map(module).collect::<Vec<_>>();
    json!(all)
}

/// A sentence-transformers folder: in today's layout, or in the old one with the model in `0_Transformer`.
fn sentence_encoder(old: bool, pooling: &Value) -> tempfile::TempDir {
    let dir = folder();
    let inner = if old { "0_Transformer" } else { "" };
    if old {
        std::fs::create_dir(dir.path().join(inner)).unwrap();
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            std::fs::rename(dir.path().join(name), dir.path().join(inner).join(name)).unwrap();
        }
    }
    write(&dir.path().join("modules.json"), &modules(inner, &[("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]));
    write(&dir.path().join("1_Pooling/config.json"), pooling);
    write(
        &dir.path().join(inner).join("sentence_bert_config.json"),
        &json!({ "max_seq_length": 9, "do_lower_case": true }),
    );
    dir
}

#[test]
fn a_sentence_encoder_is_pooled_as_its_folder_asks_and_reads_as_much() {
    let modes = |on: &[&str]| {
        let all = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken"];
        let keys = all.iter().map(|mode| (format!("pooling_mode_{mode}"), json!(on.contains(mode))));
        Value::Object(keys.collect())
    };
    for (asked, want) in [
        (modes(&["cls_token"]), Pooling::First),
        (modes(&["mean_tokens"]), Pooling::Mean),
        (modes(&["lasttoken"]), Pooling::Last),
        (modes(&["max_tokens"]), Pooling::Max),
        (modes(&["mean_sqrt_len_tokens"]), Pooling::MeanSqrtLen),
        (json!({ "pooling_mode": "weightedmean" }), Pooling::Weighted),
        (json!({ "pooling_mode": "cls" }), Pooling::First),
        (json!({ "word_embedding_dimension": 32 }), Pooling::Mean),
    ] {
        let of_pooling = ra_llm::load(folder().path(), Some(want), &device()).unwrap();
        for old in [false, true] {
            let dir = sentence_encoder(old, &asked);
            let inner = dir.path().join(if old { "0_Transformer" } else { "" });
            for path in [dir.path(), &inner] {
                let lm = load(path);
                assert_eq!((lm.model.spec().pooling, lm.model.spec().max_tokens), (want, 9), "{asked}");
                assert_eq!(vector(&lm.model), vector(&of_pooling.model));
            }
            let chosen = ra_llm::load(dir.path(), Some(Pooling::First), &device()).unwrap();
            assert_eq!(chosen.model.spec().pooling, Pooling::First, "what the caller asks for goes before");
            assert_eq!((chosen.asked.pooling, chosen.asked.max_tokens), (Some(want), Some(9)));
        }
    }
    for (asked, name) in [
        (modes(&["cls_token", "mean_tokens"]), "the pooling cls_token + mean_tokens,"),
        (json!({ "pooling_mode": "attention" }), "the pooling attention,"),
    ] {
        let dir = sentence_encoder(false, &asked);
        let told = message(dir.path());
        assert!(told.contains(name) && told.contains("choose first, last, mean, max"), "{told}");
        assert!(ra_llm::load(dir.path(), Some(Pooling::Mean), &device()).is_ok());
    }
}

#[test]
fn prompts_are_those_of_the_whole_folder_also_by_the_path_of_its_transformer() {
    let dir = sentence_encoder(true, &json!({ "pooling_mode_cls_token": true }));
    let prompts = json!({ "prompts": { "query": "query: " }, "default_prompt_name": "query" });
    write(&dir.path().join("config_sentence_transformers.json"), &prompts);
    let (whole, inner) = (load(dir.path()), load(&dir.path().join("0_Transformer")));
    assert_eq!(whole.prompts.default_prompt(), Some("query: "));
    assert_eq!((inner.prompts, inner.fingerprint), (whole.prompts, whole.fingerprint));
}

#[test]
fn modules_around_a_transformer_are_followed_or_refused_by_name() {
    let dir = sentence_encoder(true, &json!({ "pooling_mode_cls_token": true }));
    let list = dir.path().join("modules.json");
    // Without the list, the layout is still recognised.
    std::fs::remove_file(&list).unwrap();
    assert_eq!(load(dir.path()).model.spec().pooling, Pooling::First);
    for (value, told) in [
        (json!([{ "path": "0_BoW", "type": "sentence_transformers.models.BoW" }]), "the model starts with BoW"),
        (
            json!([{ "path": "0_StaticEmbedding", "type": "sentence_transformers.models.StaticEmbedding" }]),
            "0_StaticEmbedding/tokenizer.json",
        ),
        (modules("0_Transformer", &[("1_Pooling", "Pooling"), ("2_Dense", "Dense")]), "2_Dense/config.json"),
        (modules("0_Transformer", &[("1_Pooling", "Pooling"), ("2_CNN", "CNN")]), "\"2_CNN\" (CNN) is not supported"),
        (modules("../elsewhere", &[]), "leads out of the folder"),
        (modules("/tmp", &[]), "leads out of the folder"),
        (modules("nowhere", &[]), "nowhere/config.json"),
        (json!({ "no": "list" }), "modules.json"),
    ] {
        write(&list, &value);
        let message = message(dir.path());
        assert!(message.contains(told), "{message}");
    }
    write(&list, &modules("0_Transformer", &[("1_Pooling", "Pooling"), ("2_Dropout", "Dropout")]));
    load(dir.path());
}
