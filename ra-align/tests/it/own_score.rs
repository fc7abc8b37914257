//! The ID method's own score is the same number wherever it is read: the best over its interests, plus its additions.
use crate::{dataset, device, empty, histories, items, text};
use burn::tensor::Tensor;
use ra_align::{
    AlignConfig, AlignTrain, ColdItemBoost, CrossFitIds, IdNormalizer, IdSource, Job, PerturbedIds, RaRec,
    TextForColdItems, Towers, encode_users, with_id_score,
};
use ra_core::testkit::contract::check_recommender;
use ra_core::{Dataset, History, IdTable, ItemId, NoProgress, Recommender, Sequences, UserId, normal, rng, scores};
use std::cell::Cell;

/// A Markov chain on a ring: all items have the same vector, and the one that follows the last item scores `step` more.
#[derive(Debug)]
struct Chain {
    vectors: IdTable,
    step: f32,
}

impl Chain {
    fn new(step: f32) -> Self {
        let ones = |rows| Tensor::ones([rows, 1], &device());
        Self { vectors: IdTable::new(ones(12), ones(13)), step }
    }
}

impl Recommender for Chain {
    ra_core::forward_recommender!(self => self.vectors; dim, interests, users, items);
    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        history.items.last().map(|last| (ItemId(last.0 % 12 + 1), self.step)).into_iter().collect()
    }
}

/// Two interests per user, as random as the items.
#[derive(Debug)]
struct Two(IdTable);

impl Two {
    fn new() -> Self {
        let table = |rows, label| normal([rows, 5], 1.0, &mut rng(4, label, 0), &device()).val();
        // Far from the centre, so that leaving out the mean would change which interest is the best.
        Self(IdTable::new(table(24, "users"), table(13, "items") + 2.0))
    }
}

impl Recommender for Two {
    ra_core::forward_recommender!(self => self.0; dim, items, additions);
    fn interests(&self) -> usize {
        2
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let own = histories.iter().flat_map(|h| [2 * h.user.0, 2 * h.user.0 + 1].map(empty));
        self.0.users(&own.collect::<Vec<_>>())
    }
}

/// Returns the scores of all items for a history, starting with padding.
fn all_scores(model: &dyn Recommender, history: &History<'_>) -> Vec<f32> {
    let all: Vec<ItemId> = (0..13).map(ItemId).collect();
    scores(model, &[*history], &model.items(&all)).into_data().iter().collect()
}

#[test]
fn additions_reach_through_every_wrapper() {
    let (data, chain) = (dataset(), Chain::new(3.0));
    let history = History { user: UserId(2), items: &items([5, 6, 7]) };
    let added = |model: &dyn Recommender| model.additions(&history);
    assert_eq!(added(&Box::new(&chain as &dyn Recommender)), [(ItemId(8), 3.0)]);
    assert_eq!(added(&TextForColdItems::new(&chain, &data)), [(ItemId(8), 3.0)]);
    assert_eq!(added(&PerturbedIds::new(&chain, IdSource::Original, &data, 1)), [(ItemId(8), 3.0)]);
    assert!(added(&PerturbedIds::new(&chain, IdSource::Zero, &data, 1)).is_empty());
    // Another item follows the history of another user.
    let permuted = PerturbedIds::new(&chain, IdSource::Permuted, &data, 1);
    let followers = ItemId::all(12).map(|last| permuted.additions(&History { user: UserId(2), items: &[last] }));
    let mut followers: Vec<(ItemId, f32)> = followers.flatten().collect();
    assert_ne!(followers, (1..13).map(|last| (ItemId(last % 12 + 1), 3.0)).collect::<Vec<_>>());
    followers.sort_by_key(|x| x.0);
    assert_eq!(followers, ItemId::all(12).map(|item| (item, 3.0)).collect::<Vec<_>>(), "each item follows one");
    let cold = Dataset { train: Sequences::from_numbers([[1, 2, 3]; 12]), ..dataset() };
    let metric: &dyn Fn(&dyn Recommender) -> f64 = &|model| f64::from(added(model)[0].1);
    assert_eq!(added(&ColdItemBoost::fit(&chain, &cold, Some(metric)).unwrap()), [(ItemId(8), 3.0)]);
}

