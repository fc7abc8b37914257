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
use burn::tensor::{Tensor, TensorData, Tolerance};
use letters::Letters;
use ra_align::{
    AlignConfig, AlignLoss, AlignTrain, Alignment, FitResult, IdSource, Job, PairLoss, PerturbedIds, Placement,
    PromptConfig, Prompts, RaRec, TextCache, TextTower, Towers, Tuning, with_id_score,
};
use ra_core::testkit::contract::{check_language_model, check_recommender};
use ra_core::{
    Aligner, Catalog, Dataset, Device, FitConfig, History, IdModel, IdTable, ItemId, LanguageModel, NoProgress,
    OptimConfig, Prefix, Recommender, Sequences, TextBatch, TrainBatch, UserId, encode, int_tensor, normal,
    parameter_table, rng, save_module,
};
use std::sync::Arc;

const ITEMS: u32 = 12;

/// Returns the device of the back end that `RA_REC_BACKEND` names, by default the CPU's.
pub(crate) fn device() -> Device {
    ra_core::testkit::contract::device(std::env::var("RA_REC_BACKEND").ok().as_deref())
}

/// Draws weights from a seed: all tests of the process share Burn's own generator.
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

/// Returns every number of a safetensors file of f32.
fn numbers(path: &std::path::Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[head..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// A data set in which item `t + 1` follows item `t`; titles say nothing about it.
fn dataset() -> Dataset {
    let titles = ["ant", "quail", "bee", "ox", "hen", "yak", "cat", "newt", "dog", "emu", "fox", "gnu"];
    Dataset {
        name: "ring".into(),
        users: (0..ITEMS).map(|u| u.to_string()).collect(),
        catalog: Catalog::new((0..ITEMS).map(|i| i.to_string()).collect(), titles.map(String::from).to_vec()),
        train: Sequences::from_numbers((0..ITEMS).map(|u| (u..u + 4).map(|t| t % ITEMS + 1).collect::<Vec<_>>())),
        valid: Sequences::from_numbers((0..ITEMS).map(|u| vec![(u + 4) % ITEMS + 1])),
        test: Sequences::from_numbers((0..ITEMS).map(|u| vec![(u + 5) % ITEMS + 1])),
        filter: "none".into(),
        split: "leave_one_out".into(),
    }
}

/// ID vectors that know the ring: a user's vector marks their number, an item's the users whose training ends before
/// it.
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
    Arc::new(TextTower::new(lm, prompts, align))
}

/// Aligns [`ring_ids`].
fn fit(align: &AlignConfig, text: &Arc<TextTower<AcmeLm>>, seed: u64) -> FitResult<IdTable, AcmeLm> {
    let data = dataset();
    let train = AlignTrain::default().with(|train| (train.batch, train.steps, train.optim.lr) = (12, 80, 0.05));
    let samples = data.samples();
    let job = Job { max_history: 9, seed, ..Job::new(ring_ids(&device()), text, &data, &samples, align, &train) };
    ra_align::fit(job, None, &NoProgress).unwrap()
}

#[test]
fn a_language_model_of_another_crate_meets_the_contract() {
    check_language_model(&acme(3, 0, &device()), 60);
}

#[test]
fn an_id_method_of_another_crate_trains() {
    let (data, device) = (dataset(), device());
    let users = data.users.len();
    let n = users * 3;
    let three = |from: usize| {
        let items = data.train.rows().flat_map(|row| row[from..from + 3].iter().map(|item| item.0));
        int_tensor(items, [n], &device)
    };
    let batch = TrainBatch {
        lengths: vec![3; users].into(),
        users: int_tensor((0..n).map(|k| k / 3), [n], &device),
        items: three(0),
        rows: None,
        positives: three(1),
        negatives: int_tensor((0..n).map(|k| (k / 3 + 6) % ITEMS as usize + 1), [n, 1], &device),
        shared: None,
        catalog: ITEMS as usize,
        dropout: None,
    };
    let optim = OptimConfig { lr: 0.05, ..OptimConfig::default() };
    let config = FitConfig { steps: 60, optim, ..FitConfig::default() };
    let fresh = Mf::new(users, ITEMS as usize, 8, 1, &device.clone().autodiff());
    let (mf, curve) = ra_core::Fit::new("mf", &config).run(fresh, |m, _| m.loss(&batch)).unwrap();
    assert!(curve.points.last().unwrap().loss < 0.3 * curve.points[0].loss, "{curve:?}");
    check_recommender(&mf.fitted(), &[empty(0), empty(5)], &items([1, 2, 3]));
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
        let align = by_id().with(|align| {
            align.module.first_layer = first_layer;
            (align.loss.pair_loss, align.loss.loss) = (pair_loss, loss);
            align.loss.normalize = pair_loss == PairLoss::SoftmaxInBatch;
        });
        let text = text(&align, 2, &device);
        let probe = TextBatch::from_rows(&[&[1, 7, 9]], &device);
        let before = encode(text.lm(), &probe, None).last.into_data();
        let curve = fit(&align, &text, 1).curve;
        assert!(curve.points.last().unwrap().loss < left * curve.points[0].loss, "{pair_loss:?}: {curve:?}");
        assert_eq!(encode(text.lm(), &probe, None).last.into_data(), before, "the language model was touched");
    }
}

