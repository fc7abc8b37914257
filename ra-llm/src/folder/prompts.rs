//! The prompts of a sentence-transformers folder: what is put before a text, by name.
use super::document::read_optional;
use crate::Result;
use ra_core::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "config_sentence_transformers.json";

/// The prompts that a model was trained with, such as `query: ` and `passage: `. A prompt is put before the text as it
/// is written: the two are one string when they are tokenized.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelPrompts {
    prompts: BTreeMap<String, String>,
    default: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Instructions {
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
}

impl ModelPrompts {
    /// Reads the prompts of the folder `root`; none if it says nothing about them.
    ///
    /// # Errors
    /// Names the file that is damaged, or whose default is none of its prompts.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let file = root.join(FILE);
        let Instructions { prompts, default_prompt_name: default } = read_optional(&file)?.unwrap_or_default();
        let own = Self {
            prompts: prompts.into_iter().map(|(name, text)| (name, text.unwrap_or_default())).collect(),
            default,
        };
        match &own.default {
            Some(name) if !own.prompts.contains_key(name) => {
                let problem = format!("default_prompt_name is {name:?}; its prompts are {}", own.names());
                Err(Error::corrupt(file, problem).into())
            }
            _ => Ok(own),
        }
    }

    /// The prompt with a name.
    ///
    /// # Errors
    /// Lists the names that there are.
    pub fn named(&self, name: &str) -> ra_core::Result<&str> {
        self.prompts.get(name).map(String::as_str).ok_or_else(|| {
            Error::Settings(format!("the language model has no prompt {name:?}; its prompts are {}", self.names()))
        })
    }

    /// The prompt before every text for which no other is chosen; nothing if there is none, or if it is empty.
    pub fn default_prompt(&self) -> Option<&str> {
        let text = self.prompts.get(self.default.as_ref()?)?;
        Some(text.as_str()).filter(|text| !text.is_empty())
    }

    /// The text that a sentence of a recipe stands for: `@NAME` and what follows it is the prompt of this name and the
    /// rest, `@` alone and what follows it is the rest alone, and any other sentence follows the default prompt.
    ///
    /// # Errors
    /// Those of [`named`](Self::named).
    pub fn sentence(&self, written: &str) -> ra_core::Result<String> {
        let Some(asked) = written.strip_prefix('@') else {
            return Ok(format!("{}{written}", self.default_prompt().unwrap_or_default()));
        };
        let (name, rest) = asked.split_once(' ').unwrap_or((asked, ""));
        let prompt = if name.is_empty() { "" } else { self.named(name)? };
        Ok(format!("{prompt}{rest}"))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.prompts.keys().map(String::as_str).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ModelPrompts> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), json).unwrap();
        ModelPrompts::read(dir.path())
    }

    #[test]
    fn prompts_are_found_by_name_with_their_blanks_and_an_unknown_one_lists_them() {
        let json =
            r#"{ "prompts": { "query": "query: ", "document": "", "other": null }, "default_prompt_name": "query" }"#;
        let prompts = read(json).unwrap();
        assert_eq!((prompts.named("query").unwrap(), prompts.named("document").unwrap()), ("query: ", ""));
        assert_eq!(prompts.default_prompt(), Some("query: "));
        let told = prompts.named("passage").unwrap_err().to_string();
        assert!(told.contains("\"passage\"") && told.contains("document, other, query"), "{told}");
    }

    #[test]
    fn a_sentence_follows_the_default_prompt_or_the_one_it_names() {
        let json = r#"{ "prompts": { "query": "query: ", "document": "" }, "default_prompt_name": "query" }"#;
        let prompts = read(json).unwrap();
        for (written, text) in [
            ("The user bought:", "query: The user bought:"),
            ("@query", "query: "),
            ("@query The user bought:", "query: The user bought:"),
            ("@document Product:", "Product:"),
            ("@ Product:", "Product:"),
            ("@", ""),
            ("", "query: "),
        ] {
            assert_eq!(prompts.sentence(written).unwrap(), text, "{written}");
        }
        assert!(prompts.sentence("@passage").unwrap_err().to_string().contains("document, query"));
        assert_eq!(ModelPrompts::default().sentence("Product:").unwrap(), "Product:");
    }

    #[test]
    fn a_folder_may_say_nothing_and_a_wrong_default_is_an_error() {
        let none = ModelPrompts::read(tempfile::tempdir().unwrap().path()).unwrap();
        assert_eq!((none.default_prompt(), none.clone()), (None, ModelPrompts::default()));
        assert!(none.named("query").unwrap_err().to_string().contains("are none"));
        assert_eq!(
            read(r#"{ "prompts": { "document": "" }, "default_prompt_name": "document" }"#).unwrap().default_prompt(),
            None
        );
        let wrong = read(r#"{ "prompts": { "query": "q" }, "default_prompt_name": "doc" }"#).unwrap_err().to_string();
        assert!(wrong.contains(FILE) && wrong.contains("\"doc\"") && wrong.contains("query"), "{wrong}");
    }
}
