//! What a user relies on in methods that read a history: order, samples, and gradients.
use crate::{device, ring, sasrec, short, train, unisrec};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use ra_core::{Dataset, History, IdModel, ItemId, Recommender, Sequences, UserId, indices};
use ra_idmodels::{
    AlphaFuseConfig, BsaRecConfig, FeatureMap, HstuConfig, IdConfig, Job, LearnedMethod, Loss, MOST_FOR_SOFTMAX,
    RecentConfig, SasRecConfig, SasRecInit, SasRecVariant, TrainConfig, UniSRecConfig,
};
use std::sync::Arc;

pub(crate) fn augmented(variant: SasRecVariant) -> IdConfig {
    let IdConfig::SasRec(config) = sasrec(variant, Loss::Softmax, 0) else { unreachable!() };
    IdConfig::SasRec(SasRecConfig { augment: true, train: short(60), ..config })
}

pub(crate) fn bsarec() -> BsaRecConfig {
    BsaRecConfig { dim: 16, max_length: 6, dropout: 0.1, train: short(60), ..BsaRecConfig::default() }
}

/// Methods that learn from negatives that a batch shares.
pub(crate) fn shared() -> [IdConfig; 3] {
    let (loss, negatives) = (Loss::SharedSoftmax, 16);
    let IdConfig::UniSRec(text) = unisrec(FeatureMap::Mlp) else { unreachable!() };
    [
        sasrec(SasRecVariant::Original, loss, negatives),
        IdConfig::BsaRec(BsaRecConfig { loss, negatives, ..bsarec() }),
        IdConfig::UniSRec(UniSRecConfig { loss, negatives, ..text }),
    ]
}

pub(crate) fn hstu() -> HstuConfig {
    HstuConfig { dim: 16, heads: 2, max_length: 6, dropout: 0.1, train: short(200), ..HstuConfig::default() }
}

/// The given vectors of the tests are 24 wide, so that 8 columns are random.
pub(crate) fn from_text() -> IdConfig {
    let IdConfig::SasRec(config) = sasrec(SasRecVariant::Modern, Loss::Softmax, 0) else { unreachable!() };
    IdConfig::SasRec(SasRecConfig { dim: 32, init: SasRecInit::Text, ..config })
}

pub(crate) fn alphafuse() -> IdConfig {
    let base = AlphaFuseConfig { dim: 16, semantic: 6, max_length: 6, dropout: 0.1, ..AlphaFuseConfig::default() };
    IdConfig::AlphaFuse(AlphaFuseConfig { train: short(150), ..base })
}

