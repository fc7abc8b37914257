//! The ID method's own score beside the aligned one.
use crate::method::RaRec;
use crate::validate::{Memoized, grid_search, require_validation};
use burn::tensor::Tensor;
use ra_core::{Aligner, History, ItemId, LanguageModel, Recommender, Result, Validate, forward_recommender};

/// Weights that are tried: scores are those of vectors of length 1, or about it.
const WEIGHTS: [f32; 12] = [0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0, 16.0];

/// Where there is no metric to choose by.
pub(crate) const REMEDY: &str =
    "id_residual chooses its weight by it: hold some interactions out for validation, or switch it off";

/// `model` with the score `<h_u, h_i> + beta s(u, i)`, `s` being the ID method's own score and `beta` the one of a few
/// weights that `validate` likes best.
///
/// The weight is not trained with the towers. An ID method has seen the targets that they are trained on and explains
/// them far better than it will explain those of test time: a trained weight leaves the
/// towers little to learn after a few steps.
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

/// `plain`, whose vectors have `width` numbers and the ID's after them, with another weight of the ID's own score.
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
