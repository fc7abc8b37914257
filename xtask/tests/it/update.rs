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
        let expected = if to == "c" { "takes the place of what" } else { "follows what the bundle knows" };
        assert!(told.contains(expected) && told.contains("1 new users; 1 new items"), "{told}");
        assert!(
            told.contains("12 of them with new ones") && !told.contains("gone") && told.contains("mean cosine"),
            "{told}"
        );
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
    assert!(told.contains("12 of them with new ones") && told.contains("stored user vectors"), "{told}");
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
fn towers_over_singular_vectors_are_trained_on_when_items_come() {
    let root = Root::new();
    let ids = "id=[{kind='pop'}, {kind='title-svd', titles=6.0}]";
    root.ok(&["run", "tiny", "--out", "a", "--set", ids, "--set", "eval.rows=['id', 'ra-rec']"]);
    root.ok(&["export", "--run", "a", "--row", "ra-rec", "--to", "b"]);
    let [all, _] = tomorrow(&root);
    let update = ["update", "--bundle", "b", "--log", &all, "--items", "items-new.tsv", "--to", "c", "--accept-worse"];
    let told = root.ok(&[&update[..], &["--set", "train.steps=4"]].concat());
    assert!(told.contains("1 new items"), "{told}");
    root.ok(&["recommend", "--bundle", "c", "--history", "The wolf"]);
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
    // What the first update computed of texts would spare the others their points.
    std::fs::remove_dir_all(root.path("cache")).unwrap();
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
    assert!(!root.path("d").exists() && !root.path(".d.new").exists(), "nothing is left");
    root.ok(&[&update[..], &["--resume", "--accept-worse"]].concat());
    root.ok(&["recommend", "--bundle", "d", "--item", "i3"]);
}

