//! The settings around a sentence encoder's model: its place, pooling, dense layers and maximum length. The layout is
//! that of sentence-transformers; a plain model folder has none of these files.
use super::DenseFiles;
use super::document::{read_json, read_optional};
use crate::reading::RequestedPooling;
use crate::{LlmError, Result};
use ra_core::{Error, Pooling};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Component, Path, PathBuf};

/// A folder with a model, and the settings in the files around it.
#[derive(Debug)]
pub(crate) struct Folder {
    /// The folder of the files around the model; the model's own if there are none.
    pub(crate) root: PathBuf,
    /// The folder of `config.json`, the weights and the tokenizer.
    pub(crate) model: PathBuf,
    /// The requested pooling, and the file that requests it.
    pub(crate) pooling: Option<(RequestedPooling, PathBuf)>,
    /// The kind of a model that is a table of token vectors.
    pub(crate) table: Option<TableKind>,
    /// The dense layers after pooling.
    pub(crate) dense: Vec<DenseFiles>,
    /// The maximum length of a text in tokens.
    pub(crate) max_tokens: Option<usize>,
    /// Whether texts are lower-cased before they are tokenized.
    pub(crate) lowercase: bool,
}

/// The two kinds of static tables, which treat unknown words differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableKind {
    /// model2vec leaves unknown words out.
    Model2Vec,
    /// sentence-transformers' `StaticEmbedding` has a vector for them.
    StaticEmbedding,
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Module {
    /// The class name without its Python modules.
    fn class(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or_default()
    }

    /// The place of its kind in the only order that is supported.
    fn step(&self) -> Option<usize> {
        match self.class() {
            _ if self.is_transformer() => Some(0),
            "StaticEmbedding" => Some(0),
            "Pooling" => Some(1),
            "Dense" => Some(2),
            "Normalize" => Some(3),
            _ => None,
        }
    }

    fn is_transformer(&self) -> bool {
        // The first versions had one class per architecture.
        matches!(
            self.class(),
            "Transformer" | "BERT" | "RoBERTa" | "DistilBERT" | "ALBERT" | "XLMRoBERTa" | "CamemBERT"
        )
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Limits {
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
    /// What the module takes from the model: the states of tokens, unless it is told otherwise.
    module_output_name: Option<String>,
}

impl Limits {
    fn check(&self, file: &Path) -> Result<()> {
        match self.module_output_name.as_deref() {
            None | Some("token_embeddings") => Ok(()),
            Some(other) => {
                let problem = format!("module_output_name {other:?} is not supported (supported: token_embeddings)");
                Err(Error::corrupt(file, problem).into())
            }
        }
    }
}

/// The part of `config_sentence_transformers.json` that is about vectors.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Whole {
    truncate_dim: Option<usize>,
}

/// The longest text that a tokenizer's configuration allows; newer folders have no other place for it.
fn tokenizer_limit(folder: &Path) -> Result<Option<usize>> {
    // What stands there if there is no limit.
    const NONE: f64 = 1e9;
    let config: Map<String, Value> = read_optional(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
    let limit = config.get("model_max_length").and_then(Value::as_f64);
    Ok(limit.filter(|&limit| (1.0..NONE).contains(&limit)).map(|limit| limit as usize))
}

impl Folder {
    /// Inspects `path`: a model folder, a sentence-transformers folder, or the `0_Transformer` inside one.
    ///
    /// # Errors
    /// Names the file that is damaged, or what a folder without a model holds instead.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let root = around(path)?;
        let file = root.join("modules.json");
        let modules: Vec<Module> = read_optional(&file)?.unwrap_or_default();
        let mut folder = Self {
            root: root.clone(),
            model: path.into(),
            pooling: None,
            table: None,
            dense: Vec::new(),
            max_tokens: None,
            lowercase: false,
        };
        // What the list does not name is no part of the model.
        let mut pooling = modules.is_empty().then(|| root.join("1_Pooling/config.json")).filter(|file| file.is_file());
        let mut before = 0;
        for (place, module) in modules.iter().enumerate() {
            let step = module.step();
            let twice = place > 0 && step == Some(before) && before < 2;
            if twice || step.is_some_and(|step| step < before) {
                let problem = format!("{:?} ({}) stands too late in the list", module.path, module.class());
                let order = "Transformer, Pooling, Dense, Normalize";
                return Err(Error::corrupt(&file, format!("{problem}, which is not supported (order: {order})")).into());
            }
            before = step.unwrap_or(before);
            let own = inside(&root, &module.path)
                .ok_or_else(|| Error::corrupt(&file, format!("{:?} leads out of the folder", module.path)))?;
            match module.class() {
                _ if module.is_transformer() => folder.model = own,
                "StaticEmbedding" if place == 0 => {
                    (folder.model, folder.table) = (own, Some(TableKind::StaticEmbedding));
                }
                "Pooling" => pooling = Some(own.join("config.json")),
                "Dense" if place > 0 => folder.dense.push(DenseFiles::read(&own)?),
                // Normalization is left to the `normalize` setting, and dropout only matters in training.
                "Normalize" | "Dropout" => {}
                class if place == 0 => {
                    let problem = format!("the model starts with {class} (supported: Transformer, StaticEmbedding)");
                    return Err(Error::corrupt(&file, problem).into());
                }
                class => {
                    let problem = format!(
                        "the module {:?} ({class}) is not supported (supported: Transformer, Pooling, Dense, \
                         Normalize); remove it from the list to use the vectors without it",
                        module.path
                    );
                    return Err(Error::corrupt(&file, problem).into());
                }
            }
        }
        if modules.is_empty() && !folder.has_config() && path.join("0_Transformer/config.json").is_file() {
            folder.model = path.join("0_Transformer");
        }
        if folder.is_model2vec()? {
            folder.table = Some(TableKind::Model2Vec);
        }
        if !folder.has_config() && folder.table.is_none() {
            return Err(nothing_in(&folder.model));
        }
        if let Some(file) = pooling {
            folder.pooling = Some((requested_pooling(&file)?, file));
        }
        for name in ["bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"] {
            let limits: Option<Limits> = read_optional(&folder.model.join(format!("sentence_{name}_config.json")))?;
            if let Some(limits) = limits {
                limits.check(&folder.model.join(format!("sentence_{name}_config.json")))?;
                folder.max_tokens = limits.max_seq_length;
                folder.lowercase = limits.do_lower_case.unwrap_or(false);
                break;
            }
        }
        if folder.max_tokens.is_none() && !modules.is_empty() {
            folder.max_tokens = tokenizer_limit(&folder.model)?;
        }
        let whole: Whole = read_optional(&root.join("config_sentence_transformers.json"))?.unwrap_or_default();
        if let Some(kept) = whole.truncate_dim {
            tracing::warn!("{}: truncate_dim {kept} is not applied: vectors keep all numbers", root.display());
        }
        Ok(folder)
    }

    /// Whether `config.json` is that of a table of model2vec, which has no architecture.
    fn is_model2vec(&self) -> Result<bool> {
        let config: Option<Map<String, Value>> = read_optional(&self.config())?;
        let named = |key: &str, value: &str| config.as_ref().and_then(|c| c.get(key)) == Some(&Value::from(value));
        Ok(named("model_type", "model2vec"))
    }

    /// Whether there is a configuration, under its current name or Google's.
    fn has_config(&self) -> bool {
        self.config().is_file()
    }

    pub(crate) fn config(&self) -> PathBuf {
        let [today, google] = ["config.json", "bert_config.json"].map(|name| self.model.join(name));
        if !today.is_file() && google.is_file() { google } else { today }
    }
}

/// The sentence-transformers folder that `path` is, or whose transformer it is.
fn around(path: &Path) -> Result<PathBuf> {
    if path.join("modules.json").is_file() {
        return Ok(path.into());
    }
    let whole = path.canonicalize().map_err(|e| Error::io(path, "cannot read", e))?;
    let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else { return Ok(path.into()) };
    let modules: Vec<Module> = read_optional(&parent.join("modules.json")).ok().flatten().unwrap_or_default();
    let ours = modules.iter().any(|module| module.is_transformer() && Path::new(&module.path) == Path::new(name));
    Ok(if ours { parent.into() } else { path.into() })
}

/// `path` under `root`, or `None` if it leaves it.
fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    plain.then(|| if path.is_empty() { root.into() } else { root.join(path) })
}