#[test]
fn what_is_given_is_frozen_in_alphafuse_and_a_start_in_sasrec() {
    let (data, device) = (ring(7), device());
    let given = crate::features(7);
    let job = Job::new(&data, &device).features(&given);
    let IdConfig::AlphaFuse(mut fuse) = alphafuse() else { unreachable!() };
    let semantic = |table: Tensor<2>| table.slice([0..8, 0..6]).into_data();
    let fresh = fuse.init(&given, 1, &device).unwrap().table();
    assert_eq!(semantic(fuse.init(&given, 2, &device).unwrap().table()), semantic(fresh.clone()));
    fuse.train = short(3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fuse.safetensors");
    let trained = ra_idmodels::fit(&fuse, &job).unwrap();
    trained.save(&path).unwrap();
    let numbers: usize = trained.parameters.iter().map(|row| row.params).filter(|&n| n % 8 == 0 && n / 8 == 10).sum();
    assert_eq!(numbers, 80, "ten of sixteen columns are trained: {:?}", trained.parameters);
    let deviation =
        fresh.clone().slice([1..8, 0..6]).square().mean_dim(0).into_data().iter::<f32>().collect::<Vec<_>>();
    assert!(deviation.iter().all(|d| (d - 1.0).abs() < 1e-3), "standardised: {deviation:?}");

    let IdConfig::SasRec(start) = from_text() else { unreachable!() };
    let first = start.fresh(&job, 1, &device).unwrap().table();
    assert_eq!(first.dims(), [8, 32]);
    let distances = |x: Tensor<2>| (x.clone().slice([1..5]) - x.slice([4..8])).square().sum_dim(1).sqrt();
    let ratio = distances(first.clone().slice([0..8, 0..24])) / distances(given.clone());
    let ratio: Vec<f32> = ratio.into_data().iter().collect();
    assert!(ratio.iter().all(|r| (r / ratio[0] - 1.0).abs() < 1e-3), "titles as far apart as given: {ratio:?}");
    let fitted = ra_idmodels::fit(&SasRecConfig { train: short(3), ..start.clone() }, &job).unwrap();
    assert_ne!(fitted.model.items(&ItemId::list(0..=7)).into_data(), first.into_data(), "it is trained");
    let missing = ra_idmodels::fit(&start, &Job::new(&data, &device)).unwrap_err().to_string();
    assert!(missing.contains("vectors"), "{missing}");
    assert!(start.wants_features() && !SasRecConfig::default().wants_features());
}

#[test]
fn a_later_item_does_not_change_an_earlier_state() {
    let device = device();
    let rows: Vec<u32> = vec![2, 4, 4, 1, 5];
    let read = |rows: &[u32]| (indices(rows.to_vec(), &device), Arc::<[usize]>::from([rows.len()]));
    let mut other = rows.clone();
    other[4] = 3;
    let check = |states: &dyn Fn(&[u32]) -> Tensor<2>, what: &str| {
        let first = |rows: &[u32]| states(rows).slice([0..4]).into_data();
        assert_eq!(first(&rows), first(&other), "{what}");
        assert_ne!(states(&rows).into_data(), states(&other).into_data(), "{what}: the last state reads the last item");
    };
    for variant in [SasRecVariant::Original, SasRecVariant::Modern, SasRecVariant::Ligr] {
        let model = SasRecConfig { variant, max_length: 6, ..SasRecConfig::default() }.init(5, 1, &device);
        let states = |rows: &[u32]| {
            let (items, lengths) = read(rows);
            model.states(items, &lengths, None)
        };
        check(&states, &format!("{variant:?}"));
    }
    let model = hstu().init(5, 1, &device);
    let states = |rows: &[u32]| {
        let (items, lengths) = read(rows);
        model.states(items, &lengths, None)
    };
    check(&states, "hstu");
    // Positions are relative: a state is that of the shorter history, which training at every position relies on.
    let ahead = states(&rows[..3]).into_data();
    states(&rows).slice([0..3]).into_data().assert_approx_eq(&ahead, burn::tensor::Tolerance::<f32>::absolute(1e-5));
}

/// What parameters have no gradient, a gradient of zeros, or one that is not finite.
struct Faults {
    grads: GradientsParams,
    parameters: usize,
    found: Vec<String>,
}

impl ModuleVisitor for Faults {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.parameters += 1;
        let told = match self.grads.remove::<D>(param.id) {
            None => Some("none".to_string()),
            Some(grad) => {
                let size: f32 = grad.abs().sum().into_scalar();
                (size == 0.0 || !size.is_finite()).then(|| size.to_string())
            }
        };
        self.found.extend(told.map(|told| format!("{:?}: {told}", param.dims())));
    }
}

#[test]
fn every_parameter_has_a_finite_gradient() {
    fn check<M: LearnedMethod>(config: &M, data: &Dataset) {
        let device = device();
        let job = Job::new(data, &device);
        let model = config.fresh(&job, 1, &job.training_device()).unwrap();
        let grads = model.loss(&config.batches(&job).batch(0)).backward();
        let grads = GradientsParams::from_grads(grads, &model);
        let mut faults = Faults { grads, parameters: 0, found: Vec::new() };
        model.visit(&mut faults);
        assert!(faults.parameters > 10 && faults.found.is_empty(), "{config:?}: {:?}", faults.found);
    }
    let data = ring(7);
    for augment in [false, true] {
        let base = SasRecConfig { dim: 16, max_length: 6, augment, ..SasRecConfig::default() };
        check(&SasRecConfig { variant: SasRecVariant::Ligr, ..base }, &data);
    }
    check(&bsarec(), &data);
    check(&hstu(), &data);
    // A history of one item has one key, whose position alone can be read.
    let pairs = Dataset { train: Sequences::from_numbers(vec![vec![1, 2]; 24]), ..ring(7) };
    let trained = train(&IdConfig::BsaRec(bsarec()), &pairs, 1);
    let all: f32 = trained.model.items(&ItemId::list(1..=7)).abs().sum().into_scalar();
    assert!(all.is_finite());
}

