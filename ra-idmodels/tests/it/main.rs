//! What a user of this crate relies on: golden values, contracts, checkpoints, and that training learns.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
mod damaged;
mod ground;
mod import;
mod outside;
mod sequences;
mod strangers;
mod title_svd;

use burn::tensor::Tensor;
use ra_core::{
    Catalog, Check, Dataset, Device, History, ItemId, OptimConfig, Recommender, Sequences, UserId, host_numbers,
    normal, rng, testkit::contract::check_recommender,
};
use ra_idmodels::{
    AlphaRecConfig, Bert4RecConfig, BsaRecConfig, ComiRecConfig, EaseConfig, Extraction, FeatureMap, Gru4RecConfig,
    HstuConfig, IdConfig, IdMethod, ImportConfig, ItemKnnConfig, Job, LexicalConfig, LightGcnConfig, Loss,
    MarkovConfig, MfConfig, Popularity, SasRecConfig, SasRecVariant, Similarity, TitleEaseConfig, TitlePairsConfig,
    TrainConfig, Trained, UniSRecConfig, golden,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Returns the device of the back end that `RA_REC_BACKEND` names, by default the CPU's.
fn device() -> Device {
    ra_core::testkit::contract::device(std::env::var("RA_REC_BACKEND").ok().as_deref())
}

/// A data set in which item `t + 1` follows item `t`, in a ring.
fn ring(items: u32) -> Dataset {
    let rows = |from: u32, n: u32| (from..from + n).map(|t| t % items + 1).collect::<Vec<u32>>();
    Dataset {
        name: "ring".into(),
        users: (0..24).map(|u| u.to_string()).collect(),
        catalog: Catalog::new((0..items).map(|i| i.to_string()).collect(), vec![String::new(); items as usize]),
        train: Sequences::from_numbers((0..24).map(|u| rows(u, 3 + u % 5))),
        valid: Sequences::from_rows(vec![Vec::new(); 24]),
        test: Sequences::from_rows(vec![Vec::new(); 24]),
        filter: "none".into(),
        split: "none".into(),
    }
}

fn at(lr: f64) -> OptimConfig {
    OptimConfig { lr, ..TrainConfig::default().optim }
}

fn short(epochs: usize) -> TrainConfig {
    TrainConfig { epochs, batch: 12, patience: 0, optim: at(0.01), ..TrainConfig::default() }
}

fn sasrec(variant: SasRecVariant, loss: Loss, negatives: usize) -> IdConfig {
    let base = SasRecConfig { dim: 16, max_length: 6, dropout: 0.1, train: short(200), ..SasRecConfig::default() };
    IdConfig::SasRec(SasRecConfig { variant, loss, negatives, ..base })
}

fn gru4rec(loss: Loss, negatives: usize) -> IdConfig {
    let base =
        Gru4RecConfig { dim: 16, hidden: 24, layers: 2, max_length: 6, dropout: 0.1, ..Gru4RecConfig::default() };
    IdConfig::Gru4Rec(Gru4RecConfig { loss, negatives, train: short(80), ..base })
}

fn bert4rec() -> IdConfig {
    let base = Bert4RecConfig { dim: 16, inner: 32, max_length: 6, dropout: 0.1, ..Bert4RecConfig::default() };
    // A post-norm encoder does not tolerate the learning rate of the others, and the cloze task has few targets per
    // epoch.
    IdConfig::Bert4Rec(Bert4RecConfig { train: TrainConfig { optim: at(0.003), ..short(300) }, ..base })
}

fn comirec(extraction: Extraction) -> IdConfig {
    let base = ComiRecConfig { dim: 16, max_length: 6, train: short(200), ..ComiRecConfig::default() };
    IdConfig::ComiRec(ComiRecConfig { extraction, interests: 2, ..base })
}

/// Vectors that only distinguish items.
fn features(items: usize) -> Tensor<2> {
    let rows = normal([items, 24], 1.0, &mut rng(5, "features", 0), &device()).val();
    Tensor::cat(vec![Tensor::zeros([1, 24], &device()), rows], 0)
}

fn unisrec(map: FeatureMap) -> IdConfig {
    let base =
        UniSRecConfig { dim: 16, max_length: 6, dropout: 0.1, map, train: short(150), ..UniSRecConfig::default() };
    IdConfig::UniSRec(base)
}

fn alpharec(map: FeatureMap) -> IdConfig {
    let base = AlphaRecConfig { dim: 16, max_length: 6, map, train: short(150), ..AlphaRecConfig::default() };
    IdConfig::AlphaRec(base)
}

fn train(config: &IdConfig, data: &Dataset, seed: u64) -> Trained {
    let features = config.reads_features().then(|| features(data.catalog.len()));
    let device = device();
    let mut job = Job::new(data, &device).seed(seed);
    job.features = features.as_ref();
    ra_idmodels::fit(config, &job).unwrap()
}

/// Returns the best of all items for each history, as evaluation does.
fn best(model: &dyn Recommender, histories: &[History<'_>], items: &[ItemId]) -> Vec<ItemId> {
    let scores = model.users(histories).matmul(model.items(items).transpose());
    let scores: Vec<f32> = scores.into_data().iter::<f32>().collect();
    let own = scores.chunks(items.len() * model.interests());
    let pick = |(scores, history): (&[f32], &History<'_>)| {
        let mut merged: Vec<f32> = (0..items.len())
            .map(|i| scores.iter().skip(i).step_by(items.len()).fold(f32::MIN, |a, &b| a.max(b)))
            .collect();
        model.additions(history).iter().for_each(|&(item, more)| merged[item.index() - 1] += more);
        let top = (0..items.len()).max_by(|&a, &b| merged[a].total_cmp(&merged[b])).unwrap();
        items[top]
    };
    own.zip(histories).map(pick).collect()
}

#[test]
fn every_model_agrees_with_its_golden_case() {
    let dir = Path::new("tests/golden");
    let read = |name: String| -> Arrays {
        let bytes = std::fs::read(dir.join(name)).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let numbers = |view: &safetensors::tensor::TensorView<'_>| match view.dtype() {
            safetensors::Dtype::F32 => {
                view.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
            }
            _ => view
                .data()
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64)
                .collect::<Vec<f64>>(),
        };
        file.iter().map(|(n, v)| (n.to_string(), (v.shape().to_vec(), numbers(&v)))).collect()
    };
    for model in ["sasrec", "gru4rec", "bert4rec", "bprmf", "lightgcn"] {
        let case = serde_json::from_slice(&std::fs::read(dir.join(format!("{model}.json"))).unwrap()).unwrap();
        let inputs = read(format!("{model}.input.safetensors"));
        let expected = read(format!("{model}.expected.safetensors"));
        let padded = |left| (model == "bert4rec").then(|| golden_with_padding(&inputs, &expected, left));
        let given = [Some((inputs.clone(), expected.clone())), padded(false), padded(true)].into_iter().flatten();
        for (inputs, expected) in given {
            let got = golden::verify_case(&case, &inputs, &device()).unwrap().unwrap();
            agrees(model, &got, &golden::comparable(&case, &inputs, expected).unwrap());
        }
    }
}

