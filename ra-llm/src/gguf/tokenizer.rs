//! Builds a `tokenizer.json` from the keys of a GGUF file.
use super::file::Gguf;
use crate::tokenizer::special_token;
use crate::{HfTokenizer, Result};
use ra_core::Error;
use serde_json::{Value, json};
use std::collections::HashMap;

/// The pre-tokenizers by their GGUF names: regular expressions whose matches stay whole before byte pairs are merged.
pub(crate) const CUTS: [(&str, &[&str]); 5] = [
    ("default", &[GPT2]),
    ("gpt-2", &[GPT2]),
    ("smollm", &[r"\p{N}", GPT2]),
    (
        "llama-bpe",
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
    ),
    (
        "qwen2",
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
    ),
];

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The type of control tokens in GGUF, which stand for no text.
const CONTROL: f64 = 3.0;

impl HfTokenizer {
    /// The tokenizer of a GGUF file: byte pairs (`gpt2`) or SentencePiece (`llama`).
    ///
    /// # Errors
    /// Names the path and the key that is missing or not supported.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let corrupt = |problem: String| Error::corrupt(gguf.path(), problem);
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let tokens = gguf.texts(&key("tokens")).ok_or_else(|| {
            corrupt("it holds no tokenizer.ggml.tokens; convert the model again, or use its folder".into())
        })?;
        let kind = gguf.text(&key("model")).unwrap_or("none");
        let json = match kind {
            "gpt2" => {
                let cut = gguf.text(&key("pre")).unwrap_or("default");
                let known = CUTS.iter().find(|(name, _)| *name == cut);
                let names = CUTS.map(|(name, _)| name).join(", ");
                let (_, cuts) = known.ok_or_else(|| {
                    corrupt(format!("tokenizer.ggml.pre {cut:?} is not supported (supported: {names})"))
                })?;
                let merges = gguf.texts(&key("merges")).ok_or_else(|| {
                    corrupt("it holds no tokenizer.ggml.merges; convert the model again, or use its folder".into())
                })?;
                byte_pairs(tokens, merges, cuts)
            }
            "llama" => {
                let scores = gguf.numbers(&key("scores")).ok_or_else(|| {
                    corrupt("it holds no tokenizer.ggml.scores; convert the model again, or use its folder".into())
                })?;
                sentence_pieces(tokens, scores)
            }
            other => {
                let problem = format!("tokenizer.ggml.model {other:?} is not supported (supported: gpt2, llama)");
                return Err(corrupt(problem).into());
            }
        };
        let kinds = gguf.numbers(&key("token_type")).unwrap_or_default();
        let special = |(id, content): (usize, &String)| {
            let control = kinds.get(id).is_some_and(|&k| k == CONTROL);
            control.then(|| special_token(&id.into(), content))
        };
        let mut json = json;
        json["added_tokens"] = tokens.iter().enumerate().filter_map(special).collect();
        let end = |flag: &str, id: &str, default: bool| -> Result<Vec<u32>> {
            if !gguf.flag(&key(flag)).unwrap_or(default) {
                return Ok(Vec::new());
            }
            let id = gguf.size(&key(id))?;
            if id >= tokens.len() {
                return Err(corrupt(format!("its special token {id} is not one of its {} tokens", tokens.len())).into());
            }
            Ok(vec![id as u32])
        };
        let open = end("add_bos_token", "bos_token_id", kind == "llama")?;
        let close = end("add_eos_token", "eos_token_id", false)?;
        Self::from_json(gguf.path(), &json, open, close)
    }
}

fn ids(tokens: &[String]) -> HashMap<&str, usize> {
    tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect()
}

/// Byte pair encoding; each merge is a text `left right`.
pub(crate) fn byte_pairs(tokens: &[String], merges: &[String], cuts: &[&str]) -> Value {
    let cut = |regex: &&str| json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let steps: Vec<Value> = cuts.iter().map(cut).chain([bytes]).collect();
    json!({
        "version": "1.0",
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": steps },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": ids(tokens), "merges": merges, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false },
    })
}

/// SentencePiece's byte pairs; the score of a merged token decides the order of merges.
fn sentence_pieces(tokens: &[String], scores: &[f64]) -> Value {
    let vocabulary = ids(tokens);
    let mut merges: Vec<(usize, [&str; 2])> = Vec::new();
    for (id, token) in tokens.iter().enumerate() {
        let halves = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        let known = halves.filter(|(a, b)| vocabulary.contains_key(a) && vocabulary.contains_key(b));
        merges.extend(known.map(|(a, b)| (id, [a, b])));
    }
    let score = |id: usize| scores.get(id).copied().unwrap_or(0.0);
    merges.sort_by(|(a, x), (b, y)| {
        score(*b)
            .total_cmp(&score(*a))
            .then_with(|| (vocabulary[x[0]], vocabulary[x[1]]).cmp(&(vocabulary[y[0]], vocabulary[y[1]])))
    });
    let merges: Vec<[&str; 2]> = merges.into_iter().map(|(_, pair)| pair).collect();
    let unknown = tokens.iter().find(|t| *t == "<unk>");
    json!({
        "version": "1.0",
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
        ] },
        "model": { "type": "BPE", "vocab": vocabulary, "merges": merges, "unk_token": unknown, "fuse_unk": true, "byte_fallback": true },
    })
}
