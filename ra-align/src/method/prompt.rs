//! Hard prompts: a task sentence and the texts of items, which are titles unless a template says otherwise. A history
//! is truncated to whole texts, and a text to whole fields.
use ra_core::{Catalog, Check, History, ItemId, Problem, Result, Tokenizer, rng};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// The hard prompts of the language model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptConfig {
    /// The task sentence before a history. A blank follows it, and each `;` between titles.
    pub user: String,
    /// The task sentence before an item. A blank follows it.
    pub item: String,
    /// The maximum number of titles of a history; the newest are kept.
    pub titles: usize,
    /// The maximum number of tokens per title in a history. A text of several fields loses its last fields first.
    pub title_tokens: usize,
    /// The maximum number of tokens of the title in an item prompt. A text of several fields loses its last fields
    /// first.
    pub item_tokens: usize,
    /// Shuffles the titles of a history, always in the same way, to test whether the model reads their order.
    pub shuffle: bool,
}

impl Default for PromptConfig {
    fn default() -> Self {
        Self {
            user: "The user bought:".into(),
            item: "Product:".into(),
            titles: 6,
            title_tokens: 12,
            item_tokens: 32,
            shuffle: false,
        }
    }
}

impl Check for PromptConfig {
    fn problems(&self) -> Vec<Problem> {
        let item = Problem::if_below("item_tokens", self.item_tokens, 1);
        let empty = self.titles > 0 && self.title_tokens == 0;
        let told = "is 0, it must be at least 1; titles = 0 leaves histories out of the prompt";
        item.into_iter().chain(empty.then(|| Problem::new("title_tokens", told))).collect()
    }

    fn oddities(&self) -> Vec<Problem> {
        let told = "is 0: prompts say nothing about a history";
        (self.titles == 0).then(|| Problem::new("titles", told)).into_iter().collect()
    }
}

/// The tokenized sentences and titles of a catalogue, from which prompts are assembled without tokenizing again.
#[derive(Debug)]
pub struct Prompts {
    open: Vec<u32>,
    close: Vec<u32>,
    user: Vec<u32>,
    item: Vec<u32>,
    between: Vec<u32>,
    /// The texts of histories. They are cut when they are read.
    titles: Vec<Vec<u32>>,
    /// The texts of item prompts, if they may hold other fields than those of histories.
    alone: Option<Vec<Vec<u32>>>,
    config: PromptConfig,
    budget: usize,
}

impl Prompts {
    /// Tokenizes a catalogue once. `max_tokens` is the longest prompt that the language model can read.
    ///
    /// # Errors
    /// Names the title or sentence that cannot be tokenized.
    pub fn new(tokenizer: &dyn Tokenizer, catalog: &Catalog, config: &PromptConfig, max_tokens: usize) -> Result<Self> {
        let (open, close) = tokenizer.special_tokens();
        // Tokens may begin with a blank but do not end with one, so the blank between belongs to the title.
        let ([user, user_blank], [item, item_blank]) = (split_blank(&config.user), split_blank(&config.item));
        let mut sentences = tokenizer.tokenize(&[user, item, ";"])?.into_iter();
        let mut next = || sentences.next().unwrap_or_default();
        let (user, item, between) = (next(), next(), next());
        let titles = whole_fields(tokenizer, catalog, config.title_tokens, user_blank)?;
        let mut own =
            Self { open, close, user, item, between, titles, alone: None, config: config.clone(), budget: max_tokens };
        if catalog.template().is_some() || item_blank != user_blank {
            own.alone = Some(whole_fields(tokenizer, catalog, own.item_limit(), item_blank)?);
        }
        Ok(own)
    }

    /// The maximum number of tokens of the text in an item prompt.
    fn item_limit(&self) -> usize {
        let room = self.budget.saturating_sub(self.open.len() + self.close.len() + self.item.len());
        self.config.item_tokens.min(room)
    }

