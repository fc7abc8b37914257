//! Settings that cannot work or have no effect are all reported at once, before any file is read.
use super::message;
use ra_core::Check;
use ra_data::{Budget, Columns, CurateConfig, CurateMethod, DataConfig, Split, TimePoint};
use std::path::PathBuf;

fn log() -> DataConfig {
    DataConfig { interactions: Some(PathBuf::from("no-such-file.tsv")), ..DataConfig::default() }
}

#[test]
fn every_problem_is_told_at_once_with_its_key_and_value() {
    let config = DataConfig { leave_n: 0, ratio_test: 1.5, min_rating: Some(f64::NAN), ..log() };
    let keys: Vec<String> = config.problems().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["ratio_test", "leave_n", "min_rating"]);
    let told = message(&config);
    assert!(
        keys.iter().all(|key| told.contains(&format!("{key} is "))) && told.contains("is 1.5, which is not a share"),
        "{told}"
    );
    assert_eq!(log().problems(), []);
}

#[test]
fn a_key_without_effect_is_an_error() {
    let number = || Some(TimePoint::Number(5.0));
    let cases = [
        (DataConfig { ratio_test: 0.2, ..log() }, "ratio_test"),
        (DataConfig { ratio_valid: 0.2, split: Split::Temporal, ..log() }, "ratio_valid"),
        (DataConfig { temporal_test: 0.2, split: Split::Ratio, ..log() }, "temporal_test"),
        (DataConfig { temporal_test_from: number(), ..log() }, "temporal_test_from"),
        (
            DataConfig { split: Split::Temporal, temporal_test: 0.2, temporal_test_from: number(), ..log() },
            "temporal_test",
        ),
        (DataConfig { leave_n: 3, ..log() }, "leave_n"),
        (
            DataConfig { columns: Columns { rating: Some("stars".into()), ..Columns::default() }, ..log() },
            "columns.rating",
        ),
        (
            DataConfig {
                columns: Columns { user: Some("id".into()), item: Some("id".into()), ..Columns::default() },
                ..log()
            },
            "columns.item",
        ),
    ];
    for (config, key) in cases {
        let problems = config.problems();
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), [key], "{problems:?}");
    }
}

#[test]
fn cuts_in_the_wrong_order_are_refused_before_a_file_is_read() {
    let with = |valid: &str, test: &str| DataConfig {
        split: Split::Temporal,
        temporal_valid_from: Some(TimePoint::Text(valid.into())),
        temporal_test_from: Some(TimePoint::Text(test.into())),
        ..log()
    };
    for (valid, test) in [("2014-06-15", "2014-05-01"), ("2014-05-01", "2014-05-01T00:00:00Z")] {
        let told = message(&with(valid, test));
        assert!(told.contains("temporal_valid_from") && told.contains(valid) && told.contains(test), "{told}");
    }
    assert!(message(&with("2014-05-01", "2014-06-15")).contains("no-such-file.tsv"));
    assert!(message(&with("05/01/2014", "2014-06-15")).contains("is not a date"));
}

#[test]
fn a_budget_is_a_share_or_a_count() {
    let with = |budget, method| CurateConfig { budget, method, ..CurateConfig::default() };
    for budget in
        [Budget::Share(-3.0), Budget::Share(0.0), Budget::Share(1.5), Budget::Share(f64::NAN), Budget::Count(0)]
    {
        let told = with(budget, CurateMethod::Random).check().unwrap_err().to_string();
        assert!(told.contains("budget is ") && told.contains("0.06") && told.contains("5000"), "{told}");
    }
    assert!(with(Budget::Share(0.1), CurateMethod::All).check().unwrap_err().to_string().contains("no effect"));
    for (text, budget, told) in [
        ("1", Budget::Count(1), "1 sample"),
        ("1.0", Budget::Share(1.0), "1.0 of the samples"),
        ("5000", Budget::Count(5000), "5000 samples"),
        ("-1", Budget::Share(-1.0), "-1.0 of the samples"),
    ] {
        assert_eq!(serde_json::from_str::<Budget>(text).unwrap(), budget, "the point alone tells them apart");
        assert_eq!(budget.to_string(), told);
        assert_eq!(with(budget, CurateMethod::Paper).oddities().len(), usize::from(text == "1"), "{text}");
    }
    for budget in [Budget::Share(1.0), Budget::Share(0.06), Budget::Count(1)] {
        assert!(with(budget, CurateMethod::Paper).check().is_ok(), "{budget:?}");
    }
    assert!(CurateConfig::default().check().is_ok());
    assert!(CurateConfig { pop_buckets: 0, ..CurateConfig::default() }.check().is_err());
}
