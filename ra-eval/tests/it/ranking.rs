use crate::random::dataset;
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{Dataset, History, IdTable, ItemId, NoProgress, Recommender, Sequences, SplitMix, UserId};
use ra_eval::{
    Candidates, EvalConfig, Evaluation, HeldOut, Metric, Part, Repeats, Seen, Ties, evaluate, evaluate_items,
    evaluate_vectors, item_vectors,
};

fn vectors(rows: usize, dim: usize, seed: u64) -> Tensor<2> {
    let mut random = SplitMix::new(seed);
    let values: Vec<f32> = (0..rows * dim).map(|_| random.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, [rows, dim]), &Device::flex())
}

fn model(users: usize, items: usize, dim: usize) -> IdTable {
    IdTable::new(vectors(users, dim, 1), vectors(items + 1, dim, 2))
}

fn constant(users: usize, items: usize, value: f32) -> IdTable {
    let device = Device::flex();
    IdTable::new(Tensor::full([users, 2], value, &device), Tensor::ones([items + 1, 2], &device))
}

fn test_part(model: &IdTable, data: &Dataset, config: &EvalConfig) -> Evaluation {
    without_time(evaluate(model, &HeldOut::new(data, Part::Test), config, &NoProgress))
}

fn without_time(mut evaluation: Evaluation) -> Evaluation {
    evaluation.seconds = 0.0;
    evaluation
}

#[test]
fn a_constant_model_gets_nothing() {
    let data = dataset(50, 200, 3);
    let model = constant(50, 200, 1.0);
    let got = test_part(&model, &data, &EvalConfig { ks: vec![10], ..EvalConfig::default() });
    assert_eq!((got.metrics[&Metric::Hr(10)], got.tied_share, got.tie_width, got.not_finite), (0.0, 1.0, 1.0, 0));
    let flattered = EvalConfig { ties: Ties::Optimistic, ks: vec![10], ..EvalConfig::default() };
    assert_eq!(test_part(&model, &data, &flattered).metrics[&Metric::Hr(10)], 1.0);
}

#[test]
fn a_target_in_the_history_is_never_removed() {
    let mut data = dataset(3, 20, 4);
    data.train = Sequences::from_numbers([[5, 6], [7, 8], [9, 10]]);
    data.valid = Sequences::from_numbers([[5], [8], [11]]);
    data.test = Sequences::from_numbers([[6], [7], [11]]);
    let scores = |user, item: u32| f32::from(data.train.row(UserId(user)).contains(&ItemId(item)) || item == 11);
    let items: Vec<f32> = (0..=20).flat_map(|i| (0..3).map(move |u| (u, i))).map(|(u, i)| scores(u, i)).collect();
    let model = IdTable::new(
        Tensor::eye(3, &Device::flex()),
        Tensor::from_data(TensorData::new(items, [21, 3]), &Device::flex()),
    );
    // Item 11, the target of user 2, is the only other candidate of users 0 and 1.
    for (part, ranks) in [(Part::Test, [0.5, 0.5, 1.0]), (Part::Valid, [0.5, 0.5, 1.0])] {
        let config = EvalConfig { ks: vec![10], ..EvalConfig::default() };
        assert_eq!(
            evaluate(&model, &HeldOut::new(&data, part), &config, &NoProgress).per_user[&Metric::Mrr(10)],
            ranks,
            "{part:?}"
        );
        let kept = EvalConfig { seen: Seen::Kept, ..config };
        assert_eq!(
            evaluate(&model, &HeldOut::new(&data, part), &kept, &NoProgress).per_user[&Metric::Mrr(10)],
            [1.0 / 3.0; 3]
        );
    }
}

#[test]
fn memory_and_threads_change_no_bit() {
    for (users, items, dim) in [(531, 3001, 64), (300, 20011, 32), (70, 1500, 384)] {
        let data = dataset(users, items, 7);
        let model = model(users, items, dim);
        let with = |block_mib| EvalConfig { block_mib, keep_top: 20, ..EvalConfig::default() };
        let want = test_part(&model, &data, &with(64));
        assert!(want.metrics[&Metric::Hr(100)] > 0.0 && want.top.len() == want.users.len());
        for block_mib in [0, 1, 3, 1000] {
            assert_eq!(test_part(&model, &data, &with(block_mib)), want, "{items} items, {block_mib} MiB");
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| test_part(&model, &data, &with(1))), want, "{items} items, {threads} threads");
        }
    }
}

