//! Selection of training samples by a trained ID method, for an alignment that learns from fewer of them.
use crate::method::l2_normalize;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use ra_core::{Dataset, History, ItemId, Recommender, Sample, SplitMix, host_numbers, indices, scores};

/// The number of history items that represent a sample, besides its target.
const LATEST: usize = 5;

/// The number of users scored at once.
const BLOCK: usize = 256;

/// Selects `budget` of `samples`, or all if there are fewer, that cover the catalogue.
///
/// Each step takes, out of a few random samples, the one that brings the items nearest to something selected (facility
/// location by stochastic greedy, Mirzasoleiman et al., AAAI 2015; it risks a tenth of the optimum for a cost that does
/// not depend on the budget). The place of a sample is that of its target and its latest items among the items'
/// vectors, by cosine.
pub fn coverage(
    dataset: &Dataset,
    samples: &[Sample],
    trained: &dyn Recommender,
    budget: usize,
    seed: u64,
) -> Vec<Sample> {
    let items: Vec<ItemId> = dataset.catalog.all().collect();
    let table = l2_normalize(trained.items(&items));
    let device = table.device();
    let place = |sample: &Sample| {
        let (history, target) = dataset.sample(*sample, LATEST);
        let share = 1.0 / history.len() as f32;
        let weights = history.iter().map(|&item| (item, share)).chain([(target, 1.0)]);
        let (items, weights): (Vec<usize>, Vec<f32>) = weights.map(|(item, weight)| (item.index() - 1, weight)).unzip();
        let n = items.len();
        let rows = table.clone().select(0, indices(items, &device));
        (rows * Tensor::from_data(TensorData::new(weights, [n, 1]), &device)).sum_dim(0)
    };
    let near = |drawn: &[usize]| {
        let places = l2_normalize(Tensor::cat(drawn.iter().map(|&s| place(&samples[s])).collect(), 0));
        places.matmul(table.clone().transpose()).clamp_min(0.0) // [samples, items]
    };
    let mut random = SplitMix::new(seed);
    let mut left: Vec<usize> = (0..samples.len()).collect();
    let mut covered = Tensor::<2>::zeros([1, items.len()], &device);
    let draws = (samples.len() as f64 / budget.max(1) as f64 * 10f64.ln()).ceil() as usize;
    let mut chosen = Vec::with_capacity(budget.min(samples.len()));
    while chosen.len() < budget && !left.is_empty() {
        // The drawn samples are at the end.
        let drawn = draws.clamp(1, left.len());
        for place in (left.len() - drawn..left.len()).rev() {
            left.swap(place, random.below(place + 1));
        }
        let from = left.len() - drawn;
        let near = near(&left[from..]);
        let gains = host_numbers((near.clone() - covered.clone()).clamp_min(0.0).sum_dim(1));
        let best = (0..drawn).max_by(|&a, &b| gains[a].total_cmp(&gains[b]).then(left[from + b].cmp(&left[from + a])));
        let Some(best) = best else { break };
        covered = covered.max_pair(near.slice([best..best + 1]));
        chosen.push(samples[left.swap_remove(from + best)]);
    }
    chosen
}

