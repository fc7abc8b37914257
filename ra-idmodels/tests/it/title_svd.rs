//! Singular vectors of users and words: golden values from Python, choices, and what is kept.
use super::{device, shop};
use burn::tensor::Tensor;
use ra_core::testkit::contract::check_recommender;
use ra_core::{Catalog, Dataset, History, ItemId, Recommender, UserId};
use ra_idmodels::{IdMethod, Job, TitleSvdConfig};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

const OPEN: TitleSvdConfig = TitleSvdConfig { dim: 512, titles: None, popularity: None, power: None, decay: None };

fn fixed(titles: f32, popularity: f32, power: f32, decay: f32) -> TitleSvdConfig {
    let [titles, popularity, power, decay] = [titles, popularity, power, decay].map(Some);
    TitleSvdConfig { titles, popularity, power, decay, ..OPEN }
}

fn taken() -> Dataset {
    shop([vec![1, 2], vec![1, 2, 5], vec![3, 4]])
}

/// The scores of all items but padding.
fn scores(model: &dyn Recommender, items: usize, history: &[u32]) -> Vec<f32> {
    let (all, read) = (ItemId::list(1..=items as u32), ItemId::list(history.to_vec()));
    let history = History { user: UserId(0), items: &read };
    let scores: Tensor<2> = model.users(&[history]).matmul(model.items(&all).transpose());
    scores.into_data().iter().collect()
}

fn agree(found: &[f32], wanted: &[f32]) {
    let near = found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 2e-5);
    assert!(near, "{found:?}, not {wanted:?}");
}

#[test]
fn scores_are_those_of_the_decomposition() {
    let (data, device) = (taken(), device());
    let check = |config: TitleSvdConfig, wanted: &[f32]| {
        let fitted = ra_idmodels::fit(&config, &Job::new(&data, &device)).unwrap();
        agree(&scores(&*fitted.model, 5, &[1, 3]), wanted);
    };
    // All directions with their eigenvalues are the matrix itself.
    check(fixed(3.0, 0.35, 1.0, 0.6), &[1.4194913, 0.3889576, 1.7451815, 0.3789291, 0.1944788]);
    check(fixed(3.0, 0.35, 0.5, 0.6), &[0.9267062, 0.118549, 1.304832, 0.1422917, 0.0652849]);
    let two = TitleSvdConfig { dim: 2, ..fixed(3.0, 0.2, 0.7, 0.6) };
    check(two, &[0.8365122, 1.0953121, 0.5548341, 0.8208715, 0.3447864]);
    // Without words, with as much weight as users give: the users that two items share.
    check(fixed(0.0, 0.0, 1.0, 1.0), &[2.0, 2.0, 1.0, 1.0, 1.0]);
    check(OPEN, &[1.2979527, 0.1139813, 1.4849449, 0.079847, 0.0599108]);
}

