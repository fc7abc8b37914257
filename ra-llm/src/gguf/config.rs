//! Maps the keys of a GGUF file to those of a `config.json`.
use super::file::Gguf;
use crate::arch::Config;
use crate::reading::RequestedPooling;
use crate::{LlmError, Result};
use ra_core::{Error, Pooling};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const SUPPORTED: &str = "bert, gpt2, llama, mistral, qwen2, qwen3 in GGUF";

/// The keys that begin with the name of the architecture.
struct Keys<'a> {
    gguf: &'a Gguf,
    architecture: &'a str,
}

/// The model's configuration.
///
/// # Errors
/// [`LlmError::Architecture`], or the missing key.
pub(crate) fn config(gguf: &Gguf) -> Result<Config> {
    let architecture = gguf.text("general.architecture").unwrap_or("none");
    let keys = Keys { gguf, architecture };
    match architecture {
        "bert" => keys.bert(),
        "gpt2" => keys.gpt2(),
        // Mistral is `llama`.
        "llama" | "qwen2" | "qwen3" => keys.llama(),
        _ => Err(LlmError::Architecture {
            path: gguf.path().into(),
            found: architecture.into(),
            supported: SUPPORTED,
        }),
    }
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn size(&self, key: &str) -> Result<usize> {
        self.gguf.size(&self.name(key))
    }

    /// A whole number that may be absent.
    fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        if self.gguf.has(&self.name(key)) { self.size(key).map(Some) } else { Ok(None) }
    }

    fn optional(&self, key: &str) -> Option<f64> {
        self.gguf.number(&self.name(key))
    }

    fn number(&self, key: &str) -> Result<f64> {
        self.optional(key).ok_or_else(|| self.refuse(format!("the key {} is missing", self.name(key))))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.gguf.text(&self.name(key))
    }

    fn refuse(&self, problem: String) -> LlmError {
        Error::corrupt(self.gguf.path(), problem).into()
    }

    /// Refuses keys whose value changes the computation in a way that the architecture does not support.
    fn refuse_scaled(&self, keys: &[&str]) -> Result<()> {
        let is_set = |key: &str| self.optional(key).is_some_and(|factor| factor != 1.0 && factor != 0.0);
        keys.iter().find(|key| is_set(key)).map_or(Ok(()), |key| Err(self.refuse_key(key)))
    }

    fn refuse_key(&self, key: &str) -> LlmError {
        self.refuse(format!("{} is set, which is not supported; use another model", self.name(key)))
    }

    fn refuse_experts(&self) -> Result<()> {
        match self.optional("expert_count") {
            Some(experts) if experts > 0.0 => {
                Err(self.refuse("a mixture of experts, which is not supported".into()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a token reads later ones too.
    fn is_bidirectional(&self) -> bool {
        self.gguf.flag(&self.name("attention.causal")) == Some(false)
    }

    fn has(&self, tensor: &str) -> bool {
        self.gguf.tensors.contains_key(tensor)
    }

    /// The number of rows of a table; 0 without it.
    fn rows(&self, table: &str) -> usize {
        self.gguf.tensors.get(table).and_then(|t| t.shape.first().copied()).unwrap_or(0)
    }

    /// Reads a `config.json` that the keys were mapped to; what is `null` has its default.
    fn parse<C: DeserializeOwned>(&self, mut config: Value) -> Result<C> {
        if let Value::Object(config) = &mut config {
            config.retain(|_, value| !value.is_null());
        }
        serde_json::from_value(config).map_err(|e| self.refuse(format!("its keys are no configuration: {e}")))
    }

    fn bert(&self) -> Result<Config> {
        self.refuse_scaled(&["attention.max_alibi_bias"])?;
        self.refuse_experts()?;
        let config = json!({
            "vocab_size": self.rows("token_embd.weight"),
            "hidden_size": self.size("embedding_length")?,
            "num_hidden_layers": self.size("block_count")?,
            "num_attention_heads": self.size("attention.head_count")?,
            "intermediate_size": self.size("feed_forward_length")?,
            // Those of RoBERTa and XLM-R are stored without the rows that no token has.
            "max_position_embeddings": self.rows("position_embd.weight"),
            "type_vocab_size": self.rows("token_types.weight"),
            "layer_norm_eps": self.number("attention.layer_norm_epsilon")?,
        });
        self.parse(config).map(Config::Bert)
    }

    fn gpt2(&self) -> Result<Config> {
        let config = json!({
            "vocab_size": self.rows("token_embd.weight"),
            "n_embd": self.size("embedding_length")?,
            "n_layer": self.size("block_count")?,
            "n_head": self.size("attention.head_count")?,
            "n_positions": self.size("context_length")?,
            "n_inner": self.size("feed_forward_length")?,
            "layer_norm_epsilon": self.number("attention.layer_norm_epsilon")?,
        });
        self.parse(config).map(Config::Gpt2)
    }

    fn llama(&self) -> Result<Config> {
        if self.is_bidirectional() {
            return Err(self.refuse_key("attention.causal"));
        }
        self.refuse_scaled(&["attn_logit_softcapping", "attention.max_alibi_bias", "rope.scale_linear"])?;
        self.refuse_experts()?;
        let scaling = self.text("rope.scaling.type");
        if scaling.is_none() {
            self.refuse_scaled(&["rope.scaling.factor"])?;
        }
        // Llama 3 stores its scaled angles as a tensor.
        let scaling = scaling.filter(|kind| *kind != "none");
        let scaling = scaling.or(self.has("rope_freqs.weight").then_some("rope_freqs"));
        let config = json!({
            "model_type": self.architecture,
            "vocab_size": self.rows("token_embd.weight"),
            "hidden_size": self.size("embedding_length")?,
            "intermediate_size": self.size("feed_forward_length")?,
            "num_hidden_layers": self.size("block_count")?,
            "num_attention_heads": self.size("attention.head_count")?,
            "num_key_value_heads": self.optional_size("attention.head_count_kv")?,
            "head_dim": self.optional_size("attention.key_length")?,
            "max_position_embeddings": self.size("context_length")?,
            "rms_norm_eps": self.number("attention.layer_norm_rms_epsilon")?,
            "rope_theta": self.optional("rope.freq_base"),
            "rope_scaling": scaling.map(|kind| json!({ "rope_type": kind })),
            "attention_bias": (self.architecture == "llama").then(|| self.has("blk.0.attn_q.bias")),
            "mlp_bias": self.has("blk.0.ffn_up.bias"),
            "sliding_window": self.optional_size("attention.sliding_window")?,
        });
        let config: crate::arch::LlamaConfig = self.parse(config)?;
        if let Some(turned) = self.optional("rope.dimension_count").filter(|&turned| turned != config.head() as f64) {
            let head = config.head();
            return Err(
                self.refuse(format!("rotary positions for {turned} of {head} numbers of a head (supported: all)"))
            );
        }
        Ok(Config::Llama(config))
    }
}

/// The pooling that an embedding model's file requests.
pub(crate) fn pooling(gguf: &Gguf) -> Option<RequestedPooling> {
    let architecture = gguf.text("general.architecture")?;
    let number = gguf.number(&format!("{architecture}.pooling_type"))?;
    let known = [(1.0, Pooling::Mean), (2.0, Pooling::First), (3.0, Pooling::Last)];
    match known.into_iter().find(|(known, _)| *known == number) {
        Some((_, pooling)) => Some(RequestedPooling::Known(pooling)),
        // Unspecified or none: not an embedding model.
        None if number == -1.0 || number == 0.0 => None,
        None if number == 4.0 => Some(RequestedPooling::Unknown("rank".into())),
        None => Some(RequestedPooling::Unknown(format!("number {number}"))),
    }
}