/// The arrays of a case by their names.
type Arrays = BTreeMap<String, golden::Array>;

/// A case with two columns of padding before or after its items, filled with meaningless numbers.
fn golden_with_padding(inputs: &Arrays, expected: &Arrays, left: bool) -> (Arrays, Arrays) {
    let wider = |(name, (shape, values)): (&String, &golden::Array), names: &[&str], there: f64| {
        if !names.contains(&name.as_str()) {
            return (name.clone(), (shape.clone(), values.clone()));
        }
        let (width, mut shape) = (shape[2..].iter().product::<usize>(), shape.clone());
        let padding = vec![there; 2 * width];
        let row = |row: &[f64]| if left { [&padding, row].concat() } else { [row, &padding].concat() };
        let values = values.chunks(shape[1] * width).flat_map(row).collect();
        shape[1] += 2;
        (name.clone(), (shape, values))
    };
    let inputs = inputs.iter().map(|array| wider(array, &["seq", "label"], 0.0)).collect();
    (inputs, expected.iter().map(|array| wider(array, &["encoder", "head"], 7.0)).collect())
}

fn agrees(model: &str, got: &Arrays, expected: &Arrays) {
    for (name, (shape, want)) in expected {
        let (found, values) = &got[name];
        assert_eq!(found, shape, "{model} {name}");
        let top = want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
        let (atol, rtol) = if name.starts_with("grad") { (1e-6, 1e-4) } else { (1e-5, 1e-5) };
        let error = values.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
        assert!(error <= atol + rtol * top, "{model} {name}: {error}");
    }
}

