//! The whole method on a language model and an ID method that this workspace does not know.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
mod acme_lm;
mod acme_mf;
mod chunked;
mod letters;
mod own_score;

use acme_lm::AcmeLm;
use acme_mf::Mf;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Int, Tensor, TensorData};
use letters::Letters;
use ra_align::{
    AlignConfig, AlignLoss, AlignTrain, Altered, IdSource, Job, Layerwise, PairLoss, Placement, PromptConfig, Prompts,
    RaRec, TextCache, TextTower, Towers, with_id_score,
};
use ra_core::testkit::contract::{check_language_model, check_recommender};
use ra_core::{
    Aligner, Catalog, Curve, Dataset, Device, FitConfig, History, IdModel, IdTable, LanguageModel, Prefix, Recommender,
    Sequences, Silent, TextBatch, TrainBatch, encode, ledger, load_module, normal, rng, save_module,
};
use std::sync::Arc;

const ITEMS: u32 = 12;

/// Of the back end that `RA_REC_BACKEND` names; without it the CPU's.
pub(crate) fn device() -> Device {
    ra_core::testkit::contract::device(std::env::var("RA_REC_BACKEND").ok().as_deref())
}

/// Draws weights from a seed: burn's own generator is one for all tests of the process.
struct Seeded(u64);

impl ModuleMapper for Seeded {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        let fresh = normal(param.dims(), 0.5, &mut rng(self.0, "acme", 0), &param.device());
        if D == 1 { fresh.map(|x| x + 1.0) } else { fresh }
    }
}

fn acme(layers: usize, seed: u64, device: &Device) -> AcmeLm {
    AcmeLm::new(60, 16, layers, device).map(&mut Seeded(seed << 32))
}

/// Every number of a safetensors file of f32.
fn numbers(path: &std::path::Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[head..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// Item `t + 1` follows item `t`; titles say nothing of it.
fn dataset() -> Dataset {
    let titles = ["ant", "quail", "bee", "ox", "hen", "yak", "cat", "newt", "dog", "emu", "fox", "gnu"];
    Dataset {
        name: "ring".into(),
        users: (0..ITEMS).map(|u| u.to_string()).collect(),
        catalog: Catalog::new((0..ITEMS).map(|i| i.to_string()).collect(), titles.map(String::from).to_vec()),
        train: Sequences::from_rows((0..ITEMS).map(|u| (u..u + 4).map(|t| t % ITEMS + 1).collect::<Vec<_>>())),
        valid: Sequences::from_rows((0..ITEMS).map(|u| vec![(u + 4) % ITEMS + 1])),
        test: Sequences::from_rows((0..ITEMS).map(|u| vec![(u + 5) % ITEMS + 1])),
        filter: "none".into(),
        split: "leave_one_out".into(),
    }
}

/// ID vectors that know the ring: a user is their number, an item the users whose training ends before it.
fn ring_ids(device: &Device) -> IdTable {
    let n = ITEMS as usize;
    let one_hot = |shift: usize, pad: usize| {
        let cell = |(r, c): (usize, usize)| if r >= pad && (r - pad + shift) % n == c { 1.0f32 } else { 0.0 };
        let cells = (0..n + pad).flat_map(|r| (0..n).map(move |c| (r, c))).map(cell).collect::<Vec<_>>();
        Tensor::<2>::from_data(TensorData::new(cells, [n + pad, n]), device)
    };
    IdTable::new(one_hot(0, 0), one_hot(n - 4, 1))
}

fn text(align: &AlignConfig, layers: usize, device: &Device) -> Arc<TextTower<AcmeLm>> {
    let lm = acme(layers, 0, device);
    let config = PromptConfig { user: "u".into(), item: "i".into(), titles: 3, ..PromptConfig::default() };
    let prompts = Prompts::new(&Letters, &dataset().catalog, &config, lm.spec().max_tokens).unwrap();
    let cache = TextCache::new(&lm, align);
    Arc::new(TextTower { lm, prompts, cache, normalize: align.normalize })
}

fn fit(align: &AlignConfig, text: &Arc<TextTower<AcmeLm>>, seed: u64) -> (Towers<Layerwise>, ra_align::IdScale, Curve) {
    let (data, train) = (dataset(), AlignTrain { batch: 12, steps: 80, lr: 0.05, ..AlignTrain::default() });
    let samples = data.samples();
    let ids = ring_ids(&device());
    let job = Job { max_history: 9, seed, ..Job::new(&ids, text, &data, &samples, align, &train) };
    ra_align::fit(&job, None, &Silent).unwrap()
}

#[test]
fn a_language_model_of_another_crate_meets_the_contract() {
    check_language_model(&acme(3, 0, &device()), 60);
}

#[test]
fn an_id_method_of_another_crate_trains() {
    let (data, device) = (dataset(), device());
    let ints = |values: Vec<i32>| {
        let n = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [n]), &device)
    };
    let users = data.users.len();
    let rows = |from: usize| {
        ints(data.train.rows().flat_map(|r| r[from..from + 3].iter().map(|&i| i as i32).collect::<Vec<_>>()).collect())
    };
    let n = users as i32 * 3;
    let batch = TrainBatch {
        lengths: vec![3; users].into(),
        users: ints((0..n).map(|k| k / 3).collect()),
        items: rows(0),
        rows: None,
        positives: rows(1),
        negatives: ints((0..n).map(|k| (k / 3 + 6) % ITEMS as i32 + 1).collect()).reshape([n as usize, 1]),
        dropout: None,
    };
    let config = FitConfig { steps: 60, lr: 0.05, ..FitConfig::default() };
    let fresh = Mf::new(users, ITEMS as usize, 8, 1, &device.clone().autodiff());
    let (mf, curve) = ra_core::fit("mf", &config, fresh, |m, _| m.loss(&batch), None, &Silent, None).unwrap();
    assert!(curve.points.last().unwrap().loss < 0.3 * curve.points[0].loss, "{curve:?}");
    check_recommender(&mf.fitted(), &[History { user: 0, items: &[] }, History { user: 5, items: &[] }], &[1, 2, 3]);
}

