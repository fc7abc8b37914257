//! Byte pair encoding (tokenizer model `gpt2`).
use super::{Built, CONTROL, USER_DEFINED, Vocabulary, ids};
use crate::Result;
use serde_json::{Value, json};

/// How a text is cut before byte pairs are merged.
#[derive(Debug)]
pub(crate) struct Cut {
    /// The regular expressions whose matches stay whole, one after another.
    regexes: &'static [&'static str],
    /// Whether characters are composed first (NFC).
    composed: bool,
    /// Whether a piece that is a token is taken whole.
    whole: bool,
    /// Whether a text begins with a special token.
    open: bool,
}

const PLAIN: Cut = Cut { regexes: &[], composed: false, whole: false, open: false };

/// GPT-2's pre-tokenizer.
pub(crate) const GPT2_CUT: Cut = Cut { regexes: &[GPT2], ..PLAIN };
const CL100K_CUT: Cut = Cut { regexes: &[CL100K], ..PLAIN };
const LLAMA_CUT: Cut = Cut { whole: true, open: true, ..CL100K_CUT };
const QWEN_CUT: Cut = Cut { regexes: &[QWEN], composed: true, ..PLAIN };

/// The pre-tokenizers by their GGUF names.
const CUTS: [(&str, Cut); 19] = [
    ("default", GPT2_CUT),
    ("gpt-2", GPT2_CUT),
    ("phi-2", GPT2_CUT),
    ("roberta-bpe", GPT2_CUT),
    ("jina-v1-en", GPT2_CUT),
    ("jina-v2-code", GPT2_CUT),
    ("jina-v2-de", GPT2_CUT),
    ("jina-v2-es", GPT2_CUT),
    ("modern-bert", Cut { composed: true, ..GPT2_CUT }),
    ("smollm", Cut { regexes: &[r"\p{N}", GPT2], ..PLAIN }),
    ("llama-bpe", LLAMA_CUT),
    ("llama3", LLAMA_CUT),
    ("llama-v3", LLAMA_CUT),
    ("dbrx", CL100K_CUT),
    ("smaug-bpe", CL100K_CUT),
    ("qwen2", QWEN_CUT),
    ("deepseek-r1-qwen", Cut { composed: false, ..QWEN_CUT }),
    ("tekken", Cut { regexes: &[TEKKEN], whole: true, open: true, ..PLAIN }),
    ("gpt-4o", Cut { regexes: &[O200K], ..PLAIN }),
];

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Of Llama 3 and of OpenAI's `cl100k_base`.
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const QWEN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Of newer models of Mistral AI.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Of OpenAI's `o200k_base`.
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Vocabulary<'_> {
    pub(super) fn byte_pairs(&self) -> Result<Built> {
        let name = self.gguf.text("tokenizer.ggml.pre").unwrap_or("default");
        let (_, cut) = CUTS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            let names = CUTS.each_ref().map(|(name, _)| *name).join(", ");
            self.refuse(format!("tokenizer.ggml.pre {name:?} is not supported (supported: {names})"))
        })?;
        let merges = self.gguf.texts("tokenizer.ggml.merges").ok_or_else(|| self.lacks("merges"))?;
        let mut json = byte_pairs(self.tokens, merges, cut);
        json["added_tokens"] = self.added(self.tokens, &[CONTROL, USER_DEFINED]).into();
        Ok(Built { json, open: cut.open, close: false })
    }
}

/// Byte pair encoding; each merge is a text `left right`.
pub(crate) fn byte_pairs(tokens: &[String], merges: &[String], cut: &Cut) -> Value {
    let split = |regex: &&str| {
        let pattern = json!({ "Regex": regex });
        json!({ "type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false })
    };
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let steps: Vec<Value> = cut.regexes.iter().map(split).chain([bytes]).collect();
    let mut json = json!({
        "version": "1.0",
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": steps },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE", "vocab": ids(tokens), "merges": merges, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": cut.whole,
        },
    });
    if cut.composed {
        json["normalizer"] = json!({ "type": "NFC" });
    }
    json
}