/// The expected scores were computed in Python.
#[test]
fn words_and_pairs_are_counted() {
    let device = device();
    let titles = ["red wool scarf", "blue wool scarf", "red lamp", "", "Lamp, red lamp"].map(String::from).to_vec();
    let ids = (1..=5).map(|item| item.to_string()).collect();
    let train = Sequences::from_numbers([vec![1, 2, 3, 1], vec![2, 5], vec![3, 5, 2]]);
    let data = Dataset { catalog: Catalog::new(ids, titles), ..Dataset::from_sequences("shop", 5, train) };
    let history = ItemId::list([3, 1]);
    let history = History { user: UserId(0), items: &history };
    let scores =
        |config: &IdConfig| ra_idmodels::fit(config, &Job::new(&data, &device)).unwrap().model.additions(&history);
    let check = |config: &IdConfig, expected: &[(u32, f32)]| {
        let found = scores(config);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((item, score), (wanted, value)) in found.into_iter().zip(expected) {
            assert!(item.0 == *wanted && (score - value).abs() < 1e-6, "{item:?} {score}, not {wanted} {value}");
        }
    };
    check(
        &IdConfig::Lexical(LexicalConfig::default()),
        &[(1, 1.1071473), (2, 0.5834389), (3, 0.7785788), (5, 0.7038435)],
    );
    check(&IdConfig::ItemKnn(ItemKnnConfig::default()), &[(1, 0.4166667), (2, 0.534049), (3, 0.3333333), (5, 0.2)]);
    let knn = |similarity| ItemKnnConfig { similarity, ..ItemKnnConfig::default() };
    let pairs = |config: ItemKnnConfig, expected: &[(u32, f32)]| check(&IdConfig::ItemKnn(config), expected);
    pairs(knn(Similarity::Jaccard), &[(1, 0.3111111), (2, 0.3831579), (3, 0.25), (5, 0.15)]);
    pairs(knn(Similarity::Count), &[(1, 1.25), (2, 1.85), (3, 1.0), (5, 0.6)]);
    let near = ItemKnnConfig { window: 1, backward: 0.25, decay: 0.5, similarity: Similarity::Count };
    pairs(near, &[(1, 0.5), (2, 1.125), (3, 0.25), (5, 0.5)]);
    pairs(ItemKnnConfig { backward: 0.0, ..near }, &[(1, 0.5), (2, 1.0), (5, 0.5)]);
    let shared = TitlePairsConfig { popularity: Some(0.4), ..TitlePairsConfig::default() };
    let title_pairs = |config, expected: &[(u32, f32)]| check(&IdConfig::TitlePairs(config), expected);
    title_pairs(shared, &[(1, 2.5802137), (2, 2.6165342), (3, 1.9940868), (5, 1.9830133)]);
    let half = TitlePairsConfig { neighbours: 1, share: Some(0.5), ..shared };
    title_pairs(half, &[(1, 1.5728502), (2, 1.5967485), (3, 1.1396597), (5, 1.0271613)]);
    let alone = [(1, 0.8092551), (2, 0.8583669), (3, 0.5012434), (5, 0.3321949)];
    title_pairs(TitlePairsConfig { share: Some(0.0), ..shared }, &alone);
    title_pairs(TitlePairsConfig { neighbours: 0, ..shared }, &alone);
    let other = TitlePairsConfig {
        window: 3,
        backward: 0.25,
        fading: 0.0,
        popularity: Some(0.5),
        neighbours: 2,
        share: Some(2.0),
        decay: Some(0.6),
    };
    title_pairs(other, &[(1, 3.5783634), (2, 3.9000358), (3, 3.0551133), (5, 3.3017046)]);
    let ease = |l2, titles, candidates, decay, expected: &[(u32, f32)]| {
        let config = TitleEaseConfig { l2: Some(l2), titles: Some(titles), decay: Some(decay), candidates };
        check(&IdConfig::TitleEase(config), expected);
    };
    ease(2.0, 3.0, 5, 0.6, &[(1, 0.1322699), (2, 0.4665843), (3, 0.204563), (5, 0.3306275)]);
    ease(2.0, 3.0, 2, 0.6, &[(1, 0.0782914), (2, 0.5258752), (3, 0.2242623), (5, 0.3180676)]);
    ease(0.5, 0.0, 5, 1.0, &[(1, 0.2745098), (2, 0.7906977), (3, 0.3783784), (5, 0.0487805)]);
    check(
        &IdConfig::TitleEase(TitleEaseConfig::default()),
        &[(1, 0.0145111), (2, 0.054928), (3, 0.0182607), (5, 0.0552162)],
    );
    let refused = |config: &IdConfig, told: &str| {
        let error = ra_idmodels::fit(config, &Job::new(&data, &device)).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    };
    let open = TitleEaseConfig::default();
    for (config, told) in [
        (TitleEaseConfig { l2: Some(0.0), ..open }, "l2 is"),
        (TitleEaseConfig { l2: Some(f32::NAN), ..open }, "l2 is"),
        (TitleEaseConfig { titles: Some(-1.0), ..open }, "titles is"),
        (TitleEaseConfig { decay: Some(1.5), ..open }, "decay is"),
        (TitleEaseConfig { candidates: 0, ..open }, "candidates is"),
    ] {
        refused(&IdConfig::TitleEase(config), told);
    }
    for (config, told) in [
        (TitlePairsConfig { share: Some(-1.0), ..shared }, "share is"),
        (TitlePairsConfig { popularity: Some(f32::NAN), ..shared }, "popularity is"),
        (TitlePairsConfig { fading: f32::INFINITY, ..shared }, "fading is"),
        (TitlePairsConfig { window: 0, ..shared }, "window is"),
        (TitlePairsConfig { decay: Some(0.0), ..shared }, "decay is"),
    ] {
        refused(&IdConfig::TitlePairs(config), told);
    }
    for decay in [0.0, 1.5, f32::NAN] {
        refused(&IdConfig::Lexical(LexicalConfig { decay }), "decay is");
        refused(&IdConfig::ItemKnn(ItemKnnConfig { decay, ..near }), "decay is");
    }
    refused(&IdConfig::ItemKnn(ItemKnnConfig { window: 0, ..near }), "window is");
    refused(&IdConfig::ItemKnn(ItemKnnConfig { backward: -1.0, ..near }), "backward is");
}

/// Five items, two pairs of which have similar titles.
fn shop<const USERS: usize>(histories: [Vec<u32>; USERS]) -> Dataset {
    let titles =
        ["red wool scarf", "bread knife", "blue wool scarf", "knife for bread", "lamp"].map(String::from).to_vec();
    let ids = (1..=5).map(|item| item.to_string()).collect();
    let train = Sequences::from_numbers(histories);
    Dataset { catalog: Catalog::new(ids, titles), ..Dataset::from_sequences("shop", 5, train) }
}