#[test]
fn every_loss_learns_what_only_the_ids_know_and_the_lm_stays_as_it_was() {
    let device = device();
    for (pair_loss, loss, first_layer, left) in [
        (PairLoss::SoftmaxInBatch, AlignLoss::None, 0, 0.8),
        (PairLoss::BprInBatch, AlignLoss::InfoNce, 0, 0.8),
        (PairLoss::BprSampled, AlignLoss::None, 1, 0.8),
        (PairLoss::SoftmaxInBatch, AlignLoss::Mmd, 0, 0.9),
        (PairLoss::SoftmaxInBatch, AlignLoss::Mse, 0, 0.9),
    ] {
        let align = AlignConfig {
            pair_loss,
            loss,
            first_layer,
            extra_negatives: 4,
            temperature: 0.2,
            init_std: 1.0,
            n_tok: 2,
            normalize: pair_loss == PairLoss::SoftmaxInBatch,
            ..AlignConfig::default()
        };
        let text = text(&align, 2, &device);
        let probe = TextBatch::from_rows(&[&[1, 7, 9]], &device);
        let before = encode(&text.lm, &probe, None).last.into_data();
        let (_, _, curve) = fit(&align, &text, 1);
        assert!(curve.points.last().unwrap().loss < left * curve.points[0].loss, "{pair_loss:?}: {curve:?}");
        assert_eq!(encode(&text.lm, &probe, None).last.into_data(), before, "the language model was touched");
    }
}

