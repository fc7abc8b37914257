use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{Catalog, Dataset, IdTable, Sequences, Silent, SplitMix};
use ra_eval::{EvalConfig, Evaluation, Part, Seen, Ties, evaluate, evaluate_items, item_vectors};

pub(crate) fn dataset(users: usize, items: usize, seed: u64) -> Dataset {
    let mut random = SplitMix::new(seed);
    let mut rows = |least: usize, most: usize| -> Sequences {
        Sequences::from_rows((0..users).map(|_| {
            let n = least + random.below(most + 1 - least);
            (0..n).map(|_| 1 + random.below(items) as u32).collect::<Vec<_>>()
        }))
    };
    Dataset {
        name: "random".into(),
        users: (0..users).map(|u| format!("user {u}")).collect(),
        catalog: Catalog::new(
            (0..items).map(|i| format!("i{i}")).collect(),
            (0..items).map(|i| format!("Item <b>{i}</b>")).collect(),
        ),
        train: rows(1, 30),
        valid: rows(0, 1),
        test: rows(0, 4),
        filter: "none".into(),
        split: "leave_one_out".into(),
    }
}

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
    Evaluation { seconds: 0.0, ..evaluate(model, data, Part::Test, config, None, &Silent) }
}

#[test]
fn a_constant_model_gets_nothing() {
    let data = dataset(50, 200, 3);
    let model = constant(50, 200, 1.0);
    let got = test_part(&model, &data, &EvalConfig { ks: vec![10], ..EvalConfig::default() });
    assert_eq!((got.metrics["hr@10"], got.tied_share, got.not_finite), (0.0, 1.0, 0));
    let flattered = EvalConfig { ties: Ties::Optimistic, ks: vec![10], ..EvalConfig::default() };
    assert_eq!(test_part(&model, &data, &flattered).metrics["hr@10"], 1.0);
}

#[test]
fn a_target_in_the_history_is_never_removed() {
    let mut data = dataset(3, 20, 4);
    data.train = Sequences::from_rows([[5, 6], [7, 8], [9, 10]]);
    data.valid = Sequences::from_rows([[5], [8], [11]]);
    data.test = Sequences::from_rows([[6], [7], [11]]);
    let scores = |user: usize, item: u32| f32::from(data.train.row(user).contains(&item) || item == 11);
    let items: Vec<f32> = (0..=20).flat_map(|i| (0..3).map(move |u| (u, i))).map(|(u, i)| scores(u, i)).collect();
    let model = IdTable::new(
        Tensor::eye(3, &Device::flex()),
        Tensor::from_data(TensorData::new(items, [21, 3]), &Device::flex()),
    );
    // Only item 11 stands beside the target of users 0 and 1; it is the target of user 2.
    for (part, ranks) in [(Part::Test, [0.5, 0.5, 1.0]), (Part::Valid, [0.5, 0.5, 1.0])] {
        let config = EvalConfig { ks: vec![10], ..EvalConfig::default() };
        assert_eq!(evaluate(&model, &data, part, &config, None, &Silent).per_user["mrr@10"], ranks, "{part:?}");
        let kept = EvalConfig { seen: Seen::Kept, ..config };
        assert_eq!(evaluate(&model, &data, part, &kept, None, &Silent).per_user["mrr@10"], [1.0 / 3.0; 3]);
    }
}

#[test]
fn memory_and_threads_change_no_bit() {
    for (users, items, dim) in [(531, 3001, 64), (300, 20011, 32), (70, 1500, 384)] {
        let data = dataset(users, items, 7);
        let model = model(users, items, dim);
        let with = |block_mib| EvalConfig { block_mib, keep_top: 20, ..EvalConfig::default() };
        let want = test_part(&model, &data, &with(64));
        assert!(want.metrics["hr@100"] > 0.0 && want.top.len() == want.users.len());
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
    let some: Vec<u32> = all.users.iter().copied().filter(|user| user % 3 == 0).collect();
    let got = evaluate_items(&model, &item_vectors(&model, 400), &data, Part::Test, &config, Some(&some), &Silent);
    assert_eq!(got.users, some);
    for (user, value) in got.users.iter().zip(&got.per_user["ndcg@100"]) {
        let place = all.users.binary_search(user).unwrap();
        assert_eq!(*value, all.per_user["ndcg@100"][place]);
    }
    let sample = test_part(&model, &data, &EvalConfig { users: 50, ..config });
    assert_eq!((sample.users.len(), sample.per_user["hr@10"].len()), (50, 50));
}

#[test]
fn a_model_of_nan_is_reported_and_gets_nothing() {
    let data = dataset(30, 90, 11);
    let got = test_part(&constant(30, 90, f32::NAN), &data, &EvalConfig { ks: vec![5], ..EvalConfig::default() });
    assert_eq!((got.metrics["hr@5"], got.tied_share), (0.0, 1.0));
    assert!(got.not_finite > 0 && got.metrics.values().all(|v| v.is_finite()));
}

#[test]
fn nobody_held_out_is_no_panic() {
    let mut data = dataset(4, 9, 12);
    data.test = Sequences::from_rows(vec![Vec::<u32>::new(); 4]);
    let got = test_part(&constant(4, 9, 1.0), &data, &EvalConfig::default());
    assert!(got.users.is_empty() && got.metrics["hr@10"] == 0.0);
}