#[test]
fn title_pairs_choose_what_is_open_on_validation_and_keep_it() {
    let device = device();
    let data = shop([vec![1, 2], vec![1, 2, 5], vec![3, 4]]);
    let items = ItemId::list([1, 3]);
    let history = History { user: UserId(0), items: &items };
    let score =
        |model: &dyn Recommender| model.additions(&history).iter().map(|(_, score)| f64::from(*score)).sum::<f64>();
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("title-pairs.safetensors");
    let sum =
        |config: TitlePairsConfig| score(&*TitlePairsConfig::fit(&config, &Job::new(&data, &device)).unwrap().model);
    let open = TitlePairsConfig::default();
    // The metric is the sum of the scores: the smallest popularity, the largest share and decay.
    let most = TitlePairsConfig { popularity: Some(0.0), share: Some(2.0), decay: Some(1.0), ..open };
    let least = TitlePairsConfig { popularity: Some(0.5), share: Some(0.0), decay: Some(0.6), ..open };
    let told = ["popularity = 0, share = 2, decay = 1", "popularity = 0.5, share = 0, decay = 0.6"];
    for ((sign, wanted), told) in [(1.0, most), (-1.0, least)].into_iter().zip(told) {
        let metric = |model: &dyn Recommender| sign * score(model);
        let job = Job::new(&data, &device).validate(&metric);
        let fitted = TitlePairsConfig::fit(&open, &job).unwrap();
        assert_eq!(score(&*fitted.model), sum(wanted));
        fitted.save(&path).unwrap();
        let loaded = TitlePairsConfig::load(&open, &Job::new(&data, &device), &path).unwrap();
        assert_eq!(score(&*loaded.model), sum(wanted));
        assert_eq!((loaded.choices, fitted.choices), (vec![told.to_owned()], vec![told.to_owned()]));
    }
    let metric = |model: &dyn Recommender| score(model);
    let half = TitlePairsConfig { share: Some(0.5), ..open };
    let kept = TitlePairsConfig::fit(&half, &Job::new(&data, &device).validate(&metric)).unwrap();
    assert_eq!(kept.choices, ["popularity = 0, share = 0.5, decay = 1"], "what is given is not chosen");
    assert_eq!(sum(open), sum(TitlePairsConfig { popularity: Some(0.3), share: Some(1.0), decay: Some(0.8), ..open }));
}

#[test]
fn title_ease_among_all_items_and_without_titles_is_the_part_of_ease_above_zero() {
    let device = device();
    // Every two items have a user in common, so all are candidates of each other.
    let data = shop([vec![1, 2, 5], vec![2, 3], vec![1, 3, 4, 5], vec![2, 4, 5], vec![1, 2], vec![1, 2, 3, 5]]);
    let near = TitleEaseConfig { l2: Some(2.0), titles: Some(0.0), decay: Some(1.0), candidates: 5 };
    let near = ra_idmodels::fit(&near, &Job::new(&data, &device)).unwrap().model;
    let whole = EaseConfig { l2: 2.0 }.solve(&data, &device).unwrap();
    let all = ItemId::list(0..=5);
    let (mut above, mut below) = (0, 0);
    for item in ItemId::list(1..=5) {
        let items = [item];
        let history = History { user: UserId(0), items: &items };
        let mut wanted: Vec<f32> = ra_core::scores(&whole, &[history], &whole.items(&all)).into_data().iter().collect();
        for (item, score) in near.additions(&history) {
            let apart = (wanted[item.index()] - score).abs();
            assert!(score > 0.0 && apart < 1e-6, "{item:?}: {score}, not {}", wanted[item.index()]);
            wanted[item.index()] = 0.0;
            above += 1;
        }
        assert!(wanted.iter().all(|score| *score < 1e-6), "{wanted:?}");
        below += wanted.iter().filter(|score| **score < -1e-3).count();
    }
    assert!(above > 0 && below > 0, "{above}, {below}");
}

#[test]
fn a_checkpoint_serves_a_catalogue_that_grew() {
    let (data, device) = (ring(7), device());
    let (ids, titles) = ((1..=9).map(|item| item.to_string()).collect(), vec![String::new(); 9]);
    let grown = Dataset { catalog: Catalog::new(ids, titles), ..data.clone() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let items = ItemId::list([2, 5, 3]);
    let history = [History { user: UserId(0), items: &items }];
    let scores = |model: &dyn Recommender, items: u32| {
        host_numbers(ra_core::scores(model, &history, &model.items(&ItemId::list(1..=items))))
    };
    let bsarec = IdConfig::BsaRec(sequences::bsarec());
    let hstu = IdConfig::Hstu(sequences::hstu());
    let methods =
        [sasrec(SasRecVariant::Modern, Loss::Softmax, 0), gru4rec(Loss::Softmax, 0), bert4rec(), bsarec, hstu];
    for config in methods.into_iter().chain([comirec(Extraction::SelfAttentive), IdConfig::Ease(EaseConfig::default())])
    {
        let trained = train(&config, &data, 1);
        trained.save(&path).unwrap();
        let served = ra_idmodels::load(&config, &Job::new(&grown, &device).known_items(7), &path).unwrap();
        let (own, all) = (scores(&*trained.model, 7), scores(&*served.model, 9));
        let near = own.iter().zip(&all).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near && all.iter().all(|score| score.is_finite()), "{}: {own:?}, {all:?}", config.kind());
    }
}

