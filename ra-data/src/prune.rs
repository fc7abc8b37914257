//! Choosing samples by what a trained ID method says of them.
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::{Dataset, History, Recommender, Sample, SplitMix, scores};

/// Items of a history that a sample stands for, beside its target.
const LATEST: usize = 5;

/// Users scored at once.
const BLOCK: usize = 256;

/// Samples that cover the catalogue: each step takes the one of a few random samples that brings the items nearest to
/// something chosen (facility location by stochastic greedy, Mirzasoleiman et al., AAAI 2015; a tenth of the optimum is
/// risked for a cost that does not depend on the budget). A sample is where its target and its latest items are among the
/// items' vectors, by cosine.
pub(crate) fn coverage(
    dataset: &Dataset,
    all: &[Sample],
    trained: &dyn Recommender,
    budget: usize,
    seed: u64,
) -> Vec<Sample> {
    let items: Vec<u32> = dataset.catalog.all().collect();
    let table = unit(trained.items(&items));
    let device = table.device();
    let place = |sample: &Sample| {
        let (history, target) = dataset.sample(*sample, LATEST);
        let share = 1.0 / history.len() as f32;
        let weights = history.iter().map(|&item| (item, share)).chain([(target, 1.0)]);
        let (items, weights): (Vec<i32>, Vec<f32>) = weights.map(|(item, weight)| (item as i32 - 1, weight)).unzip();
        let n = items.len();
        let rows = table.clone().select(0, indices(items, &device));
        (rows * Tensor::from_data(TensorData::new(weights, [n, 1]), &device)).sum_dim(0)
    };
    let near = |samples: &[usize]| {
        let places = unit(Tensor::cat(samples.iter().map(|&s| place(&all[s])).collect(), 0));
        places.matmul(table.clone().transpose()).clamp_min(0.0) // [samples, items]
    };
    let mut random = SplitMix::new(seed);
    let mut left: Vec<usize> = (0..all.len()).collect();
    let mut covered = Tensor::<2>::zeros([1, items.len()], &device);
    let draws = (all.len() as f64 / budget.max(1) as f64 * 10f64.ln()).ceil() as usize;
    let mut chosen = Vec::with_capacity(budget);
    while chosen.len() < budget && !left.is_empty() {
        // The drawn ones stand at the end.
        let drawn = draws.clamp(1, left.len());
        for place in (left.len() - drawn..left.len()).rev() {
            left.swap(place, random.below(place + 1));
        }
        let from = left.len() - drawn;
        let near = near(&left[from..]);
        let gains: Vec<f32> =
            (near.clone() - covered.clone()).clamp_min(0.0).sum_dim(1).into_data().iter::<f32>().collect();
        let best = (0..drawn).max_by(|&a, &b| gains[a].total_cmp(&gains[b]).then(left[from + b].cmp(&left[from + a])));
        let Some(best) = best else { break };
        covered = covered.max_pair(near.slice([best..best + 1]));
        chosen.push(all[left.swap_remove(from + best)]);
    }
    chosen
}

/// The samples with the largest loss of the ID method, softmax over the catalogue, but for the worst tenth of all as far as
/// the budget lets them go.
pub(crate) fn hard(
    dataset: &Dataset,
    all: &[Sample],
    trained: &dyn Recommender,
    max_history: usize,
    budget: usize,
) -> Vec<Sample> {
    let items: Vec<u32> = (0..=dataset.catalog.len() as u32).collect();
    let table = trained.items(&items);
    let losses = all.chunks(BLOCK).flat_map(|block| {
        let (histories, targets): (Vec<History<'_>>, Vec<i32>) = block
            .iter()
            .map(|&sample| {
                let (items, target) = dataset.sample(sample, max_history);
                (History { user: sample.user, items }, target as i32 - 1)
            })
            .unzip();
        // The first column is padding.
        let scores = scores(trained, &histories, &table).slice_dim(1, 1..items.len());
        let own = indices(targets, &scores.device()).reshape([block.len(), 1]);
        log_softmax(scores, 1).gather(1, own).neg().into_data().iter::<f32>().collect::<Vec<_>>()
    });
    let losses: Vec<f32> = losses.collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]).then(a.cmp(&b)));
    let noise = (all.len() / 10).min(all.len() - budget);
    order[noise..noise + budget].iter().map(|&index| all[index]).collect()
}

fn unit(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    x / norm
}

fn indices(rows: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let n = rows.len();
    Tensor::from_data(TensorData::new(rows, [n]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Catalog, IdTable, Sequences, forward_recommender};

    /// Items alike but for the one that follows the last in a ring of four.
    #[derive(Debug)]
    struct Chain(IdTable);

    impl Recommender for Chain {
        forward_recommender!(self => self.0; dim, interests, users, items);
        fn additions(&self, history: &History<'_>) -> Vec<(u32, f32)> {
            history.items.last().map(|last| (last % 4 + 1, 9.0)).into_iter().collect()
        }
    }

    #[test]
    fn what_a_method_adds_beyond_its_vectors_decides_what_is_hard_for_it() {
        // One user goes round the ring, the other back.
        let none = || Sequences::from_rows(vec![Vec::<u32>::new(); 2]);
        let data = Dataset {
            name: "ring".into(),
            users: vec!["on".into(), "back".into()],
            catalog: Catalog::new((0..4).map(|i| i.to_string()).collect(), vec![String::new(); 4]),
            train: Sequences::from_rows([[1, 2, 3, 4], [4, 3, 2, 1]]),
            valid: none(),
            test: none(),
            filter: String::new(),
            split: String::new(),
        };
        let ones = |rows| Tensor::ones([rows, 1], &Device::flex());
        let found = hard(&data, &data.samples(), &Chain(IdTable::new(ones(2), ones(5))), 9, 3);
        assert!(found.iter().all(|sample| sample.user == 1), "{found:?}");
    }
}
