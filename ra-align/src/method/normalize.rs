//! Scaling of ID vectors to a common scale, and of rows to length 1.
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{Error, History, ItemId, Recommender, Result, host_numbers};
use serde::{Deserialize, Serialize};

/// The shift and scale of ID vectors, measured on training states only and saved with the checkpoint.
///
/// Users: `e = u / mean |u|`; items: `e = (i - mean i) / mean |i - mean i|`. This is our choice: the paper does not say
/// how ID vectors are scaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdNormalizer {
    user_norm: f32,
    item_norm: f32,
    item_mean: Vec<f32>,
    /// The standard deviation of each dimension of the scaled user vectors, for noise in training.
    user_std: Vec<f32>,
}

/// The number of histories per block when many users are requested at once.
const BLOCK: usize = 512;

/// Returns the user vectors of any number of histories, `[histories * interests, dim]`.
pub fn encode_users<I: Recommender + ?Sized>(ids: &I, histories: &[History<'_>]) -> Tensor<2> {
    Tensor::cat(histories.chunks(BLOCK).map(|block| ids.users(block)).collect(), 0)
}

/// Returns the vectors of items `0..=items`, `[items + 1, dim]` with padding in row 0.
pub(crate) fn encode_items<I: Recommender + ?Sized>(ids: &I, items: usize) -> Tensor<2> {
    let all: Vec<ItemId> = (0..=items as u32).map(ItemId).collect();
    Tensor::cat(all.chunks(BLOCK).map(|block| ids.items(block)).collect(), 0)
}

/// Checks that the method's vectors are all of the method, since nothing else can be aligned. A Markov chain fails: its
/// vectors are plain popularity, and its counts are additions.
///
/// # Errors
/// [`Error::Missing`] if the method adds to the scores of one of `histories`.
pub(crate) fn require_vectors<'a>(
    ids: &impl Recommender,
    mut histories: impl Iterator<Item = History<'a>>,
) -> Result<()> {
    if histories.all(|history| ids.additions(&history).is_empty()) {
        return Ok(());
    }
    Err(Error::Missing {
        what: "an ID method whose score is the product of its vectors".into(),
        remedy: "this one also adds to the scores of single items, as a Markov chain adds its counts, and an \
                 alignment reads only vectors; align another, such as sasrec or ease"
            .into(),
    })
}

/// Scales rows, `[n, width]`, to length 1.
pub fn l2_normalize(x: Tensor<2>) -> Tensor<2> {
    // Clamped before the root, because its slope at 0 is infinite.
    let norm = x.clone().square().sum_dim(1).clamp_min(1e-24).sqrt();
    x / norm
}

fn mean_norm(x: Tensor<2>) -> f32 {
    x.square().sum_dim(1).sqrt().mean().into_scalar::<f32>().max(1e-12)
}

impl IdNormalizer {
    /// Measures `users` (`[samples * interests, dim]`, states of training histories) and `items` (`[items, dim]`).
    pub fn measure(users: Tensor<2>, items: Tensor<2>) -> Self {
        let item_mean = items.clone().mean_dim(0);
        let item_norm = mean_norm(items - item_mean.clone());
        let user_norm = mean_norm(users.clone());
        let [samples, dim] = users.dims();
        // One sample has no deviation.
        let user_std = if samples > 1 { host_numbers((users / user_norm).var(0).sqrt()) } else { vec![0.0; dim] };
        Self { user_norm, item_norm, item_mean: host_numbers(item_mean), user_std }
    }

    /// Returns scaled user vectors, `[batch * interests, dim]`.
    pub fn users<I: Recommender + ?Sized>(&self, ids: &I, histories: &[History<'_>]) -> Tensor<2> {
        self.scaled_users(ids.users(histories))
    }

    /// Scales given user vectors, `[batch * interests, dim]`.
    pub fn scaled_users(&self, users: Tensor<2>) -> Tensor<2> {
        users / self.user_norm
    }

    /// Returns scaled item vectors, `[batch, dim]`.
    pub fn items<I: Recommender + ?Sized>(&self, ids: &I, items: &[ItemId]) -> Tensor<2> {
        let vectors = ids.items(items);
        let mean = row(&self.item_mean, &vectors.device());
        (vectors - mean) / self.item_norm
    }

    /// Returns the ID method's own scores, `[batch, items]`, for scaled `users`, `[batch, interests, dim]`, and
    /// `items`, `[items, dim]`: the maximum over interests.
    pub(crate) fn scores(&self, users: Tensor<3>, items: Tensor<2>) -> Tensor<2> {
        let items = self.uncentred(items) * self.item_norm;
        (users * self.user_norm).matmul(items.transpose().unsqueeze()).max_dim(1).squeeze_dim(1)
    }

    /// Returns scaled `items`, `[items, dim]`, with their mean added back, so that the interest with the largest
    /// product is the method's own.
    pub(crate) fn uncentred(&self, items: Tensor<2>) -> Tensor<2> {
        let mean = row(&self.item_mean, &items.device());
        items + mean / self.item_norm
    }

    /// Converts an addition of the method to the scale of products of scaled users and [`IdNormalizer::uncentred`]
    /// items.
    pub(crate) fn addition(&self, own: f32) -> f32 {
        own / (self.user_norm * self.item_norm)
    }

    /// Returns the standard deviation of each dimension of scaled user vectors, `[1, dim]`.
    pub fn user_std(&self, device: &Device) -> Tensor<2> {
        row(&self.user_std, device)
    }
}

fn row(values: &[f32], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len()]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_scaled_vectors_are_those_of_the_vectors() {
        let device = Device::flex();
        // Two users with two interests each, three items away from the centre.
        let users = Tensor::<2>::from_floats([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0], [0.0, -5.0]], &device);
        let items = Tensor::<2>::from_floats([[2.0, 1.0], [4.0, -3.0], [6.0, 8.0]], &device);
        let scale = IdNormalizer::measure(users.clone(), items.clone());
        let scaled = (items.clone() - row(&scale.item_mean, &device)) / scale.item_norm;
        let scores = scale.scores(scale.scaled_users(users.clone()).reshape([2, 2, 2]), scaled);
        let own = users.matmul(items.transpose()).reshape([2, 2, 3]).max_dim(1).squeeze_dim::<2>(1);
        assert!((scores - own).abs().max().into_scalar::<f32>() < 1e-4);
    }
}
