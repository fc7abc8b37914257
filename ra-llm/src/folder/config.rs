//! Detects the architecture of a `config.json` and fills in the architecture's defaults.
use super::document::read_json;
use crate::arch::Config;
use crate::{LlmError, Result};
use ra_core::Error;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;

/// The supported architectures, by `model_type` and by the prefix of their class names.
const ARCHITECTURES: [(&str, &str); 20] = [
    ("bert", "Bert"),
    ("camembert", "Camembert"),
    ("distilbert", "DistilBert"),
    ("gemma", "Gemma"),
    ("gemma2", "Gemma2"),
    ("gemma3", "Gemma3"),
    ("gemma3_text", "Gemma3Text"),
    ("gpt2", "GPT2"),
    ("llama", "Llama"),
    ("mistral", "Mistral"),
    ("modernbert", "ModernBert"),
    ("mpnet", "MPNet"),
    ("mt5", "MT5"),
    ("nomic_bert", "NomicBert"),
    ("phi3", "Phi3"),
    ("qwen2", "Qwen2"),
    ("qwen3", "Qwen3"),
    ("roberta", "Roberta"),
    ("t5", "T5"),
    ("xlm-roberta", "XLMRoberta"),
];
const SUPPORTED: &str = "bert, camembert, distilbert, gemma, gemma2, gemma3, gpt2, llama, mistral, modernbert, mpnet, \
                         mt5, nomic_bert, phi3, qwen2, qwen3, roberta, t5, xlm-roberta";

/// The sizes that every model needs.
const SIZES: [&str; 5] = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"];
const GPT2_SIZES: [&str; 4] = ["vocab_size", "n_embd", "n_layer", "n_head"];
const NOMIC_SIZES: [&str; 5] = ["vocab_size", "n_embd", "n_layer", "n_head", "n_inner"];
const DISTILBERT_SIZES: [&str; 5] = ["vocab_size", "dim", "n_layers", "n_heads", "hidden_dim"];
const T5_SIZES: [&str; 6] = ["vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads"];

/// Reads a `config.json`; a key that is `null` counts as absent.
///
/// # Errors
/// [`LlmError::Architecture`], or the missing keys.
pub(crate) fn read(path: &Path) -> Result<Config> {
    let mut config: Map<String, Value> = read_json(path)?;
    // Keys of this crate alone, which no file may set.
    config.retain(|key, _| !OWN_KEYS.contains(&key.as_str()));
    // `null` means that there is none, where an absent key means the default.
    let none: Vec<String> = config.iter().filter(|(_, value)| value.is_null()).map(|(key, _)| key.clone()).collect();
    config.retain(|_, value| !value.is_null());
    if let Some(table) = config.get("quantization_config") {
        let method = table.get("quant_method").and_then(Value::as_str).unwrap_or("an unknown method");
        let problem = format!(
            "the weights are quantised by {method}, which is not supported; use the unquantised model or a GGUF file"
        );
        return Err(Error::corrupt(path, problem).into());
    }
    let kind = kind(path, &config)?;
    if kind == "gemma3" {
        // The model that also reads images has that of texts in a table of its own.
        if let Some(Value::Object(text)) = config.remove("text_config") {
            config.extend(text.into_iter().filter(|(_, value)| !value.is_null()));
        }
    }
    let kind = if kind == "gemma3" { "gemma3_text" } else { kind };
    if kind == "nomic_bert" && !config.contains_key("n_embd") {
        rename(&mut config, &NOMIC_KEYS);
        let fixed = ["qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"].map(|key| (key, false.into()));
        for (key, value) in fixed.into_iter().chain([("rotary_emb_fraction", 1.0.into())]) {
            config.entry(key).or_insert(value);
        }
    }
    rename(&mut config, &[("_sliding_window_pattern", "sliding_window_pattern")]);
    config.insert("model_type".into(), kind.into());
    for (key, value) in defaults(kind, &config) {
        if !(none.iter().any(|none| none == key) && MAY_BE_NONE.contains(&key)) {
            config.entry(key).or_insert(value);
        }
    }
    match kind {
        "bert" | "roberta" | "xlm-roberta" | "camembert" => parse(path, config, &SIZES).map(Config::Bert),
        "distilbert" => parse(path, config, &DISTILBERT_SIZES).map(Config::DistilBert),
        "gemma" | "gemma2" | "gemma3_text" => parse(path, config, &SIZES).map(Config::Gemma),
        "gpt2" => parse(path, config, &GPT2_SIZES).map(Config::Gpt2),
        "modernbert" => parse(path, config, &SIZES).map(Config::ModernBert),
        "mpnet" => parse(path, config, &SIZES).map(Config::Mpnet),
        "nomic_bert" => parse(path, config, &NOMIC_SIZES).map(Config::NomicBert),
        "t5" | "mt5" => parse(path, config, &T5_SIZES).map(Config::T5),
        _ => parse(path, config, &SIZES).map(Config::Llama),
    }
}

/// Keys that only this crate gives to a configuration.
const OWN_KEYS: [&str; 3] = ["position_offset", "whole_norms", "rope_divisors"];

/// Keys that may be `null` although their default is not.
const MAY_BE_NONE: [&str; 2] = ["attn_logit_softcapping", "sliding_window"];