#[test]
fn the_checkpoint_is_the_ledger_and_gives_the_same_recommender() {
    let (device, align) = (device(), AlignConfig { n_ctx: 2, ..AlignConfig::default() });
    let text = text(&align, 3, &device);
    let (towers, scale, _) = fit(&align, &text, 1);
    let rows = ledger(&towers);
    assert_eq!(rows.len(), 2 * 3 * 3, "two towers, three layers, W b c: {rows:?}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("towers.safetensors");
    save_module(&towers, &path).unwrap();
    let fresh = align.towers(ITEMS as usize, &text.lm, 9, &device);
    let loaded = load_module(fresh, &path).unwrap();
    let model = |towers| RaRec { ids: ring_ids(&device), scale: scale.clone(), text: text.clone(), towers };
    let histories = [History { user: 0, items: &[1, 2, 3, 4] }, History { user: 3, items: &[] }];
    assert_eq!(model(towers).users(&histories).into_data(), model(loaded.clone()).users(&histories).into_data());
    check_recommender(&model(loaded), &histories, &[1, 2, 12]);
}

#[test]
fn the_same_seed_gives_the_same_bits_whatever_is_cached() {
    let align =
        AlignConfig { id_noise: 1.0, id_dropout: 0.2, id_drop: 0.1, item_id_drop: 0.1, ..AlignConfig::default() };
    let text = text(&align, 2, &device());
    let weights = |seed| fit(&align, &text, seed).0.user.parts()[0].0.to_data();
    let first = weights(1);
    assert_eq!(first, weights(1), "the second run finds every text in the cache");
    assert_ne!(first, weights(2));
}

#[test]
fn a_text_that_no_step_comes_to_is_not_read() {
    let (align, data) = (AlignConfig { first_layer: -1, ..AlignConfig::default() }, dataset());
    let (ids, samples) = (ring_ids(&device()), data.samples());
    let second = [acme(2, 0, &device())];
    for (steps, replicas, histories) in [(1, &[][..], 5), (3, &[], 15), (3, &second, 30), (100, &[], samples.len())] {
        let text = text(&align, 2, &device());
        let train = AlignTrain { batch: 5, steps, ..AlignTrain::default() };
        let job = Job { max_history: 9, replicas, ..Job::new(&ids, &text, &data, &samples, &align, &train) };
        ra_align::fit(&job, None, &Silent).unwrap();
        assert_eq!(job.reach().len(), histories);
        assert_eq!(text.cache.len(), histories + data.catalog.len(), "{steps} steps, {} replicas", replicas.len());
    }
}

#[test]
fn the_cache_agrees_with_the_plain_path_with_and_without_room() {
    let device = device();
    let lm = acme(3, 0, &device);
    let texts = vec![vec![1, 7, 8, 9, 2], vec![1, 30, 2], vec![1, 11, 12, 2]];
    let slices: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    for first_layer in [0, 2] {
        let align = AlignConfig { first_layer, ..AlignConfig::default() };
        let tower = align.towers(4, &lm, 1, &device).user;
        let prefix: Prefix = tower.prefix(Tensor::ones([3, 1, 4], &device));
        let plain = encode(&lm, &TextBatch::from_rows(&slices, &device), Some(&prefix)).pooled;
        for mib in [0, 64] {
            let cache = TextCache::new(&lm, &AlignConfig { cache_mib: mib, ..align.clone() });
            for round in 0..2 {
                let cached = cache.encode(&lm, &texts, Some(&prefix));
                let error: f32 = (cached - plain.clone()).abs().max().into_scalar();
                assert!(error < 1e-5, "first_layer {first_layer}, {mib} MiB, round {round}: {error}");
            }
            assert_eq!(cache.len(), if mib == 0 { 0 } else { 3 });
        }
    }
}

#[test]
fn a_cache_in_a_file_is_read_again_and_never_computed_twice() {
    let (device, dir) = (device(), tempfile::tempdir().unwrap());
    let lm = acme(2, 0, &device);
    let texts = vec![vec![1, 7, 8, 2], vec![1, 30, 2], vec![1, 9, 2]];
    let path = dir.path().join("text.rows");
    let open = || TextCache::new(&lm, &AlignConfig::default()).keep_in(&path, "acme").unwrap();
    let plain = TextCache::new(&lm, &AlignConfig::default()).encode(&lm, &texts, None).into_data();
    let cache = open();
    assert_eq!(cache.encode(&lm, &texts, None).into_data(), plain);
    drop(cache);
    let size = std::fs::metadata(&path).unwrap().len();
    let again = open();
    assert_eq!(again.len(), 3);
    assert_eq!(again.encode(&lm, &texts, None).into_data(), plain);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), size, "nothing was computed again");
}

/// Whole histories of all users.
fn histories(data: &Dataset) -> Vec<History<'_>> {
    (0..ITEMS).map(|user| History { user, items: data.train.row(user as usize) }).collect()
}

/// Towers that soon read the ID.
fn by_id() -> AlignConfig {
    AlignConfig {
        loss: AlignLoss::None,
        extra_negatives: 4,
        temperature: 0.2,
        init_std: 1.0,
        n_tok: 2,
        ..AlignConfig::default()
    }
}

#[test]
fn ids_put_out_of_order_lose_what_only_they_knew() {
    let (device, data) = (device(), dataset());
    let histories = histories(&data);
    let all: Vec<u32> = data.catalog.all().collect();
    let align = by_id();
    let text = text(&align, 2, &device);
    let (towers, scale, _) = fit(&align, &text, 1);
    // How far a user's own items stand above the others.
    let margin = |source| {
        let ids = Altered::new(ring_ids(&device), source, &data, 3);
        check_recommender(&ids, &histories, &all);
        let model = RaRec { ids, scale: scale.clone(), text: text.clone(), towers: towers.clone() };
        let scores = model.users(&histories).matmul(model.items(&all).transpose()).into_data();
        let cells = scores.iter::<f32>().zip((0..ITEMS).flat_map(|u| all.iter().map(move |&i| (u, i))));
        let (mut own, mut other) = (0.0, 0.0);
        for (score, (user, item)) in cells {
            if data.train.row(user as usize).contains(&item) { own += score / 48.0 } else { other += score / 96.0 }
        }
        own - other
    };
    let own = margin(IdSource::Own);
    for source in [IdSource::Zero, IdSource::Permuted, IdSource::Random] {
        assert!(margin(source).abs() < 0.5 * own, "{source:?}: {} against {own}", margin(source));
    }
}