#[test]
fn the_loss_by_size_is_one_of_two_and_both_train() {
    let items =
        |config: &IdConfig, data: &Dataset| train(config, data, 3).model.items(&ItemId::list(1..=7)).into_data();
    let of = |loss, negatives| IdConfig::BsaRec(BsaRecConfig { loss, negatives, train: short(2), ..bsarec() });
    let (small, large) = (ring(7), ring(MOST_FOR_SOFTMAX as u32 + 1));
    assert_eq!(items(&of(Loss::BySize, 9), &small), items(&of(Loss::Softmax, 9), &small));
    assert_eq!(items(&of(Loss::BySize, 9), &large), items(&of(Loss::SharedSoftmax, 9), &large));
    assert_ne!(items(&of(Loss::SharedSoftmax, 9), &small), items(&of(Loss::Softmax, 9), &small));
}

#[test]
fn a_training_takes_no_more_steps_than_it_may() {
    let data = ring(7);
    let items = |epochs, max_steps| {
        let base = bsarec();
        let train_config = TrainConfig { epochs, max_steps, ..short(0) };
        let steps = base.batches(&Job::new(&data, &device())).steps();
        let config = IdConfig::BsaRec(BsaRecConfig { train: train_config, ..base });
        (train(&config, &data, 3).model.items(&ItemId::list(1..=7)).into_data(), steps)
    };
    let (two, steps) = items(2, 0);
    assert!(steps > 1);
    assert_eq!(items(50, 2 * steps).0, two);
    assert_eq!(items(2, 100 * steps).0, two);
    assert_ne!(items(50, 2 * steps + 1).0, two, "a bound need not be a whole epoch");
    let validations = std::cell::Cell::new(0);
    let count = |_: &dyn Recommender| {
        validations.set(validations.get() + 1);
        1.0
    };
    let validated = |validate_every| {
        validations.set(0);
        let train = TrainConfig { epochs: 50, max_steps: 2 * steps, validate_every, ..short(0) };
        let config = IdConfig::BsaRec(BsaRecConfig { train, ..bsarec() });
        let device = device();
        ra_idmodels::fit(&config, &Job::new(&data, &device).validate(&count)).unwrap();
        validations.get()
    };
    assert!(validated(50) >= 4, "epochs are longer than the training");
    assert_eq!(validated(0), 0);
}

#[test]
fn what_is_recent_counts_before_what_is_popular() {
    let train = Sequences::from_numbers([vec![1, 1, 1, 2], vec![1, 3, 2], vec![1, 4, 3], vec![]]);
    let data = Dataset::from_sequences("shop", 5, train);
    let scores = |window| -> Vec<f32> {
        let model = ra_idmodels::fit(&RecentConfig { window }, &Job::new(&data, &device())).unwrap().model;
        let user = model.users(&[History { user: UserId(3), items: &[] }]);
        user.matmul(model.items(&ItemId::list(1..=5)).transpose()).into_data().iter().collect()
    };
    // Item 1 occurs 5 times, so a recent interaction counts 6, and any other nothing but itself.
    assert_eq!(scores(1), [5.0, 2.0 + 12.0, 2.0 + 6.0, 1.0, 0.0]);
    assert_eq!(scores(2), [5.0 + 6.0, 2.0 + 12.0, 2.0 + 12.0, 1.0 + 6.0, 0.0]);
}
