use crate::random::dataset;
use ra_core::{Curve, CurvePoint, ItemId, ParamRow, UserId};
use ra_eval::{
    AuditFinding, AuditLevel, EvalConfig, Evaluation, Experiment, HeldOut, Interval, LearningCurve, Metric, Part,
    Published, Report, Row, RowKind, SampleRecommendation, StageCost, compare, compare_unchecked, holm_correct, slices,
};
use std::collections::BTreeMap;

fn evaluation(hits: &[f64]) -> Evaluation {
    let mean = hits.iter().sum::<f64>() / hits.len() as f64;
    let per_user = [Metric::Hr(10), Metric::Gini(10)].map(|metric| (metric, hits.to_vec()));
    let mut evaluation = Evaluation::of_users(UserId::all(hits.len()).collect(), per_user.into());
    evaluation.metrics =
        [(Metric::Hr(10), mean), (Metric::Ndcg(10), mean / 2.0), (Metric::Gini(10), 0.5), (Metric::Hr(100), 1.0)]
            .into();
    evaluation.ranks = hits.iter().map(|hit| vec![(ItemId(3), 20.0 - 19.0 * hit)]).collect();
    (evaluation.tied_share, evaluation.seconds) = (0.5, 1.5);
    evaluation
}

pub(crate) fn report(seed: u64) -> Report {
    let data = dataset(20, 9, 1);
    let hits = |hit: fn(u32) -> bool| evaluation(&(0..20).map(|user| f64::from(hit(user % 4))).collect::<Vec<_>>());
    let (weak, strong) = (hits(|user| user == 2), hits(|user| user != 3));
    let aligned = Row::new("ra-rec", "ra-rec", &strong);
    let mut rows = vec![Row::new("sasrec", "id", &weak), aligned.with_baseline("sasrec", &strong, &weak, 1)];
    rows[1].trainable_params = 24576;
    holm_correct(&mut rows);
    let held_out = HeldOut::new(&data, Part::Test);
    rows[0].slices = slices(&held_out, &weak, None, &[10, 100], None);
    rows[1].slices = slices(&held_out, &strong, Some(&weak), &[10, 100], Some(&[0.0; 9]));
    let point = |step, loss, validation| CurvePoint { step, loss, validation };
    let protocol = EvalConfig::default().protocol(&data);
    let mut report = Report::new("quick <script>alert(1)</script>", seed, protocol, rows);
    report.run = format!("run-{seed}");
    (report.commit, report.backend, report.machine) = ("abc".into(), "cpu".into(), "2 cores".into());
    report.ledger = vec![ParamRow { name: "user.w".into(), shape: vec![384, 64], params: 24576 }];
    report.stages =
        vec![StageCost { name: "align".into(), seconds: 130.0, peak_mib: Some(1500), tokens: Some(123_456) }];
    let curve = Curve {
        points: vec![point(0, 2.5, None), point(50, 2.0, Some(0.1)), point(100, 1.5, Some(0.2))],
        best_step: 100,
        stopped_early: false,
        seconds: 0.0,
    };
    report.curves = vec![LearningCurve { name: "align".into(), curve }];
    report.samples =
        vec![SampleRecommendation::new(&data, Part::Test, UserId(0), &[("sasrec", &[ItemId(1), ItemId(2)])])];
    report.audit = vec![AuditFinding {
        name: "future leakage".into(),
        level: AuditLevel::Warning,
        told: "3 of 5 targets".into(),
        effect: "figures are too high".into(),
    }];
    report
}

