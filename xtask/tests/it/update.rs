//! Tomorrow's log: a new bundle goes on where an older one stopped.
use crate::bundle::exported;
use crate::cli::Root;
use crate::kill::{chosen, kill_at, points};
use ra_data::{Column, read_table};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// Few steps, so that a test is fast.
const FAST: [&str; 4] = ["--set", "train.steps=4", "--set", "id.train.epochs=2"];

/// Returns the log of the root with one more interaction for every user but one, a new user and a new item; and those rows
/// alone.
fn tomorrow(root: &Root) -> [String; 2] {
    let log = std::fs::read_to_string(root.path("log.tsv")).unwrap();
    let mut more = String::new();
    for user in 0..11 {
        more += &format!("u{user}\ti{}\t{}\n", if user % 3 == 0 { 12 } else { user % 12 }, 900 + user);
    }
    for step in 0..4 {
        more += &format!("stranger\ti{}\t{}\n", 3 * step, 950 + step);
    }
    let head = log.lines().next().unwrap().to_owned();
    root.write("all.tsv", &(log + &more));
    root.write("more.tsv", &format!("{head}\n{more}"));
    let items = std::fs::read_to_string(root.path("items.tsv")).unwrap();
    root.write("items-new.tsv", &(items + "i12\tThe wolf\tgrey\n"));
    ["all.tsv".into(), "more.tsv".into()]
}

fn json(path: std::path::PathBuf) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Returns what every user of a bundle did, by the ids of items.
fn histories(root: &Root, bundle: &str) -> BTreeMap<String, Vec<String>> {
    let [users, items] =
        ["histories.parquet", "items.parquet"].map(|name| read_table(&root.path(bundle).join(name)).unwrap());
    let (Column::Text(names), Column::Text(ids)) = (&users["user"], &items["item"]) else { panic!() };
    let (Column::Lists(train), Column::Lists(later)) = (&users["train"], &users["later"]) else { panic!() };
    let rows = train.rows().zip(later.rows());
    let id = |item: &ra_core::ItemId| ids[item.index() - 1].clone();
    names.iter().cloned().zip(rows.map(|(train, later)| train.iter().chain(later).map(id).collect())).collect()
}

#[test]
fn the_whole_log_and_new_rows_alone_give_the_same_bundle_with_new_users_and_items() {
    let root = exported(&["--names-users"]);
    let before = std::fs::read(root.path("b/manifest.json")).unwrap();
    let [all, more] = tomorrow(&root);
    for (log, to) in [(&all, "c"), (&more, "d")] {
        let items = ["--items", "items-new.tsv", "--group", "colour", "--accept-worse"];
        let told = root.ok(&[&["update", "--bundle", "b", "--log", log, "--to", to], &items[..], &FAST[..]].concat());
        let expected = if to == "c" { "holds what the bundle knows" } else { "holds new interactions" };
        assert!(told.contains(expected) && told.contains("1 new users; 1 new items"), "{told}");
        assert!(told.contains("12 users with new ones") && told.contains("mean cosine"), "{told}");
    }
    let [own, other] = ["c", "d"].map(|bundle| histories(&root, bundle));
    assert_eq!(own, other);
    assert_eq!(own["u0"].last().unwrap(), "i12");
    assert_eq!((own.len(), own["stranger"].len()), (13, 4));
    assert_eq!(own["u11"], histories(&root, "b")["u11"], "a user without anything new keeps what they did");
    let found = root.ok(&["recommend", "--bundle", "c", "--item", "i3", "--top", "12", "--json"]);
    assert!(found.contains("The wolf"), "{found}");
    let compared = json(root.path("c/update.json"));
    assert_eq!(compared["users"], 12);
    assert!(compared["newest_unknown_to_old"].as_u64().unwrap() >= 4, "{compared}");
    assert!(compared["metrics"]["ndcg@10"]["p"].is_number() && !compared["turned"].as_array().unwrap().is_empty());
    let group = read_table(&root.path("c/items.parquet")).unwrap()["group"].clone();
    let Column::Text(group) = group else { panic!() };
    assert!(group.contains(&"grey".to_owned()) && group.contains(&"red".to_owned()), "{group:?}");
    assert_eq!(std::fs::read(root.path("b/manifest.json")).unwrap(), before, "the older bundle stays as it is");
    // The next one goes on from there.
    let again = root.error(&[&["update", "--bundle", "c", "--log", &all, "--to", "e"], &FAST[..]].concat());
    assert!(again.contains("holds no interaction that c lacks"), "{again}");
}

