//! Tokenizers in the Hugging Face format, and BERT's word lists.
use crate::folder::document::read_optional;
use crate::{LlmError, Result};
use ra_core::{Error, Fingerprint, catch_panic, fingerprint, read_text};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The most characters of a text that an error repeats.
const LONGEST_SHOWN: usize = 80;

/// A `tokenizer.json`, without any padding and truncation that it configures.
///
/// The names of special tokens within a text, such as `[SEP]` or `<|endoftext|>`, are ordinary words. The special
/// tokens around a text are added separately; see [`Tokenizer::special_tokens`](ra_core::Tokenizer::special_tokens).
#[derive(Debug)]
pub struct HfTokenizer {
    inner: tokenizers::Tokenizer,
    /// The names of special tokens, except the one that stands for every unknown word.
    special: HashMap<u32, String>,
    open: Vec<u32>,
    close: Vec<u32>,
    lowercase: bool,
    /// The token of unknown words.
    unknown: Option<u32>,
    /// A token that is left out: that of unknown words, for models that have no vector for it.
    left_out: Option<u32>,
    fingerprint: Fingerprint,
}

impl HfTokenizer {
    /// Reads `path`.
    ///
    /// # Errors
    /// Names the path and what is wrong with the file.
    pub fn read(path: &Path) -> Result<Self> {
        catch_panic(path, || {
            let json = read_text(path)?;
            let corrupt = |e: tokenizers::Error| Error::corrupt(path, format!("not a valid tokenizer.json: {e}"));
            let mut inner = tokenizers::Tokenizer::from_bytes(&json).map_err(corrupt)?;
            // Sentence encoders ship with padding to 128 and truncation at 128; prompts are truncated by whole titles
            // instead.
            inner.with_padding(None);
            inner.with_truncation(None).map_err(corrupt)?;
            // Special tokens are those around an ordinary word.
            let bare = inner.encode("a", false).map_err(corrupt)?;
            let framed = inner.encode("a", true).map_err(corrupt)?;
            let ids = framed.get_ids();
            let at = ids.windows(bare.len().max(1)).position(|w| w == bare.get_ids()).ok_or_else(|| {
                let problem = "its special tokens are not around the text, which is not supported";
                Error::corrupt(path, problem)
            })?;
            let (open, close) = (ids[..at].to_vec(), ids[at + bare.len()..].to_vec());
            Ok(Self::new(inner, &json, open, close))
        })
    }

    /// Reads the tokenizer of a model folder and returns it with its file: `tokenizer.json`, or a BERT's `vocab.txt`.
    pub(crate) fn of_folder(folder: &Path, bert: bool, lowercase: bool) -> Result<(Self, PathBuf)> {
        let [today, words] = ["tokenizer.json", "vocab.txt"].map(|name| folder.join(name));
        let (tokenizer, from) = if !today.is_file() && bert && words.is_file() {
            (Self::from_words(&words)?, words)
        } else if !today.exists() {
            let problem = "not found; create it with `python3 -c \"from transformers import AutoTokenizer; \
                           AutoTokenizer.from_pretrained('.').save_pretrained('.')\"` in its folder";
            return Err(Error::corrupt(today, problem).into());
        } else {
            (Self::read(&today)?, today)
        };
        Ok((Self { lowercase, ..tokenizer }, from))
    }