/// The widest report: every metric at three K, and rows with long names.
pub(crate) fn wide(seed: u64) -> Report {
    let mut report = report(seed);
    let metrics: Vec<Metric> = [1, 10, 100]
        .into_iter()
        .flat_map(|k| Metric::names().map(move |name| format!("{name}@{k}")))
        .map(|text| text.parse().unwrap())
        .collect();
    let row = |place: usize| {
        let value = 0.1 + 0.05 * place as f64;
        let mut row = report.rows[1].clone();
        row.name = format!("ra-rec(sasrec with a long name, minilm), variant {place}");
        row.kind = if place == 0 { "id" } else { "ra-rec" }.into();
        row.metrics = metrics
            .iter()
            .map(|&metric| (metric, if metric.name() == "popularity" { 1234.5678 } else { value }))
            .collect();
        (row.train_samples, row.trainable_params, row.train_seconds) = (1_234_567, 12_345_678, 12_345.6);
        let mean = 0.03 * place as f64 - 0.08;
        let p_holm = Some(if place == 3 { 0.4 } else { 0.0004 });
        let found = Interval { mean, low: mean - 0.02, high: mean + 0.02, p: p_holm, p_holm, detectable: Some(0.03) };
        row.baseline = (place > 0).then(|| "ra-rec(sasrec with a long name, minilm), variant 0".into());
        row.differences = metrics.iter().filter(|_| place > 0).map(|&metric| (metric, found)).collect();
        row
    };
    report.rows = (0..7).map(row).collect();
    report
}

/// An experiment with two values on each axis, all of them numbers, so that the last axis may be numeric.
pub(crate) fn experiment(axes: &[&str]) -> Experiment {
    experiment_of("ra-rec", axes)
}

/// The same with another kind of aligned model.
fn experiment_of(kind: &str, axes: &[&str]) -> Experiment {
    let axes: Vec<String> = axes.iter().map(ToString::to_string).collect();
    let label = |axis: &String, second| match (axis.as_str(), second) {
        ("samples", false) => "10".to_owned(),
        ("samples", true) => "100".to_owned(),
        (axis, second) => format!("{axis} {second}"),
    };
    let cell = |index: usize| {
        let mut report = report(1);
        report.rows[1].metrics.values_mut().for_each(|value| *value /= 1.0 + index as f64);
        report.rows[1].kind = kind.into();
        (axes.iter().enumerate().map(|(place, axis)| label(axis, index >> place & 1 == 1)).collect(), report)
    };
    let cells: Vec<(Vec<String>, Report)> = (0..1 << axes.len()).map(cell).collect();
    let published = Published {
        source: "somebody, 2024".into(),
        head: vec!["model".into(), "HR@100".into()],
        rows: vec![vec!["theirs".into(), ".1395".into()]],
        note: "other data".into(),
    };
    Experiment::new("small", &axes, &cells).with_published(Some(published))
}

#[test]
fn an_experiment_of_any_kind_of_aligned_model_is_drawn() {
    for axes in [&["samples"][..], &["ID method", "language model"]] {
        // A page does not name the kind of a row; the kind only decides whether the row is drawn.
        let page = |kind| experiment_of(kind, axes).html();
        assert_eq!(page("distilled"), page("ra-rec"), "{axes:?}");
        assert_ne!(page("probe"), page("ra-rec"), "{axes:?}");
    }
}

#[test]
fn what_is_drawn_can_be_chosen() {
    let cells: Vec<(Vec<String>, Report)> = (1..3)
        .map(|share| {
            let mut report = report(1);
            let mut other = report.rows[1].clone();
            (other.kind, other.name) = ("other".into(), "other".into());
            other.metrics.values_mut().for_each(|value| *value /= 1.0 + f64::from(share));
            report.rows.insert(1, other);
            (vec![share.to_string()], report)
        })
        .collect();
    let page = |kind: &str| Experiment::new("two", &["samples".into()], &cells).with_plotted(kind).html();
    let first = Experiment::new("two", &["samples".into()], &cells).html();
    assert_eq!(first, page("other"));
    assert_eq!(first, page("is not there"));
    assert_ne!(first, page("ra-rec"));
}

