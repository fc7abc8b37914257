//! What the audit finds, and samples chosen by a trained method.
use super::{config, write};
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::IdTable;
use ra_data::{Budget, CurateConfig, CurateMethod, Level, Split, audit, curate, prepare, read};

fn finding(audit: &ra_data::Audit, name: &str) -> (Option<usize>, Level) {
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
    let found = audit(&read("planted", &config(log.clone(), Some(titles.clone()))).unwrap());
    assert_eq!(finding(&found, "future leakage"), (Some(3), Level::Warning), "x trains after all targets");
    assert_eq!(finding(&found, "target in history"), (Some(2), Level::Note), "u's a, w's b");
    assert_eq!(finding(&found, "repeats").0, Some(1));
    assert_eq!(finding(&found, "time ties").0, Some(1));
    assert_eq!(finding(&found, "cold targets").0, Some(1));
    assert_eq!(finding(&found, "duplicate titles").0, Some(2));
    assert_eq!(finding(&found, "empty titles"), (Some(1), Level::Warning));
    assert_eq!(finding(&found, "users who only train").0, Some(1));
    assert_eq!(finding(&found, "unreadable rows"), (Some(0), Level::Fine));
    assert!(found.popularity_with_leak.ndcg >= found.popularity.ndcg);
    let text = found.to_string();
    assert!(text.contains("WARN  future leakage") && text.contains("split = \"temporal\""), "{text}");
    let temporal = ra_data::DataConfig { split: Split::Temporal, temporal_test: 0.2, ..config(log, Some(titles)) };
    assert_eq!(finding(&audit(&read("planted", &temporal).unwrap()), "future leakage"), (Some(0), Level::Fine));
    let order = write(dir.path(), "o.tsv", &rows.replace("\tts", "\tpos"));
    assert_eq!(finding(&audit(&read("planted", &config(order, None)).unwrap()), "future leakage").0, None);
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
    let found = audit(&read("floor", &config(write(dir.path(), "l.tsv", &rows), None)).unwrap());
    // Before pop9 stand t and s, all else is seen; before t stand pop2 to pop7 and, against us, s.
    let gain = |rank: f64| 1.0 / (rank + 1.0).log2();
    let ndcg = (4.0 * gain(3.0) + gain(8.0)) / 5.0;
    assert!((found.popularity.ndcg - ndcg).abs() < 1e-12 && found.popularity.hr == 1.0, "{found:?}");
    // With the targets counted, pop9 stands before t and s; t before s, behind pop2 to pop9.
    let leaky = (4.0 * gain(1.0) + gain(9.0)) / 5.0;
    assert!((found.popularity_with_leak.ndcg - leaky).abs() < 1e-12, "{found:?}");
}

#[test]
fn a_trained_method_chooses_what_covers_and_what_is_hard() {
    let dir = tempfile::tempdir().unwrap();
    // Two groups of items; most users stay in the first.
    let mut rows = String::from("user\titem\tpos\n");
    for user in 0..20 {
        let group = if user < 18 { 0 } else { 4 };
        (0..6).for_each(|at| rows += &format!("{user:02}\ti{}\t{at}\n", group + (user + at) % 4));
    }
    let data = prepare("groups", &config(write(dir.path(), "l.tsv", &rows), None)).unwrap();
    let device = Device::flex();
    let cells = |rows: Vec<[f32; 2]>| {
        let n = rows.len();
        Tensor::<2>::from_data(TensorData::new(rows.concat(), [n, 2]), &device)
    };
    let items: Vec<[f32; 2]> = (0..9).map(|i| if i < 5 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
    // The method knows the first group's users and takes the others for the first group's too.
    let method = IdTable::new(cells(vec![[3.0, 0.0]; 20]), cells(items));
    let choose = |method_, budget, seed| {
        let config = CurateConfig { method: method_, budget: Budget::Count(budget), ..CurateConfig::default() };
        curate(&data, &config, 50, seed, Some(&method)).unwrap().samples
    };
    let second = |samples: &[ra_core::Sample]| samples.iter().filter(|s| s.user >= 18).count();
    let covering = choose(CurateMethod::Coverage, 2, 1);
    assert_eq!(second(&covering), 1, "one of each group covers everything: {covering:?}");
    assert_eq!(covering, choose(CurateMethod::Coverage, 2, 1));
    assert_eq!(choose(CurateMethod::Coverage, 60, 1).len(), 60);
    let hard = choose(CurateMethod::Hard, 4, 1);
    assert_eq!(hard.len(), 4);
    assert_eq!(
        second(&choose(CurateMethod::Hard, 54, 1)),
        0,
        "six of sixty are the worst tenth: all of the second group"
    );
    let config = CurateConfig { method: CurateMethod::Hard, ..CurateConfig::default() };
    assert!(curate(&data, &config, 50, 1, None).unwrap_err().to_string().contains("trained ID method"));
}
