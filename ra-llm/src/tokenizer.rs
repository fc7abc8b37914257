//! Tokenizers in the Hugging Face format.
use crate::Result;
use ra_core::{Error, guarded, read_bytes};
use std::path::Path;

/// A `tokenizer.json`, without the padding and truncation that may be baked into it.
#[derive(Debug)]
pub struct HfTokenizer {
    inner: tokenizers::Tokenizer,
    open: Vec<u32>,
    close: Vec<u32>,
}

impl HfTokenizer {
    /// Reads `path`.
    ///
    /// # Errors
    /// Names the path and what is wrong with the file.
    pub fn read(path: &Path) -> Result<Self> {
        guarded(path, || Self::read_whole(path))
    }

    fn read_whole(path: &Path) -> Result<Self> {
        let corrupt = |e: tokenizers::Error| Error::corrupt(path, format!("not a whole tokenizer.json: {e}"));
        let mut inner = tokenizers::Tokenizer::from_bytes(read_bytes(path)?).map_err(corrupt)?;
        // Sentence encoders ship padding to 128 and truncation at 128; prompts are cut by whole titles instead.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(corrupt)?;
        // Special tokens stand where an ordinary word does not.
        let bare = inner.encode("a", false).map_err(corrupt)?;
        let framed = inner.encode("a", true).map_err(corrupt)?;
        let ids = framed.get_ids();
        let at = ids.windows(bare.len().max(1)).position(|w| w == bare.get_ids()).ok_or_else(|| {
            Error::corrupt(path, "its special tokens do not stand around the text; such a tokenizer is not supported")
        })?;
        let (open, close) = (ids[..at].to_vec(), ids[at + bare.len()..].to_vec());
        Ok(Self { inner, open, close })
    }

    /// A tokenizer put together from what `path` holds, with its special tokens known.
    pub(crate) fn from_json(path: &Path, json: &serde_json::Value, open: Vec<u32>, close: Vec<u32>) -> Result<Self> {
        guarded(path, || {
            let inner = tokenizers::Tokenizer::from_bytes(json.to_string());
            let inner =
                inner.map_err(|e| Error::corrupt(path, format!("its tokenizer cannot be put together: {e}")))?;
            Ok(Self { inner, open, close })
        })
    }

    /// Rows that a token table needs for this vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1)
    }
}

impl ra_core::Tokenizer for HfTokenizer {
    fn tokenize(&self, texts: &[&str]) -> Vec<Vec<u32>> {
        let encode = |text: &&str| match self.inner.encode_fast(*text, false) {
            Ok(encoding) => encoding.get_ids().to_vec(),
            Err(error) => {
                tracing::warn!(%error, text, "a text cannot be tokenized and counts as empty");
                Vec::new()
            }
        };
        texts.iter().map(encode).collect()
    }

    fn frame(&self) -> (Vec<u32>, Vec<u32>) {
        (self.open.clone(), self.close.clone())
    }
}