#[test]
fn what_a_log_holds_is_found_out_or_asked_and_what_is_gone_is_told() {
    let root = exported(&["--names-users"]);
    tomorrow(&root);
    let update = |log: &str, more: &[&str]| {
        let to = format!("to-{}", log.trim_end_matches(".tsv"));
        [&["update", "--bundle", "b", "--log", log, "--to", &to, "--accept-worse"], more, &FAST[..]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let ok = |args: Vec<String>| root.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let error = |args: Vec<String>| root.error(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let lines = |name: &str| -> Vec<String> {
        std::fs::read_to_string(root.path(name)).unwrap().lines().map(str::to_owned).collect()
    };
    // The whole log with ties in another order is the whole log, and nobody who did nothing new is asked.
    let all = lines("all.tsv");
    let mut tied = vec![all[0].clone()];
    tied.extend(all[1..].iter().rev().map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let time = if fields[2].len() < 3 { "1" } else { fields[2] };
        [fields[0], fields[1], time].join("\t")
    }));
    root.write("tied.tsv", &(tied.join("\n") + "\n"));
    let told = ok(update("tied.tsv", &[]));
    assert!(told.contains("takes the place") && told.contains("12 of them with new ones"), "{told}");
    let asked = json(root.path("to-tied/update.json"))["users"].as_u64().unwrap();
    assert_eq!(asked, 12, "{told}");
    // Half of it is neither the whole nor new alone.
    let half: Vec<&String> = all.iter().filter(|line| !line.starts_with("u1") && !line.starts_with("u2")).collect();
    let half = half.into_iter().cloned().collect::<Vec<_>>().join("\n") + "\n";
    root.write("half.tsv", &half);
    let told = error(update("half.tsv", &[]));
    assert!(told.contains("half.tsv: holds 67 % of what the bundle knows") && told.contains("--everything"), "{told}");
    let told = ok(update("half.tsv", &["--everything"]));
    assert!(told.contains("gone: 4 users, 24 interactions that the bundle knew"), "{told}");
    // Nobody's name is known: it may be the same people.
    let others = all[1..].iter().map(|line| format!("x{line}\n")).collect::<String>();
    root.write("others.tsv", &format!("{}\n{others}", all[0]));
    assert!(error(update("others.tsv", &[])).contains("none of its 13 users is a user of the bundle"));
    // An id with a blank is another id.
    root.write("blank.tsv", "user\titem\tpos\nu3\t i3\t99\n");
    let told = ok(update("blank.tsv", &["--only-new"]));
    assert!(told.contains("1 new items"), "{told}");
    assert_eq!(histories(&root, "to-blank")["u3"].last().unwrap(), " i3");
    // What is said to be new is, even if it repeats what was there.
    root.write("again.tsv", "user\titem\tpos\nu3\ti8\t99\nu3\ti8\t100\n");
    let told = ok(update("again.tsv", &["--only-new"]));
    assert!(told.contains("2 new interactions are with an item that their user had before"), "{told}");
    assert_eq!(histories(&root, "to-again")["u3"][6..], ["i8", "i8"]);
    // A title for every item may change, whether it is in the log or not.
    let items = std::fs::read_to_string(root.path("items.tsv")).unwrap().replace("The ant", "The aunt");
    root.write("renamed.tsv", &items);
    ok(update("more.tsv", &["--items", "renamed.tsv"]));
    let found = root.ok(&["recommend", "--bundle", "to-more", "--title", "The aunt", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap()["history"], 1, "{found}");
}

#[test]
fn a_bundle_keeps_how_logs_are_read() {
    let root = Root::new();
    let rated = |users: usize, from: usize, to: usize| -> String {
        let row = |(user, step): (usize, usize)| {
            format!("u{user}\tp{}\t{step}\t{}\n", (user + 2 * step) % 12, if (user + step) % 4 == 0 { 1 } else { 5 })
        };
        (0..users).flat_map(|user| (from..to).map(move |step| (user, step))).map(row).collect()
    };
    let head = "customer\tsku\tts\tstars\n";
    let names: String = (0..12).map(|item| format!("p{item}\tName{item}\tBrand{item}\n")).collect();
    root.write("names.tsv", &format!("sku\tname\tbrand\n{names}"));
    for (file, to) in [("day1.tsv", 6), ("day2.tsv", 8), ("day3.tsv", 10)] {
        root.write(file, &format!("{head}{}", rated(20, 0, to)));
    }
    root.write(
        "mine.toml",
        "[data]\ninteractions = 'day1.tsv'\nitems = 'names.tsv'\nmin_rating = 3.0\n[data.columns]\nuser = 'customer'\nitem = \
         'sku'\nrating = 'stars'\ntitle = ['name', 'brand']\n[[id]]\nkind = 'lexical'\n[[id]]\nkind = 'markov'\n[eval]\nks = \
         [1, 3]\nrows = ['id']\n",
    );
    root.ok(&["run", "mine.toml", "--out", "a"]);
    root.ok(&["export", "--run", "a", "--row", "markov", "--names-users", "--to", "b1"]);
    for (old, log, new) in [("b1", "day2.tsv", "b2"), ("b2", "day3.tsv", "b3")] {
        let told =
            root.ok(&["update", "--bundle", old, "--log", log, "--items", "names.tsv", "--to", new, "--accept-worse"]);
        assert!(told.contains("takes the place") && !told.contains("gone"), "{told}");
    }
    let [first, last] = ["b1", "b3"].map(|bundle| histories(&root, bundle)["u3"].len());
    assert_eq!((first, last), (4, 7), "low ratings are left out");
    let Column::Text(titles) = read_table(&root.path("b3/items.parquet")).unwrap()["title"].clone() else { panic!() };
    assert!(titles.contains(&"Name3 Brand3".to_owned()), "{titles:?}");
    // A split by time becomes another one, and the next bundle still knows how the first was trained.
    root.ok(&["run", "mine.toml", "--out", "t", "--set", "data.split=temporal", "--set", "data.temporal_test=0.3"]);
    root.ok(&["export", "--run", "t", "--row", "markov", "--names-users", "--to", "t1"]);
    for (old, log, new) in [("t1", "day2.tsv", "t2"), ("t2", "day3.tsv", "t3")] {
        let told = root.ok(&["update", "--bundle", old, "--log", log, "--to", new, "--accept-worse"]);
        assert!(told.contains("trained under split = \"temporal\""), "{told}");
    }
    // Another shop's export has other names.
    let other = std::fs::read_to_string(root.path("day3.tsv")).unwrap().replace("customer", "buyer");
    root.write("day4.tsv", &other.replace("u4\tp10\t9", "u4\tp1\t9"));
    let update = ["update", "--bundle", "b3", "--log", "day4.tsv", "--to", "b4", "--accept-worse", "--everything"];
    assert!(root.error(&update).contains("customer"));
    root.ok(&[&update[..], &["--set", "data.columns.user=buyer"]].concat());
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
    assert!(!root.path("c.update").exists(), "the merged log would name users");
    root.write("bad.tsv", "a\tb\n1\t2\n");
    refused(&["--log", "bad.tsv", "--to", "c"], "bad.tsv");
    refused(&["--log", "log.tsv", "--to", "lm"], "holds files but no bundle");
    refused(&["--log", "log.tsv", "--to", "b/new"], "is within --bundle");
    let [all, more] = tomorrow(&root);
    refused(&["--log", &more, "--to", "c"], "does not know its users by name; say --everything");
    refused(&["--log", &more, "--only-new", "--to", "c"], "give the whole log");
    refused(&["--log", &all, "--to", "c", "--set", "data.interactions=log.tsv"], "an update decides this itself");
    refused(&["--log", &all, "--to", "c", "--set", "eval.rows=[\"id\"]"], "the bundle has the row all");
    root.ok(&["export", "--run", "a", "--row", "pop", "--to", "p"]);
    refused(&["--log", &all, "--to", "p"], "holds a bundle; name another folder by --to, or replace it by --force");
    assert!(!root.path("p.update").exists(), "before anything is computed");
    // One who comes for the first time cannot be asked.
    let log = std::fs::read_to_string(root.path("log.tsv")).unwrap();
    root.write("guest.tsv", &(log + "guest\ti3\t1\n"));
    let guest = [&["--log", "guest.tsv", "--to", "c"], &FAST[..]].concat();
    refused(&guest, "only 0 users have a new interaction");
    assert!(!root.path("c").exists() && !root.path(".c.new").exists());
    std::fs::remove_dir_all(root.path("c.update")).unwrap();
    let found = root.error(&["update", "--bundle", "lm", "--log", "log.tsv", "--to", "c"]);
    assert!(found.contains("is not a bundle"), "{found}");
    assert!(!root.path("c").exists() && !root.path("c.update").exists());
}