    /// Returns the item tower's prompt: task sentence and title.
    ///
    /// # Panics
    /// If `item` is padding or beyond the catalogue.
    pub fn item(&self, item: ItemId) -> Vec<u32> {
        let title = cut(self.alone.as_ref().unwrap_or(&self.titles), item, self.item_limit());
        [&self.open, &self.item, title, &self.close].concat()
    }

    /// Returns the user tower's prompt: task sentence and the newest titles, newest last. If they do not fit, the
    /// oldest titles are dropped whole, never the task sentence.
    pub fn user(&self, history: &History<'_>) -> Vec<u32> {
        let mut room = self.budget.saturating_sub(self.open.len() + self.close.len() + self.user.len());
        let mut kept: Vec<&[u32]> = Vec::new();
        for &item in history.items.iter().rev().take(self.config.titles) {
            let title = cut(&self.titles, item, self.config.title_tokens);
            let cost = title.len() + self.between.len();
            if cost > room {
                break;
            }
            room -= cost;
            kept.push(title);
        }
        if self.config.shuffle {
            kept.shuffle(&mut rng(u64::from(history.user.0), "shuffled titles", history.items.len() as u64));
        }
        let mut prompt = [self.open.as_slice(), &self.user].concat();
        for title in kept.iter().rev() {
            prompt.extend_from_slice(title);
            prompt.extend_from_slice(&self.between);
        }
        prompt.extend_from_slice(&self.close);
        prompt
    }
}

fn cut(texts: &[Vec<u32>], item: ItemId, limit: usize) -> &[u32] {
    let text = &texts[item.index() - 1];
    &text[..text.len().min(limit)]
}

/// A sentence without the blanks at its end, and the blank that follows it, if it is not empty.
fn split_blank(sentence: &str) -> [&str; 2] {
    let written = sentence.trim_end();
    [written, if written.is_empty() { "" } else { " " }]
}

