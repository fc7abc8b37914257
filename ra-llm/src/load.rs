//! From a model folder to a frozen model.
use crate::{BertConfig, HfTokenizer, LlmError, Result, Weights};
use burn::tensor::Device;
use ra_core::{Error, Fingerprint, LanguageModel, Pooling, read_json};
use std::path::Path;

/// A frozen language model with its tokenizer.
#[derive(Debug)]
pub struct PretrainedLm {
    /// The model.
    pub model: Box<dyn LanguageModel>,
    /// Its tokenizer.
    pub tokenizer: HfTokenizer,
    /// Fingerprint of the weight file.
    pub fingerprint: Fingerprint,
    /// Parameters of the model, frozen all of them.
    pub params: usize,
}

/// Loads a Hugging Face folder: `config.json`, `model.safetensors`, `tokenizer.json`. `pooling` overrides the
/// architecture's own.
///
/// # Errors
/// [`LlmError`] names the file and everything that does not fit.
pub fn load(folder: &Path, pooling: Option<Pooling>, device: &Device) -> Result<PretrainedLm> {
    let tokenizer = HfTokenizer::read(&folder.join("tokenizer.json"))?;
    let (model, weights) = load_model(folder, pooling, device)?;
    let params = model.params;
    if tokenizer.vocabulary() > model.vocabulary {
        let problem = format!(
            "{} tokens, but the model knows {}; is it another model's?",
            tokenizer.vocabulary(),
            model.vocabulary
        );
        return Err(Error::corrupt(folder.join("tokenizer.json"), problem).into());
    }
    Ok(PretrainedLm { model: model.model, tokenizer, fingerprint: weights, params })
}

struct Model {
    model: Box<dyn LanguageModel>,
    vocabulary: usize,
    params: usize,
}

fn load_model(folder: &Path, pooling: Option<Pooling>, device: &Device) -> Result<(Model, Fingerprint)> {
    let path = folder.join("config.json");
    let config: serde_json::Value = read_json(&path)?;
    let kind = config.get("model_type").and_then(|t| t.as_str()).unwrap_or("none");
    if kind != "bert" {
        return Err(LlmError::Architecture { path, found: kind.into() });
    }
    let config: BertConfig = serde_json::from_value(config).map_err(|e| Error::corrupt(&path, e.to_string()))?;
    let refuse = |problem: String| LlmError::from(Error::corrupt(&path, problem));
    if config.hidden_act != "gelu" {
        return Err(refuse(format!("hidden_act {:?} is not supported (supported: gelu)", config.hidden_act)));
    }
    if config.num_attention_heads == 0
        || !config.hidden_size.is_multiple_of(config.num_attention_heads)
        || config.num_hidden_layers == 0
        || config.type_vocab_size == 0
    {
        return Err(refuse("hidden_size must be a multiple of num_attention_heads, and there must be a layer".into()));
    }
    let mut weights = Weights::read(&folder.join("model.safetensors"), "bert.")?;
    let params = weights.params();
    let model = config.build(&mut weights, pooling, device);
    let fingerprint = weights.fingerprint().clone();
    weights.finish()?;
    Ok((Model { model: Box::new(model), vocabulary: config.vocab_size, params }, fingerprint))
}

/// Loads the model of a folder that has no tokenizer.
///
/// # Errors
/// As [`load`].
pub fn load_weights(folder: &Path, pooling: Option<Pooling>, device: &Device) -> Result<Box<dyn LanguageModel>> {
    Ok(load_model(folder, pooling, device)?.0.model)
}
