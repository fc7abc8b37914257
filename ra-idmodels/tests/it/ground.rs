//! Text-grounded vectors, and texts alone.
use crate::{device, features, gru4rec, ring, sasrec, short, train};
use burn::tensor::{Tensor, TensorData};
use ra_core::{Catalog, Check, Dataset, History, IdTable, ItemId, Recommender, Sequences, UserId, host_numbers};
use ra_idmodels::{GroundConfig, Grounded, IdConfig, Job, Loss, MfConfig, SasRecVariant, TextKnn, TextKnnConfig, fit};
use std::sync::Arc;

/// Four items with titles but the last: 1 occurs three times, 2 once, 3 and 4 never.
fn data() -> Dataset {
    let titles = ["a", "b", "c", ""].map(String::from).to_vec();
    let train = Sequences::from_numbers([vec![1, 2], vec![1], vec![1]]);
    let all = Dataset::from_sequences("tiny", 4, train);
    Dataset { catalog: Catalog::new(titles.clone(), titles), ..all }
}

fn ids() -> IdTable {
    let items = [[0.0, 0.0], [1.0, 2.0], [3.0, -1.0], [9.0, 9.0], [5.0, 7.0]];
    IdTable::new(Tensor::from_floats([[1.0, 0.0]], &device()), Tensor::from_floats(items, &device()))
}

fn fixed(k: f32, scale: f32) -> GroundConfig {
    GroundConfig { k: Some(k), scale: Some(scale), ..GroundConfig::default() }
}

#[test]
fn a_rare_item_moves_to_what_its_text_predicts_and_a_cold_one_is_there() {
    // Texts of length 1 along two axes: with a constant, ridge regression on two items of weights 3 and 1 by hand.
    let texts = Tensor::from_floats([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0], [2.0, 2.0], [1.0, 1.0]], &device());
    let all: Vec<ItemId> = ItemId::all(4).collect();
    let grounded = |k, scale| {
        let found = Grounded::fit(Arc::new(ids()), &data(), &texts, &fixed(k, scale), None).unwrap();
        host_numbers(found.items(&all))
    };
    // (X^T D X + I) W = X^T D Y with rows (1, 0, 1) and (0, 1, 1), D = diag(3, 1).
    let solve = |y: [f64; 2]| {
        let (a, b) = ([[4.0, 0.0, 3.0], [0.0, 2.0, 1.0], [3.0, 1.0, 5.0]], [3.0 * y[0], y[1], 3.0 * y[0] + y[1]]);
        let det = |m: [[f64; 3]; 3]| {
            m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
                + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
        };
        let column = |at: usize| {
            let mut m = a;
            (0..3).for_each(|row| m[row][at] = b[row]);
            det(m) / det(a)
        };
        [column(0), column(1), column(2)]
    };
    let w = [solve([1.0, 3.0]), solve([2.0, -1.0])];
    let half = 0.5f64.sqrt();
    let predicted = |t: [f64; 2]| w.map(|w| t[0] * w[0] + t[1] * w[1] + w[2]);
    let mix = |own: [f64; 2], text: [f64; 2], share: f64, scale: f64| {
        let text = predicted(text);
        [0, 1].map(|d| share * own[d] + (1.0 - share) * scale * text[d])
    };
    let (k, scale) = (2.0, 1.5);
    let want = [
        mix([1.0, 2.0], [1.0, 0.0], 3.0 / 5.0, scale),
        mix([3.0, -1.0], [0.0, 1.0], 1.0 / 3.0, scale),
        mix([0.0, 0.0], [half, half], 0.0, scale),
        [5.0, 7.0],
    ]
    .concat();
    let got = grounded(k as f32, scale as f32);
    assert!(got.iter().zip(&want).all(|(got, want)| (f64::from(*got) - want).abs() < 1e-4), "{got:?} {want:?}");
    let known = grounded(0.0, 1.0);
    assert_eq!([&known[..4], &known[6..]].concat(), [1.0, 2.0, 3.0, -1.0, 5.0, 7.0], "with k = 0 known items stay");
    assert_ne!(known[4..6], [9.0, 9.0], "a cold item has no vector of its own");
}

#[test]
fn a_method_reads_grounded_vectors_where_it_reads_its_own() {
    let data = Dataset { catalog: Catalog::new(names(), names()), ..ring(8) };
    let (texts, all) = (features(8), ItemId::all(8).collect::<Vec<_>>());
    let histories = [History { user: UserId(1), items: &ItemId::list([1, 2, 3]) }];
    let mf = IdConfig::Mf(MfConfig { dim: 8, train: short(3), ..MfConfig::default() });
    let brief = |config: IdConfig| match config {
        IdConfig::SasRec(own) => IdConfig::SasRec(ra_idmodels::SasRecConfig { train: short(2), ..own }),
        IdConfig::Gru4Rec(own) => IdConfig::Gru4Rec(ra_idmodels::Gru4RecConfig { train: short(2), ..own }),
        IdConfig::Bert4Rec(own) => IdConfig::Bert4Rec(ra_idmodels::Bert4RecConfig { train: short(2), ..own }),
        IdConfig::ComiRec(own) => IdConfig::ComiRec(ra_idmodels::ComiRecConfig { train: short(2), ..own }),
        other => other,
    };
    let readers = [
        sasrec(SasRecVariant::Original, Loss::Softmax, 1),
        gru4rec(Loss::Softmax, 1),
        crate::bert4rec(),
        crate::comirec(ra_idmodels::Extraction::SelfAttentive),
    ];
    for (config, reads) in readers.map(|config| (brief(config), true)).into_iter().chain([(mf, false)]) {
        let model = train(&config, &data, 1).model;
        let fit = |k| Grounded::fit(model.clone(), &data, &texts, &fixed(k, 1.0), None).unwrap();
        let (plain, grounded) = (fit(0.0), fit(50.0));
        let kind = config.kind();
        assert_eq!(host_numbers(plain.items(&all)), host_numbers(model.items(&all)), "{kind}: nothing is rare");
        assert_eq!(host_numbers(plain.users(&histories)), host_numbers(model.users(&histories)), "{kind}");
        assert_ne!(host_numbers(grounded.items(&all)), host_numbers(model.items(&all)), "{kind}: scores");
        assert_eq!(
            host_numbers(grounded.users(&histories)) != host_numbers(model.users(&histories)),
            reads,
            "{kind}: reads"
        );
    }
}

