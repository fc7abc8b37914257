//! Maps the keys of a GGUF file to those of a `config.json`.
use super::file::Gguf;
use crate::arch::Config;
use crate::reading::RequestedPooling;
use crate::{LlmError, Result};
use ra_core::{Error, Pooling};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const SUPPORTED: &str = "bert, gemma, gemma2, gemma3, gemma-embedding, gpt2, llama, mistral, modern-bert, nomic-bert, \
                         phi3, qwen2, qwen3 in GGUF";

/// Attention to near tokens, or to all.
const NEAR: &str = "sliding_attention";
const FULL: &str = "full_attention";

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
        "gemma" | "gemma2" | "gemma3" | "gemma-embedding" => keys.gemma(),
        "gpt2" => keys.gpt2(),
        // Mistral is `llama`.
        "llama" | "phi3" | "qwen2" | "qwen3" => keys.llama(),
        "modern-bert" => keys.modern_bert(),
        "nomic-bert" => keys.nomic_bert(),
        "jina-bert-v2" => Err(keys.refuse(
            "architecture \"jina-bert-v2\" has ALiBi positions, which are not supported; use another model".into(),
        )),
        _ => Err(LlmError::Architecture { path: gguf.path().into(), found: architecture.into(), supported: SUPPORTED }),
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
            Some(experts) if experts > 0.0 => Err(self.refuse("a mixture of experts, which is not supported".into())),
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

    /// Gemma, whose norms have 1 added to them in GGUF.
    fn gemma(&self) -> Result<Config> {
        self.refuse_experts()?;
        let (layers, width, heads) =
            (self.size("block_count")?, self.size("embedding_length")?, self.size("attention.head_count")?);
        let head = self.optional_size("attention.key_length")?.unwrap_or(256);
        let window = self.optional_size("attention.sliding_window")?;
        let embedding = self.architecture == "gemma-embedding";
        let (model_type, window, every) = match self.architecture {
            "gemma" => ("gemma", None, 1),
            "gemma2" => ("gemma2", Some(window.unwrap_or(4096)), 2),
            _ => ("gemma3_text", window, 6),
        };
        // Only the largest Gemma 2 and 3 divide queries by another number, which no key tells.
        let largest = matches!((model_type, layers), ("gemma2", 46) | ("gemma3_text", 62));
        let config = json!({
            "model_type": model_type,
            "vocab_size": self.rows("token_embd.weight"),
            "hidden_size": width,
            "intermediate_size": self.size("feed_forward_length")?,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": self.optional_size("attention.head_count_kv")?,
            "head_dim": head,
            "max_position_embeddings": self.size("context_length")?,
            "rms_norm_eps": self.number("attention.layer_norm_rms_epsilon")?,
            "query_pre_attn_scalar": if largest { width / heads.max(1) } else { head },
            "attn_logit_softcapping": self.optional("attn_logit_softcapping"),
            "sliding_window": window,
            "layer_types": self.layer_types(window, every, every.saturating_sub(1))?,
            "rope_theta": self.optional("rope.freq_base").unwrap_or(10_000.0),
            "rope_local_base_freq": self.optional("rope.freq_base_swa"),
            "rope_scaling": self.scaling()?,
            "use_bidirectional_attention": embedding || self.is_bidirectional(),
            "whole_norms": true,
        });
        self.parse(config).map(Config::Gemma)
    }

    /// The kinds of the layers: as listed, or one of every `every` layers attends to all tokens, the first of them
    /// layer `first`.
    fn layer_types(&self, window: Option<usize>, every: usize, first: usize) -> Result<Vec<&'static str>> {
        let (key, layers) = ("attention.sliding_window_pattern", self.size("block_count")?);
        let kind = |near: bool| if near { NEAR } else { FULL };
        if window.is_none_or(|window| window == 0) {
            return Ok(vec![FULL; layers]);
        }
        if let Some(listed) = self.gguf.numbers(&self.name(key)) {
            return Ok(listed.iter().map(|&near| kind(near != 0.0)).collect());
        }
        let (every, first) = match self.optional_size(key)? {
            // A full layer stands first or last among so many.
            Some(own) => (own.max(1), if first == 0 { 0 } else { own.max(1) - 1 }),
            None => (every, first),
        };
        Ok((0..layers).map(|layer| kind(layer % every != first)).collect())
    }

    /// The scaling of rotary angles as a table; linear unless it has another name.
    fn scaling(&self) -> Result<Option<Value>> {
        let factor = ["rope.scaling.factor", "rope.scale_linear"].iter().find_map(|key| self.optional(key));
        let factor = factor.filter(|&factor| factor != 0.0 && factor != 1.0);
        match (self.text("rope.scaling.type"), factor) {
            (Some("none"), None) | (Some("linear") | None, None) => Ok(None),
            (Some("linear") | None, Some(factor)) => Ok(Some(json!({ "rope_type": "linear", "factor": factor }))),
            (Some("none"), Some(_)) => Err(self.refuse_key("rope.scaling.factor")),
            (Some(other), _) => Ok(Some(json!({ "rope_type": other }))),
        }
    }

    fn modern_bert(&self) -> Result<Config> {
        let window = self.optional_size("attention.sliding_window")?;
        let config = json!({
            "vocab_size": self.rows("token_embd.weight"),
            "hidden_size": self.size("embedding_length")?,
            "intermediate_size": self.size("feed_forward_length")?,
            "num_hidden_layers": self.size("block_count")?,
            "num_attention_heads": self.size("attention.head_count")?,
            "max_position_embeddings": self.size("context_length")?,
            "norm_eps": self.number("attention.layer_norm_epsilon")?,
            "hidden_activation": self.text("hidden_activation"),
            "local_attention": window,
            "layer_types": self.layer_types(window, 3, 0)?,
            "global_rope_theta": self.number("rope.freq_base")?,
            "local_rope_theta": self.optional("rope.freq_base_swa").unwrap_or(10_000.0),
            "attention_bias": self.has("blk.0.attn_qkv.bias"),
            "mlp_bias": self.has("blk.0.ffn_up.bias"),
            "norm_bias": self.has("output_norm.bias"),
        });
        self.parse(config).map(Config::ModernBert)
    }

    fn nomic_bert(&self) -> Result<Config> {
        self.refuse_experts()?;
        let config = json!({
            "vocab_size": self.rows("token_embd.weight"),
            "n_embd": self.size("embedding_length")?,
            "n_layer": self.size("block_count")?,
            "n_head": self.size("attention.head_count")?,
            "n_inner": self.size("feed_forward_length")?,
            "n_positions": self.size("context_length")?,
            "type_vocab_size": self.rows("token_types.weight"),
            "layer_norm_epsilon": self.number("attention.layer_norm_epsilon")?,
            "rotary_emb_base": self.number("rope.freq_base")?,
            "rotary_emb_fraction": 1.0,
            "qkv_proj_bias": self.has("blk.0.attn_qkv.bias"),
            "mlp_fc1_bias": self.has("blk.0.ffn_up.bias"),
            "mlp_fc2_bias": self.has("blk.0.ffn_down.bias"),
        });
        self.parse(config).map(Config::NomicBert)
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
        self.refuse_scaled(&["attn_logit_softcapping", "attention.max_alibi_bias", "rope.scaling.attn_factor"])?;
        self.refuse_experts()?;
        if self.has("rope_factors_long.weight") || self.has("rope_factors_short.weight") {
            return Err(self.refuse("rope_scaling \"longrope\", which is not supported; use another model".into()));
        }
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
            "rope_scaling": self.scaling()?,
            // Llama 3 stores its scaling as a tensor.
            "rope_divisors": self.has("rope_freqs.weight"),
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
