//! Hard prompts: a task sentence and titles, truncated to whole titles.
use ra_core::{Catalog, Check, History, ItemId, Problem, Result, Tokenizer, rng};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// The hard prompts of the language model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptConfig {
    /// The task sentence before a history.
    pub user: String,
    /// The task sentence before an item.
    pub item: String,
    /// The maximum number of titles of a history; the newest are kept.
    pub titles: usize,
    /// The maximum number of tokens per title in a history.
    pub title_tokens: usize,
    /// The maximum number of tokens of the title in an item prompt.
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
    titles: Vec<Vec<u32>>,
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
        let mut sentences = tokenizer.tokenize(&[&config.user, &config.item, ";"])?.into_iter();
        let mut next = || sentences.next().unwrap_or_default();
        let (user, item, between) = (next(), next(), next());
        let texts: Vec<&str> = catalog.titles().iter().map(String::as_str).collect();
        let titles = tokenizer.tokenize(&texts)?;
        Ok(Self { open, close, user, item, between, titles, config: config.clone(), budget: max_tokens })
    }

    fn title(&self, item: ItemId, limit: usize) -> &[u32] {
        let title = &self.titles[item.index() - 1];
        &title[..title.len().min(limit)]
    }

    /// Returns the item tower's prompt: task sentence and title.
    ///
    /// # Panics
    /// If `item` is padding or beyond the catalogue.
    pub fn item(&self, item: ItemId) -> Vec<u32> {
        let room = self.budget.saturating_sub(self.open.len() + self.close.len() + self.item.len());
        let title = self.title(item, self.config.item_tokens.min(room));
        [&self.open, &self.item, title, &self.close].concat()
    }

    /// Returns the user tower's prompt: task sentence and the newest titles, newest last. If they do not fit, the
    /// oldest titles are dropped whole, never the task sentence.
    pub fn user(&self, history: &History<'_>) -> Vec<u32> {
        let mut room = self.budget.saturating_sub(self.open.len() + self.close.len() + self.user.len());
        let mut kept: Vec<&[u32]> = Vec::new();
        for &item in history.items.iter().rev().take(self.config.titles) {
            let title = self.title(item, self.config.title_tokens);
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
        assert_eq!(text(&prompts(99).user(&history)), "\u{1}U:aaaa;bb;cccc;\u{2}");
        assert_eq!(text(&prompts(12).user(&history)), "\u{1}U:bb;cccc;\u{2}");
        assert_eq!(text(&prompts(5).user(&history)), "\u{1}U:\u{2}");
        assert_eq!(text(&prompts(99).item(ItemId(3))), "\u{1}I:ccccc\u{2}");
        assert_eq!(text(&prompts(99).user(&History { user: UserId(0), items: &[] })), "\u{1}U:\u{2}");
    }
}
