//! Tokenizers whose tokens are pieces of text: SentencePiece (models `llama` and `t5`) and BERT's word pieces.
use super::{BYTE, Built, CONTROL, UNKNOWN, UNUSED, USER_DEFINED, Vocabulary};
use crate::Result;
use crate::tokenizer::{WordSettings, word_pieces};
use serde_json::{Map, Value, json};

/// SentencePiece's sign for a space.
const SPACE: &str = "▁";

impl Vocabulary<'_> {
    /// SentencePiece's byte pairs; the score of a merged token decides the order of merges.
    pub(super) fn merged_pieces(&self) -> Result<Built> {
        let (scores, vocabulary) = (self.scores()?, self.ids());
        let mut merges: Vec<(usize, [usize; 2])> = Vec::new();
        for (id, token) in self.tokens.iter().enumerate() {
            // Other tokens are found whole or stand for no text.
            if [CONTROL, USER_DEFINED, UNKNOWN, BYTE].iter().any(|&kind| self.is(id, kind)) {
                continue;
            }
            let halves = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
            let known = halves.filter_map(|(a, b)| Some([*vocabulary.get(a)?, *vocabulary.get(b)?]));
            merges.extend(known.map(|pair| (id, pair)));
        }
        merges.sort_by(|(a, x), (b, y)| scores[*b].total_cmp(&scores[*a]).then_with(|| x.cmp(y)));
        let merges: Vec<[&str; 2]> =
            merges.into_iter().map(|(_, pair)| pair.map(|id| self.tokens[id].as_str())).collect();
        let unknown = self.unknown()?.map(|id| &self.tokens[id]);
        let prefix = json!({ "type": "Prepend", "prepend": SPACE });
        let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
        let prefixed = self.flag("add_space_prefix").unwrap_or(true);
        let steps = if prefixed { vec![prefix, spaces] } else { vec![spaces] };
        let json = json!({
            "version": "1.0",
            "added_tokens": self.added(self.tokens, &[CONTROL, USER_DEFINED]),
            "normalizer": { "type": "Sequence", "normalizers": steps },
            "model": {
                "type": "BPE", "vocab": vocabulary, "merges": merges, "unk_token": unknown, "fuse_unk": true,
                "byte_fallback": true,
            },
        });
        Ok(Built { json, open: true, close: false })
    }

    /// SentencePiece's unigrams; a text is cut where the sum of scores is largest. XLM-R has such a tokenizer.
    pub(super) fn likely_pieces(&self) -> Result<Built> {
        let scores = self.scores()?;
        let unknown = self.unknown()?.ok_or_else(|| self.lacks("unknown_token_id"))?;
        let piece = |(id, token): (usize, &String)| {
            // What stands for no text must never be found in one; spaces are replaced before pieces are sought.
            let silent = [CONTROL, UNKNOWN, UNUSED].iter().any(|&kind| self.is(id, kind));
            if silent { json!([format!(" {token}"), 0.0]) } else { json!([token, scores[id]]) }
        };
        let pieces: Vec<Value> = self.tokens.iter().enumerate().map(piece).collect();
        let mut steps = Vec::new();
        if let Some(map) = self.gguf.numbers("tokenizer.ggml.precompiled_charsmap") {
            steps.push(json!({ "type": "Precompiled", "precompiled_charsmap": self.character_map(map)? }));
        }
        if self.flag("remove_extra_whitespaces").unwrap_or(true) {
            steps.push(json!({ "type": "Strip", "strip_left": true, "strip_right": true }));
            steps.push(json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " }));
        }
        let prefix = if self.flag("add_space_prefix").unwrap_or(true) { "always" } else { "never" };
        let bytes = (0..self.tokens.len()).any(|id| self.is(id, BYTE));
        let json = json!({
            "version": "1.0",
            "added_tokens": self.added(self.tokens, &[USER_DEFINED]),
            "normalizer": { "type": "Sequence", "normalizers": steps },
            "pre_tokenizer": { "type": "Metaspace", "replacement": SPACE, "prepend_scheme": prefix, "split": true },
            "model": { "type": "Unigram", "unk_id": unknown, "vocab": pieces, "byte_fallback": bytes },
        });
        Ok(Built { json, open: false, close: true })
    }

    /// SentencePiece's normalization, as base64: the length of a trie, the trie, and the texts that it points to.
    fn character_map(&self, numbers: &[f64]) -> Result<String> {
        // Stored as signed or unsigned bytes.
        let bytes: Vec<u8> = numbers.iter().map(|&n| n as i16 as u8).collect();
        let trie = bytes.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
        if trie.is_none_or(|trie| trie == 0 || trie.saturating_add(4) >= bytes.len()) {
            return Err(self.refuse("tokenizer.ggml.precompiled_charsmap is damaged; download it again".into()));
        }
        Ok(base64(&bytes))
    }

    /// BERT's word pieces. GGUF marks the starts of words, BERT the other pieces.
    pub(super) fn word_pieces(&self) -> Result<Built> {
        let text = |(id, token): (usize, &String)| match token.strip_prefix(SPACE) {
            Some(word) => word.to_string(),
            // Older files keep all names in brackets as they are.
            None if self.is(id, CONTROL) || (token.starts_with('[') && token.ends_with(']')) => token.clone(),
            None => format!("##{token}"),
        };
        let texts: Vec<String> = self.tokens.iter().enumerate().map(text).collect();
        let unknown = self.unknown()?.map_or("[UNK]", |id| &texts[id]);
        let words: Map<String, Value> = texts.iter().enumerate().map(|(id, word)| (word.clone(), id.into())).collect();
        if !words.contains_key(unknown) {
            return Err(self.lacks("unknown_token_id"));
        }
        let settings = WordSettings {
            do_lower_case: self.flag("normalizer.lowercase"),
            strip_accents: self.flag("normalizer.strip_accents"),
            tokenize_chinese_chars: None,
        };
        let mut json = word_pieces(&words, unknown, &settings);
        json["added_tokens"] = self.added(&texts, &[CONTROL, USER_DEFINED]).into();
        Ok(Built { json, open: true, close: true })
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number = (0..3).fold(0, |n, at| n << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let sextet = number >> (18 - 6 * digit) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[sextet as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_the_standard() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
        assert_eq!(super::base64(&[0xff, 0xfe, 0x3e]), "//4+");
    }
}