#[test]
fn the_checkpoint_is_the_ledger_and_gives_the_same_recommender() {
    let (device, align) = (device(), AlignConfig::default().with(|align| align.module.n_ctx = 2));
    let text = text(&align, 3, &device);
    let model = fit(&align, &text, 1).model;
    let rows = parameter_table(model.towers());
    assert_eq!(rows.len(), 2 * 3 * 3, "two towers, three layers, W b c: {rows:?}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("towers.safetensors");
    save_module(model.towers(), &path).unwrap();
    let loaded = RaRec::load(ring_ids(&device), model.normalizer().clone(), text, &align, &path).unwrap();
    let histories = [History { user: UserId(0), items: &items([1, 2, 3, 4]) }, empty(3)];
    assert_eq!(model.users(&histories).into_data(), loaded.users(&histories).into_data());
    check_recommender(&loaded, &histories, &items([1, 2, 12]));
}

#[test]
fn the_same_seed_gives_the_same_bits_whatever_is_cached() {
    let align = AlignConfig::default().with(|align| {
        (align.regularize.id_noise, align.regularize.id_dropout) = (1.0, 0.2);
        (align.regularize.id_drop, align.regularize.item_id_drop) = (0.1, 0.1);
    });
    let text = text(&align, 2, &device());
    let weights = |seed| fit(&align, &text, seed).model.towers().user.parts()[0].0.to_data();
    let first = weights(1);
    assert_eq!(first, weights(1), "the second run finds every text in the cache");
    assert_ne!(first, weights(2));
}

#[test]
fn a_text_that_no_step_comes_to_is_not_read() {
    let (align, data) = (AlignConfig::default().with(|align| align.module.first_layer = -1), dataset());
    let (ids, samples) = (ring_ids(&device()), data.samples());
    let second = [acme(2, 0, &device())];
    for (steps, replicas, histories) in [(1, &[][..], 5), (3, &[], 15), (3, &second, 30), (100, &[], samples.len())] {
        let text = text(&align, 2, &device());
        let train = AlignTrain { batch: 5, steps, ..AlignTrain::default() };
        let job = Job { max_history: 9, replicas, ..Job::new(&ids, &text, &data, &samples, &align, &train) };
        assert_eq!(ra_align::fit(job, None, &NoProgress).unwrap().samples, histories);
        assert_eq!(text.cache().len(), histories + data.catalog.len(), "{steps} steps, {} replicas", replicas.len());
    }
}

#[test]
fn the_cache_agrees_with_the_plain_path_with_and_without_room() {
    let device = device();
    let lm = acme(3, 0, &device);
    let texts = vec![vec![1, 7, 8, 9, 2], vec![1, 30, 2], vec![1, 11, 12, 2]];
    let slices: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    for first_layer in [0, 2] {
        let align = AlignConfig::default().with(|align| align.module.first_layer = first_layer);
        let tower = Towers::init(&align, 4, &lm, 1, &device).user;
        let prefix: Prefix = tower.prefix(Tensor::ones([3, 1, 4], &device));
        let plain = encode(&lm, &TextBatch::from_rows(&slices, &device), Some(&prefix)).pooled;
        for mib in [0, 64] {
            let cache = TextCache::new(&lm, &align.clone().with(|align| align.cache_mib = mib));
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
    let open = || {
        let mut cache = TextCache::new(&lm, &AlignConfig::default());
        cache.keep_in(&path, "acme").unwrap();
        cache
    };
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

/// Returns items by their numbers.
fn items<const N: usize>(numbers: [u32; N]) -> [ItemId; N] {
    numbers.map(ItemId)
}

/// The history of a user who has done nothing so far.
fn empty(user: u32) -> History<'static> {
    History { user: UserId(user), items: &[] }
}

/// The whole histories of all users.
fn histories(data: &Dataset) -> Vec<History<'_>> {
    UserId::all(data.users.len()).map(|user| History { user, items: data.train.row(user) }).collect()
}

/// The configuration of towers that soon read the ID.
fn by_id() -> AlignConfig {
    AlignConfig::default().with(|align| {
        (align.module.init_std, align.module.n_tok) = (1.0, 2);
        (align.loss.loss, align.loss.extra_negatives, align.loss.temperature) = (AlignLoss::None, 4, 0.2);
    })
}

#[test]
fn ids_put_out_of_order_lose_what_only_they_knew() {
    let (device, data) = (device(), dataset());
    let histories = histories(&data);
    let all: Vec<ItemId> = data.catalog.all().collect();
    let align = by_id();
    let text = text(&align, 2, &device);
    let trained = fit(&align, &text, 1).model;
    // How far a user's own items score above the others.
    let margin = |source| {
        let ids = PerturbedIds::new(ring_ids(&device), source, &data, 3);
        check_recommender(&ids, &histories, &all);
        let (normalizer, towers) = (trained.normalizer().clone(), trained.towers().clone());
        let model = RaRec::new(ids, normalizer, text.clone(), towers);
        let scores = model.users(&histories).matmul(model.items(&all).transpose()).into_data();
        let cells =
            scores.iter::<f32>().zip(UserId::all(12).flat_map(|user| all.iter().map(move |&item| (user, item))));
        let (mut own, mut other) = (0.0, 0.0);
        for (score, (user, item)) in cells {
            if data.train.row(user).contains(&item) { own += score / 48.0 } else { other += score / 96.0 }
        }
        own - other
    };
    let own = margin(IdSource::Original);
    for source in [IdSource::Zero, IdSource::Permuted, IdSource::Random] {
        assert!(margin(source).abs() < 0.5 * own, "{source:?}: {} against {own}", margin(source));
    }
}

#[test]
fn ids_as_tokens_of_the_input_are_learned_and_do_not_depend_on_the_batch() {
    let (device, data) = (device(), dataset());
    let align = by_id().with(|align| (align.module.placement, align.module.n_ctx) = (Placement::Input, 0));
    let FitResult { model, curve, .. } = fit(&align, &text(&align, 2, &device), 1);
    assert!(curve.points.last().unwrap().loss < curve.points[0].loss - 0.1, "{curve:?}");
    let rows = parameter_table(model.towers());
    assert_eq!(rows.len(), 2 * 2, "two towers, W and b once: {rows:?}");
    let histories: Vec<History<'_>> =
        UserId::all(3).map(|user| History { user, items: &data.train.row(user)[..=user.index()] }).collect();
    check_recommender(&model, &histories, &items([1, 2, 12]));
}

#[test]
fn distilled_towers_score_as_the_id_method_does() {
    let (device, data) = (device(), dataset());
    let align = by_id();
    let text = text(&align, 2, &device);
    let histories = histories(&data);
    let all: Vec<ItemId> = data.catalog.all().collect();
    let scores = |model: &dyn Recommender| model.users(&histories).matmul(model.items(&all).transpose());
    let divergence = |distill: f32| -> f32 {
        let model = fit(&align.clone().with(|align| align.departures.distill = distill), &text, 1).model;
        ra_align::distill(scores(&model) / align.loss.temperature, scores(&ring_ids(&device))).into_scalar()
    };
    let (without, with) = (divergence(0.0), divergence(4.0));
    assert!(with < 0.5 * without, "{with} {without}");
}

/// A model whose score is an addition: the item three places before the user's.
#[derive(Debug)]
struct ThreeBack;

impl Recommender for ThreeBack {
    fn dim(&self) -> usize {
        1
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        Tensor::zeros([histories.len(), 1], &device())
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        Tensor::zeros([items.len(), 1], &device())
    }
    fn additions(&self, history: &History<'_>) -> Vec<(ItemId, f32)> {
        vec![(ItemId((history.user.0 + ITEMS - 3) % ITEMS + 1), 6.0)]
    }
}

#[test]
fn another_model_can_be_the_teacher_counts_included() {
    let (device, data) = (device(), dataset());
    let align = by_id().with(|align| (align.departures.distill, align.departures.distill_scale) = (4.0, 1.0));
    let text = text(&align, 2, &device);
    let histories = histories(&data);
    let all: Vec<ItemId> = data.catalog.all().collect();
    let vectors = Tensor::cat(vec![Tensor::zeros([1, 1], &device), ThreeBack.items(&all)], 0);
    let wanted = ra_core::scores(&ThreeBack, &histories, &vectors).slice_dim(1, 1..all.len() + 1);
    let train = AlignTrain::default().with(|train| (train.batch, train.steps, train.optim.lr) = (12, 80, 0.05));
    let samples = data.samples();
    let divergence = |teacher| -> f32 {
        let job = Job::new(ring_ids(&device), &text, &data, &samples, &align, &train);
        let job = Job { max_history: 9, teacher, ..job };
        let model = ra_align::fit(job, None, &NoProgress).unwrap().model;
        let scores = model.users(&histories).matmul(model.items(&all).transpose());
        ra_align::distill(scores / align.loss.temperature, wanted.clone()).into_scalar()
    };
    let (by_id, by_other) = (divergence(None), divergence(Some(&ThreeBack)));
    assert!(by_other < 0.7 * by_id, "{by_other} {by_id}");
}

#[test]
fn what_departs_from_the_paper_is_trained_kept_and_off_by_default() {
    let device = device();
    let align =
        AlignConfig::default().with(|align| (align.loss.loss, align.loss.extra_negatives) = (AlignLoss::None, 4));
    let text_tower = text(&align, 2, &device);
    let plain = fit(&align, &text_tower, 1).model;
    let trained = align.clone().with(|align| (align.loss.learn_temperature, align.departures.head) = (true, true));
    let more = trained.clone().with(|align| align.departures.id_residual = true);
    let FitResult { model, curve, .. } = fit(&trained, &text_tower, 1);
    assert!(curve.points.last().unwrap().loss < 0.9 * curve.points[0].loss, "{curve:?}");
    let rows = parameter_table(plain.towers()).len();
    assert_eq!(parameter_table(model.towers()).len(), rows + 3, "a temperature, two heads");
    let beside = |towers| RaRec::new(ring_ids(&device), plain.normalizer().clone(), text_tower.clone(), towers);
    let refused = with_id_score(beside(model.towers().clone()), None).unwrap_err().to_string();
    assert!(refused.contains("id_residual"), "{refused}");
    let history = History { user: UserId(0), items: &items([1, 2, 3, 4]) };
    // A metric that is highest at a weight of one half.
    let weight = |model: &dyn Recommender| -> f32 {
        let own = |x: Tensor<2>| x.slice_dim(1, 16..16 + ITEMS as usize);
        let unweighed = plain.normalizer().users(&ring_ids(&device), &[history]);
        (own(model.users(&[history])).abs().sum() / unweighed.abs().sum()).into_scalar()
    };
    let metric: &dyn Fn(&dyn Recommender) -> f64 = &|model| -f64::from((weight(model) - 0.5).abs());
    let model = with_id_score(model, Some(metric)).unwrap();
    assert_eq!(parameter_table(model.towers()).len(), rows + 4, "and the weight of the ID's own score");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("towers.safetensors");
    save_module(model.towers(), &path).unwrap();
    let normalizer = model.normalizer().clone();
    let loaded = RaRec::load(ring_ids(&device), normalizer, text_tower.clone(), &more, &path).unwrap();
    let histories = [history, empty(3)];
    assert!((weight(&model) - 0.5).abs() < 1e-5, "{}", weight(&model));
    assert_eq!(model.dim(), 16 + ITEMS as usize, "the ID vector stands beside the language model's");
    assert_eq!(model.users(&histories).into_data(), loaded.users(&histories).into_data());
    check_recommender(&loaded, &histories, &items([1, 2, 12]));
    // Before the first step they change nothing: the vectors are those of the plain towers.
    let fresh = |align: &AlignConfig| beside(Towers::init(align, ITEMS as usize, text_tower.lm(), 9, &device));
    let begun = fresh(&more).users(&histories).slice([0..2, 0..16]);
    assert_eq!(begun.into_data(), fresh(&align).users(&histories).into_data());
}

#[test]
fn four_parts_are_enough_and_a_text_tower_of_other_settings_is_refused() {
    let (device, data) = (device(), dataset());
    let train = AlignTrain { steps: 60, batch: 12, ..AlignTrain::recommended() };
    // With so few items, negatives beyond those of the batch would mostly be targets. Without noise the loss falls
    // soon.
    let few = AlignConfig::recommended().with(|config| {
        config.loss.extra_negatives = 0;
        (config.regularize.id_noise, config.regularize.id_dropout) = (0.0, 0.0);
    });
    let alignment =
        Alignment::new(ring_ids(&device), acme(2, 0, &device), &Letters, &data).config(few).train(train.clone());
    let FitResult { model, curve, samples } = alignment.fit().unwrap();
    let guess = 12f64.ln(); // among the targets of a batch
    assert!(curve.points.last().unwrap().loss < 0.95 * guess, "{curve:?}");
    assert_eq!((samples, model.text().cache().len()), (36, 36 + 12), "each text once");
    check_recommender(&model, &histories(&data)[..3], &items([1, 2, 12]));

    let long = PromptConfig { user: "x".repeat(99), ..PromptConfig::default() };
    let alignment = Alignment::new(ring_ids(&device), acme(2, 0, &device), &Letters, &data).prompt(long);
    assert!(alignment.fit().unwrap_err().to_string().contains("64 tokens"));
    let samples = data.samples();
    let text = text(&AlignConfig::recommended(), 2, &device);
    let changes: [fn(&mut AlignConfig); 3] = [
        |align| align.module.first_layer = 0,
        |align| align.loss.normalize = false,
        |align| align.loss.loss = AlignLoss::Mse,
    ];
    for change in changes {
        let align = AlignConfig::recommended().with(change);
        let job = Job::new(ring_ids(&device), &text, &data, &samples, &align, &train);
        let told = ra_align::fit(job, None, &NoProgress).unwrap_err().to_string();
        assert!(told.contains("the text tower was made for another"), "{align:?}: {told}");
    }
    let tuned = AlignConfig::recommended().with(|align| align.tuning.tune = Tuning::Full);
    let job = Job::new(ring_ids(&device), &text, &data, &samples, &tuned, &train);
    let told = ra_align::fit(job, None, &NoProgress).unwrap_err().to_string();
    assert!(told.contains("shows its weights") && told.contains("TunableMatrices"), "{told}");
}

#[test]
fn a_checkpoint_is_loaded_with_the_text_tower_of_its_configuration_only() {
    let (device, dir, align) = (device(), tempfile::tempdir().unwrap(), by_id());
    let (path, text_tower) = (dir.path().join("towers.safetensors"), text(&align, 2, &device));
    let FitResult { model, .. } = fit(&align, &text_tower, 1);
    save_module(model.towers(), &path).unwrap();
    let load = |text: &Arc<TextTower<AcmeLm>>, align: &AlignConfig| {
        RaRec::load(ring_ids(&device), model.normalizer().clone(), text.clone(), align, &path)
    };
    let loaded = load(&text_tower, &align).unwrap();
    let histories = [empty(0), empty(3)];
    assert_eq!(loaded.users(&histories).into_data(), model.users(&histories).into_data());
    let shifted = by_id().with(|align| align.loss.normalize = !align.loss.normalize);
    let other = text(&shifted, 2, &device);
    assert!(load(&other, &align).unwrap_err().to_string().contains("the text tower was made for another"));
    let tuned = by_id().with(|align| align.tuning.tune = Tuning::Full);
    let told = load(&text(&tuned, 2, &device), &tuned).unwrap_err().to_string();
    assert!(told.contains("TunableMatrices"), "{told}");
    let deeper = by_id().with(|align| align.module.first_layer = 99);
    assert!(load(&text_tower, &deeper).is_err());
}

#[test]
fn a_training_resumes_its_own_state_and_no_other() {
    let (device, data, dir, align) = (device(), dataset(), tempfile::tempdir().unwrap(), by_id());
    let (path, text_tower, samples) = (dir.path().join("state"), text(&align, 2, &device), data.samples());
    let train = AlignTrain::default().with(|train| (train.batch, train.steps, train.optim.cosine) = (12, 6, false));
    let longer = AlignTrain { steps: 12, ..train.clone() };
    let job =
        |train| Job { state: Some(&path), ..Job::new(ring_ids(&device), &text_tower, &data, &samples, &align, train) };
    let vectors = |job| {
        let FitResult { model, .. } = ra_align::fit(job, None, &NoProgress).unwrap();
        model.items(&items([1, 5])).into_data()
    };
    vectors(job(&train));
    let whole = vectors(Job { state: None, ..job(&longer) });
    let state = std::fs::read(&path).unwrap();

    let (batch, chunk) = (AlignTrain { batch: 6, ..longer.clone() }, AlignTrain { chunk: 3, ..longer.clone() });
    let wider = by_id().with(|align| align.regularize.id_noise += 0.1);
    let mut grown = data.clone();
    grown.valid = Sequences::from_numbers((0..ITEMS).map(|_| vec![1]));
    for (what, other) in [
        ("seed", Job { seed: 2, ..job(&longer) }),
        ("samples", Job { samples: &samples[1..], ..job(&longer) }),
        ("history", Job { max_history: 2, ..job(&longer) }),
        ("data", Job { dataset: &grown, ..job(&longer) }),
        ("batch", job(&batch)),
        ("chunk", job(&chunk)),
        ("configuration", Job { align: &wider, ..job(&longer) }),
    ] {
        let told = ra_align::fit(other, None, &NoProgress).map(drop).unwrap_err().to_string();
        assert!(told.contains("started with other settings"), "{what}: {told}");
        assert_eq!(std::fs::read(&path).unwrap(), state, "{what}: the state of another training stays as it is");
    }
    assert_eq!(vectors(job(&longer)), whole);
}

#[test]
fn titles_in_a_file_are_encoded_once_and_read_again() {
    let (device, dir) = (device(), tempfile::tempdir().unwrap());
    let path = dir.path().join("titles.rows");
    let titles = ["a lamp", "a chair", "a lamp", "a long wooden table", ""];
    let catalog = |count: usize| {
        let titles: Vec<String> = titles[..count].iter().map(ToString::to_string).collect();
        Catalog::new((0..count).map(|item| item.to_string()).collect(), titles)
    };
    let lm = acme(3, 0, &device);
    let encode = |lm: &dyn LanguageModel, count| {
        ra_align::encode_titles_in(&path, "acme", lm, &Letters, &catalog(count), &NoProgress).unwrap().into_data()
    };
    let plain = ra_align::encode_titles(&lm, &Letters, &catalog(5), &NoProgress).unwrap();
    // The first run was killed after four items.
    encode(&lm, 4);
    let size = std::fs::metadata(&path).unwrap().len();
    let whole = encode(&lm, 5);
    let most: f32 = plain.clone().abs().max().into_scalar();
    whole.assert_approx_eq(&plain.into_data(), Tolerance::<f32>::absolute(1.2e-6 * most));
    assert!(std::fs::metadata(&path).unwrap().len() > size, "the fifth title was new");
    // Another model under the same key would be a mistake; here it shows that nothing is encoded again.
    assert_eq!(encode(&acme(3, 1, &device), 5), whole);
    let error = ra_align::encode_titles_in(&path, "other", &lm, &Letters, &catalog(5), &NoProgress).unwrap_err();
    assert!(error.to_string().contains("titles.rows"), "{error}");
}