#[test]
fn the_files_are_there_and_read_back() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("run-1");
    std::fs::create_dir(&folder).unwrap();
    report(1).write(&folder).unwrap();
    assert_eq!(Report::read(&folder).unwrap(), report(1));
    assert_eq!(Report::read(&folder.join("report.json")).unwrap(), report(1));
    assert!(folder.join("report.md").exists() && folder.join("report.html").exists());
    let missing = Report::read(&folder.join("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("nowhere"), "{missing}");
}

/// `tests/report.json` is the report of a run of the commit 3bd6641, with shorter lists.
#[test]
fn a_report_of_an_earlier_run_reads_and_is_written_as_it_was() {
    let file = std::path::Path::new("tests/report.json");
    let report = Report::read(file).unwrap();
    assert_eq!(report.rows[1].kind, RowKind::Text);
    assert_eq!(report.rows[2].kind, RowKind::Variant("ra-rec".into()));
    assert_eq!(report.audit[0].level, AuditLevel::Warning);
    assert!(report.rows[2].metrics.contains_key(&Metric::MapMin(10)), "{:?}", report.rows[2].metrics.keys());
    assert_eq!(serde_json::to_string_pretty(&report).unwrap() + "\n", std::fs::read_to_string(file).unwrap());
}

#[test]
fn a_terminal_shows_hits_and_ndcg_at_every_k() {
    let mut report = report(1);
    report.rows[0].metrics.remove(&Metric::Ndcg(10));
    let text = report.terminal();
    let lines: Vec<&str> = text.lines().collect();
    let support = "users: 20 with a tail target, 0 with a cold target";
    assert_eq!(lines[0], format!("random: 20 users evaluated, 9 items; {support}"));
    let groups = "  tail:hr@100  cold:hr@100";
    assert_eq!(lines[1], format!("{:<28}     hr@10   ndcg@10    hr@100  ndcg@100{groups}   trained params", ""));
    let groups = "       1.0000            -";
    assert_eq!(lines[2], format!("{:<28}    0.2500         -    1.0000         -{groups}   0", "sasrec"));
    assert!(lines[4].starts_with("note: "), "{text}");
}

#[test]
fn the_json_has_the_promised_keys() {
    let json = serde_json::to_value(report(1)).unwrap();
    assert_eq!((&json["rows"][0]["kind"], &json["audit"][0]["level"]), (&"id".into(), &"warning".into()));
    for key in ["recipe", "commit", "seed", "backend", "protocol", "rows", "ledger"] {
        assert!(!json[key].is_null(), "{key}");
    }
    let protocol = ["fingerprint", "dataset", "users", "items", "interactions", "split", "candidates", "seen", "ties"];
    assert!(protocol.iter().all(|key| !json["protocol"][key].is_null()));
    let row =
        ["name", "kind", "metrics", "tied_share", "train_samples", "trainable_params", "train_seconds", "eval_seconds"];
    assert!(row.iter().all(|key| !json["rows"][0][key].is_null()));
    assert_eq!(json["rows"][0]["metrics"]["hr@10"], 0.25);
    assert_eq!(json["ledger"][0], serde_json::json!({ "name": "user.w", "shape": [384, 64], "params": 24576 }));
    assert_eq!(json["curves"][0]["points"][1]["validation"], 0.1);
    let difference = &json["rows"][1]["differences"]["hr@10"];
    for key in ["mean", "low", "high", "p", "p_holm", "detectable"] {
        assert!(difference[key].is_f64(), "{key}: {difference}");
    }
    let slices = json["rows"][1]["slices"].as_array().unwrap();
    let tail = slices.iter().find(|slice| slice["group"] == "tail").unwrap();
    assert_eq!((&tail["targets"], &tail["users"], &tail["metrics"]["hr@100"]), (&20.into(), &20.into(), &1.0.into()));
    assert!(slices.iter().all(|slice| slice["group"] != "cold"), "nobody has a cold target");
}

#[test]
fn the_page_is_safe_and_whole() {
    let page = report(1).html();
    assert!(!page.contains("<script") && !page.contains("Item <b>"), "titles are escaped");
    assert!(page.contains("Item &lt;b&gt;0&lt;/b&gt;"));
    for part in [
        "<html lang=\"en\">",
        "<svg",
        "prefers-color-scheme: dark",
        "<caption>",
        "24,576",
        "2.2 min",
        "Warning",
        "123,456",
        "detectable",
        "future leakage",
        "short histories",
        "significantly above",
        "At a glance",
        "Which row?",
        "ra-rec is best on the test part",
        "tail:\u{200b}hr@100",
        "<td class=\"pair\">1.0000 (20)</td><td class=\"pair\">-</td>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("http://") || page.matches("http://").count() == page.matches("http://www.w3.org/").count());
    assert!(!page.contains("https://") && !page.contains("src="), "no network");
    assert_eq!(page.matches("<td").count(), page.matches("</td>").count());
}

#[test]
fn every_difference_on_the_page_is_drawn_and_in_a_table() {
    let page = wide(1).html();
    let dots = |class: &str| page.matches(&format!("<g class=\"{class}\">")).count();
    // Six rows by seven metrics; one has no significant difference, two are worse.
    assert_eq!((dots("better"), dots("open"), dots("worse")), (21, 7, 14));
    assert!(
        page.contains("Difference in ndcg@10 from ra-rec(sasrec with a long name, minilm), variant 0: "),
        "in words"
    );
    assert!(page.contains("corrected p &lt; 0.001, significant") && page.contains("corrected p 0.40, not significant"));
    assert!(page.contains("<td>+0.0100</td><td>-0.0100 to +0.0300</td><td>0.4000</td><td>0.0300</td>"), "{page}");
}

#[test]
fn runs_of_different_protocols_have_no_best_row() {
    let mut reports = [report(1), report(2)];
    assert!(compare(&reports).unwrap().html().contains("Which row?"));
    reports[1].protocol =
        EvalConfig { ties: ra_eval::Ties::ById, ..EvalConfig::default() }.protocol(&dataset(20, 9, 1));
    let mixed = compare_unchecked(&reports);
    assert!(!mixed.html().contains("Which row?") && !mixed.markdown().contains("Which row?"));
}

#[test]
fn the_markdown_is_safe_and_whole() {
    let text = report(1).markdown();
    assert!(!text.contains('<'), "{text}");
    for part in [
        "| model | hr@10 | ndcg@10 | hr@100 |",
        "**0.7500**",
        "+0.5000",
        "24,576",
        "Held out",
        "leave\\_one\\_out",
        "123,456",
        "detectable",
        "future leakage",
        "short histories",
        "## At a glance",
        "- Which row? **ra-rec is best on the test part.**",
        "| tail:hr@100 (users) | cold:hr@100 (users) | tied |",
        "| 1.0000 (20) | - | 50.00 % |",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn only_one_protocol_in_a_table() {
    let mut reports = [report(1), report(2)];
    let both = compare(&reports).unwrap();
    assert!(both.markdown().contains("(seed 2)") && both.html().contains("(seed 2)"));
    // Settings of one recipe: seeds stay together, and each run has a name.
    let other = |seed| {
        let mut report = report(seed);
        report.run = format!("other-{seed}");
        report
    };
    let settings = [report(1), report(2), other(1), other(2)];
    let markdown = compare(&settings).unwrap().markdown();
    assert!(markdown.contains("run-1 (seed 1)") && markdown.contains("other-1 (seed 1)"), "{markdown}");
    assert_eq!(markdown.matches("| 1, 2 |").count(), 4, "two rows of two settings over seeds: {markdown}");
    reports[1].rows[0].users = 3;
    assert!(compare(&reports).unwrap_err().to_string().contains("3 users"));
    let config = EvalConfig { ties: ra_eval::Ties::ById, ..EvalConfig::default() };
    reports[1].protocol = config.protocol(&dataset(20, 9, 1));
    let refusal = compare(&reports).unwrap_err().to_string();
    assert!(refusal.contains("ties pessimistic and by_id"), "{refusal}");
    assert!(compare(&[]).is_ok());
    let anyway = compare_unchecked(&reports);
    for text in [anyway.markdown(), anyway.html()] {
        assert!(text.contains("cannot be compared") && text.matches("fingerprint").count() >= 2, "{text}");
    }
    assert!(anyway.json().unwrap().contains("\"mixed_protocols\": true"));
}

#[test]
fn seeds_are_put_together() {
    let mut reports = [report(1), report(2), report(2)];
    reports[1].rows[1].metrics.insert(Metric::Hr(10), 0.5);
    let text = compare(&reports).unwrap().markdown();
    assert!(text.contains("| ra-rec | 1, 2 | 0.6250 ± 0.1768 |"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&compare(&reports).unwrap().json().unwrap()).unwrap();
    assert_eq!(json["over_seeds"][1]["seeds"], serde_json::json!([1, 2]), "one report twice is no third seed");
    assert_eq!(json["mixed_protocols"], false);
    // With another seed another row is aligned: differences from two rows have no mean.
    let of = |baseline: &str, mean| {
        let difference = Interval { mean, ..Interval::default() };
        (Some(baseline.to_owned()), BTreeMap::from([(Metric::Hr(10), difference)]))
    };
    for (baseline, wanted) in [("pop", serde_json::json!([0.5, 0])), ("ease", serde_json::Value::Null)] {
        (reports[0].rows[1].baseline, reports[0].rows[1].differences) = of("pop", 0.25);
        (reports[1].rows[1].baseline, reports[1].rows[1].differences) = of(baseline, 0.75);
        let json: serde_json::Value = serde_json::from_str(&compare(&reports[..2]).unwrap().json().unwrap()).unwrap();
        assert_eq!(json["over_seeds"][1]["differences"]["hr@10"], wanted, "{}", json["over_seeds"][1]);
    }
}

#[test]
fn a_nearly_constant_model_is_told_from_one_with_ties() {
    let mut report = report(1);
    assert!(report.markdown().contains("ra-rec: 50.0 % of the targets tie"));
    report.rows[1].tie_width = 0.8;
    assert!(report.markdown().contains("ra-rec: the model is nearly constant"), "{}", report.markdown());
}

#[test]
fn sampled_candidates_are_called_what_they_are() {
    let mut report = report(1);
    let config = EvalConfig { candidates: ra_eval::Candidates::Uniform(100), ..EvalConfig::default() };
    report.protocol = config.protocol(&dataset(20, 9, 1));
    assert!(
        report.markdown().contains("only 100 sampled uniformly items are ranked") && report.html().contains("inflates")
    );
    assert!(compare(&[report, self::report(1)]).unwrap_err().to_string().contains("candidates 100 sampled uniformly"));
}

#[test]
fn protocols_get_tables_of_their_own_and_published_figures_one_more() {
    let made = experiment(&["ablation"]);
    assert!(made.markdown().contains("somebody, 2024") && made.markdown().contains(".1395"));
    let mut cells = vec![(vec!["a".to_owned()], report(1)), (vec!["b".to_owned()], report(1))];
    cells[1].1.protocol =
        EvalConfig { ties: ra_eval::Ties::ById, ..EvalConfig::default() }.protocol(&dataset(20, 9, 1));
    let made = Experiment::new("two", &["rule".to_owned()], &cells);
    assert_eq!(made.markdown().matches("## Results: random").count(), 2, "{}", made.markdown());
    let json: serde_json::Value = serde_json::from_str(&made.json().unwrap()).unwrap();
    assert_eq!(json["groups"][1]["protocol"]["ties"], "by_id");
}