#[test]
fn title_ease_chooses_on_validation_and_keeps_its_map_for_a_catalogue_that_grew() {
    let device = device();
    let data = shop([vec![1, 2], vec![1, 2, 5], vec![3, 4]]);
    let items = ItemId::list([1, 3]);
    let history = History { user: UserId(0), items: &items };
    let score = |model: &dyn Recommender| model.additions(&history).iter().map(|(_, x)| f64::from(*x)).sum::<f64>();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("title-ease.safetensors");
    let open = TitleEaseConfig::default();
    let fixed = |l2, titles, decay| TitleEaseConfig { l2: Some(l2), titles: Some(titles), decay: Some(decay), ..open };
    // The metric is the sum of the scores: a small l2 and much of the titles, or the reverse.
    let told = ["l2 = 50, titles = 12, decay = 1", "l2 = 500, titles = 0, decay = 0.6"];
    for (sign, wanted, told) in [(1.0, fixed(50.0, 12.0, 1.0), told[0]), (-1.0, fixed(500.0, 0.0, 0.6), told[1])] {
        let metric = |model: &dyn Recommender| sign * score(model);
        let fitted = TitleEaseConfig::fit(&open, &Job::new(&data, &device).validate(&metric)).unwrap();
        assert_eq!(fitted.choices, [told]);
        let alone = TitleEaseConfig::fit(&wanted, &Job::new(&data, &device)).unwrap();
        assert_eq!(fitted.model.additions(&history), alone.model.additions(&history));
        fitted.save(&path).unwrap();
        let loaded = TitleEaseConfig::load(&open, &Job::new(&data, &device), &path).unwrap();
        assert_eq!(loaded.model.additions(&history), fitted.model.additions(&history));
        assert_eq!(loaded.choices, fitted.choices);
        // Two items are added at the end: another scarf, and one without words in common.
        let mut titles: Vec<String> = data.catalog.all().map(|item| data.catalog.title(item).into()).collect();
        titles.extend(["green wool scarf".to_owned(), "chair".into()]);
        let ids = (1..=7).map(|item| item.to_string()).collect();
        let grown = Dataset { catalog: Catalog::new(ids, titles), ..data.clone() };
        let grown = TitleEaseConfig::load(&open, &Job::new(&grown, &device).known_items(5), &path).unwrap();
        let (known, added): (Vec<_>, Vec<_>) =
            grown.model.additions(&history).into_iter().partition(|(item, _)| item.0 <= 5);
        assert_eq!(known, fitted.model.additions(&history));
        let added: Vec<u32> = added.into_iter().map(|(item, _)| item.0).collect();
        assert_eq!(added, if sign > 0.0 { &[6][..] } else { &[] }, "by its title, if titles count");
        let of_added = |item| {
            let items = ItemId::list([item]);
            grown
                .model
                .additions(&History { user: UserId(0), items: &items })
                .into_iter()
                .map(|(item, _)| item.0)
                .collect()
        };
        let (scarf, chair): (Vec<u32>, Vec<u32>) = (of_added(6), of_added(7));
        assert_eq!(scarf, if sign > 0.0 { &[1, 3][..] } else { &[] }, "what was added is a history, too");
        assert!(chair.is_empty(), "{chair:?}");
    }
    let half = TitleEaseConfig { titles: Some(4.0), ..open };
    let metric = |model: &dyn Recommender| score(model);
    let kept = TitleEaseConfig::fit(&half, &Job::new(&data, &device).validate(&metric)).unwrap();
    assert_eq!(kept.choices, ["l2 = 50, titles = 4, decay = 1"], "what is given is not chosen");
}

#[test]
fn pairs_of_similar_titles_reach_items_that_nobody_has_taken() {
    let device = device();
    let data = shop([vec![1, 2], vec![1, 2, 5]]);
    let scores = |config: IdConfig, items: &[u32]| {
        let (model, items) = (ra_idmodels::fit(&config, &Job::new(&data, &device)).unwrap().model, items.to_vec());
        let items = ItemId::list(items);
        model.additions(&History { user: UserId(0), items: &items })
    };
    // Nobody has taken the blue scarf, 3, or the knife for bread, 4; a red scarf and a bread knife are a pair.
    let found = scores(IdConfig::TitlePairs(TitlePairsConfig::default()), &[3]);
    assert!([2, 4].iter().all(|item| found.iter().any(|(other, score)| other.0 == *item && *score > 0.0)), "{found:?}");
    assert_eq!(scores(IdConfig::ItemKnn(ItemKnnConfig::default()), &[3]), []);
    let found = scores(IdConfig::TitleEase(TitleEaseConfig::default()), &[1]);
    assert!(found.iter().any(|(item, score)| item.0 == 3 && *score > 0.0), "{found:?}");
}

