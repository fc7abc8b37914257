//! From a model folder or file to a frozen model.
use crate::gguf::Gguf;
use crate::{BertConfig, Gpt2Config, HfTokenizer, LlamaConfig, LlmError, Result, Weights, gguf_model};
use burn::tensor::Device;
use ra_core::{Error, Fingerprint, LanguageModel, Pooling, check_room, read_json};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// A frozen language model with its tokenizer.
#[derive(Debug)]
pub struct PretrainedLm {
    /// The model.
    pub model: Box<dyn LanguageModel>,
    /// Its tokenizer.
    pub tokenizer: HfTokenizer,
    /// Fingerprint of the weights.
    pub fingerprint: Fingerprint,
    /// Parameters of the model, frozen all of them.
    pub params: usize,
}

/// Loads a language model: a Hugging Face folder (`config.json`, `model.safetensors` or shards of it, `tokenizer.json`),
/// a `.gguf` file, or a folder with one such file. `pooling` overrides the architecture's own.
///
/// # Errors
/// [`LlmError`] names the file and everything that does not fit.
pub fn load(path: &Path, pooling: Option<Pooling>, device: &Device) -> Result<PretrainedLm> {
    let (tokenizer, from, model) = match gguf_file(path)? {
        Some(file) => {
            let gguf = Gguf::open(&file)?;
            (HfTokenizer::from_gguf(&gguf)?, file, model_of_gguf(gguf, pooling, device)?)
        }
        None => {
            let from = path.join("tokenizer.json");
            (HfTokenizer::read(&from)?, from, model_of_folder(path, pooling, device)?)
        }
    };
    if tokenizer.vocabulary() > model.vocabulary {
        let problem = format!(
            "{} tokens, but the model knows {}; is it another model's?",
            tokenizer.vocabulary(),
            model.vocabulary
        );
        return Err(Error::corrupt(from, problem).into());
    }
    Ok(PretrainedLm { model: model.model, tokenizer, fingerprint: model.fingerprint, params: model.params })
}

/// Loads a model without its tokenizer.
///
/// # Errors
/// As [`load`].
pub fn load_weights(path: &Path, pooling: Option<Pooling>, device: &Device) -> Result<Box<dyn LanguageModel>> {
    let model = match gguf_file(path)? {
        Some(file) => model_of_gguf(Gguf::open(&file)?, pooling, device)?,
        None => model_of_folder(path, pooling, device)?,
    };
    Ok(model.model)
}

/// The GGUF file that `path` is, or that alone lies in it.
fn gguf_file(path: &Path) -> Result<Option<PathBuf>> {
    let is_gguf = |p: &Path| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    if !path.is_dir() {
        return Ok(is_gguf(path).then(|| path.into()));
    }
    if path.join("config.json").exists() {
        return Ok(None);
    }
    let entries = std::fs::read_dir(path).map_err(|e| Error::io(path, "cannot read", e))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| is_gguf(p)).collect();
    if files.len() > 1 {
        let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        return Err(Error::corrupt(path, format!("several GGUF files, name one: {}", names.join(", "))).into());
    }
    Ok(files.pop())
}

struct Model {
    model: Box<dyn LanguageModel>,
    vocabulary: usize,
    params: usize,
    fingerprint: Fingerprint,
}

fn model_of_folder(folder: &Path, pooling: Option<Pooling>, device: &Device) -> Result<Model> {
    let path = folder.join("config.json");
    let config = Config::read(&path)?;
    config.check().map_err(|problem| Error::corrupt(&path, problem))?;
    build(&config, Weights::open(folder, config.prefixes())?, pooling, device)
}

fn model_of_gguf(gguf: Gguf, pooling: Option<Pooling>, device: &Device) -> Result<Model> {
    let config = gguf_model::config(&gguf)?;
    config.check().map_err(|problem| Error::corrupt(gguf.path(), problem))?;
    build(&config, gguf_model::weights(gguf, &config)?, pooling, device)
}

