//! The ID method's own score, added to the aligned one.
use crate::method::RaRec;
use crate::validate::{Memoized, grid_search, require_validation};
use burn::tensor::Tensor;
use ra_core::{Aligner, History, ItemId, LanguageModel, Recommender, Result, Validate, forward_recommender};

/// The weights that are tried. The scores are those of vectors whose length is 1, or about 1.
const WEIGHTS: [f32; 12] = [0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0, 16.0];

/// The remedy if there is no metric to choose by.
pub(crate) const REMEDY: &str =
    "it chooses the weight of id_residual: hold some interactions out for validation, or set id_residual to false";

/// Returns `model` with the score `<h_u, h_i> + beta s(u, i)`, where `s` is the ID method's own score and `beta` the
/// weight, out of a few, that `validate` rates highest.
///
/// The weight is not trained with the towers. An ID method has seen the targets that they are trained on and explains
/// them far better than those at test time, so a trained weight would leave the towers little to learn after a few
/// steps.
///
/// # Errors
/// [`ra_core::Error::Missing`] without a metric.
pub fn with_id_score<I: Recommender, L: LanguageModel, A: Aligner + Sync>(
    mut model: RaRec<I, L, A>,
    validate: Option<Validate<'_>>,
) -> Result<RaRec<I, L, A>> {
    let validate = require_validation(validate, REMEDY)?;
    let device = model.text().lm().device();
    let number = |weight: f32| Tensor::from_floats([weight], &device);
    model.towers.extra.set_id_weight(number(1.0));
    let weight = {
        let (width, plain) = (model.text().dim(), Memoized::new(&model));
        grid_search("the weight of the ID method's own score", &WEIGHTS, |weight| {
            validate(&WithIdWeight { plain: &plain, width, weight })
        })
    };
    model.towers.extra.set_id_weight(number(weight));
    Ok(model)
}

/// The model `plain`, whose vectors have `width` numbers followed by the ID's, with another weight of the ID's own
/// score.
#[derive(Debug)]
struct WithIdWeight<R> {
    plain: R,
    width: usize,
    weight: f32,
}

impl<R: Recommender> Recommender for WithIdWeight<R> {
    forward_recommender!(self => self.plain; dim, interests, items);
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let own = self.plain.users(histories);
        let ids = own.clone().slice_dim(1, self.width..self.dim()) * self.weight;
        Tensor::cat(vec![own.slice_dim(1, 0..self.width), ids], 1)
    }
    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        self.plain.additions(history).into_iter().map(|(item, more)| (item, more * self.weight)).collect()
    }
}