    /// Builds BERT's tokenizer from its word list, one word per line. `tokenizer_config.json` beside it says whether
    /// text is lower-cased; if it does not, a list with a capital letter belongs to a cased model.
    fn from_words(path: &Path) -> Result<Self> {
        let text = String::from_utf8(read_text(path)?).map_err(|_| Error::corrupt(path, "not UTF-8 text"))?;
        let words: Map<String, Value> =
            text.lines().enumerate().map(|(id, word)| (word.to_string(), id.into())).collect();
        let id = |word: &str| {
            let id = words.get(word).and_then(Value::as_u64).map(|id| id as u32);
            id.ok_or_else(|| LlmError::from(Error::corrupt(path, format!("not a BERT word list: {word} is missing"))))
        };
        let (_, open, close) = (id("[UNK]")?, id("[CLS]")?, id("[SEP]")?);
        let file = path.with_file_name("tokenizer_config.json");
        let settings: WordSettings = read_optional(&file)?.unwrap_or_default();
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].into_iter();
        let special = special.filter_map(|word| Some(special_token(words.get(word)?, word)));
        let mut json = word_pieces(&words, "[UNK]", &settings);
        json["added_tokens"] = special.collect();
        Self::from_json(path, &json, vec![open], vec![close])
    }

    /// Builds a tokenizer from the content of `path`, with known special tokens.
    pub(crate) fn from_json(path: &Path, json: &Value, open: Vec<u32>, close: Vec<u32>) -> Result<Self> {
        catch_panic(path, || {
            let json = json.to_string();
            let inner = tokenizers::Tokenizer::from_bytes(&json);
            let inner = inner.map_err(|e| Error::corrupt(path, format!("its tokenizer cannot be built: {e}")))?;
            Ok(Self::new(inner, json.as_bytes(), open, close))
        })
    }

    fn new(mut inner: tokenizers::Tokenizer, json: &[u8], open: Vec<u32>, close: Vec<u32>) -> Self {
        inner.set_encode_special_tokens(true);
        let unknown = serde_json::from_slice::<Unknown>(json).unwrap_or_default().model;
        let is_unknown = |id: u32, name: &str| unknown.unk_token == name || unknown.unk_id == id;
        let of_unknown = unknown.unk_token.as_str().and_then(|name| inner.token_to_id(name));
        let of_unknown = of_unknown.or_else(|| unknown.unk_id.as_u64().and_then(|id| u32::try_from(id).ok()));
        let added = inner.get_added_tokens_decoder().into_iter();
        let added = added.filter(|(id, token)| token.special && !is_unknown(*id, &token.content));
        let special = added.map(|(id, token)| (id, token.content)).collect();
        let frame = format!("{open:?} {close:?}");
        let fingerprint = fingerprint([json, frame.as_bytes()]);
        Self { inner, special, open, close, lowercase: false, unknown: of_unknown, left_out: None, fingerprint }
    }

    /// This tokenizer for a static table: there are no special tokens around a text, and unknown words may be left out.
    pub(crate) fn of_table(self, leaves_out_unknown: bool) -> Self {
        let unknown = self.unknown.filter(|_| leaves_out_unknown);
        Self { open: Vec::new(), close: Vec::new(), left_out: unknown, ..self }
    }

    /// The number of rows that a token table needs for this vocabulary. Special tokens that no text has need none:
    /// models that also read images have such tokens beyond their table.
    pub fn vocabulary(&self) -> usize {
        let around = self.open.iter().chain(&self.close);
        let words = self.inner.get_vocab(true).into_values().filter(|id| !self.special.contains_key(id));
        words.chain(around.copied()).max().map_or(0, |id| id as usize + 1)
    }

    /// The fingerprint of what it was made from.
    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    fn tokens(&self, text: &str) -> ra_core::Result<Vec<u32>> {
        let lower = self.lowercase.then(|| text.to_lowercase());
        let text = lower.as_deref().unwrap_or(text);
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|error| {
            let text = text.chars().take(LONGEST_SHOWN).collect();
            Error::Text { text, problem: error.to_string() }
        })?;
        // A model whose vocabulary has a special token's name as a word still returns its id; drop such words.
        let named = |id: &u32| self.special.get(id).is_some_and(|name| text.contains(name.as_str()));
        let kept = |id: &u32| !named(id) && self.left_out != Some(*id);
        Ok(encoding.get_ids().iter().copied().filter(kept).collect())
    }
}

/// The token for unknown words in a `tokenizer.json`: its name, or its id in a SentencePiece model.
#[derive(Deserialize, Default)]
struct Unknown {
    model: UnknownToken,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct UnknownToken {
    unk_token: Value,
    unk_id: Value,
}

/// How BERT's tokenizer prepares a text, by the names in `tokenizer_config.json`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct WordSettings {
    pub(crate) do_lower_case: Option<bool>,
    pub(crate) strip_accents: Option<bool>,
    pub(crate) tokenize_chinese_chars: Option<bool>,
}

/// BERT's tokenizer as a `tokenizer.json`. If nothing else is known, a list with a capital letter belongs to a cased
/// model.
pub(crate) fn word_pieces(words: &Map<String, Value>, unknown: &str, settings: &WordSettings) -> Value {
    // Signs such as ℝ count as capitals, but have no small form.
    let is_capital = |c: char| c.to_lowercase().ne([c]);
    let capitals = words.keys().any(|word| !word.starts_with('[') && word.chars().any(is_capital));
    json!({
        "version": "1.0",
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": settings.tokenize_chinese_chars.unwrap_or(true),
            "strip_accents": settings.strip_accents, "lowercase": settings.do_lower_case.unwrap_or(!capitals),
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "model": {
            "type": "WordPiece", "vocab": words, "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
    })
}

/// A special token as an entry of a `tokenizer.json`.
pub(crate) fn special_token(id: &Value, content: &str) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true,
    })
}

impl ra_core::Tokenizer for HfTokenizer {
    fn tokenize(&self, texts: &[&str]) -> ra_core::Result<Vec<Vec<u32>>> {
        texts.iter().map(|text| self.tokens(text)).collect()
    }

    fn special_tokens(&self) -> (Vec<u32>, Vec<u32>) {
        (self.open.clone(), self.close.clone())
    }
}