/// The pooling that a pooling module's file requests.
fn requested_pooling(file: &Path) -> Result<RequestedPooling> {
    let config: Map<String, Value> = read_json(file)?;
    let mut modes: Vec<String> = match config.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode.clone()],
        Some(other) if !other.is_array() => vec![other.to_string()],
        Some(Value::Array(modes)) => modes.iter().map(|m| m.as_str().unwrap_or_default().to_string()).collect(),
        _ => {
            let on = config.iter().filter(|(_, value)| value.as_bool() == Some(true));
            on.filter_map(|(key, _)| key.strip_prefix("pooling_mode_").map(String::from)).collect()
        }
    };
    modes.sort();
    Ok(match modes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cls" | "cls_token"] => RequestedPooling::Known(Pooling::First),
        ["lasttoken" | "last_token"] => RequestedPooling::Known(Pooling::Last),
        ["mean" | "mean_tokens"] | [] => RequestedPooling::Known(Pooling::Mean),
        ["max" | "max_tokens"] => RequestedPooling::Known(Pooling::Max),
        ["mean_sqrt_len_tokens"] => RequestedPooling::Known(Pooling::MeanSqrtLen),
        ["weightedmean" | "weightedmean_tokens"] => RequestedPooling::Known(Pooling::Weighted),
        _ => RequestedPooling::Unknown(modes.join(" + ")),
    })
}

/// The error for a folder without a configuration, based on what it holds.
fn nothing_in(folder: &Path) -> LlmError {
    let config = folder.join("config.json");
    let mut within: Vec<PathBuf> = Vec::new();
    for place in [folder.to_path_buf(), folder.join("snapshots")] {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
        within.extend(entries.filter(|path| path.join("config.json").is_file()));
    }
    within.sort();
    match within.first() {
        Some(first) => Error::corrupt(config, format!("not found; use the folder {}", first.display())).into(),
        None => {
            let remedy = "not found; use a Hugging Face folder (config.json, model.safetensors, tokenizer.json) or a \
                          GGUF file";
            Error::corrupt(config, remedy).into()
        }
    }
}