#[test]
fn stored_vectors_stay_usable_and_the_products_are_the_scores() {
    let root = exported(&[]);
    root.ok(&["export", "--run", "a", "--row", "sasrec-grounded", "--to", "s"]);
    let [all, _] = tomorrow(&root);
    let update = ["update", "--bundle", "s", "--log", &all, "--items", "items-new.tsv", "--to", "t", "--accept-worse"];
    let told = root.ok(&[&update[..], &FAST[..]].concat());
    assert!(told.contains("users are not known by name") && told.contains("stored user vectors"), "{told}");
    let turned = json(root.path("t/update.json"))["turned"][0].clone();
    let [before, after] = ["cosine_before", "cosine_after"].map(|key| turned[key].as_f64().unwrap());
    assert!(after > 0.9 && after >= before - 0.02, "{turned}");
    assert!(root.path("t/model/turn-sasrec-grounded.npy").exists());
    root.write(
        "h.jsonl",
        "{\"user\": \"a\", \"history\": [\"i3\", \"i5\"]}\n{\"user\": \"b\", \"history\": [\"i1\"]}\n",
    );
    root.ok(&["recommend", "--bundle", "t", "--histories", "h.jsonl", "--top", "4", "--vectors", "--out", "l.parquet"]);
    let (lists, items) =
        (read_table(&root.path("l.parquet")).unwrap(), read_table(&root.path("t/items.parquet")).unwrap());
    let (Column::Text(ids), Column::Vectors(vectors)) = (&items["item"], &items["vector"]) else { panic!() };
    let (Column::Text(item), Column::Numbers(score)) = (&lists["item"], &lists["score"]) else { panic!() };
    let Column::Vectors(users) = &lists["vector"] else { panic!() };
    for (at, (item, score)) in item.iter().zip(score).enumerate() {
        let vector = &vectors[ids.iter().position(|id| id == item).unwrap()];
        let dot: f32 = users[at / 4 * 4].iter().zip(vector).map(|(a, b)| a * b).sum();
        assert!((f64::from(dot) - score).abs() < 1e-4, "{item}: {dot}, not {score}");
    }
}

#[test]
fn an_update_killed_anywhere_resumes_to_the_same_bundle() {
    let root = exported(&[]);
    let [all, _] = tomorrow(&root);
    let update = |to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["update", "--bundle", "b", "--log", &all, "--to", to, "--accept-worse", "--resume", "--force"]);
        command.args(FAST).current_dir(root.path("")).env("RA_REC_ROOT", root.path("")).stdout(Stdio::null());
        command
    };
    let sums = |to: &str| {
        let mut files = json(root.path(to).join("manifest.json"))["files"].as_object().unwrap().clone();
        // The marks of a training say how long it took.
        files.retain(|name, _| !name.ends_with(".json") || name == "canary.json" || name == "update.json");
        files
    };
    let points = points(&mut update("whole"));
    assert!(points.iter().any(|point| point.contains("step")), "{points:?}");
    for point in chosen(&points, 6, 1) {
        kill_at(point, &mut update("killed"));
    }
    assert!(update("killed").status().unwrap().success());
    assert_eq!(sums("killed"), sums("whole"));
}

#[test]
fn a_worse_bundle_is_not_written_unless_asked() {
    let root = Root::new();
    // The next item always has the words of the last one.
    let title = |item: usize| format!("word{} word{}", item / 2, item / 2 + 500);
    let items: String = (0..120).map(|item| format!("i{item}\t{}\n", title(item))).collect();
    root.write("items.tsv", &format!("item\ttitle\n{items}"));
    let wrong: String = (0..120).map(|item| format!("i{item}\t{}\n", title((item * 37 + 5) % 120))).collect();
    root.write("wrong.tsv", &format!("item\ttitle\n{wrong}"));
    let pair = |user: usize, step: usize| 2 * ((user * 7 + step * 11) % 60);
    let row = |user: usize, item: usize, time: usize| format!("u{user}\ti{item}\t{time}\n");
    let old: String = (0..60)
        .flat_map(|user| (0..3).map(move |step| row(user, pair(user, step), step)))
        .chain((0..60).map(|user| row(user, pair(user, 2) + 1, 3)))
        .chain((0..60).map(|user| row(user, pair(user, 3), 4)))
        .collect();
    let new: String = (0..60).map(|user| row(user, pair(user, 3) + 1, 5)).collect();
    root.write("old.tsv", &format!("user\titem\tpos\n{old}"));
    root.write("all.tsv", &format!("user\titem\tpos\n{old}{new}"));
    root.write(
        "words.toml",
        "[data]\ninteractions = 'old.tsv'\nitems = 'items.tsv'\n[[id]]\nkind = 'lexical'\n[eval]\nrows = ['id']\n",
    );
    root.ok(&["run", "words.toml", "--out", "a"]);
    root.ok(&["export", "--run", "a", "--to", "b"]);
    let good = root.ok(&["update", "--bundle", "b", "--log", "all.tsv", "--to", "c"]);
    assert!(good.contains("60 users by their newest interaction"), "{good}");
    let update = ["update", "--bundle", "b", "--log", "all.tsv", "--items", "wrong.tsv", "--to", "d"];
    let told = root.error(&update);
    assert!(told.contains("of the new bundle is 0.") && told.contains("--accept-worse"), "{told}");
    assert!(!root.path("d/manifest.json").exists());
    root.ok(&[&update[..], &["--accept-worse"]].concat());
    root.ok(&["recommend", "--bundle", "d", "--item", "i3"]);
}

#[test]
fn an_update_that_cannot_be_says_why_and_leaves_nothing() {
    let root = exported(&[]);
    let refused = |more: &[&str], told: &str| {
        let found = root.error(&[&["update", "--bundle", "b"], more].concat());
        assert!(found.contains(told), "{told}: {found}");
    };
    refused(&["--log", "log.tsv", "--to", "b"], "is the older bundle");
    refused(&["--log", "none.tsv", "--to", "c"], "none.tsv");
    refused(&["--log", "log.tsv", "--to", "c"], "holds no interaction that b lacks");
    root.write("bad.tsv", "a\tb\n1\t2\n");
    refused(&["--log", "bad.tsv", "--to", "c"], "bad.tsv");
    refused(&["--log", "log.tsv", "--to", "lm"], "holds files but no bundle");
    let found = root.error(&["update", "--bundle", "lm", "--log", "log.tsv", "--to", "c"]);
    assert!(found.contains("is not a bundle"), "{found}");
    assert!(!root.path("c").exists() && !root.path("c.update").exists());
}
