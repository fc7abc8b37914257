//! Users without training interactions.
use burn::tensor::{Tensor, TensorData};
use ra_core::{Dataset, History, Recommender, forward_recommender};

/// A method with one vector per user that returns none for users without a training interaction: their vectors still
/// have random initial values, and ranks based on them would be chance. All their scores are 0, so the tie rule
/// decides.
#[derive(Debug)]
pub(crate) struct KnownUsers<R> {
    model: R,
    known: Vec<bool>,
}

impl<R> KnownUsers<R> {
    pub(crate) fn new(model: R, dataset: &Dataset) -> Self {
        Self { model, known: dataset.train.rows().map(|row| !row.is_empty()).collect() }
    }
}

impl<R: Recommender> Recommender for KnownUsers<R> {
    forward_recommender!(self => self.model; dim, interests, items, additions);

    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let vectors = self.model.users(histories);
        let known = |history: &History<'_>| self.known.get(history.user.index()).copied().unwrap_or(false);
        if histories.iter().all(known) {
            return vectors;
        }
        let each = self.model.interests();
        let kept = histories.iter().flat_map(|history| std::iter::repeat_n(f32::from(known(history)), each)).collect();
        let kept = TensorData::new(kept, [histories.len() * each, 1]);
        vectors.clone() * Tensor::from_data(kept, &vectors.device())
    }
}