/// The keys of Nomic BERT in transformers, and those of its publisher, which follow GPT-2.
const NOMIC_KEYS: [(&str, &str); 7] = [
    ("hidden_size", "n_embd"),
    ("num_hidden_layers", "n_layer"),
    ("num_attention_heads", "n_head"),
    ("intermediate_size", "n_inner"),
    ("max_position_embeddings", "n_positions"),
    ("layer_norm_eps", "layer_norm_epsilon"),
    ("hidden_act", "activation_function"),
];

/// Gives keys other names, unless the configuration has those too.
fn rename(config: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (from, to) in names {
        if let Some(value) = config.remove(*from) {
            config.entry(*to).or_insert(value);
        }
    }
}

/// The defaults that differ between the members of a family, as in transformers.
fn defaults(kind: &str, config: &Map<String, Value>) -> Vec<(&'static str, Value)> {
    match kind {
        // The first position's row follows that of the padding token.
        "roberta" | "xlm-roberta" | "camembert" | "mpnet" => {
            let padding = config.get("pad_token_id").and_then(Value::as_u64).unwrap_or(1);
            let types = if kind == "mpnet" { 0 } else { 2 };
            // Whatever MPNet's padding token is, its code has 1.
            let padding = if kind == "mpnet" { 1 } else { padding };
            vec![("position_offset", padding.saturating_add(1).into()), ("type_vocab_size", types.into())]
        }
        "gemma" => vec![("num_key_value_heads", 16.into())],
        "gemma2" => vec![
            ("attn_logit_softcapping", 50.0.into()),
            ("query_pre_attn_scalar", 256.0.into()),
            ("num_key_value_heads", 4.into()),
        ],
        // Files of the model that also reads images leave out what is as in the smallest one.
        "gemma3_text" => vec![
            ("query_pre_attn_scalar", 256.0.into()),
            ("max_position_embeddings", 131_072.into()),
            ("num_attention_heads", 8.into()),
            ("num_key_value_heads", 4.into()),
            ("vocab_size", 262_208.into()),
        ],
        "mt5" => vec![("feed_forward_proj", "gated-gelu".into())],
        "phi3" => vec![("max_position_embeddings", 4096.into()), ("rms_norm_eps", 1e-5.into())],
        "mistral" => vec![
            ("max_position_embeddings", 131_072.into()),
            ("sliding_window", 4096.into()),
            ("num_key_value_heads", 8.into()),
        ],
        "qwen2" | "qwen3" => vec![
            ("max_position_embeddings", 32_768.into()),
            ("use_sliding_window", false.into()),
            ("sliding_window", 4096.into()),
        ],
        "llama" => vec![("max_position_embeddings", 2048.into())],
        _ => Vec::new(),
    }
}

fn parse<C: DeserializeOwned>(path: &Path, config: Map<String, Value>, sizes: &[&str]) -> Result<C> {
    let lacks: Vec<&str> = sizes.iter().filter(|&&key| !config.contains_key(key)).copied().collect();
    if !lacks.is_empty() {
        return Err(Error::corrupt(path, format!("it lacks {}; add what is missing", lacks.join(", "))).into());
    }
    Ok(serde_json::from_value(Value::Object(config)).map_err(|e| Error::corrupt(path, e.to_string()))?)
}

/// The `model_type` of a configuration. Google's original ones have none; their class names decide, or the keys that
/// only they have.
fn kind(path: &Path, config: &Map<String, Value>) -> Result<&'static str> {
    let foreign = |found: &str| LlmError::Architecture { path: path.into(), found: found.into(), supported: SUPPORTED };
    if let Some(said) = config.get("model_type") {
        let said = said.as_str().map_or_else(|| said.to_string(), str::to_string);
        let known = ARCHITECTURES.iter().find(|(kind, _)| *kind == said);
        return known.map(|(kind, _)| *kind).ok_or_else(|| foreign(&said));
    }
    if let Some(class) = config.get("architectures").and_then(|all| all.get(0)).and_then(Value::as_str) {
        let heads = ["For", "Model", "LMHead", "DoubleHeads", "Encoder"];
        let of = |stem: &str| class.strip_prefix(stem).is_some_and(|rest| heads.iter().any(|h| rest.starts_with(h)));
        let known = ARCHITECTURES.iter().find(|(_, stem)| of(stem));
        return known.map(|(kind, _)| *kind).ok_or_else(|| foreign(class));
    }
    let has = |keys: &[&str]| keys.iter().all(|&key| config.contains_key(key));
    let has_any = |keys: &[&str]| keys.iter().any(|&key| config.contains_key(key));
    // Later relatives of BERT and GPT-2 have their own keys.
    let relative = has_any(&["embedding_size", "num_hidden_groups", "rms_norm_eps", "num_key_value_heads", "afn"]);
    if !relative && has(&SIZES) && has_any(&["type_vocab_size", "attention_probs_dropout_prob"]) {
        return Ok("bert");
    }
    if !relative && has(&GPT2_SIZES) {
        return Ok("gpt2");
    }
    let problem = format!(
        "it does not name its architecture; add \"model_type\", such as \"model_type\": \"bert\" \
         (supported: {SUPPORTED})"
    );
    Err(Error::corrupt(path, problem).into())
}
