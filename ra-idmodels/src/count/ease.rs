//! EASE^R (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019): one linear map from a user's items
//! to the next ones, in closed form.
use crate::method::sequence::item_rows;
use crate::{IdMethod, Job, Trained};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use faer::{Mat, Side, linalg::solvers::DenseSolveCore};
use ra_core::{
    Check, Dataset, Error, History, ItemId, Problem, Recommender, Result, ensure_host_memory, ensure_memory,
    load_grown_module, load_module,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

const REMEDY: &str = "EASE needs memory for the square of the catalogue: leave out rare items, or use another method";

/// Configures [`Ease`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EaseConfig {
    /// The weight of the squared norm of the map, the only hyperparameter.
    pub l2: f64,
}

impl Default for EaseConfig {
    fn default() -> Self {
        Self { l2: 250.0 }
    }
}

/// A linear map between items. A user is the set of their items, `[items]`; item `j` is column `j` of `B`, the weights
/// with which the user's items count for it.
///
/// `B` is `-P / diag(P)` off the diagonal and 0 on it, with `P = (X^T X + l2 I)^-1` for the training interactions `X`
/// (equation 8). Vectors are as wide as the catalogue. Solving takes 24 bytes per pair of items (27 GiB for 35,000
/// items); the checkpoint is `B`, 4 bytes per pair.
#[derive(Module, Debug)]
pub struct Ease {
    /// `[items + 1, items]`; row 0 is padding. It is a parameter only so that it is saved: nothing trains it.
    weights: Param<Tensor<2>>,
}

impl EaseConfig {
    /// Solves for the map.
    ///
    /// # Errors
    /// [`Error::Memory`] if the square of the catalogue does not fit into memory, [`Error::Missing`] if `l2` is lost in
    /// rounding.
    pub fn solve(&self, dataset: &Dataset, device: &Device) -> Result<Ease> {
        let n = dataset.catalog.len();
        // In f64: the factor, the inverse and faer's scratch space, once the matrix itself is freed.
        ensure_host_memory("solving ease", 24 * (n as u64).saturating_mul(n as u64), REMEDY)?;
        let mut gram = Mat::<f64>::zeros(n, n);
        (0..n).for_each(|i| gram[(i, i)] = self.l2);
        for row in dataset.train.rows() {
            let own = set(row);
            for &i in &own {
                own.iter().for_each(|&j| gram[(i, j)] += 1.0);
            }
        }
        // Positive definite for any l2 above 0, unless l2 is lost in rounding.
        let singular = |_| Error::Missing {
            what: format!("an l2 above {}", self.l2),
            remedy: "the matrix of the items has no inverse in 64 bits; 1 to 1000 is usual".into(),
        };
        let factors = gram.llt(Side::Lower).map_err(singular)?;
        drop(gram);
        let inverse = factors.inverse();
        let mut weights = vec![0f32; (n + 1) * n];
        for (j, row) in weights.chunks_exact_mut(n.max(1)).skip(1).enumerate() {
            row.iter_mut().enumerate().for_each(|(i, weight)| *weight = (-inverse[(i, j)] / inverse[(j, j)]) as f32);
            row[j] = 0.0;
        }
        Ok(Ease { weights: Param::from_tensor(Tensor::from_data(TensorData::new(weights, [n + 1, n]), device)) })
    }

    /// Returns a map of zeros for a catalogue of `items` items, to be filled from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Memory`] if the square of the catalogue does not fit into memory.
    pub fn init(&self, items: usize, device: &Device) -> Result<Ease> {
        ensure_memory("loading ease", (items as u64 + 1).saturating_mul(items as u64), device, REMEDY)?;
        Ok(Ease { weights: Param::from_tensor(Tensor::zeros([items + 1, items], device)) })
    }
}

impl Check for EaseConfig {
    fn problems(&self) -> Vec<Problem> {
        Problem::unless_positive("l2", self.l2).into_iter().collect()
    }
}

impl IdMethod for EaseConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        Ok(Trained::solved(self.solve(job.dataset, job.device)?))
    }

    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained> {
        let items = job.dataset.catalog.len();
        let fresh = self.init(items, job.device)?;
        Ok(Trained::solved(match job.known_items {
            Some(known) => load_grown_module(fresh, path, known, items)?,
            None => load_module(fresh, path)?,
        }))
    }

    fn reads_histories(&self) -> bool {
        true
    }
}

/// Returns the distinct items of a history, counted from 0.
fn set(items: &[ItemId]) -> Vec<usize> {
    let mut own: Vec<usize> =
        items.iter().filter(|&&item| item != ItemId::PADDING).map(|item| item.index() - 1).collect();
    own.sort_unstable();
    own.dedup();
    own
}

impl Recommender for Ease {
    fn dim(&self) -> usize {
        self.weights.dims()[1]
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let n = self.dim();
        let mut sets = vec![0f32; histories.len() * n];
        for (at, history) in histories.iter().enumerate() {
            set(history.items).into_iter().for_each(|item| sets[at * n + item] = 1.0);
        }
        Tensor::from_data(TensorData::new(sets, [histories.len(), n]), &self.weights.device())
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        item_rows(&self.weights.val(), items)
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
    fn score_rows(&self) -> Option<Tensor<2>> {
        let [rows, n] = self.weights.dims();
        let rows = self.weights.val().transpose().reshape([n, rows]);
        Some(Tensor::cat(vec![Tensor::zeros([1, n + 1], &self.weights.device()), rows], 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Catalog, Sequences, UserId};

    /// The Lagrangian of the constrained least squares is flat off the diagonal: `X^T X B - X^T X + l2 B` is diagonal.
    #[test]
    fn it_is_the_least_squares_map_with_a_zero_diagonal() {
        let rows = [vec![1, 2, 3, 3], vec![2, 3], vec![1, 4], vec![3, 4, 1], vec![2]].map(ItemId::list);
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        let none = Sequences::from_rows(vec![Vec::new(); 5]);
        let dataset = Dataset {
            name: "tiny".into(),
            users: names(5),
            catalog: Catalog::new(names(5), names(5)),
            train: Sequences::from_rows(&rows),
            valid: none.clone(),
            test: none,
            filter: String::new(),
            split: String::new(),
        };
        let (config, device) = (EaseConfig { l2: 0.5 }, Device::flex());
        let ease = config.solve(&dataset, &device).unwrap();
        let b = ease.items(&ItemId::list(1..=5)).transpose();
        let histories: Vec<History<'_>> = rows.iter().map(|items| History { user: UserId(0), items }).collect();
        let x = ease.users(&histories);
        let gram = x.clone().transpose().matmul(x);
        let flat = gram.clone().matmul(b.clone()) - gram + b.clone() * config.l2;
        let off = |t: Tensor<2>| -> f32 {
            let diagonal = t.clone() * Tensor::eye(5, &device);
            (t - diagonal).abs().max().into_scalar()
        };
        assert!(off(flat.clone()) < 1e-5, "{flat}");
        // The scores of a history are the sum of the rows of its items.
        let rows = ease.score_rows().unwrap();
        assert_eq!(rows.dims(), [6, 6]);
        let sum = rows.select(0, ra_core::indices([1, 2, 3], &device)).sum_dim(0);
        let direct = ra_core::scores(&ease, &histories[..1], &ease.items(&ItemId::list(0..=5)));
        let apart: f32 = (sum - direct).abs().max().into_scalar();
        assert!(apart < 1e-6, "{apart}");
        let diagonal: f32 = (b.clone() * Tensor::eye(5, &device)).abs().max().into_scalar();
        assert!(diagonal == 0.0 && off(b.clone()) > 0.1, "{b}");
    }
}