#[test]
fn ids_as_tokens_of_the_input_are_learned_and_do_not_depend_on_the_batch() {
    let (device, data) = (device(), dataset());
    let align = AlignConfig {
        placement: Placement::Input,
        loss: AlignLoss::None,
        init_std: 1.0,
        n_ctx: 0,
        n_tok: 2,
        temperature: 0.2,
        extra_negatives: 4,
        ..AlignConfig::default()
    };
    let text = text(&align, 2, &device);
    let (towers, scale, curve) = fit(&align, &text, 1);
    assert!(curve.points.last().unwrap().loss < curve.points[0].loss - 0.1, "{curve:?}");
    assert_eq!(ledger(&towers).len(), 2 * 2, "two towers, W and b once: {:?}", ledger(&towers));
    let model = RaRec { ids: ring_ids(&device), scale, text, towers };
    let histories: Vec<History<'_>> =
        (0..3).map(|user| History { user, items: &data.train.row(user as usize)[..=user as usize] }).collect();
    check_recommender(&model, &histories, &[1, 2, 12]);
}

#[test]
fn distilled_towers_score_as_the_id_method_does() {
    let (device, data) = (device(), dataset());
    let align = by_id();
    let text = text(&align, 2, &device);
    let histories = histories(&data);
    let all: Vec<u32> = data.catalog.all().collect();
    let scores = |model: &dyn Recommender| model.users(&histories).matmul(model.items(&all).transpose());
    let divergence = |distill: f32| -> f32 {
        let (towers, scale, _) = fit(&AlignConfig { distill, ..align.clone() }, &text, 1);
        let model = RaRec { ids: ring_ids(&device), scale, text: text.clone(), towers };
        ra_align::distill(scores(&model) / align.temperature, scores(&ring_ids(&device))).into_scalar()
    };
    let (without, with) = (divergence(0.0), divergence(4.0));
    assert!(with < 0.5 * without, "{with} {without}");
}

#[test]
fn what_departs_from_the_paper_is_trained_kept_and_off_by_default() {
    let device = device();
    let align = AlignConfig { loss: AlignLoss::None, extra_negatives: 4, ..AlignConfig::default() };
    let text_tower = text(&align, 2, &device);
    let (plain, scale, _) = fit(&align, &text_tower, 1);
    let trained = AlignConfig { learn_temperature: true, head: true, ..align.clone() };
    let more = AlignConfig { id_residual: true, ..trained.clone() };
    let (towers, _, curve) = fit(&trained, &text_tower, 1);
    assert!(curve.points.last().unwrap().loss < 0.9 * curve.points[0].loss, "{curve:?}");
    assert_eq!(ledger(&towers).len(), ledger(&plain).len() + 3, "a temperature, two heads");
    let model = |towers| RaRec { ids: ring_ids(&device), scale: scale.clone(), text: text_tower.clone(), towers };
    assert!(with_id_score(model(towers.clone()), None).unwrap_err().to_string().contains("id_residual"));
    let history = History { user: 0, items: &[1, 2, 3, 4] };
    // A metric that likes the weight of a half.
    let weight = |model: &dyn Recommender| -> f32 {
        let own = |x: Tensor<2>| x.slice_dim(1, 16..16 + ITEMS as usize);
        let unweighed = scale.users(&ring_ids(&device), &[history]);
        (own(model.users(&[history])).abs().sum() / unweighed.abs().sum()).into_scalar()
    };
    let metric: &dyn Fn(&dyn Recommender) -> f64 = &|model| -f64::from((weight(model) - 0.5).abs());
    let towers = with_id_score(model(towers), Some(metric)).unwrap().towers;
    assert_eq!(ledger(&towers).len(), ledger(&plain).len() + 4, "and the weight of the ID's own score");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("towers.safetensors");
    save_module(&towers, &path).unwrap();
    let fresh = |align: &AlignConfig| align.towers(ITEMS as usize, &text_tower.lm, 9, &device);
    let loaded = load_module(fresh(&more), &path).unwrap();
    let histories = [history, History { user: 3, items: &[] }];
    let trained = model(towers);
    assert!((weight(&trained) - 0.5).abs() < 1e-5, "{}", weight(&trained));
    assert_eq!(trained.dim(), 16 + ITEMS as usize, "the ID vector stands beside the language model's");
    assert_eq!(trained.users(&histories).into_data(), model(loaded.clone()).users(&histories).into_data());
    check_recommender(&model(loaded), &histories, &[1, 2, 12]);
    // Before the first step they say nothing: the vectors are those of the plain towers.
    let begun = model(fresh(&more)).users(&histories).slice([0..2, 0..16]);
    assert_eq!(begun.into_data(), model(fresh(&align)).users(&histories).into_data());
}
