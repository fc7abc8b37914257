//! The cases under `tests/golden` come from an independent implementation (float64, numpy) that agrees with pytrec_eval,
//! ranx and RecBole; they are copies of `shared/fixtures/metrics`.
use ra_eval::verify_case;
use safetensors::SafeTensors;
use std::path::Path;

fn check(name: &str) {
    let folder = Path::new("tests/golden");
    let case: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap();
    let bytes = std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        tensors.tensor(name).unwrap().data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let integers = |name: &str| -> Vec<i64> {
        tensors.tensor(name).unwrap().data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()
    };
    let seen = tensors.tensor("seen").unwrap();
    let got = verify_case(&case, &floats("scores"), seen.data(), &integers("train_count")).unwrap();
    let (error, place) = got.largest_error(&case, &integers("topk")).unwrap();
    assert!(error <= 1e-6, "{name}: {error} at {place}");

    // The comparison itself detects a wrong value.
    let mut other = case.clone();
    other["mean"]["10"]["ndcg"] = (case["mean"]["10"]["ndcg"].as_f64().unwrap() + 1e-4).into();
    let (error, place) = got.largest_error(&other, &integers("topk")).unwrap();
    assert!(error > 9e-5 && place == "mean.10.ndcg", "{error} {place}");
    assert_eq!(got.largest_error(&case, &[]).unwrap().0, f64::INFINITY);
    other["mean"]["10"]["err"] = 0.5.into();
    assert!(got.largest_error(&other, &integers("topk")).unwrap_err().to_string().contains("mean.10.err"));
}

#[test]
fn leave_one_out() {
    check("loo");
}

#[test]
fn several_targets_without_ties() {
    check("noties");
}

#[test]
fn several_targets_with_ties() {
    check("ties");
}

#[test]
fn a_broken_case_says_what_is_wrong() {
    let case = serde_json::json!({ "users": 1, "items": 2, "ks": [1], "relevant": [[2]] });
    let fail = |scores: &[f32]| verify_case(&case, scores, &[0, 0], &[1, 1]).unwrap_err().to_string();
    assert!(fail(&[0.0, 1.0]).contains("not below 2"));
    assert!(fail(&[0.0]).contains("scores"));
}