#[test]
fn a_training_user_is_scored_by_the_model_that_never_saw_them() {
    let (whole, first, second) = (Chain::new(3.0), Chain::new(1.0), Chain::new(2.0));
    let all: Vec<ItemId> = ItemId::all(12).collect();
    let crossed = CrossFitIds::new(&whole, vec![&first, &second], &all);
    let mut seen = [0; 4];
    let after = |user| History { user, items: &[ItemId(4)] };
    UserId::all(12).for_each(|user| seen[crossed.additions(&after(user))[0].1 as usize] += 1);
    assert!(seen[1] > 2 && seen[2] > 2 && seen[1] + seen[2] == 12, "{seen:?}");
    let alone = CrossFitIds::new(&whole, Vec::new(), &all);
    assert_eq!(alone.additions(&after(UserId(0))), [(ItemId(5), 3.0)]);
}

#[test]
fn a_method_that_is_more_than_its_vectors_is_refused_before_anything_is_read() {
    let (data, align) = (dataset(), AlignConfig::default());
    let (chain, samples, text) = (Chain::new(3.0), data.samples(), text(&align, 2, &device()));
    let train = AlignTrain { steps: 1, batch: 4, ..AlignTrain::default() };
    let told = ra_align::fit(Job::new(&chain, &text, &data, &samples, &align, &train), None, &NoProgress).unwrap_err();
    let told = told.to_string();
    assert!(told.contains("product of its vectors") && told.contains("sasrec") && !told.contains('\n'), "{told}");
    assert!(text.cache().is_empty());
}

/// Adds the own score of `ids` to untrained towers, with the third of the weights that are tried. Returns what this
/// adds to each item's score, and the method's own score of each item.
fn added_by(ids: &impl Recommender, history: &History<'_>) -> (Vec<f32>, Vec<f32>) {
    let (data, align, device) = (dataset(), AlignConfig::default(), device());
    let text = text(&align, 2, &device);
    let all: Vec<ItemId> = data.catalog.all().collect();
    let vectors = encode_users(ids, &histories(&data));
    let normalizer = IdNormalizer::measure(vectors, Tensor::cat(vec![ids.items(&all), ids.items(&all[..1]) * 2.0], 0));
    let model = || {
        let towers = Towers::init(&align, ids.dim(), text.lm(), 1, &device);
        RaRec::new(ids, normalizer.clone(), text.clone(), towers)
    };
    let tried = Cell::new(0);
    let likes_the_third = |_: &dyn Recommender| {
        tried.set(tried.get() + 1);
        if tried.get() == 3 { 1.0 } else { 0.0 }
    };
    let with = with_id_score(model(), Some(&likes_the_third)).unwrap();
    check_recommender(&with, &histories(&data)[..3], &items([1, 2, 12]));
    let (with, without) = (all_scores(&with, history), all_scores(&model(), history));
    (with.iter().zip(&without).skip(1).map(|(a, b)| a - b).collect(), all_scores(ids, history)[1..].to_vec())
}

#[test]
fn of_several_interests_the_best_one_counts_beside_the_towers_as_it_does_alone() {
    for user in UserId::all(4) {
        let (added, own) = added_by(&Two::new(), &History { user, items: &items([1, 2]) });
        let factor = added[0] / own[0];
        for (added, own) in added.iter().zip(&own) {
            assert!((added - factor * own).abs() < 1e-4, "{added} is not {factor} of {own}");
        }
    }
}

#[test]
fn what_a_method_adds_beyond_its_vectors_counts_beside_the_towers_too() {
    let (added, own) = added_by(&Chain::new(3.0), &History { user: UserId(0), items: &items([1, 2]) });
    assert_eq!(own.iter().filter(|score| **score == 4.0).count(), 1, "{own:?}");
    let factor = added[0] / own[0];
    assert!(factor > 0.0);
    for (added, own) in added.iter().zip(&own) {
        assert!((added - factor * own).abs() < 1e-4, "{added} is not {factor} of {own}");
    }
}