/// Selects `budget` of `samples`, or all if there are fewer: those with the largest loss of the ID method, a softmax
/// over the catalogue, without the worst tenth of all as far as the budget allows. Histories hold up to `max_history`
/// items.
pub fn highest_loss(
    dataset: &Dataset,
    samples: &[Sample],
    trained: &dyn Recommender,
    max_history: usize,
    budget: usize,
) -> Vec<Sample> {
    let items: Vec<ItemId> = (0..=dataset.catalog.len() as u32).map(ItemId).collect();
    let table = trained.items(&items);
    let losses = samples.chunks(BLOCK).flat_map(|block| {
        let (histories, targets): (Vec<History<'_>>, Vec<usize>) = block
            .iter()
            .map(|&sample| {
                let (items, target) = dataset.sample(sample, max_history);
                (History { user: sample.user, items }, target.index() - 1)
            })
            .unzip();
        // The first column is padding.
        let scores = scores(trained, &histories, &table).slice_dim(1, 1..items.len());
        let own = indices(targets, &scores.device()).reshape([block.len(), 1]);
        host_numbers(log_softmax(scores, 1).gather(1, own).neg())
    });
    let losses: Vec<f32> = losses.collect();
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]).then(a.cmp(&b)));
    let budget = budget.min(samples.len());
    let noise = (samples.len() / 10).min(samples.len() - budget);
    order[noise..noise + budget].iter().map(|&index| samples[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::{Catalog, Device, IdTable, Sequences, UserId, forward_recommender};

    /// A model whose items are alike, except for the one that follows the last item in a ring of four.
    #[derive(Debug)]
    struct Chain(IdTable);

    impl Recommender for Chain {
        forward_recommender!(self => self.0; dim, interests, users, items);
        fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
            history.items.last().map(|last| (ItemId(last.0 % 4 + 1), 9.0)).into_iter().collect()
        }
    }

    /// A data set with only a training part.
    fn dataset(items: usize, train: Vec<Vec<u32>>) -> Dataset {
        let users = train.len();
        let none = || Sequences::from_numbers(vec![Vec::<u32>::new(); users]);
        Dataset {
            name: "made".into(),
            users: (0..users).map(|user| user.to_string()).collect(),
            catalog: Catalog::new((0..items).map(|i| i.to_string()).collect(), vec![String::new(); items]),
            train: Sequences::from_numbers(train),
            valid: none(),
            test: none(),
            filter: String::new(),
            split: String::new(),
        }
    }

    #[test]
    fn what_a_method_adds_beyond_its_vectors_decides_what_is_hard_for_it() {
        // One user goes around the ring, the other goes backwards.
        let data = dataset(4, vec![vec![1, 2, 3, 4], vec![4, 3, 2, 1]]);
        let ones = |rows| Tensor::ones([rows, 1], &Device::flex());
        let found = highest_loss(&data, &data.samples(), &Chain(IdTable::new(ones(2), ones(5))), 9, 3);
        assert!(found.iter().all(|sample| sample.user == UserId(1)), "{found:?}");
    }

    #[test]
    fn a_trained_method_chooses_what_covers_and_what_is_hard() {
        // Two groups of items; most users stay in the first. Each user has three samples: all but the first of four
        // items.
        let row = |user: u32| (0..4).map(|at| if user < 18 { 0 } else { 4 } + (user + at) % 4 + 1).collect();
        let data = dataset(8, (0..20).map(row).collect());
        let cells = |rows: Vec<[f32; 2]>| {
            let n = rows.len();
            Tensor::<2>::from_data(TensorData::new(rows.concat(), [n, 2]), &Device::flex())
        };
        let items: Vec<[f32; 2]> = (0..9).map(|i| if i < 5 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
        // The method knows the users of the first group and takes the others for users of that group too.
        let method = IdTable::new(cells(vec![[3.0, 0.0]; 20]), cells(items));
        let samples = data.samples();
        let second = |samples: &[Sample]| samples.iter().filter(|s| s.user >= UserId(18)).count();
        let covering = coverage(&data, &samples, &method, 2, 1);
        assert_eq!(second(&covering), 1, "one of each group covers everything: {covering:?}");
        assert_eq!(covering, coverage(&data, &samples, &method, 2, 1));
        assert_eq!(coverage(&data, &samples, &method, 60, 1).len(), 60);
        let hard = |budget| highest_loss(&data, &samples, &method, 50, budget);
        assert_eq!(hard(4).len(), 4);
        assert_eq!(second(&hard(54)), 0, "six of sixty are the worst tenth: all of the second group");
        assert_eq!(
            [hard(99).len(), coverage(&data, &samples, &method, 99, 1).len()],
            [60; 2],
            "all when there are fewer"
        );
    }
}
