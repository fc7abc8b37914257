//! The language model on hard prompts alone.
use crate::cache::TextCache;
use crate::config::AlignConfig;
use crate::method::normalize::l2_normalize;
use crate::method::{PromptConfig, Prompts};
use burn::tensor::Tensor;
use ra_core::{Catalog, Check, Error, History, ItemId, LanguageModel, Recommender, Result, Tokenizer, UserId};
use std::path::Path;

/// The untouched language model on the same prompts: the text-only baseline, and the frozen half of RA-Rec.
///
/// Trainings with the same module placement and loss can share it, and with it all frozen work.
#[derive(Debug)]
pub struct TextTower<L> {
    lm: L,
    prompts: Prompts,
    cache: TextCache,
    normalize: bool,
}

impl<L: LanguageModel> TextTower<L> {
    /// Creates a text tower of `lm` on `prompts` for towers of `align`. Its vectors have length 1 if `normalize` is
    /// set, and its cache holds what that module needs of a text.
    pub fn new(lm: L, prompts: Prompts, align: &AlignConfig) -> Self {
        let cache = TextCache::new(&lm, align);
        Self { lm, prompts, cache, normalize: align.loss.normalize }
    }

    /// Creates a text tower whose prompts hold titles of a catalogue. They fit into `lm` together with what `align`
    /// adds to its input for an ID method with this many `interests`.
    ///
    /// # Errors
    /// As [`Prompts::new`]; [`Error::Settings`] for a prompt that is invalid or does not fit even without titles.
    pub fn of_titles(
        lm: L,
        tokenizer: &dyn Tokenizer,
        catalog: &Catalog,
        prompt: &PromptConfig,
        align: &AlignConfig,
        interests: usize,
    ) -> Result<Self> {
        prompt.check()?;
        align.check_beside(&lm.spec())?;
        let room = lm.spec().max_tokens.saturating_sub(align.module.input_tokens(interests));
        let prompts = Prompts::new(tokenizer, catalog, prompt, room)?;
        if prompts.user(&History { user: UserId(0), items: &[] }).len() > room {
            let problem = "the task sentence of users is longer than the";
            return Err(Error::Settings(format!("{problem} {room} tokens that the language model has room for")));
        }
        Ok(Self::new(lm, prompts, align))
    }

    /// Caches what is computed of texts in the file `path`; see [`TextCache::keep_in`].
    ///
    /// # Errors
    /// As [`TextCache::keep_in`]; the tower is unchanged then.
    pub fn keep_in(&mut self, path: &Path, maker: &str) -> Result<()> {
        self.cache.keep_in(path, maker)
    }

    /// Returns the language model.
    pub fn lm(&self) -> &L {
        &self.lm
    }

    /// Returns the cache of the prompts' constants.
    pub fn cache(&self) -> &TextCache {
        &self.cache
    }

    /// Checks that towers of `align` need of texts what the cache holds, and score by the same product.
    ///
    /// # Errors
    /// [`Error::Settings`] if the text tower was made for others.
    pub(crate) fn check(&self, align: &AlignConfig) -> Result<()> {
        if self.normalize == align.loss.normalize && self.cache.serves(&self.lm, align) {
            return Ok(());
        }
        let told = "the text tower was made for another placement, first layer, loss or normalization, or for a \
                    language model that is not tuned: make one with the configuration of this training";
        Err(Error::Settings(told.into()))
    }

    /// Returns the user tower's prompts.
    pub fn user_texts(&self, histories: &[History<'_>]) -> Vec<Vec<u32>> {
        histories.iter().map(|h| self.prompts.user(h)).collect()
    }

    /// Returns the item tower's prompts. Padding gets the prompt of item 1; its vector is never read.
    pub fn item_texts(&self, items: &[ItemId]) -> Vec<Vec<u32>> {
        items.iter().map(|&i| self.prompts.item(i.max(ItemId(1)))).collect()
    }

    /// Returns whether vectors are scaled to length 1.
    pub(crate) fn normalizes(&self) -> bool {
        self.normalize
    }

    fn encode(&self, texts: &[Vec<u32>]) -> Tensor<2> {
        let pooled = self.cache.encode(&self.lm, texts, None);
        if self.normalize { l2_normalize(pooled) } else { pooled }
    }
}

impl<L: LanguageModel> Recommender for TextTower<L> {
    fn dim(&self) -> usize {
        self.lm.output_width()
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        self.encode(&self.user_texts(histories))
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        self.encode(&self.item_texts(items))
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}