#[test]
fn training_learns_what_follows_and_survives_a_checkpoint() {
    let (data, device) = (ring(7), device());
    let dir = tempfile::tempdir().unwrap();
    let configs = [
        IdConfig::Markov(MarkovConfig::default()),
        sasrec(SasRecVariant::Original, Loss::Softmax, 0),
        sasrec(SasRecVariant::Original, Loss::Bce, 1),
        sasrec(SasRecVariant::Modern, Loss::Softmax, 0),
        sasrec(SasRecVariant::Modern, Loss::Gbce, 4),
        sasrec(SasRecVariant::Modern, Loss::SampledSoftmax, 4),
        sasrec(SasRecVariant::Original, Loss::Bpr, 4),
        sasrec(SasRecVariant::Ligr, Loss::MixedSoftmax, 4),
        sequences::augmented(SasRecVariant::Original),
        sequences::augmented(SasRecVariant::Ligr),
        IdConfig::BsaRec(sequences::bsarec()),
        IdConfig::Hstu(sequences::hstu()),
        gru4rec(Loss::Softmax, 0),
        gru4rec(Loss::SampledSoftmax, 4),
        bert4rec(),
        unisrec(FeatureMap::Linear),
        unisrec(FeatureMap::Mlp),
        sequences::from_text(),
        sequences::alphafuse(),
    ];
    for config in configs.into_iter().chain(sequences::shared()) {
        let trained = train(&config, &data, 3);
        let path = dir.path().join("model.safetensors");
        trained.save(&path).unwrap();
        let given = features(data.catalog.len());
        let loaded = ra_idmodels::load(&config, &Job::new(&data, &device).features(&given), &path).unwrap();
        let all: Vec<ItemId> = data.catalog.all().collect();
        let rows = [vec![1, 2, 3], vec![5, 6]].map(ItemId::list);
        let histories = [0, 1].map(|user| History { user: UserId(user), items: &rows[user as usize] });
        check_recommender(&*loaded.model, &histories, &all);
        let vectors = |model: &dyn Recommender| (model.users(&histories).into_data(), model.items(&all).into_data());
        assert_eq!(vectors(&*loaded.model), vectors(&*trained.model), "a checkpoint is the model, bit for bit");
        assert_eq!(best(&*loaded.model, &histories, &all), ItemId::list([4, 7]), "{config:?}");
    }
}

#[test]
fn methods_without_an_order_learn_what_belongs_together() {
    // Two circles of users and items that have nothing to do with each other.
    let users = 24u32;
    let rows = |u: u32| (0..3).map(|t| u % 2 * 6 + (u / 2 + t) % 6 + 1).collect::<Vec<u32>>();
    let data = Dataset {
        catalog: Catalog::new((0..12).map(|i| i.to_string()).collect(), vec![String::new(); 12]),
        train: Sequences::from_numbers((0..users).map(rows)),
        ..ring(12)
    };
    let dir = tempfile::tempdir().unwrap();
    let configs = [
        IdConfig::Ease(EaseConfig { l2: 1.0 }),
        IdConfig::Mf(MfConfig { dim: 8, train: short(300), ..MfConfig::default() }),
        IdConfig::LightGcn(LightGcnConfig { dim: 8, train: short(100), ..LightGcnConfig::default() }),
        comirec(Extraction::SelfAttentive),
        comirec(Extraction::DynamicRouting),
        alpharec(FeatureMap::Linear),
        alpharec(FeatureMap::Mlp),
    ];
    for config in configs {
        let path = dir.path().join("model.safetensors");
        train(&config, &data, 1).save(&path).unwrap();
        let given = features(data.catalog.len());
        let model = ra_idmodels::load(&config, &Job::new(&data, &device()).features(&given), &path).unwrap().model;
        let all: Vec<ItemId> = data.catalog.all().collect();
        let rows: Vec<&[ItemId]> = data.train.rows().collect();
        let histories: Vec<History<'_>> =
            (0..).map(UserId).zip(&rows).map(|(user, items)| History { user, items }).collect();
        check_recommender(&*model, &histories, &all);
        let right = (0..users).zip(best(&*model, &histories, &all)).filter(|(u, item)| (item.0 - 1) / 6 == u % 2);
        assert!(right.count() >= 22, "{config:?}");
    }
}

#[test]
fn what_was_solved_is_read_and_not_solved_again() {
    let (data, dir) = (ring(6), tempfile::tempdir().unwrap());
    let (config, path) = (IdConfig::Ease(EaseConfig { l2: 1.0 }), dir.path().join("ease.safetensors"));
    let solved = train(&config, &data, 1);
    assert!(solved.parameters.is_empty(), "nothing of it is trained");
    solved.save(&path).unwrap();
    // Another log would give another map.
    let other = Dataset { train: Sequences::from_numbers(vec![vec![1, 4]; 24]), ..ring(6) };
    let loaded = ra_idmodels::load(&config, &Job::new(&other, &device()), &path).unwrap();
    let all = ItemId::list(0..7);
    assert_eq!(loaded.model.items(&all).into_data(), solved.model.items(&all).into_data());
    let history = [History { user: UserId(0), items: &[ItemId(1), ItemId(2)] }];
    assert_eq!(loaded.model.users(&history).into_data(), solved.model.users(&history).into_data());
    let grown = ra_idmodels::load(&config, &Job::new(&ring(7), &device()), &path).unwrap_err().to_string();
    assert!(grown.contains("ease.safetensors") && grown.contains("weights"), "{grown}");
}