#[test]
fn it_chooses_on_validation_keeps_its_vectors_and_reads_new_titles() {
    let (data, device) = (taken(), device());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("title-svd.safetensors");
    // The metric is how much more two scarves have to do with each other than a scarf with a knife.
    let metric = |model: &dyn Recommender| {
        let found = scores(model, 5, &[1]);
        f64::from(found[2] - found[1])
    };
    let fitted = TitleSvdConfig::fit(&OPEN, &Job::new(&data, &device).validate(&metric)).unwrap();
    assert_eq!(fitted.choices, ["titles = 12, popularity = 0.2, power = 1, decay = 0.8"]);
    let alone = ra_idmodels::fit(&fixed(12.0, 0.2, 1.0, 0.8), &Job::new(&data, &device)).unwrap();
    assert_eq!(scores(&*fitted.model, 5, &[1, 3]), scores(&*alone.model, 5, &[1, 3]), "as if it were given");
    let kept = TitleSvdConfig { titles: Some(4.0), ..OPEN };
    let kept = TitleSvdConfig::fit(&kept, &Job::new(&data, &device).validate(&metric)).unwrap();
    assert!(kept.choices[0].starts_with("titles = 4,"), "{:?}", kept.choices);

    let plain = ra_idmodels::fit(&OPEN, &Job::new(&data, &device)).unwrap();
    plain.save(&path).unwrap();
    let loaded = TitleSvdConfig::load(&OPEN, &Job::new(&data, &device), &path).unwrap();
    assert_eq!(loaded.choices, plain.choices);
    assert_eq!(scores(&*loaded.model, 5, &[1, 3]), scores(&*plain.model, 5, &[1, 3]));
    let items = ItemId::list([1, 3]);
    check_recommender(&*loaded.model, &[History { user: UserId(0), items: &items }], &ItemId::list(1..=5));

    // Two items are added at the end: another scarf, and one without words in common.
    let mut titles: Vec<String> = data.catalog.all().map(|item| data.catalog.title(item).into()).collect();
    titles.extend(["green wool scarf".to_owned(), "chair".into()]);
    let ids = (1..=7).map(|item| item.to_string()).collect();
    let grown = Dataset { catalog: Catalog::new(ids, titles), ..data };
    let grown = TitleSvdConfig::load(&OPEN, &Job::new(&grown, &device).known_items(5), &path).unwrap();
    let of = |history| scores(&*grown.model, 7, history);
    agree(&of(&[1, 3])[..5], &scores(&*plain.model, 5, &[1, 3]));
    agree(&of(&[1, 3])[5..], &[0.476355, 0.0]);
    assert_eq!(grown.choices, plain.choices);
    agree(&of(&[6]), &[0.3044731, -0.0311547, 0.3087896, -0.009575, -0.0155233, 0.1073574, 0.0]);
}

#[test]
fn a_checkpoint_with_numbers_that_no_fit_gives_is_refused_by_name() {
    let (data, device) = (taken(), device());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("title-svd.safetensors");
    ra_idmodels::fit(&OPEN, &Job::new(&data, &device)).unwrap().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let load = || TitleSvdConfig::load(&OPEN, &Job::new(&data, &device), &path);
    assert!(load().is_ok());
    let broken = [
        ("sizes", 0.0f32, "no number"),
        ("values", -1.0, "no number"),
        ("vectors", f32::NAN, "no number"),
        ("chosen", 1e9, "titles is"),
    ];
    for (tensor, number, told) in broken {
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let changed: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = file
            .iter()
            .map(|(name, view)| {
                let mut data = view.data().to_vec();
                if name.starts_with(tensor) {
                    data[..4].copy_from_slice(&number.to_le_bytes());
                }
                (name.to_owned(), view.dtype(), view.shape().to_vec(), data)
            })
            .collect();
        let views = changed
            .iter()
            .map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let error = load().unwrap_err().to_string();
        assert!(error.contains("title-svd.safetensors") && error.contains(told), "{tensor}: {error}");
    }
}

#[test]
fn an_empty_history_scores_zero_and_a_catalogue_nobody_took_or_without_titles_has_numbers() {
    let device = device();
    let model = ra_idmodels::fit(&OPEN, &Job::new(&taken(), &device)).unwrap().model;
    assert_eq!(scores(&*model, 5, &[]), [0.0; 5]);
    for data in [shop([vec![], vec![]]), Dataset::from_sequences("bare", 5, taken().train.clone())] {
        let items = data.catalog.len();
        let model = ra_idmodels::fit(&OPEN, &Job::new(&data, &device));
        let found = scores(&*model.unwrap().model, items, &[1]);
        assert!(found.iter().all(|score| score.is_finite()), "{found:?}");
    }
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let (data, device) = (taken(), device());
    for (config, told) in [
        (TitleSvdConfig { dim: 0, ..OPEN }, "dim is"),
        (TitleSvdConfig { titles: Some(-1.0), ..OPEN }, "titles is"),
        (TitleSvdConfig { popularity: Some(f32::NAN), ..OPEN }, "popularity is"),
        (TitleSvdConfig { power: Some(f32::INFINITY), ..OPEN }, "power is"),
        (TitleSvdConfig { decay: Some(0.0), ..OPEN }, "decay is"),
    ] {
        let error = ra_idmodels::fit(&config, &Job::new(&data, &device)).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}