/// Tokenizes the texts of all items, each after `blank`. A text of more tokens than `limit` loses its last fields, but never the first one.
fn whole_fields(tokenizer: &dyn Tokenizer, catalog: &Catalog, limit: usize, blank: &str) -> Result<Vec<Vec<u32>>> {
    if catalog.template().is_none() {
        if blank.is_empty() {
            return tokenizer.tokenize(&catalog.titles().iter().map(String::as_str).collect::<Vec<_>>());
        }
        let after: Vec<String> = catalog.titles().iter().map(|title| format!("{blank}{title}")).collect();
        return tokenizer.tokenize(&after.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let mut parts: Vec<Vec<String>> = catalog.all().map(|item| catalog.text_parts(item)).collect();
    let mut texts = vec![Vec::new(); parts.len()];
    let mut changed: Vec<usize> = (0..parts.len()).collect();
    while !changed.is_empty() {
        // A text is tokenized as a whole, because tokens may span fields.
        let written: Vec<String> = changed.iter().map(|&at| format!("{blank}{}", parts[at].concat())).collect();
        let tokens = tokenizer.tokenize(&written.iter().map(String::as_str).collect::<Vec<_>>())?;
        changed.iter().zip(tokens).for_each(|(&at, tokens)| texts[at] = tokens);
        changed.retain(|&at| texts[at].len() > limit && parts[at].len() > 1);
        changed.iter().for_each(|&at| drop_last(&mut parts[at]));
    }
    Ok(texts)
}

/// Drops the last field, and blanks that led to it.
fn drop_last(parts: &mut Vec<String>) {
    parts.pop();
    if let Some(last) = parts.last_mut() {
        last.truncate(last.trim_end().len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::UserId;

    #[derive(Debug)]
    struct Letters;
    impl Tokenizer for Letters {
        fn tokenize(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
            Ok(texts.iter().map(|t| t.bytes().map(u32::from).collect()).collect())
        }
        fn special_tokens(&self) -> (Vec<u32>, Vec<u32>) {
            (vec![1], vec![2])
        }
    }

    fn text(tokens: &[u32]) -> String {
        tokens.iter().map(|&t| char::from(t as u8)).collect()
    }

    #[test]
    fn the_oldest_titles_go_first_and_whole() {
        let catalog =
            Catalog::new(vec!["a".into(), "b".into(), "c".into()], vec!["aaaa".into(), "bb".into(), "cccccc".into()]);
        let config = PromptConfig {
            user: "U:".into(),
            item: "I:".into(),
            titles: 5,
            title_tokens: 4,
            item_tokens: 5,
            shuffle: false,
        };
        let history = History { user: UserId(0), items: &ItemId::list([1, 2, 3]) };
        let prompts = |budget| Prompts::new(&Letters, &catalog, &config, budget).unwrap();
        assert_eq!(text(&prompts(99).user(&history)), "\u{1}U: aaa; bb; ccc;\u{2}");
        assert_eq!(text(&prompts(13).user(&history)), "\u{1}U: bb; ccc;\u{2}");
        assert_eq!(text(&prompts(5).user(&history)), "\u{1}U:\u{2}");
        assert_eq!(text(&prompts(99).item(ItemId(3))), "\u{1}I: cccc\u{2}");
        assert_eq!(text(&prompts(99).user(&History { user: UserId(0), items: &[] })), "\u{1}U:\u{2}");
    }

    #[test]
    fn a_blank_after_a_sentence_stands_before_titles() {
        let catalog = Catalog::new(vec!["a".into(), "b".into()], vec!["aa".into(), "bb".into()]);
        let history = History { user: UserId(0), items: &ItemId::list([1, 2]) };
        for (user, item, histories, items) in [
            ("U: ", "I: ", "U: aa; bb;", "I: aa"),
            ("U:", "I:", "U: aa; bb;", "I: aa"),
            ("U: ", "", "U: aa; bb;", "aa"),
        ] {
            let config = PromptConfig { user: user.into(), item: item.into(), ..PromptConfig::default() };
            let prompts = Prompts::new(&Letters, &catalog, &config, 99).unwrap();
            assert_eq!(text(&prompts.user(&history)), format!("\u{1}{histories}\u{2}"));
            assert_eq!(text(&prompts.item(ItemId(1))), format!("\u{1}{items}\u{2}"));
        }
    }

    #[test]
    fn a_text_that_is_too_long_loses_its_last_fields_whole() {
        let texts = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
        let catalog = Catalog::new(texts(["1", "2", "3"]), texts(["aa", "aaaaaa", ""]))
            .with_texts("{title}[-{b}][-{c}]".parse().unwrap(), vec![texts(["bb", "b", "bb"]), texts(["c", "c", ""])]);
        let config =
            PromptConfig { user: String::new(), item: String::new(), title_tokens: 3, ..PromptConfig::default() };
        let prompts = |item_tokens, budget| {
            Prompts::new(&Letters, &catalog, &PromptConfig { item_tokens, ..config.clone() }, budget).unwrap()
        };
        let item = |item, tokens| text(&prompts(tokens, 99).item(ItemId(item)));
        assert_eq!(
            [9, 6, 4, 1].map(|tokens| item(1, tokens)),
            ["aa-bb-c", "aa-bb", "aa", "a"].map(|t| format!("\u{1}{t}\u{2}"))
        );
        assert_eq!([9, 5].map(|tokens| item(2, tokens)), ["aaaaaa-b", "aaaaa"].map(|t| format!("\u{1}{t}\u{2}")));
        assert_eq!(text(&prompts(9, 7).item(ItemId(1))), "\u{1}aa-bb\u{2}", "the model has no more room");
        let history = History { user: UserId(0), items: &ItemId::list([1, 2, 3]) };
        assert_eq!(text(&prompts(9, 99).user(&history)), "\u{1}aa;aaa;bb;\u{2}");
    }
}