#[test]
fn a_training_goes_on_where_it_was_cut_off() {
    let (data, dir) = (ring(7), tempfile::tempdir().unwrap());
    let state = dir.path().join("state.safetensors");
    let run = |epochs: usize, state: Option<&Path>| {
        let IdConfig::SasRec(mut config) = sasrec(SasRecVariant::Original, Loss::Bce, 1) else { unreachable!() };
        config.train.epochs = epochs;
        let device = device();
        let mut job = Job::new(&data, &device).seed(3);
        job.state = state;
        let trained = ra_idmodels::fit(&IdConfig::SasRec(config), &job).unwrap();
        trained.model.items(&ItemId::list([1, 2, 3])).into_data()
    };
    run(7, Some(&state));
    assert_eq!(run(20, Some(&state)), run(20, None));
}

#[test]
fn a_training_of_other_settings_does_not_resume_a_state() {
    let (data, dir, device) = (ring(7), tempfile::tempdir().unwrap(), device());
    let state = dir.path().join("state.safetensors");
    let IdConfig::SasRec(mut config) = sasrec(SasRecVariant::Original, Loss::Bce, 1) else { unreachable!() };
    config.train.epochs = 2;
    let resume = |config: &SasRecConfig, data: &Dataset, seed| {
        let job = Job::new(data, &device).seed(seed).state(&state);
        ra_idmodels::fit(&IdConfig::SasRec(config.clone()), &job).map(drop)
    };
    resume(&config, &data, 3).unwrap();
    let begun = std::fs::read(&state).unwrap();
    let with = |change: fn(&mut SasRecConfig)| {
        let mut other = config.clone();
        change(&mut other);
        other
    };
    let grown = Dataset { valid: Sequences::from_numbers(vec![vec![1]; 24]), ..ring(7) };
    for (what, told) in [
        ("seed", resume(&config, &data, 4)),
        ("data", resume(&config, &grown, 3)),
        ("batch", resume(&with(|other| other.train.batch += 1), &data, 3)),
        ("learning rate", resume(&with(|other| other.train.optim.lr *= 2.0), &data, 3)),
        ("loss", resume(&with(|other| other.loss = Loss::Softmax), &data, 3)),
        ("dropout", resume(&with(|other| other.dropout += 0.1), &data, 3)),
    ] {
        assert!(told.unwrap_err().to_string().contains("started with other settings"), "{what}");
        assert_eq!(std::fs::read(&state).unwrap(), begun, "{what}: the state of another training stays as it is");
    }
    resume(&with(|other| other.train.epochs = 3), &data, 3).unwrap();
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let data = ring(5);
    for config in [
        sasrec(SasRecVariant::Modern, Loss::Softmax, 0),
        sequences::augmented(SasRecVariant::Ligr),
        IdConfig::BsaRec(sequences::bsarec()),
        IdConfig::Hstu(sequences::hstu()),
        gru4rec(Loss::Bce, 2),
        bert4rec(),
    ] {
        let vectors = |seed| train(&config, &data, seed).model.items(&ItemId::list(1..=5)).into_data();
        assert_eq!(vectors(1), vectors(1));
        assert_ne!(vectors(1), vectors(2));
    }
}

#[test]
fn a_long_history_counts_by_its_newest_items_and_an_empty_one_is_no_panic() {
    let (data, device) = (ring(5), device());
    let long = ItemId::list((0..200).map(|t| t % 5 + 1));
    let items = data.catalog.len();
    let check = |model: &dyn Recommender, read: usize| {
        let vector = |items: &[ItemId]| model.users(&[History { user: UserId(0), items }]).into_data();
        assert_eq!(vector(&long), vector(&long[long.len() - read..]));
        check_recommender(
            model,
            &[History { user: UserId(0), items: &[] }, History { user: UserId(1), items: &long }],
            &[ItemId(1), ItemId(5)],
        );
    };
    let (sasrec, gru4rec, bert4rec) = (SasRecConfig::default(), Gru4RecConfig::default(), Bert4RecConfig::default());
    check(&sasrec.init(items, 1, &device), sasrec.max_length);
    check(&gru4rec.init(items, 1, &device), gru4rec.max_length);
    let (bsarec, hstu) = (BsaRecConfig::default(), HstuConfig::default());
    check(&bsarec.init(items, 1, &device), bsarec.max_length);
    check(&hstu.init(items, 1, &device), hstu.max_length);
    // One of its positions holds the mask.
    check(&bert4rec.init(items, 1, &device), bert4rec.max_length - 1);
    for extraction in [Extraction::SelfAttentive, Extraction::DynamicRouting] {
        let comirec = ComiRecConfig { extraction, ..ComiRecConfig::default() };
        check(&comirec.init(items, 1, &device), comirec.max_length);
    }
}

