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
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        self.close(self.cache.encode(&self.lm, &self.user_texts(histories), None))
    }
    fn items(&self, items: &[u32]) -> Tensor<2> {
        self.close(self.cache.encode(&self.lm, &self.item_texts(items), None))
    }
    fn additions(&self, _: &History<'_>) -> Vec<(u32, f32)> {
        Vec::new()
    }
}

/// An ID method aligned to a language model. Generic for library users; with `Box<dyn ..>` parts for recipes.
///
/// Its score is `<h_u, h_i>`; with a weight `beta` of the ID method's own score ([`crate::with_id_score`]) it is
/// `<h_u, h_i> + beta s(u, i)`, `s` being what the method itself scores by: the best of its interests, and its
/// additions.
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
            Side::User => user.prefix(ids),
            Side::Item => item.prefix(ids),
        };
        let pooled = self.text.cache.encode(&extra.language_model(&self.text.lm), texts, Some(&prefix));
        extra.close(side, pooled, self.text.normalize)
    }
}

impl<I: Recommender, L: LanguageModel, A: Aligner + Sync> Recommender for RaRec<I, L, A> {
    fn dim(&self) -> usize {
        self.text.dim() + self.towers.extra.id_weight().map_or(0, |_| self.ids.dim())
    }

    /// With the ID method's own score a user has a vector an interest, of which that with the best product counts.
    fn interests(&self) -> usize {
        self.towers.extra.id_weight().map_or(1, |_| self.ids.interests())
    }

    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let ids = self.scale.users(&self.ids, histories);
        let (n, interests, dim) = (histories.len(), self.ids.interests(), self.ids.dim());
        let own = self.encode(Side::User, &self.text.user_texts(histories), ids.clone().reshape([n, interests, dim]));
        let Some(weight) = self.towers.extra.id_weight() else { return own };
        let width = own.dims()[1];
        let own = own.unsqueeze_dim::<3>(1).expand([n, interests, width]).reshape([n * interests, width]);
        Tensor::cat(vec![own, ids * weight.unsqueeze()], 1)
    }

    fn items(&self, items: &[u32]) -> Tensor<2> {
        let ids = self.scale.items(&self.ids, items);
        let own = self.encode(Side::Item, &self.text.item_texts(items), ids.clone().unsqueeze_dim(1));
        match self.towers.extra.id_weight() {
            Some(_) => Tensor::cat(vec![own, self.scale.uncentred(ids)], 1),
            None => own,
        }
    }

    fn additions(&self, history: &History<'_>) -> Vec<(u32, f32)> {
        let own = self.ids.additions(history);
        match self.towers.extra.id_weight() {
            Some(weight) if !own.is_empty() => {
                let weight: f32 = weight.into_scalar();
                own.into_iter().map(|(item, more)| (item, weight * self.scale.addition(more))).collect()
            }
            _ => Vec::new(),
        }
    }
}
