//! Which files of a repository a model needs.
use super::name::{is_gguf, is_inside, parts_of};
use anyhow::{Result, bail, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The settings of a model, its tokenizer and its sentence encoder: small files that are taken where they exist.
const SETTINGS: [&str; 22] = [
    "config.json",
    "bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
    "special_tokens.json",
    INDEX,
];

/// The list of the modules of a sentence encoder.
pub(super) const MODULES: &str = "modules.json";

/// The folders that a model consists of, in order: the root, and those of its modules.
#[derive(Debug)]
pub(super) struct Folders(Vec<String>);

impl Folders {
    /// Those that `list`, the text of [`MODULES`], names; without it, those that are called like modules.
    ///
    /// # Errors
    /// If the list is damaged.
    pub(super) fn of(names: &BTreeSet<String>, list: Option<&str>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Module {
            #[serde(default)]
            path: String,
        }
        let Some(list) = list else {
            let all: BTreeSet<&str> = names.iter().map(|name| split(name).0).collect();
            let own = all.into_iter().filter(|folder| folder.is_empty() || is_module(folder));
            return Ok(Self(own.map(str::to_owned).collect()));
        };
        let Ok(modules) = serde_json::from_str::<Vec<Module>>(list) else { bail!("{MODULES}: is damaged") };
        let paths = modules.into_iter().map(|module| module.path.trim_matches('/').replace("./", ""));
        let mut own: Vec<String> = paths.map(|path| if path == "." { String::new() } else { path }).collect();
        // What is beside the list belongs to it.
        own.push(String::new());
        Ok(Self(own))
    }

    fn has(&self, folder: &str) -> bool {
        self.0.iter().any(|own| own == folder)
    }
}

/// Returns the settings among `names`: those of the model, and those of the modules of a sentence encoder.
pub(super) fn settings(names: &BTreeSet<String>, folders: &Folders) -> Vec<String> {
    let is_setting = |name: &&String| {
        let (folder, file) = split(name);
        SETTINGS.contains(&file) && folders.has(folder)
    };
    names.iter().filter(is_setting).cloned().collect()
}

/// Returns the folder of the model among `names`, with weights and a tokenizer that can be read.
///
/// # Errors
/// Says what the repository has instead, and what to do.
pub(super) fn model<'a>(names: &BTreeSet<String>, folders: &'a Folders) -> Result<&'a str> {
    let has = |folder: &str, file: &str| names.contains(&join(folder, file));
    // A static table has no configuration beside its weights, and layers after the model have no tokenizer.
    let is_table = |folder: &str| has("", MODULES) && has(folder, "tokenizer.json");
    let is_model = |folder: &&str| has(folder, "config.json") || has(folder, "bert_config.json") || is_table(folder);
    // The first module is the model. Later ones, such as 2_Dense, have a configuration and weights too.
    let mut models = folders.0.iter().map(String::as_str).filter(is_model).filter(|folder| is_first(folder, folders));
    let Some(model) = models.find(|folder| has(folder, WHOLE) || has(folder, INDEX)) else {
        bail!("{}", held_instead(names))
    };
    ensure!(
        has(model, "tokenizer.json") || has(model, "vocab.txt"),
        "it has neither tokenizer.json nor vocab.txt: make one by \
         `AutoTokenizer.from_pretrained(..).save_pretrained(..)` in Python, and name that folder by lm.path"
    );
    Ok(model)
}

/// Returns the weights among `names`: those of the model, and those of the modules after it. `read` returns the text of
/// a setting.
///
/// # Errors
/// As [`model`]; if a shard is missing.
pub(super) fn weights(
    names: &BTreeSet<String>,
    folders: &Folders,
    read: &dyn Fn(&str) -> Result<String>,
) -> Result<Vec<String>> {
    let model = model(names, folders)?;
    let wholes: BTreeSet<String> = folders.0.iter().map(|folder| join(folder, WHOLE)).collect();
    let mut found: Vec<String> = wholes.into_iter().filter(|whole| names.contains(whole)).collect();
    if !names.contains(&join(model, WHOLE)) {
        found.extend(shards(model, &read(&join(model, INDEX))?, names)?);
    }
    Ok(found)
}