#[test]
fn a_config_that_makes_no_sense_is_refused_by_its_key() {
    for (json, key) in [
        (r#"{"kind": "gru4rec", "hidden": 0}"#, "hidden"),
        (r#"{"kind": "gru4rec", "loss": "bce", "negatives": 0}"#, "negatives"),
        (r#"{"kind": "bert4rec", "heads": 3}"#, "heads"),
        (r#"{"kind": "bert4rec", "max_length": 1}"#, "max_length"),
        (r#"{"kind": "bert4rec", "mask": 0.0}"#, "mask"),
        (r#"{"kind": "comirec", "interests": 0}"#, "interests"),
        (r#"{"kind": "bsarec", "alpha": 1.5}"#, "alpha"),
        (r#"{"kind": "bsarec", "blocks": 0}"#, "blocks"),
        (r#"{"kind": "hstu", "heads": 5}"#, "heads"),
        (r#"{"kind": "alphafuse", "semantic": 128}"#, "semantic"),
        (r#"{"kind": "recent", "window": 0}"#, "window"),
        (r#"{"kind": "mf", "dim": 0}"#, "dim"),
        (r#"{"kind": "lightgcn", "train": {"lr": 0}}"#, "train.lr"),
    ] {
        let config: IdConfig = serde_json::from_str(json).unwrap();
        let message = config.check().unwrap_err().to_string();
        assert!(message.contains(key), "{message}");
        assert!(json.contains(config.kind()));
    }
    let typo = serde_json::from_str::<IdConfig>(r#"{"kind": "bert4rec", "mash": 0.3}"#).unwrap_err().to_string();
    assert!(typo.contains("mash"), "{typo}");
    let partial: IdConfig = serde_json::from_str(r#"{"kind": "lightgcn", "train": {"epochs": 7}}"#).unwrap();
    let train = partial.train().unwrap();
    assert_eq!((train.epochs, train.batch), (7, 2048), "what is left out is the method's own default");
}

#[test]
fn popularity_counts_training_interactions() {
    let data = ring(4);
    let pop = Popularity::new(&data, &device());
    check_recommender(&pop, &[History { user: UserId(0), items: &[] }], &ItemId::list(1..=4));
    let scores: Vec<f32> = pop.items(&ItemId::list([1, 2])).into_data().iter().collect();
    assert_eq!(scores, data.popularity()[1..3].iter().map(|&count| (count as f32 + 1.0).ln()).collect::<Vec<_>>());
    // Two items have one interaction and four have none, which count as half an interaction each.
    assert_eq!(
        Popularity::scores(&[0, 0, 1, 9, 0, 1, 0, 3, 0], 8)[1..],
        [0.5f32, 1.0, 9.0, 0.5, 1.0, 0.5, 3.0, 0.5].map(f32::ln_1p)
    );
    // Items that were added say nothing of what to expect.
    assert_eq!(Popularity::scores(&[0, 0, 1, 9, 0, 0, 0, 0], 3)[4..], [1f32.ln_1p(); 4]);
    // Six of one is more than the median of 1; where all are new, nothing is known.
    assert_eq!(Popularity::scores(&[0, 0, 1, 1, 1, 1, 1, 1], 7)[1], 1f32.ln_1p());
    assert_eq!(Popularity::scores(&[0, 0, 0], 2), [0.0; 3]);
}

#[test]
fn imports_are_checked_before_any_file_is_read() {
    let some = |path: &str| Some(PathBuf::from(path));
    let items = |items: &Path| ImportConfig { items: items.into(), ..ImportConfig::default() };
    let base = items(Path::new("items.npy"));
    for (config, words) in [
        (ImportConfig::default(), ["items is missing", ".npy"]),
        (items(Path::new("model.pt")), ["model.pt: a pickle", "safetensors.torch.save_file"]),
        (items(Path::new("MODEL.PTH")), ["a pickle", "numpy.save"]),
        (items(Path::new("model.pkl")), ["a pickle", "numpy.save"]),
        (items(Path::new("model.npz")), ["an archive", "numpy.load"]),
        (items(Path::new("items.csv")), ["items.csv", ".feather"]),
        (ImportConfig { users: some("users.pt"), ..base.clone() }, ["users", "a pickle"]),
        (ImportConfig { user_ids: some("users.txt"), ..base.clone() }, ["user_ids", "without users"]),
        (ImportConfig { users_tensor: Some("u".into()), ..base.clone() }, ["users_tensor", "without users"]),
        (ImportConfig { users: some("u.npy"), history: 3, ..base.clone() }, ["history is 3", "if users is set"]),
        (ImportConfig { items_tensor: Some("e".into()), ..base.clone() }, ["items_tensor", ".safetensors"]),
        (ImportConfig { item_ids: some("i.txt"), ..items(Path::new("i.parquet")) }, ["item_ids", "its own ids"]),
    ] {
        let message = config.check().unwrap_err().to_string();
        words.iter().for_each(|word| assert!(message.contains(word), "{word}: {message}"));
    }
    let given = serde_json::json!({"kind": "import", "items": "items.npy", "history": 2});
    let config: IdConfig = serde_json::from_value(given).unwrap();
    assert_eq!(config, IdConfig::Import(ImportConfig { history: 2, ..base }));
    assert!(config.check().is_ok() && config.kind() == "import" && config.train().is_none());
    let again: IdConfig = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
    assert_eq!(config, again);
    let typo = serde_json::from_value::<IdConfig>(serde_json::json!({"kind": "import", "item": "x"})).unwrap_err();
    assert!(typo.to_string().contains("item_ids"), "{typo}");
}
