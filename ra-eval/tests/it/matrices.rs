//! Rankings without any model.
use crate::random::dataset;
use ra_core::{ItemId, Sequences, SplitMix};
use ra_eval::{
    EvalConfig, Evaluation, HeldOut, Metric, Part, ScoreJudge, Ties, criterion, evaluate_scores, evaluate_vectors,
    slices,
};
use std::collections::BTreeMap;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix::new(seed);
    (0..count).map(|_| random.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0).collect()
}

fn without_time(mut evaluation: Evaluation) -> Evaluation {
    evaluation.seconds = 0.0;
    evaluation
}

#[test]
fn memory_and_threads_change_no_bit_and_scores_say_the_same() {
    let (users, items, dim) = (230, 5003, 40);
    let data = dataset(users, items, 7);
    let held_out = HeldOut::new(&data, Part::Test);
    let (own, all) = (numbers(users * dim, 1), numbers(items * dim, 2));
    let with = |block_mib| EvalConfig { block_mib, keep_top: 20, ..EvalConfig::default() };
    let ranked = |config: &EvalConfig| without_time(evaluate_vectors(&own, &all, &held_out, config).unwrap());
    let want = ranked(&with(64));
    assert!(want.metrics[&Metric::Hr(100)] > 0.0 && want.top.len() == want.users.len());
    assert_eq!(ranked(&with(0)), want);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert_eq!(pool.install(|| ranked(&with(1))), want);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0f32, |sum, (a, b)| a.mul_add(*b, sum));
    let scores: Vec<f32> = own.chunks(dim).flat_map(|a| all.chunks(dim).map(move |b| dot(a, b))).collect();
    assert_eq!(without_time(evaluate_scores(&scores, &held_out, &with(64)).unwrap()), want);
}

#[test]
fn targets_that_tie_and_come_late_are_not_taken_for_hits() {
    let items = 1200;
    let (histories, targets) = ([ItemId::list([1])], [ItemId::list([1100, 1150, 1200])]);
    let held_out = HeldOut::from_lists(items, &histories, &targets).unwrap();
    for ties in [Ties::Pessimistic, Ties::Optimistic, Ties::Expected, Ties::ById] {
        for above in 0..14 {
            let config = EvalConfig { ties, select: [("hr@10".into(), 1.0)].into(), ..EvalConfig::default() };
            let mut scores = vec![0.0; items];
            scores[1..=above].fill(2.0);
            targets[0].iter().for_each(|item| scores[item.index() - 1] = 1.0);
            let whole = evaluate_scores(&scores, &held_out, &config).unwrap();
            let judge = ScoreJudge::new(held_out.clone(), config).unwrap();
            let found = judge.rate(1, |_, columns, to| to.copy_from_slice(&scores[columns]));
            assert_eq!(found, [whole.metrics[&Metric::Hr(10)]], "{ties:?}, {above} items above");
        }
    }
}

#[test]
fn a_judge_of_scores_stops_early_and_says_what_a_whole_evaluation_says() {
    let (users, items) = (120, 1700);
    let data = dataset(users, items, 11);
    let held_out = HeldOut::new(&data, Part::Valid);
    // Some scores tie, some are no numbers, and the targets of every third user are near the top.
    let matrix = |seed: u64| {
        let mut scores: Vec<f32> = numbers(users * items, seed).iter().map(|x| (x * 900.0).round()).collect();
        scores.iter_mut().step_by(977).for_each(|score| *score = f32::NAN);
        for &user in held_out.users().iter().step_by(3) {
            let targets = held_out.targets(user).iter();
            targets.for_each(|item| scores[user.index() * items + item.index() - 1] = 860.0 + seed as f32);
        }
        scores
    };
    let models: Vec<Vec<f32>> = (1..4).map(matrix).collect();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let rows = held_out.users();
    // Many K, so that some targets are just behind the last one.
    let ranks = (40..140).map(|k| BTreeMap::from([("tail:ndcg@10".into(), 0.5), (format!("hr@{k}"), 1.0)]));
    let selects: Vec<_> = ranks.chain([BTreeMap::from([("coverage@10".into(), 1.0)])]).collect();
    for ties in [Ties::Pessimistic, Ties::Optimistic, Ties::Expected, Ties::ById] {
        for select in selects.clone() {
            let config = EvalConfig { ties, select, ..EvalConfig::default() }.choosing();
            let of = |scores: &Vec<f32>| {
                criterion(&config, &held_out, &evaluate_scores(scores, &held_out, &config).unwrap())
            };
            let want: Vec<f64> = models.iter().map(of).collect();
            let judge = ScoreJudge::new(held_out.clone(), config.clone()).unwrap();
            let got = judge.rate(models.len(), |row, columns, to| {
                asked.fetch_add(columns.len(), std::sync::atomic::Ordering::Relaxed);
                let start = rows[row].index() * items;
                for (to, scores) in to.chunks_exact_mut(columns.len()).zip(&models) {
                    to.copy_from_slice(&scores[start + columns.start..start + columns.end]);
                }
            });
            assert_eq!(got, want, "{ties:?} {:?}", config.select);
            assert!(judge.rate(0, |_, _, _| ()).is_empty());
            assert!(want.iter().all(|&value| value > 0.0), "{want:?}");
        }
    }
    let all = 4 * selects.len() * rows.len() * items;
    assert!(asked.into_inner() < all * 8 / 10, "most users' last scores change nothing");
}

#[test]
fn lists_are_as_good_as_a_data_set() {
    let (users, items, dim) = (60, 200, 8);
    let mut data = dataset(users, items, 9);
    data.valid = Sequences::from_numbers(vec![Vec::<u32>::new(); users]);
    let lists = |rows: &Sequences| rows.rows().map(<[ItemId]>::to_vec).collect::<Vec<_>>();
    let (histories, targets) = (lists(&data.train), lists(&data.test));
    let (own, all) = (numbers(users * dim, 1), numbers(items * dim, 2));
    let of_lists = HeldOut::from_lists(items, &histories, &targets).unwrap();
    let of_data = HeldOut::new(&data, Part::Test);
    let config = EvalConfig { ties: Ties::Expected, ks: vec![10], ..EvalConfig::default() };
    let [got, mut want] =
        [&of_lists, &of_data].map(|held_out| without_time(evaluate_vectors(&own, &all, held_out, &config).unwrap()));
    assert!(want.metrics.remove(&Metric::Ils(10)).is_some(), "lists have no titles");
    assert_eq!(got, want);
    assert_eq!(slices(&of_lists, &got, None, &[10], None), slices(&of_data, &want, None, &[10], None));
}

#[test]
fn matrices_that_do_not_fit_are_refused() {
    let (histories, targets) = ([ItemId::list([1]), ItemId::list([2])], [ItemId::list([2]), ItemId::list([1])]);
    let held_out = HeldOut::from_lists(3, &histories, &targets).unwrap();
    let config = EvalConfig::default();
    let fail =
        |users: &[f32], items: &[f32]| evaluate_vectors(users, items, &held_out, &config).unwrap_err().to_string();
    assert_eq!(fail(&[0.0; 4], &[0.0; 7]), "items: 7 numbers do not make 3 rows of equal width");
    assert_eq!(fail(&[0.0; 6], &[0.0; 6]), "users: 6 numbers, but 2 users of width 2 need 4");
    assert!(fail(&[], &[]).starts_with("items: "));
    let scores = evaluate_scores(&[0.0; 5], &held_out, &config).unwrap_err().to_string();
    assert_eq!(scores, "scores: 5 numbers, but 2 users and 3 items need 6");
}