#[test]
fn some_users_are_part_of_all() {
    let data = dataset(600, 400, 9);
    let model = model(600, 400, 16);
    let config = EvalConfig::default();
    let all = test_part(&model, &data, &config);
    let some: Vec<UserId> = all.users.iter().copied().filter(|user| user.0 % 3 == 0).collect();
    let asked = HeldOut::new(&data, Part::Test).of_users(&some);
    let got = evaluate_items(&model, &item_vectors(&model, 400), &asked, &config, &NoProgress);
    assert_eq!(got.users, some);
    for (user, value) in got.users.iter().zip(&got.per_user[&Metric::Ndcg(100)]) {
        let place = all.users.binary_search(user).unwrap();
        assert_eq!(*value, all.per_user[&Metric::Ndcg(100)][place]);
    }
    let sample = test_part(&model, &data, &EvalConfig { users: 50, ..config });
    assert_eq!((sample.users.len(), sample.per_user[&Metric::Hr(10)].len()), (50, 50));
}

#[test]
fn a_model_of_nan_is_reported_and_gets_nothing() {
    let data = dataset(30, 90, 11);
    let got = test_part(&constant(30, 90, f32::NAN), &data, &EvalConfig { ks: vec![5], ..EvalConfig::default() });
    assert_eq!((got.metrics[&Metric::Hr(5)], got.tied_share), (0.0, 1.0));
    assert!(got.not_finite > 0 && got.metrics.values().all(|v| v.is_finite()));
}

#[test]
fn nobody_held_out_is_no_panic() {
    let mut data = dataset(4, 9, 12);
    data.test = Sequences::from_numbers(vec![Vec::<u32>::new(); 4]);
    let got = test_part(&constant(4, 9, 1.0), &data, &EvalConfig::default());
    assert!(got.users.is_empty() && got.metrics[&Metric::Hr(10)] == 0.0);
}

/// Two vectors per user, and additions to the scores of a few items.
#[derive(Debug)]
struct Two {
    table: IdTable,
    more: bool,
}

impl Recommender for Two {
    fn dim(&self) -> usize {
        self.table.dim()
    }
    fn interests(&self) -> usize {
        2
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let users = histories.iter().flat_map(|history| [2 * history.user.0, 2 * history.user.0 + 1]);
        self.table.users(&users.map(|user| History { user: UserId(user), items: &[] }).collect::<Vec<_>>())
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        self.table.items(items)
    }
    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        // Now and then these include a target of the test part; one item occurs twice.
        let items = [history.user.0 % 300 + 1, 7, 299, 7].map(ItemId);
        if self.more { items.into_iter().map(|item| (item, 3.5)).collect() } else { Vec::new() }
    }
}

#[test]
fn of_several_vectors_the_best_counts_and_additions_are_added() {
    let (users, items, dim) = (120, 300, 16);
    let data = dataset(users, items, 21);
    for more in [false, true] {
        let model = Two { table: model(2 * users, items, dim), more };
        let config = EvalConfig { keep_top: 300, seen: Seen::Kept, ..EvalConfig::default() };
        let got = evaluate(&model, &HeldOut::new(&data, Part::Test), &config, &NoProgress);
        let vectors: Vec<f32> = model.items(&data.catalog.all().collect::<Vec<_>>()).into_data().iter().collect();
        for (place, &user) in got.users.iter().enumerate() {
            let history = History { user, items: &[] };
            let own: Vec<f32> = model.users(&[history]).into_data().iter().collect();
            let dot = |interest: &[f32], item: &[f32]| interest.iter().zip(item).map(|(a, b)| a * b).sum::<f32>();
            let mut scores: Vec<f32> = vectors
                .chunks(dim)
                .map(|item| own.chunks(dim).map(|interest| dot(interest, item)).fold(f32::MIN, f32::max))
                .collect();
            model.additions(&history).into_iter().for_each(|(item, more)| scores[item.index() - 1] += more);
            // The products are summed in another order here, so only neighbours may change places.
            let list: Vec<f32> = got.top[place].iter().map(|&item| scores[item.index() - 1]).collect();
            assert!(list.len() == items && list.is_sorted_by(|a, b| *a >= b - 1e-4), "user {user}");
            for &(item, rank) in &got.ranks[place] {
                let by_list = got.top[place].iter().position(|&other| other == item).unwrap() + 1;
                assert!((rank - by_list as f64).abs() <= 1.0, "user {user}, item {item}: {rank} and {by_list}");
            }
        }
    }
}

#[test]
fn however_many_additions_fit_into_memory_the_ranking_is_the_same() {
    let (users, items) = (120, 300);
    let data = dataset(users, items, 21);
    let model = Two { table: model(2 * users, items, 16), more: true };
    let ranked = |block_mib| {
        let config = EvalConfig { keep_top: 20, block_mib, ..EvalConfig::default() };
        evaluate(&model, &HeldOut::new(&data, Part::Test), &config, &NoProgress)
    };
    let (one_user_at_a_time, all) = (ranked(0), ranked(64));
    assert_eq!(ranked(usize::MAX).top, all.top, "no bound is no error");
    assert_eq!((&one_user_at_a_time.top, &one_user_at_a_time.ranks), (&all.top, &all.ranks));
    assert_eq!(one_user_at_a_time.metrics, all.metrics);
}

