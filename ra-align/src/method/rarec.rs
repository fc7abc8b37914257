//! RA-Rec as a recommender: two towers over one frozen language model.
use crate::config::AlignConfig;
use crate::method::{IdNormalizer, Layerwise, Side, TextTower, Towers, require_tunable};
use burn::tensor::Tensor;
use ra_core::{Aligner, History, ItemId, LanguageModel, Recommender, Result, load_module};
use std::path::Path;
use std::sync::Arc;

/// An ID method aligned to a language model. It is generic for library users; recipes use `Box<dyn ..>` parts.
///
/// Its score is `<h_u, h_i>`. With a weight `beta` on the ID method's own score ([`crate::with_id_score`]) it is
/// `<h_u, h_i> + beta s(u, i)`, where `s` is the method's score: that of its best interest, plus its additions.
#[derive(Debug)]
pub struct RaRec<I, L, A = Layerwise> {
    ids: I,
    normalizer: IdNormalizer,
    text: Arc<TextTower<L>>,
    pub(crate) towers: Towers<A>,
}

impl<I: Recommender, L: LanguageModel> RaRec<I, L> {
    /// Loads a model with `ids`, `text` and the file `towers`, whose towers were trained with `align` and saved with
    /// [`ra_core::save_module`].
    ///
    /// # Errors
    /// As [`load_module`], which names what is missing, left over or of another shape; [`ra_core::Error::Missing`] if
    /// the language model was tuned and this one does not expose its weights.
    pub fn load(
        ids: I,
        normalizer: IdNormalizer,
        text: Arc<TextTower<L>>,
        align: &AlignConfig,
        towers: &Path,
    ) -> Result<Self> {
        let lm = text.lm();
        AlignConfig::require_layers(&lm.spec())?;
        align.check_beside(&lm.spec())?;
        text.check(align)?;
        require_tunable(align.tuning.tune, lm)?;
        let towers = load_module(Towers::init(align, ids.dim(), lm, 0, &lm.device()), towers)?;
        Ok(Self::new(ids, normalizer, text, towers))
    }
}

impl<I, L, A> RaRec<I, L, A> {
    /// Combines `towers` with the `ids`, the `normalizer` and the `text` that they were trained with.
    pub fn new(ids: I, normalizer: IdNormalizer, text: Arc<TextTower<L>>, towers: Towers<A>) -> Self {
        Self { ids, normalizer, text, towers }
    }

    /// Returns the ID method, frozen.
    pub fn ids(&self) -> &I {
        &self.ids
    }

    /// Returns the scale of the ID method's vectors.
    pub fn normalizer(&self) -> &IdNormalizer {
        &self.normalizer
    }

    /// Returns the language model with its prompts, frozen.
    pub fn text(&self) -> &Arc<TextTower<L>> {
        &self.text
    }

    /// Returns the trained parameters, which are all that a checkpoint holds: [`ra_core::save_module`].
    pub fn towers(&self) -> &Towers<A> {
        &self.towers
    }
}

impl<I: Recommender, L: LanguageModel, A: Aligner + Sync> RaRec<I, L, A> {
    /// Encodes `texts` with the prefixes of `ids`, `[texts, vectors, dim]`, as `[texts, width]`.
    fn encode(&self, side: Side, texts: &[Vec<u32>], ids: Tensor<3>) -> Tensor<2> {
        let Towers { user, item, extra } = &self.towers;
        let prefix = match side {
            Side::User => user.prefix(ids),
            Side::Item => item.prefix(ids),
        };
        let pooled = self.text.cache().encode(&extra.language_model(self.text.lm()), texts, Some(&prefix));
        extra.project_out(side, pooled, self.text.normalizes())
    }
}

impl<I: Recommender, L: LanguageModel, A: Aligner + Sync> Recommender for RaRec<I, L, A> {
    fn dim(&self) -> usize {
        self.text.dim() + self.towers.extra.id_weight().map_or(0, |_| self.ids.dim())
    }

    /// With the ID method's own score, a user has one vector per interest, and the one with the largest product counts.
    fn interests(&self) -> usize {
        self.towers.extra.id_weight().map_or(1, |_| self.ids.interests())
    }

    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let ids = self.normalizer.users(&self.ids, histories);
        let (n, interests, dim) = (histories.len(), self.ids.interests(), self.ids.dim());
        let own = self.encode(Side::User, &self.text.user_texts(histories), ids.clone().reshape([n, interests, dim]));
        let Some(weight) = self.towers.extra.id_weight() else { return own };
        let width = own.dims()[1];
        let own = own.unsqueeze_dim::<3>(1).expand([n, interests, width]).reshape([n * interests, width]);
        Tensor::cat(vec![own, ids * weight.unsqueeze()], 1)
    }

    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        let ids = self.normalizer.items(&self.ids, items);
        let own = self.encode(Side::Item, &self.text.item_texts(items), ids.clone().unsqueeze_dim(1));
        match self.towers.extra.id_weight() {
            Some(_) => Tensor::cat(vec![own, self.normalizer.uncentred(ids)], 1),
            None => own,
        }
    }

    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        let own = self.ids.additions(history);
        match self.towers.extra.id_weight() {
            Some(weight) if !own.is_empty() => {
                let weight: f32 = weight.into_scalar();
                own.into_iter().map(|(item, more)| (item, weight * self.normalizer.addition(more))).collect()
            }
            _ => Vec::new(),
        }
    }
}