fn build(config: &Config, mut weights: Weights, pooling: Option<Pooling>, device: &Device) -> Result<Model> {
    let params = weights.params();
    // What is missing is made of zeros until all is told: not for a configuration that is another model's, or a lie.
    let asked = config.numbers();
    if asked.is_none_or(|asked| asked / 2 > params as u64) {
        let asked = asked.map_or("more".into(), |n| n.to_string());
        let problem =
            format!("the configuration asks for {asked} numbers, the weights have {params}; is it another model's?");
        return Err(LlmError::Weights { path: weights.path().into(), problems: problem });
    }
    let remedy = "free some, or take a smaller language model";
    check_room(&format!("loading {}", weights.path().display()), params as u64, device, remedy)?;
    let model = match config {
        Config::Bert(c) => c.build(&mut weights, pooling, device),
        Config::Gpt2(c) => c.build(&mut weights, pooling, device),
        Config::Llama(c) => c.build(&mut weights, pooling, device),
    };
    let fingerprint = weights.fingerprint().clone();
    weights.finish()?;
    if model.spec().causal && model.spec().pooling == Pooling::First {
        tracing::warn!("pooling first: the first token of a causal model reads nothing of the text; use last or mean");
    }
    Ok(Model { model, vocabulary: config.vocabulary(), params, fingerprint })
}

/// The architectures that are built in.
pub(crate) enum Config {
    Bert(BertConfig),
    Gpt2(Gpt2Config),
    Llama(LlamaConfig),
}

impl Config {
    fn read(path: &Path) -> Result<Self> {
        let config: serde_json::Value = read_json(path)?;
        let kind = config.get("model_type").and_then(|t| t.as_str()).unwrap_or("none").to_string();
        fn of<C: DeserializeOwned>(path: &Path, config: serde_json::Value) -> Result<C> {
            Ok(serde_json::from_value(config).map_err(|e| Error::corrupt(path, e.to_string()))?)
        }
        match kind.as_str() {
            "bert" => of(path, config).map(Self::Bert),
            "gpt2" => of(path, config).map(Self::Gpt2),
            "llama" | "mistral" | "qwen2" | "qwen3" => of(path, config).map(Self::Llama),
            _ => Err(LlmError::Architecture {
                path: path.into(),
                found: kind,
                supported: "bert, gpt2, llama, mistral, qwen2, qwen3",
            }),
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Bert(config) => config.check(),
            Self::Gpt2(config) => config.check(),
            Self::Llama(config) => config.check(),
        }
    }

    /// Numbers of the large tensors, if they can be counted.
    fn numbers(&self) -> Option<u64> {
        let (layers, layer, around) = match self {
            Self::Bert(c) => {
                let width = c.hidden_size;
                let inner = [width, c.intermediate_size];
                let rows = [c.vocab_size, c.max_position_embeddings, c.type_vocab_size].map(|rows| [rows, width]);
                (c.num_hidden_layers, vec![[width, width]; 4].into_iter().chain([inner; 2]).collect(), rows.to_vec())
            }
            Self::Gpt2(c) => {
                let width = c.n_embd;
                let inner = [width, c.n_inner.unwrap_or_else(|| width.saturating_mul(4))];
                let layer = vec![[width, width]; 4].into_iter().chain([inner; 2]).collect();
                (c.n_layer, layer, vec![[c.vocab_size, width], [c.n_positions, width]])
            }
            Self::Llama(c) => (c.num_hidden_layers, c.matrices(), vec![[c.vocab_size, c.hidden_size]]),
        };
        let sum = |all: Vec<[usize; 2]>| {
            all.iter().try_fold(0u64, |sum, &[a, b]| sum.checked_add((a as u64).checked_mul(b as u64)?))
        };
        sum(layer)?.checked_mul(layers as u64)?.checked_add(sum(around)?)
    }

    fn vocabulary(&self) -> usize {
        match self {
            Self::Bert(config) => config.vocab_size,
            Self::Gpt2(config) => config.vocab_size,
            Self::Llama(config) => config.vocab_size,
        }
    }

    /// What the names of tensors may begin with, when the file is of the model with a head.
    fn prefixes(&self) -> &'static [&'static str] {
        match self {
            Self::Bert(_) => &["bert."],
            Self::Gpt2(_) => &["transformer."],
            Self::Llama(_) => &["model."],
        }
    }
}

/// All that a configuration asks for and that cannot be computed.
pub(crate) fn unsupported(asked: &[(bool, String)]) -> Result<(), String> {
    let asked: Vec<&str> = asked.iter().filter(|(found, _)| *found).map(|(_, what)| what.as_str()).collect();
    if asked.is_empty() { Ok(()) } else { Err(format!("not supported: {}", asked.join("; "))) }
}