/// Returns the GGUF file that is asked for, with all of its parts.
///
/// # Errors
/// Names the files that there are.
pub(super) fn gguf(names: &BTreeSet<String>, file: &str) -> Result<Vec<String>> {
    let parts = parts_of(file);
    if let Some(missing) = parts.iter().find(|part| !names.contains(*part)) {
        bail!("it has no file {missing}; {}", ggufs(names).unwrap_or_else(|| "it has no GGUF file at all".into()));
    }
    Ok(parts)
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn shards(folder: &str, index: &str, names: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let Ok(Index { weight_map }) = serde_json::from_str(index) else { bail!("{INDEX}: is damaged") };
    let shards: BTreeSet<String> = weight_map.values().map(|shard| join(folder, shard)).collect();
    ensure!(!shards.is_empty(), "{INDEX}: lists no shards");
    match shards.iter().find(|shard| !names.contains(*shard) || !is_inside(shard)) {
        Some(missing) => bail!("{INDEX}: lists {missing}, which is missing"),
        None => Ok(shards),
    }
}

/// Says what a repository without a readable model holds, and what to do.
fn held_instead(names: &BTreeSet<String>) -> String {
    let held = |ends: &[&str]| names.iter().find(|name| ends.iter().any(|end| split(name).1.ends_with(end)));
    if let Some(told) = ggufs(names) {
        return format!("it has no {WHOLE}; {told}");
    }
    if names.contains("adapter_config.json") {
        return "it is only an adapter: merge it into its model (peft's merge_and_unload), and name that folder by \
                lm.path"
            .into();
    }
    if let Some(pickle) = held(&[".bin", ".pt", ".pth", ".ckpt"]) {
        return format!(
            "its weights are {pickle}, a pickle, which is not opened: take a revision with {WHOLE} (often @refs/pr/1, \
             see its page), or convert it by `python3 -c \"from transformers import AutoModel, AutoTokenizer; n='REPO'; \
             [a.from_pretrained(n).save_pretrained('models/mine') for a in (AutoModel, AutoTokenizer)]\"` and set \
             lm.path=models/mine"
        );
    }
    match held(&[".safetensors", ".h5", ".msgpack", ".onnx"]) {
        Some(other) => {
            format!("it has {other} but no {WHOLE} beside a config.json: name another repository, or lm.path")
        }
        None => format!("it has no weights ({WHOLE} beside a config.json): name another repository, or lm.path"),
    }
}

/// Says how to name the GGUF files, if there are any.
fn ggufs(names: &BTreeSet<String>) -> Option<String> {
    let files: Vec<&str> = names.iter().map(String::as_str).filter(|name| is_gguf(name)).collect();
    let (shown, more) = (files.iter().take(8).copied().collect::<Vec<_>>().join(", "), files.len().saturating_sub(8));
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    (!files.is_empty()).then(|| format!("name one of its GGUF files, as in hf:OWNER/REPO:{}: {shown}{more}", files[0]))
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

fn join(folder: &str, file: &str) -> String {
    if folder.is_empty() { file.into() } else { format!("{folder}/{file}") }
}

/// Returns whether a folder may be that of the model itself.
fn is_first(folder: &str, folders: &Folders) -> bool {
    folder.is_empty() || folder.starts_with("0_") || folders.0.first().is_some_and(|first| first == folder)
}

/// Returns whether a folder is that of a module, such as `1_Pooling`.
fn is_module(folder: &str) -> bool {
    let digits = folder.split('_').next().unwrap_or_default();
    !folder.contains('/') && folder.contains('_') && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}
