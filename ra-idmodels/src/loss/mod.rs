//! Losses over a catalogue that a configuration can choose from.
mod sampled;
mod shared;
mod softmax;

use sampled::without_target;
pub use sampled::{binary_cross_entropy, bpr, gbce_weight, sampled_softmax};
pub use shared::shared_softmax;
pub use softmax::softmax_cross_entropy;
pub(crate) use softmax::whole_catalogue;

use crate::{Batches, Job, WithShared};
use burn::tensor::{Int, Tensor};
use ra_core::kernels::pair_scores;
use ra_core::{Problem, TrainBatch};
use serde::{Deserialize, Serialize};

/// Returns the loss `sum / n` with gradients that were computed by hand, those of `sum` by each tensor; without any if
/// no tensor is tracked.
fn with_gradients<const N: usize>(sum: Tensor<1>, n: usize, grads: [(Tensor<2>, Tensor<2>); N]) -> Tensor<1> {
    let loss = sum / n as f32;
    if !grads.iter().any(|(x, _)| x.is_autodiff()) {
        return loss;
    }
    // A linear function with these gradients, shifted to the value of the loss.
    let parts = grads.map(|(x, grad)| (x * Tensor::from_inner(grad / n as f32)).sum());
    match parts.into_iter().reduce(|one, other| one + other) {
        Some(linear) => linear.clone() - linear.detach() + Tensor::from_inner(loss),
        None => loss,
    }
}

/// The loss of a method that reads histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Loss {
    /// Cross-entropy over the whole catalogue.
    #[default]
    Softmax,
    /// Cross-entropy over the target and the negatives.
    SampledSoftmax,
    /// Cross-entropy over the target, the negatives and the targets of the batch's other rows: mixed negatives (Yang et
    /// al., WWW 2020), without the correction by frequency. It takes a score for every two rows of a batch.
    MixedSoftmax,
    /// An estimate of the softmax over the catalogue from negatives that are drawn once for all rows of a batch, half of
    /// them by popularity, with logQ correction: [`shared_softmax`]. Its scores are one matrix product, so thousands of
    /// negatives cost little, and the size of the catalogue costs nothing.
    SharedSoftmax,
    /// `softmax` for a catalogue of up to 15,000 items, `shared_softmax` for a larger one.
    BySize,
    /// Binary cross-entropy over the target and the negatives (Kang & McAuley, ICDM 2018, eq. 7).
    Bce,
    /// BCE with positives calibrated for the number of negatives (Petrov & Macdonald, gSASRec, RecSys 2023, eq. 9).
    Gbce,
    /// Bayesian personalised ranking against each negative (Rendle et al., UAI 2009).
    Bpr,
}

/// The largest catalogue that [`Loss::BySize`] scores as a whole. The full softmax takes more than half of the time of
/// BSARec from about this size on.
pub const MOST_FOR_SOFTMAX: usize = 15_000;

/// Fewer shared negatives than this are probably a mistake: a loss with negatives for each row needs no more.
const FEW: usize = 100;

impl Loss {
    /// Returns what [`Loss::BySize`] is for a catalogue of so many items; any other loss is itself.
    #[must_use]
    pub fn for_catalogue(self, items: usize) -> Self {
        match self {
            Self::BySize if items > MOST_FOR_SOFTMAX => Self::SharedSoftmax,
            Self::BySize => Self::Softmax,
            loss => loss,
        }
    }
}

/// A loss and its settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ItemLoss {
    pub(crate) loss: Loss,
    /// Negatives per row; the full softmax needs none.
    pub(crate) negatives: usize,
    /// gSASRec's calibration, from 0 (plain BCE) to 1 (as if the sample were the whole catalogue).
    pub(crate) calibration: f64,
}

impl ItemLoss {
    /// Returns how many negatives per row a batch must have.
    pub(crate) fn wanted(&self) -> usize {
        if matches!(self.loss, Loss::Softmax | Loss::SharedSoftmax | Loss::BySize) { 0 } else { self.negatives }
    }

    /// Returns `batches` with the shared negatives that the loss needs.
    pub(crate) fn batches<'a>(&self, batches: impl Batches + 'a, job: &Job<'a>) -> Box<dyn Batches + 'a> {
        if self.loss.for_catalogue(job.dataset.catalog.len()) == Loss::SharedSoftmax {
            return Box::new(WithShared::new(batches, job.dataset, self.negatives, job.seed, job.device));
        }
        Box::new(batches)
    }

    /// Returns whether it reads only the rows of a batch's items. [`Loss::BySize`] must have been replaced by what it is;
    /// otherwise every row counts as read.
    pub(crate) fn reads_rows(&self) -> bool {
        !matches!(self.loss, Loss::Softmax | Loss::BySize)
    }

    pub(crate) fn oddities(&self) -> Vec<Problem> {
        let is_shared = matches!(self.loss, Loss::SharedSoftmax | Loss::BySize);
        let told =
            || format!("is {}: so few shared negatives say little of a catalogue; take 1000 or more", self.negatives);
        (is_shared && self.negatives < FEW).then(|| Problem::new("negatives", told())).into_iter().collect()
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let few = (self.loss != Loss::Softmax && self.negatives == 0)
            .then(|| Problem::new("negatives", "is 0, a loss on negatives needs at least 1"));
        let calibration = (!(0.0..=1.0).contains(&self.calibration))
            .then(|| Problem::new("calibration", format!("is {}, it must be from 0 to 1", self.calibration)));
        few.into_iter().chain(calibration).collect()
    }

    /// Computes the loss of `hidden`, `[m, dim]`, for the batch's targets in `table`, `[items + 1, dim]`.
    pub(crate) fn of(&self, hidden: Tensor<2>, table: Tensor<2>, batch: &TrainBatch) -> Tensor<1> {
        if let Some(shared) = &batch.shared {
            return shared_softmax(hidden, table, batch.positives.clone(), shared);
        }
        if matches!(self.loss, Loss::Softmax | Loss::BySize) {
            return whole_catalogue(hidden, table, batch);
        }
        let others = (self.loss == Loss::MixedSoftmax).then(|| {
            let targets = table.clone().select(0, batch.positives.clone());
            without_target(hidden.clone().matmul(targets.transpose()), batch.positives.clone())
        });
        let scores = pair_scores(hidden, None, table, columns(batch));
        match self.loss {
            Loss::MixedSoftmax => sampled_softmax(Tensor::cat(std::iter::once(scores).chain(others).collect(), 1)),
            Loss::SampledSoftmax | Loss::SharedSoftmax => sampled_softmax(scores),
            Loss::Bpr => bpr(scores),
            Loss::Gbce => binary_cross_entropy(scores, gbce_weight(self.negatives, batch.catalog, self.calibration)),
            // The others have returned.
            Loss::Bce | Loss::Softmax | Loss::BySize => binary_cross_entropy(scores, 1.0),
        }
    }
}

/// Returns the target and then the negatives of each row, `[m, 1 + k]`.
pub(crate) fn columns(batch: &TrainBatch) -> Tensor<2, Int> {
    let m = batch.positives.dims()[0];
    Tensor::cat(vec![batch.positives.clone().reshape([m, 1]), batch.negatives.clone()], 1)
}

/// Returns the sum of squares of the chosen rows.
pub(crate) fn square_norm(table: Tensor<2>, rows: Tensor<1, Int>) -> Tensor<1> {
    table.select(0, rows).square().sum()
}
