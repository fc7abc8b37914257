//! RA-Rec as a recommender: two towers over one frozen language model.
use crate::extra::{Extra, Side};
use crate::{IdScale, Prompts, TextCache, unit};
use burn::module::Module;
use burn::tensor::Tensor;
use ra_core::{Aligner, History, LanguageModel, Recommender};
use std::sync::Arc;

/// Everything RA-Rec trains and nothing else.
#[derive(Module, Debug)]
pub struct Towers<A> {
    /// From user vectors to prefixes.
    pub user: A,
    /// From item vectors to prefixes.
    pub item: A,
    /// What departs from the paper.
    pub extra: Extra,
}

impl<A: Aligner> Towers<A> {
    /// The paper's towers.
    pub fn new(user: A, item: A) -> Self {
        Self { user, item, extra: Extra::default() }
    }
}

/// The untouched language model on the same prompts: the text-only baseline, and the frozen half of RA-Rec.
#[derive(Debug)]
pub struct TextTower<L> {
    /// The language model.
    pub lm: L,
    /// The prompts.
    pub prompts: Prompts,
    /// What is known of each prompt already.
    pub cache: TextCache,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
}

impl<L: LanguageModel> TextTower<L> {
    pub(crate) fn close(&self, pooled: Tensor<2>) -> Tensor<2> {
        if self.normalize { unit(pooled) } else { pooled }
    }

    /// The user tower's prompts.
    pub fn user_texts(&self, histories: &[History<'_>]) -> Vec<Vec<u32>> {
        histories.iter().map(|h| self.prompts.user(h)).collect()
    }

    /// The item tower's prompts; padding gets the prompt of item 1, whose vector nobody reads.
    pub fn item_texts(&self, items: &[u32]) -> Vec<Vec<u32>> {
        items.iter().map(|&i| self.prompts.item(i.max(1))).collect()
    }
}

impl<L: LanguageModel> Recommender for TextTower<L> {
    fn dim(&self) -> usize {
        self.lm.spec().width
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        self.close(self.cache.encode(&self.lm, &self.user_texts(histories), None))
    }
    fn items(&self, items: &[u32]) -> Tensor<2> {
        self.close(self.cache.encode(&self.lm, &self.item_texts(items), None))
    }
}

/// An ID method aligned to a language model. Generic for library users; with `Box<dyn ..>` parts for recipes.
#[derive(Debug)]
pub struct RaRec<I, L, A> {
    /// The ID method, frozen.
    pub ids: I,
    /// Scale of its vectors.
    pub scale: IdScale,
    /// The language model with its prompts, frozen.
    pub text: Arc<TextTower<L>>,
    /// What was trained.
    pub towers: Towers<A>,
}

impl<I: Recommender, L: LanguageModel, A: Aligner + Sync> RaRec<I, L, A> {
    /// The vectors of `texts` from the prefixes of `ids`, `[texts, vectors, dim]`.
    fn encode(&self, side: Side, texts: &[Vec<u32>], ids: Tensor<3>) -> Tensor<2> {
        let Towers { user, item, extra } = &self.towers;
        let prefix = match side {
            Side::User => user.prefix(ids.clone()),
            Side::Item => item.prefix(ids.clone()),
        };
        let pooled = self.text.cache.encode(&extra.language_model(&self.text.lm), texts, Some(&prefix));
        extra.close(side, pooled, ids.mean_dim(1).squeeze_dim(1), self.text.normalize)
    }
}

impl<I: Recommender, L: LanguageModel, A: Aligner + Sync> Recommender for RaRec<I, L, A> {
    fn dim(&self) -> usize {
        self.text.dim() + self.towers.extra.more_dims(self.ids.dim())
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let ids = self.scale.users(&self.ids, histories);
        let (interests, dim) = (self.ids.interests(), self.ids.dim());
        self.encode(Side::User, &self.text.user_texts(histories), ids.reshape([histories.len(), interests, dim]))
    }
    fn items(&self, items: &[u32]) -> Tensor<2> {
        let ids = self.scale.items(&self.ids, items).unsqueeze_dim(1);
        self.encode(Side::Item, &self.text.item_texts(items), ids)
    }
}
