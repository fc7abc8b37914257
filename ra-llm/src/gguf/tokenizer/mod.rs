//! Builds a `tokenizer.json` from the keys of a GGUF file.
mod byte_pairs;
mod pieces;

#[cfg(feature = "untrained")]
pub(crate) use byte_pairs::{GPT2_CUT, byte_pairs};

use super::file::Gguf;
use crate::tokenizer::special_token;
use crate::{HfTokenizer, LlmError, Result};
use ra_core::Error;
use serde_json::Value;
use std::collections::HashMap;

/// What a token stands for, by its number in GGUF: nothing known, no text, or text that is never cut.
const UNKNOWN: f64 = 2.0;
const CONTROL: f64 = 3.0;
const USER_DEFINED: f64 = 4.0;
const UNUSED: f64 = 5.0;
const BYTE: f64 = 6.0;

/// A vocabulary as a GGUF file lists it.
struct Vocabulary<'a> {
    gguf: &'a Gguf,
    tokens: &'a [String],
    /// The kinds of the tokens, if the file has them.
    kinds: &'a [f64],
}

/// A tokenizer, and what it adds before and after a text unless the file says otherwise.
struct Built {
    json: Value,
    open: bool,
    close: bool,
}

impl HfTokenizer {
    /// The tokenizer of a GGUF file: byte pairs (`gpt2`), SentencePiece (`llama`, `t5`) or word pieces (`bert`).
    ///
    /// # Errors
    /// Names the path and the key that is missing or not supported.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let vocabulary = Vocabulary::read(gguf)?;
        let kind = gguf.text("tokenizer.ggml.model").unwrap_or("none");
        let built = match kind {
            "gpt2" => vocabulary.byte_pairs()?,
            "llama" => vocabulary.merged_pieces()?,
            "t5" => vocabulary.likely_pieces()?,
            "bert" => vocabulary.word_pieces()?,
            other => {
                return Err(vocabulary.refuse(format!(
                    "tokenizer.ggml.model {other:?} is not supported (supported: gpt2, llama, t5, bert)"
                )));
            }
        };
        let [open, close] = if kind == "bert" {
            [
                vocabulary.special(&["bos_token_id", "cls_token_id"], "[CLS]")?,
                vocabulary.special(&["seperator_token_id", "eos_token_id"], "[SEP]")?,
            ]
        } else {
            [
                vocabulary.end("add_bos_token", "bos_token_id", built.open)?,
                vocabulary.end("add_eos_token", "eos_token_id", built.close)?,
            ]
        };
        Self::from_json(gguf.path(), &built.json, open, close)
    }
}

impl<'a> Vocabulary<'a> {
    fn read(gguf: &'a Gguf) -> Result<Self> {
        let kinds = gguf.numbers("tokenizer.ggml.token_type").unwrap_or_default();
        let own = Self { gguf, tokens: &[], kinds };
        let tokens = gguf.texts("tokenizer.ggml.tokens").ok_or_else(|| own.lacks("tokens"))?;
        Ok(Self { tokens, ..own })
    }

    fn refuse(&self, problem: String) -> LlmError {
        Error::corrupt(self.gguf.path(), problem).into()
    }

    fn lacks(&self, key: &str) -> LlmError {
        self.refuse(format!("it holds no tokenizer.ggml.{key}; convert the model again, or use its folder"))
    }

    fn scores(&self) -> Result<&[f64]> {
        let scores = self.gguf.numbers("tokenizer.ggml.scores").ok_or_else(|| self.lacks("scores"))?;
        if scores.len() < self.tokens.len() {
            let problem = format!("{} tokenizer.ggml.scores for {} tokens", scores.len(), self.tokens.len());
            return Err(self.refuse(problem));
        }
        Ok(scores)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.gguf.flag(&format!("tokenizer.ggml.{key}"))
    }

    /// Whether a token is of a kind; all are ordinary if the file does not say.
    fn is(&self, id: usize, kind: f64) -> bool {
        self.kinds.get(id) == Some(&kind)
    }

    /// The identifiers of the tokens by their texts.
    fn ids(&self) -> HashMap<&'a str, usize> {
        ids(self.tokens)
    }

    /// The entries of a `tokenizer.json` for tokens that are found whole or stand for no text, with their `texts`.
    fn added(&self, texts: &[String], kinds: &[f64]) -> Vec<Value> {
        let entry = |(id, text): (usize, &String)| {
            let mut token = special_token(&id.into(), text);
            token["special"] = self.is(id, CONTROL).into();
            kinds.iter().any(|&kind| self.is(id, kind)).then_some(token)
        };
        texts.iter().enumerate().filter_map(entry).collect()
    }

    /// The identifier of the token that `key` names; `None` without the key.
    fn named(&self, key: &str) -> Result<Option<usize>> {
        let key = format!("tokenizer.ggml.{key}");
        if self.gguf.number(&key).is_none() {
            return Ok(None);
        }
        let (id, count) = (self.gguf.size(&key)?, self.tokens.len());
        if id >= count {
            return Err(self.refuse(format!("its special token {id} is not one of its {count} tokens")));
        }
        Ok(Some(id))
    }

    /// The token that stands for all that is unknown.
    fn unknown(&self) -> Result<Option<usize>> {
        let of_kind = || (0..self.tokens.len()).find(|&id| self.is(id, UNKNOWN));
        Ok(self.named("unknown_token_id")?.or_else(of_kind))
    }

    /// The special token at one end of a text, if `flag` asks for it.
    fn end(&self, flag: &str, id: &str, default: bool) -> Result<Vec<u32>> {
        if !self.flag(flag).unwrap_or(default) {
            return Ok(Vec::new());
        }
        let id = self.named(id)?.ok_or_else(|| self.lacks(id))?;
        Ok(vec![id as u32])
    }

    /// The special token that the first known key names, or else a token of the given name.
    fn special(&self, keys: &[&str], name: &str) -> Result<Vec<u32>> {
        for key in keys {
            if let Some(id) = self.named(key)? {
                return Ok(vec![id as u32]);
            }
        }
        let id = self.tokens.iter().position(|token| token == name).ok_or_else(|| self.lacks(keys[0]))?;
        Ok(vec![id as u32])
    }
}

fn ids(tokens: &[String]) -> HashMap<&str, usize> {
    tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect()
}