#[test]
fn a_few_sampled_candidates_inflate_and_are_always_the_same() {
    let data = dataset(400, 900, 31);
    let model = model(400, 900, 16);
    let with = |candidates| EvalConfig { candidates, ks: vec![10], keep_top: 200, ..EvalConfig::default() };
    let all = test_part(&model, &data, &with(Candidates::All));
    for sampled in [Candidates::Uniform(100), Candidates::Popular(100)] {
        let got = test_part(&model, &data, &with(sampled));
        assert!(got.metrics[&Metric::Hr(10)] > 4.0 * all.metrics[&Metric::Hr(10)], "{sampled:?} {:?}", got.metrics);
        assert_eq!(got, test_part(&model, &data, &with(sampled)));
        for (place, &user) in got.users.iter().enumerate() {
            let targets = data.test.row(user);
            let history = Part::Test.history(&data, user);
            let drawn: Vec<&ItemId> = got.top[place].iter().filter(|item| !targets.contains(item)).collect();
            assert_eq!(drawn.len(), 100, "user {user}");
            assert!(drawn.iter().all(|item| !history.contains(item)), "user {user}");
        }
    }
    assert_eq!(test_part(&model, &data, &with(Candidates::Uniform(2000))).top[0].len(), 200);
    let names = [Candidates::All, Candidates::Uniform(100)].map(|c| with(c).protocol(&data).fingerprint);
    assert_ne!(names[0], names[1]);
}

#[test]
fn repeated_targets_can_be_left_out() {
    let mut data = dataset(4, 20, 41);
    data.train = Sequences::from_numbers([[5, 6], [7, 8], [9, 10], [1, 2]]);
    data.valid = Sequences::from_numbers([[3], [3], [3], [3]]);
    data.test = Sequences::from_numbers([vec![5], vec![4], vec![4, 10], vec![3]]);
    let model = model(4, 20, 8);
    let kept = test_part(&model, &data, &EvalConfig::default());
    let skipped = EvalConfig { repeats: Repeats::Skipped, ..EvalConfig::default() };
    let got = test_part(&model, &data, &skipped);
    assert_eq!((kept.users.len(), got.users), (4, vec![UserId(1), UserId(2)]));
    assert!(got.ranks.iter().all(|ranks| ranks.len() == 1 && ranks[0].0 == ItemId(4)));
    assert_ne!(skipped.protocol(&data).fingerprint, EvalConfig::default().protocol(&data).fingerprint);
}

#[test]
fn every_promised_metric_is_there() {
    let data = dataset(50, 200, 3);
    let got = test_part(&model(50, 200, 8), &data, &EvalConfig { ks: vec![5], ..EvalConfig::default() });
    let names =
        ["hr", "recall", "ndcg", "mrr", "map", "map_min", "precision", "coverage", "gini", "novelty", "entropy"];
    for name in names.into_iter().chain(["popularity", "ils"]) {
        assert!(got.metrics.contains_key(&format!("{name}@5").parse().unwrap()), "{name}: {:?}", got.metrics);
    }
    // Every title is "Item <b>N</b>": two of three words are shared.
    assert!((got.metrics[&Metric::Ils(5)] - 2.0 / 3.0).abs() < 1e-9, "{}", got.metrics[&Metric::Ils(5)]);
}

#[test]
fn matrices_are_ranked_as_a_recommender_of_the_same_vectors() {
    let (users, items, dim) = (300, 2500, 24);
    let data = dataset(users, items, 51);
    // Small whole numbers: products are exact in any order, and many tie.
    let mut random = SplitMix::new(52);
    let mut table = |rows: usize| -> Vec<f32> { (0..rows * dim).map(|_| random.below(5) as f32 - 2.0).collect() };
    let (user_vectors, item_vectors) = (table(users), table(items));
    let tensor = |values: Vec<f32>| {
        let rows = values.len() / dim;
        Tensor::<2>::from_data(TensorData::new(values, [rows, dim]), &Device::flex())
    };
    let padded = [vec![0.0; dim], item_vectors.clone()].concat();
    let model = IdTable::new(tensor(user_vectors.clone()), tensor(padded));
    for part in [Part::Valid, Part::Test] {
        let held_out = HeldOut::new(&data, part);
        for (ties, seen, candidates) in [
            (Ties::Pessimistic, Seen::Removed, Candidates::All),
            (Ties::Expected, Seen::Kept, Candidates::Uniform(100)),
            (Ties::ById, Seen::Removed, Candidates::Popular(50)),
        ] {
            let config = EvalConfig { ties, seen, candidates, keep_top: 20, block_mib: 1, ..EvalConfig::default() };
            let want = without_time(evaluate(&model, &held_out, &config, &NoProgress));
            let got = without_time(evaluate_vectors(&user_vectors, &item_vectors, &held_out, &config).unwrap());
            assert_eq!(got, want, "{part:?} {ties:?}");
        }
    }
}
