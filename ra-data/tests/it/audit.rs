//! What the audit finds, and which samples a trained method chooses from.
use super::{config, dataset, write};
use ra_data::{Budget, CurateConfig, CurateMethod, DataError, Severity, Split, audit, candidates, curate, prepare};

fn finding(audit: &ra_data::Audit, name: &str) -> (Option<usize>, Severity) {
    let found = audit.findings.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no finding {name}"));
    (found.count, found.level)
}

#[test]
fn planted_faults_are_found_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    // u's target is in its history and older than v's training; w's last two share a time; the target of v is cold.
    let rows = "user\titem\tts\nu\ta\t1\nu\tb\t2\nu\tc\t3\nu\ta\t4\nv\ta\t10\nv\tb\t11\nv\tc\t12\nv\tz\t13\n\
                w\tb\t20\nw\ta\t21\nw\ta\t22\nw\tc\t23\nw\tb\t23\nx\ta\t30\nx\tb\t31\n";
    let titles = "item\ttitle\na\tSame\nb\tsame \nc\t\nz\tZed\n";
    let (log, titles) = (write(dir.path(), "l.tsv", rows), write(dir.path(), "t.tsv", titles));
    let found = audit(&prepare("planted", &config(log.clone(), Some(titles.clone()))).unwrap());
    assert_eq!(finding(&found, "future leakage"), (Some(3), Severity::Warning), "x trains after all targets");
    assert_eq!(finding(&found, "target in history"), (Some(2), Severity::Note), "u's a, w's b");
    assert_eq!(finding(&found, "repeats").0, Some(1));
    assert_eq!(finding(&found, "time ties").0, Some(1));
    assert_eq!(finding(&found, "cold targets").0, Some(1));
    assert_eq!(finding(&found, "duplicate titles").0, Some(2));
    assert_eq!(finding(&found, "empty titles"), (Some(1), Severity::Warning));
    assert_eq!(finding(&found, "users who only train").0, Some(1));
    assert_eq!(finding(&found, "unreadable rows"), (Some(0), Severity::Fine));
    assert!(found.popularity_with_leak.ndcg >= found.popularity.ndcg);
    let text = found.to_string();
    assert!(text.contains("WARN  future leakage") && text.contains("split = \"temporal\""), "{text}");
    let temporal = ra_data::DataConfig { split: Split::Temporal, temporal_test: 0.2, ..config(log, Some(titles)) };
    assert_eq!(finding(&audit(&prepare("planted", &temporal).unwrap()), "future leakage"), (Some(0), Severity::Fine));
    let order = write(dir.path(), "o.tsv", &rows.replace("\tts", "\tpos"));
    assert_eq!(finding(&audit(&prepare("planted", &config(order, None)).unwrap()), "future leakage").0, None);
}

#[test]
fn the_popularity_floor_counts_ties_against_us_and_leaves_seen_items_out() {
    let dir = tempfile::tempdir().unwrap();
    // pop0 to pop7 are trained on by p0 to p3, who are tested on pop9; u has seen pop0 and pop1 and is tested on t.
    let mut rows = String::from("user\titem\tpos\n");
    for item in 0..10 {
        (0..4).for_each(|user| rows += &format!("p{user}\tpop{item}\t{item}\n"));
    }
    rows += "q\tt\t0\nq\ts\t1\nu\tpop0\t0\nu\tpop1\t1\nu\tt\t2\n";
    let found = audit(&prepare("floor", &config(write(dir.path(), "l.tsv", &rows), None)).unwrap());
    // t and s rank above pop9, as all else is seen; pop2 to pop7 and, by the tie rule, s rank above t.
    let gain = |rank: f64| 1.0 / (rank + 1.0).log2();
    let ndcg = (4.0 * gain(3.0) + gain(8.0)) / 5.0;
    assert!((found.popularity.ndcg - ndcg).abs() < 1e-12 && found.popularity.hr == 1.0, "{found:?}");
    // With the targets counted, pop9 ranks above t and s, and t above s but below pop2 to pop9.
    let leaky = (4.0 * gain(1.0) + gain(9.0)) / 5.0;
    assert!((found.popularity_with_leak.ndcg - leaky).abs() < 1e-12, "{found:?}");
}

#[test]
fn a_method_that_reads_a_model_chooses_from_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let rows = (0..60).map(|k| format!("{}\ti{}\t{k}\n", k % 10, k % 7)).collect::<String>();
    let log = write(dir.path(), "l.tsv", &format!("user\titem\tpos\n{rows}"));
    let data = dataset("log", &config(log, None)).unwrap();
    let with = |method, budget| CurateConfig { method, budget, ..CurateConfig::default() };
    let hard = with(CurateMethod::Hard, Budget::Count(4));
    let from = candidates(&data, &hard).unwrap();
    assert_eq!((&from.samples, from.budget), (&data.samples(), 4));
    let chosen = from.chosen(from.samples[..4].to_vec());
    assert_eq!((chosen.samples.len(), chosen.total, chosen.denoised), (4, from.samples.len(), 0));
    for method in [CurateMethod::Hard, CurateMethod::Coverage] {
        let refused = curate(&data, &with(method, Budget::Share(1.0)), 50, 1).unwrap_err();
        assert!(matches!(refused, DataError::NeedsModel(needs) if needs == method && method.needs_model()));
        assert!(refused.to_string().contains("trained ID method"), "{refused}");
    }
    for budget in [Budget::Count(0), Budget::Share(-1.0), Budget::Share(f64::NAN)] {
        let refused = candidates(&data, &with(CurateMethod::Hard, budget)).unwrap_err();
        assert!(matches!(&refused, DataError::Curation(keys) if keys[0].key == "budget"), "{budget:?}: {refused}");
    }
}
