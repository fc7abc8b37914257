//! Detects the architecture of a `config.json` and fills in the architecture's defaults.
use super::document::read_json;
use crate::arch::Config;
use crate::{LlmError, Result};
use ra_core::Error;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;

/// The supported architectures, by `model_type` and by the prefix of their class names.
const ARCHITECTURES: [(&str, &str); 6] = [
    ("bert", "Bert"),
    ("gpt2", "GPT2"),
    ("llama", "Llama"),
    ("mistral", "Mistral"),
    ("qwen2", "Qwen2"),
    ("qwen3", "Qwen3"),
];
const SUPPORTED: &str = "bert, gpt2, llama, mistral, qwen2, qwen3";

/// The sizes that every model needs.
const SIZES: [&str; 5] = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"];
const GPT2_SIZES: [&str; 4] = ["vocab_size", "n_embd", "n_layer", "n_head"];

/// Reads a `config.json`; a key that is `null` counts as absent.
///
/// # Errors
/// [`LlmError::Architecture`], or the missing keys.
pub(crate) fn read(path: &Path) -> Result<Config> {
    let mut config: Map<String, Value> = read_json(path)?;
    config.retain(|_, value| !value.is_null());
    if let Some(table) = config.get("quantization_config") {
        let method = table.get("quant_method").and_then(Value::as_str).unwrap_or("an unknown method");
        let problem = format!(
            "the weights are quantised by {method}, which is not supported; use the unquantised model or a GGUF file"
        );
        return Err(Error::corrupt(path, problem).into());
    }
    let kind = kind(path, &config)?;
    config.insert("model_type".into(), kind.into());
    match kind {
        "bert" => parse(path, config, &SIZES).map(Config::Bert),
        "gpt2" => parse(path, config, &GPT2_SIZES).map(Config::Gpt2),
        _ => {
            for (key, value) in defaults(kind) {
                config.entry(key).or_insert(value);
            }
            parse(path, config, &SIZES).map(Config::Llama)
        }
    }
}

/// The defaults that differ between the relatives of Llama, as in transformers.
fn defaults(kind: &str) -> Vec<(&'static str, Value)> {
    match kind {
        "mistral" => vec![("max_position_embeddings", 131_072.into())],
        "qwen2" | "qwen3" => vec![("max_position_embeddings", 32_768.into()), ("use_sliding_window", false.into())],
        _ => vec![("max_position_embeddings", 2048.into())],
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
        let heads = ["For", "Model", "LMHead", "DoubleHeads"];
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