fn names() -> Vec<String> {
    (0..8).map(|i| format!("title {i}")).collect()
}

#[test]
fn numbers_left_open_are_those_that_validate_best() {
    let texts = Tensor::from_floats([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0], [2.0, 2.0], [1.0, 1.0]], &device());
    let second = |model: &dyn Recommender| host_numbers(model.items(&ItemId::list([2])))[0];
    let made = |config: &GroundConfig, metric: &dyn Fn(&dyn Recommender) -> f64| {
        Grounded::fit(Arc::new(ids()), &data(), &texts, config, Some(metric)).unwrap()
    };
    let wanted = f64::from(second(&made(&fixed(5.0, 1.0), &|_| 0.0)));
    let near = |model: &dyn Recommender| -(f64::from(second(model)) - wanted).abs();
    let found = made(&GroundConfig::default(), &near);
    assert_eq!((found.k, found.scale), (5.0, 1.0));
    let flat = made(&GroundConfig::default(), &|_| 0.5);
    assert_eq!((flat.k, flat.scale), (0.0, 1.0), "where nothing helps, known items stay as they are");
    let own = made(&GroundConfig { scale: Some(2.0), ..GroundConfig::default() }, &near);
    assert_eq!(own.scale, 2.0, "what is given is not chosen");
}

#[test]
fn what_cannot_be_grounded_is_told() {
    let fail = |data: &Dataset, config: &GroundConfig| {
        Grounded::fit(Arc::new(ids()), data, &features(4), config, None).unwrap_err().to_string()
    };
    let open = fail(&data(), &GroundConfig::default());
    assert!(open.contains("validation metric") && open.contains("set k"), "{open}");
    let untitled = Dataset { catalog: Catalog::new(vec!["x".into(); 4], vec![" ".into(); 4]), ..data() };
    assert!(fail(&untitled, &fixed(1.0, 1.0)).contains("title"));
    for (config, key) in [
        (GroundConfig { k: Some(-1.0), ..GroundConfig::default() }, "k is -1"),
        (GroundConfig { k: Some(f32::NAN), ..GroundConfig::default() }, "k is NaN"),
        (GroundConfig { scale: Some(0.0), ..GroundConfig::default() }, "scale is 0"),
        (GroundConfig { ridge: 0.0, ..GroundConfig::default() }, "ridge is 0"),
        (GroundConfig { cap: 0, ..GroundConfig::default() }, "cap is 0"),
    ] {
        let told = config.check().unwrap_err().to_string();
        assert!(told.contains(key), "{told}");
    }
}

#[test]
fn texts_alike_are_scored_by_the_decayed_cosine() {
    let rows = [[0.0f32, 0.0], [1.0, 0.0], [0.0, 1.0], [-3.0, 0.0], [0.0, -0.5]];
    let model = TextKnn::new(&Tensor::from_floats(rows, &device()), TextKnnConfig { decay: 0.5 });
    // The mean of the unit vectors is 0 here. After 1 and then 2, the user is (0.5, 1) scaled to length 1.
    let history = [History { user: UserId(0), items: &ItemId::list([1, 2]) }];
    let scores = host_numbers(model.users(&history).matmul(model.items(&ItemId::list(1..=4)).transpose()));
    let unit = 1.25f32.sqrt();
    let want = [0.5 / unit, 1.0 / unit, -0.5 / unit, -1.0 / unit];
    assert!(scores.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6), "{scores:?}");
    let empty = [History { user: UserId(0), items: &[] }];
    assert_eq!(host_numbers(model.users(&empty)), [0.0, 0.0]);
    // Old items count as much as new ones if nothing decays: 40 of the first item and 160 of the second.
    let even = TextKnn::new(&Tensor::from_floats(rows, &device()), TextKnnConfig { decay: 1.0 });
    let long: Vec<ItemId> = (0..200).map(|at| ItemId(1 + u32::from(at >= 40))).collect();
    let user = host_numbers(even.users(&[History { user: UserId(0), items: &long }]));
    assert!((user[1] / user[0] - 4.0).abs() < 1e-4, "{user:?}");
    let config: IdConfig = serde_json::from_str(r#"{"kind": "text-knn"}"#).unwrap();
    let told = fit(&config, &Job::new(&ring(4), &device())).unwrap_err().to_string();
    assert!(told.contains("a vector for each item"), "{told}");
    let numbers = TensorData::new(vec![1.0f32; 10], [5, 2]);
    let alike = TextKnn::new(&Tensor::from_data(numbers, &device()), TextKnnConfig::default());
    assert!(host_numbers(alike.users(&history)).iter().all(|x| x.is_finite()), "texts that are all alike");
}
