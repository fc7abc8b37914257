//! Bundles: what leaves the machine answers as the run did, and whatever is damaged is refused.
use crate::cli::Root;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Rows of every kind: counts, an ID method, grounded IDs, RA-Rec, and a blend of them.
const RECIPE: &str = "\n[[variant]]\nname = 'counts'\nblend = ['lexical', 'item-knn', 'title-pairs', 'title-ease', 'title-svd']\n[[variant]]\nname = 'all'\nblend = \
                      ['ease', 'sasrec-grounded', 'ra-rec', 'counts']\n[[variant]]\nname = 'near'\nblend = \
                      ['sasrec-grounded', 'ra-rec', 'counts']\n";
const IDS: &str = "id=[{kind='pop'}, {kind='lexical'}, {kind='item-knn'}, {kind='title-pairs'}, {kind='title-ease'}, {kind='title-svd', dim=8}, {kind='ease', l2=1.0}, {kind='sasrec', \
                   dim=8, max_length=6, train={epochs=2}, ground={k=2.0, scale=1.0}}]";

/// Returns a root with a finished run `a` and its bundle `b` of the row `all`, with an item's colour as its group.
pub(crate) fn exported(more: &[&str]) -> Root {
    let root = Root::new();
    let tiny = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap();
    root.write("xtask/recipes/own.toml", &(tiny + RECIPE));
    let items = std::fs::read_to_string(root.path("items.tsv")).unwrap();
    let colour = |(at, line): (usize, &str)| match at {
        0 => format!("{line}\tcolour\n"),
        _ => format!("{line}\t{}\n", ["red", "blue", "green"][at % 3]),
    };
    root.write("items.tsv", &items.lines().enumerate().map(colour).collect::<String>());
    root.ok(&["run", "own", "--out", "a", "--set", IDS]);
    // On so little data validation leaves most rows out of the blend, and each of them is to be in it.
    for (row, own) in [("all", &[1.0, 0.5, 2.0, 0.25][..]), ("near", &[0.5, 2.0, 0.25])] {
        let blend = root.path(&format!("a/checkpoints/towers-{row}.blend.json"));
        let mut weights = json(&std::fs::read_to_string(&blend).unwrap());
        weights["weights"] = serde_json::json!(own);
        std::fs::write(&blend, weights.to_string()).unwrap();
    }
    root.ok(&[&["export", "--run", "a", "--row", "all", "--group", "colour", "--to", "b"], more].concat());
    root
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Returns the items of an answer with their scores.
fn list(answer: &Value) -> Vec<(String, f64)> {
    let own = answer["recommended"].as_array().unwrap();
    own.iter().map(|own| (own["item"].as_str().unwrap().to_owned(), own["score"].as_f64().unwrap())).collect()
}

#[test]
fn a_bundle_answers_as_its_run_does_without_the_run_its_data_and_its_folder() {
    let root = exported(&["--names-users"]);
    let asks: [&[&str]; 3] =
        [&["--history", "the ant; i4; the bee"], &["--user", "u3"], &["--item", "i7", "--item", "The dog"]];
    let rows = [
        "all",
        "ra-rec",
        "sasrec-grounded",
        "lexical",
        "item-knn",
        "title-pairs",
        "title-ease",
        "title-svd",
        "ease",
        "pop",
    ];
    let ask = |from: [&str; 2], row: &str, asked: &[&str]| {
        let told = root.ok(&[&["recommend", from[0], from[1], "--row", row, "--top", "5", "--json"], asked].concat());
        list(&json(&told))
    };
    let all = || rows.iter().flat_map(|row| asks.map(|asked| (*row, asked)));
    let of_run: Vec<_> = all().map(|(row, asked)| ask(["--run", "a"], row, asked)).collect();
    // By default the row that the report recommends answers.
    let mut report = json(&std::fs::read_to_string(root.path("a/report.json")).unwrap());
    report["recommended"] = "lexical".into();
    root.write("a/report.json", &report.to_string());
    let told = json(&root.ok(&["recommend", "--run", "a", "--item", "i1", "--json"]));
    assert_eq!(told["row"]["name"], "lexical", "{told}");
    for name in ["a", "lm", "cache"] {
        std::fs::remove_dir_all(root.path(name)).ok();
    }
    std::fs::remove_file(root.path("log.tsv")).unwrap();
    std::fs::rename(root.path("b"), root.path("elsewhere")).unwrap();
    for ((row, asked), run) in all().zip(of_run) {
        let own = ask(["--bundle", "elsewhere"], row, asked);
        let close = |(a, b): (&(String, f64), &(String, f64))| (a.1 - b.1).abs() < 1e-4 * (1.0 + b.1.abs());
        assert!(own.len() == run.len() && own.iter().zip(&run).all(close), "{row} {asked:?}: {own:?} {run:?}");
    }
    assert!(!root.path("cache").exists(), "a bundle writes nothing");
    let manifest = std::fs::read_to_string(root.path("elsewhere/manifest.json")).unwrap();
    assert!(!manifest.contains(root.path("").to_str().unwrap()), "no path of this machine leaves it");
}

#[test]
fn a_search_finds_the_items_and_scores_that_all_scores_give() {
    let root = exported(&["--also", "near"]);
    let asks: [&[&str]; 3] = [&["--history", "the ant; i4; the bee"], &["--item", "i7"], &["--item", "i2", "--seen"]];
    for (row, asked, top) in
        ["near", "ra-rec", "sasrec-grounded", "pop"].into_iter().flat_map(|row| asks.map(|asked| (row, asked, "4")))
    {
        let ask = |more: &[&str]| {
            let own = ["recommend", "--bundle", "b", "--row", row, "--top", top, "--json"];
            list(&json(&root.ok(&[&own, asked, more].concat())))
        };
        // An explanation needs the scores of all items.
        let (found, all) = (ask(&[]), ask(&["--explain"]));
        assert!(found == all && found.len() == 4, "{row} {asked:?}: {found:?} {all:?}");
    }
}

#[test]
fn names_of_users_and_the_language_model_stay_behind_if_asked() {
    let root = exported(&["--without-lm"]);
    let users =
        |folder: &str| ra_data::read_table(&root.path(folder).join("histories.parquet")).unwrap()["user"].clone();
    assert_eq!(users("b"), ra_data::Column::Text(vec![String::new(); 12]));
    root.ok(&["export", "--run", "a", "--row", "pop", "--names-users", "--to", "c"]);
    assert_ne!(users("c"), users("b"));
    assert!(!root.path("b/lm").exists());
    let told = root.error(&["recommend", "--bundle", "b", "--item", "i1"]);
    assert!(told.contains("was exported without its language model") && told.contains("--lm"), "{told}");
    let told = root.error(&["recommend", "--bundle", "b", "--lm", "lm", "--user", "u3"]);
    assert!(told.contains("holds no names of users; send a history"), "{told}");
    root.ok(&["recommend", "--bundle", "b", "--lm", "lm", "--item", "i1"]);
    root.write(
        "lm/tokenizer.json",
        &std::fs::read_to_string(root.path("lm/tokenizer.json")).unwrap().replace("quail", "quayl"),
    );
    let told = root.error(&["recommend", "--bundle", "b", "--lm", "lm", "--item", "i1"]);
    assert!(told.contains("is not the language model lm that the bundle was made with"), "{told}");
}

#[test]
fn a_damaged_or_foreign_bundle_is_refused() {
    let root = exported(&[]);
    let opened = || root.xtask(&["recommend", "--bundle", "b", "--item", "i1"]);
    assert!(opened().status.success());
    let manifest = json(&std::fs::read_to_string(root.path("b/manifest.json")).unwrap());
    let files: Vec<String> = manifest["files"].as_object().unwrap().keys().cloned().collect();
    assert!(files.iter().any(|name| name.starts_with("lm/")) && files.contains(&"canary.json".to_owned()), "{files:?}");
    let refused = |told: &str| {
        let found = root.error(&["recommend", "--bundle", "b", "--item", "i1"]);
        assert!(found.contains(told), "{told}: {found}");
    };
    for name in &files {
        let path = root.path("b").join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        refused(&format!("{name}: is not the file that was exported"));
        std::fs::remove_file(&path).unwrap();
        refused(&format!("{name}: is missing"));
        std::fs::write(&path, whole).unwrap();
    }
    let write = |changed: &Value| root.write("b/manifest.json", &changed.to_string());
    let change = |key: &str, value: Value| {
        let mut changed = manifest.clone();
        changed[key] = value;
        write(&changed);
    };
    change("format", 7.into());
    refused("has format 7, and this program reads format 3");
    change("files", serde_json::json!({"../secret": "0"}));
    refused("which is not within the bundle");
    change("rows", serde_json::json!([]));
    refused("has no row");
    change("rows", serde_json::json!([{"name": "nothing", "label": "x", "metrics": {}, "vector": []}]));
    assert!(!opened().status.success());
    root.write("b/manifest.json", "{");
    refused("manifest.json");
    // An answer that the models do not give any more, in a file that is as it was written.
    let canary = root.path("b/canary.json");
    let mut answers = json(&std::fs::read_to_string(&canary).unwrap());
    let score = &mut answers[0]["answers"][0][0][1];
    *score = (score.as_f64().unwrap() + 1.0).into();
    std::fs::write(&canary, answers.to_string()).unwrap();
    let mut changed = manifest.clone();
    let sum = std::process::Command::new("sha256sum").arg(&canary).output().unwrap();
    changed["files"]["canary.json"] = String::from_utf8(sum.stdout).unwrap()[..64].into();
    write(&changed);
    refused("the row all gives item");
    std::fs::remove_file(root.path("b/manifest.json")).unwrap();
    refused("is not a bundle");
    assert!(root.error(&["serve", "--bundle", "b"]).contains("is not a bundle"));
}

#[test]
fn what_cannot_be_exported_is_told_and_nothing_of_others_is_replaced() {
    let root = exported(&[]);
    let export = |more: &[&str]| root.error(&[&["export", "--run", "a"], more].concat());
    assert!(export(&["--to", "b"]).contains("holds a bundle"));
    assert!(export(&["--to", "a"]).contains("holds the output of another command"));
    root.write("mine/notes.txt", "mine");
    assert!(export(&["--to", "mine"]).contains("holds files but no bundle"));
    assert!(export(&["--to", "c", "--row", "nothing"]).contains("there are pop; lexical"));
    assert!(export(&["--to", "c", "--group", "taste"]).contains("taste"));
    assert!(!root.path("c/manifest.json").exists());
    // An export that fails leaves the earlier bundle as it was, and what it had begun is no bundle.
    let manifest = std::fs::read(root.path("b/manifest.json")).unwrap();
    std::fs::rename(root.path("lm/tokenizer.json"), root.path("tokenizer.json")).unwrap();
    export(&["--to", "b", "--force", "--row", "all"]);
    std::fs::rename(root.path("tokenizer.json"), root.path("lm/tokenizer.json")).unwrap();
    assert_eq!(std::fs::read(root.path("b/manifest.json")).unwrap(), manifest);
    root.ok(&["recommend", "--bundle", "b", "--item", "i1"]);
    root.write("b/mine.txt", "mine");
    root.ok(&["export", "--run", "a", "--to", "b", "--force"]);
    assert_eq!(std::fs::read_to_string(root.path("b/mine.txt")).unwrap(), "mine");
    root.ok(&["recommend", "--bundle", "b", "--item", "i1"]);
    let names: Vec<_> = root.path("").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == ".b.new"), "{names:?}");
    root.ok(&[
        "run",
        "own",
        "--out",
        "m",
        "--set",
        "id=[{kind='mf', train={epochs=1}}]",
        "--set",
        "eval.rows=['id']",
        "--set",
        "variant=[]",
    ]);
    let told = root.error(&["export", "--run", "m", "--to", "d"]);
    assert!(told.contains("mf knows only the users it was trained on"), "{told}");
}

fn read(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_batch_writes_the_same_lists_in_every_format_and_goes_on_where_it_was_cut_off() {
    let root = exported(&[]);
    root.write("who.csv", "user,item,ts\nann,i1,2\nann,i2,1\nbob,i9,1\nbob,unknown,2\ncy,nothing,1\n");
    let batch = |out: &str, more: &[&str]| {
        root.ok(&[&["recommend", "--bundle", "b", "--histories", "who.csv", "--top", "3", "--out", out], more].concat())
    };
    let told = batch("o.csv", &[]);
    assert!(told.contains("lists of 3 users") && told.contains("1 of the users got the most popular items"), "{told}");
    let lines = read(&root.path("o.csv"));
    assert_eq!((lines[0].as_str(), lines.len()), ("user,rank,item,title,score,fallback", 10));
    assert!(lines[1].starts_with("ann,1,") && lines[9].starts_with("cy,3,") && lines[9].ends_with("unknown_history"));
    // The single command gives the same list, in the order of time.
    let one =
        list(&json(&root.ok(&["recommend", "--bundle", "b", "--item", "i2", "--item", "i1", "--top", "3", "--json"])));
    let of = |user: &str| -> Vec<String> {
        let own = lines.iter().filter(|line| line.starts_with(&format!("{user},")));
        own.map(|line| line.split(',').nth(2).unwrap().to_owned()).collect()
    };
    assert_eq!(of("ann"), one.iter().map(|(item, _)| item.clone()).collect::<Vec<_>>());
    batch("o.jsonl", &[]);
    let items = |path: &str| {
        read(&root.path(path)).iter().map(|line| json(line)["item"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(items("o.jsonl"), [of("ann"), of("bob"), of("cy")].concat());
    batch("o.parquet", &["--vectors"]);
    let table = ra_data::read_table(&root.path("o.parquet")).unwrap();
    assert_eq!(table["item"], ra_data::Column::Text(items("o.jsonl")));
    let ra_data::Column::Vectors(vectors) = &table["vector"] else { panic!("{table:?}") };
    assert!(!vectors[0].is_empty() && vectors[1].is_empty());
    // The same histories as JSON lines.
    root.write("who.jsonl", "{\"user\": \"ann\", \"history\": [\"i2\", {\"item\": \"i1\"}]}\n");
    root.ok(&["recommend", "--bundle", "b", "--histories", "who.jsonl", "--top", "3", "--out", "l.jsonl"]);
    assert_eq!(items("l.jsonl"), of("ann"));
    root.write("allow.txt", "i5\ni6\ni2\n");
    root.write("deny.txt", "i6\n");
    batch("f.jsonl", &["--allow", "allow.txt", "--deny", "deny.txt"]);
    assert!(items("f.jsonl").iter().all(|item| ["i5", "i2"].contains(&item.as_str())), "{:?}", items("f.jsonl"));
    assert!(!items("f.jsonl")[..1].contains(&"i2".to_owned()), "ann had i2");
    batch("s.jsonl", &["--allow", "allow.txt", "--seen"]);
    assert_eq!(items("s.jsonl").iter().filter(|item| *item == "i2").count(), 3);
    root.write("deny.csv", "i6\n");
    root.write("empty.csv", "user,item,ts\n");
    for (args, told) in [
        (vec!["--histories", "who.csv", "--out", "o.txt"], "must end in .parquet, .csv or .jsonl"),
        (vec!["--histories", "none.csv", "--out", "o.csv"], "none.csv"),
        (vec!["--histories", "who.csv", "--out", "./who.csv"], "is a file that the command reads"),
        (vec!["--histories", "who.csv", "--out", "deny.csv", "--deny", "deny.csv"], "is a file that the command reads"),
        (vec!["--histories", "who.csv", "--out", "b/items.parquet"], "is within the bundle"),
        (vec!["--histories", "empty.csv", "--out", "o.csv"], "empty.csv"),
        (vec!["--histories", "who.csv", "--out", "o.csv", "--vectors"], "vectors need a .parquet file"),
        (
            vec!["--histories", "who.csv", "--out", "o.parquet", "--vectors", "--row", "ra-rec"],
            "has the vectors of all",
        ),
        (vec!["--histories", "who.csv", "--out", "o.csv", "--column", "user=who"], "who"),
        (vec!["--histories", "who.csv", "--out", "o.csv", "--row", "nothing"], "row \"nothing\": the bundle has all"),
    ] {
        let found = root.error(&[&["recommend", "--bundle", "b"], &args[..]].concat());
        assert!(found.contains(told), "{told}: {found}");
    }
    let leftovers: Vec<PathBuf> = root.path("").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!leftovers.iter().any(|path| path.to_string_lossy().contains(".parts-")), "{leftovers:?}");
}

#[test]
fn a_batch_reads_what_strangers_send_and_tells_what_it_leaves_out() {
    let root = exported(&[]);
    let batch = |histories: &str, out: &str, more: &[&str]| {
        let args = ["recommend", "--bundle", "b", "--histories", histories, "--top", "2", "--out", out];
        root.ok(&[&args[..], more].concat())
    };
    let users = |path: &str| {
        let mut users: Vec<String> =
            read(&root.path(path)).iter().map(|line| json(line)["user"].as_str().unwrap().to_owned()).collect();
        users.dedup();
        users
    };
    // A folder and a pattern are logs as well.
    root.write("parts/1.csv", "user,item,ts\nann,i1,1\n");
    root.write("parts/2.csv", "user,item,ts\nbob,i2,1\n");
    for histories in ["parts", "parts/*.csv"] {
        batch(histories, "parts.jsonl", &[]);
        assert_eq!(users("parts.jsonl"), ["ann", "bob"], "{histories}");
    }
    batch("parts/*.csv", "parts/lists.jsonl", &[]);
    // A byte order mark, numbers as ids, another name, compression.
    let lines =
        "\u{feff}{\"user\": 7, \"history\": [\"i1\", {\"item\": \"i2\"}]}\r\n\n{\"user\": \"b\", \"history\": [99]}\n";
    root.write("who.txt", lines);
    let told = batch("who.txt", "who.out.jsonl", &[]);
    assert!(told.contains("lists of 2 users") && told.contains("1 entries of histories are no items"), "{told}");
    assert_eq!(users("who.out.jsonl"), ["7", "b"]);
    std::fs::write(root.path("who.zst"), zstd::encode_all(lines.as_bytes(), 0).unwrap()).unwrap();
    batch("who.zst", "zst.jsonl", &[]);
    assert_eq!(read(&root.path("zst.jsonl")), read(&root.path("who.out.jsonl")));
    // Lists of ids are read alike, and what they do not match is told.
    root.write(
        "deny.txt",
        &format!("\u{feff}{}\r\nnothing\r\n", json(&read(&root.path("zst.jsonl"))[0])["item"].as_str().unwrap()),
    );
    let told = batch("who.txt", "deny.jsonl", &["--deny", "deny.txt"]);
    assert!(told.contains("deny: 1 of 2 ids are not in the catalogue"), "{told}");
    assert_ne!(read(&root.path("deny.jsonl"))[0], read(&root.path("zst.jsonl"))[0]);
    // Users without a list, or with a short one.
    root.write("allow.txt", "i1\ni3\n");
    let told = batch("who.txt", "short.jsonl", &["--allow", "allow.txt"]);
    assert!(told.contains("lists of 2 users") && told.contains("fewer than 2 items are left for 1 users"), "{told}");
    root.write("one.txt", "i1\n");
    let told = batch("who.txt", "none.parquet", &["--allow", "one.txt"]);
    assert!(told.contains("lists of 1 users") && told.contains("for 2 users, and none for 1 of them"), "{told}");
    let table = ra_data::read_table(&root.path("none.parquet")).unwrap();
    assert_eq!(table["user"], ra_data::Column::Text(vec!["b".into()]));
    #[cfg(unix)]
    {
        assert!(std::process::Command::new("mkfifo").arg(root.path("pipe")).status().unwrap().success());
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(root.path("pipe"), lines).unwrap());
            batch("pipe", "pipe.jsonl", &[]);
        });
        assert_eq!(read(&root.path("pipe.jsonl")), read(&root.path("who.out.jsonl")));
        std::os::unix::fs::symlink("pipe.jsonl", root.path("link.jsonl")).unwrap();
        batch("who.txt", "link.jsonl", &["--deny", "deny.txt"]);
        assert!(root.path("link.jsonl").is_symlink());
        assert_eq!(read(&root.path("pipe.jsonl")), read(&root.path("deny.jsonl")));
    }
    // Lists may be replaced, and nothing else.
    batch("who.txt", "short.jsonl", &[]);
    root.write("mine.csv", "precious\n");
    for (histories, out, told) in [
        ("who.txt", "mine.csv", "holds no lists"),
        ("twice.jsonl", "o.csv", "user \"a\" is in line 1 and again in line 2"),
        ("float.jsonl", "o.csv", "line 1, byte"),
        ("parts", "parts/o.csv", "is among the histories"),
        ("parts/*.csv", "parts/o.csv", "is among the histories"),
        ("array.json", "o.csv", "--column item=NAME"),
    ] {
        root.write("twice.jsonl", "{\"user\": \"a\", \"history\": []}\n{\"user\": \"a\", \"history\": []}\n");
        root.write("float.jsonl", "{\"user\": \"a\", \"history\": [1.5]}\n");
        root.write("array.json", "[{\"user\": \"a\", \"history\": [\"i1\"]}]\n");
        let found = root.error(&["recommend", "--bundle", "b", "--histories", histories, "--out", out]);
        assert!(found.contains(told), "{told}: {found}");
    }
    assert_eq!(read(&root.path("mine.csv")), ["precious"]);
    // A log in JSON stays one, however its first line looks.
    root.write("log.json", "[{\"user\": \"ann\", \"item\": \"i1\", \"ts\": 1}]");
    batch("log.json", "log.jsonl", &[]);
    assert_eq!(users("log.jsonl"), ["ann"]);
    root.write("lines.jsonl", "{\"user\": \"bob\", \"item\": \"history\", \"ts\": 1}\n");
    batch("lines.jsonl", "log.jsonl", &[]);
    assert_eq!(users("log.jsonl"), ["bob"]);
}

#[test]
fn options_that_a_run_does_not_have_are_refused() {
    let root = Root::new();
    for more in [&["--deny", "d.txt"][..], &["--seen"], &["--explain"], &["--out", "o.csv"], &["--per-group", "1"]] {
        let output = root.xtask(&[&["recommend", "--run", "a", "--item", "i1"], more].concat());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(more[0]) && told.contains("--run"), "{told}");
    }
    let output = root.xtask(&["recommend", "--bundle", "b", "--similar", "i1", "--deny", "d.txt"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("--deny") && told.contains("--similar"), "{told}");
}

#[test]
fn an_export_killed_as_it_puts_its_bundle_in_place_is_finished() {
    let root = exported(&[]);
    let asked = ["recommend", "--bundle", "b", "--item", "i1", "--json"];
    let whole = list(&json(&root.ok(&asked)));
    root.write("b/mine.txt", "mine");
    let export = ["export", "--run", "a", "--to", "b", "--row", "all", "--force"];
    let command = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(export).current_dir(root.path("")).env("RA_REC_ROOT", root.path(""));
        command
    };
    let points = crate::kill::points(&mut command());
    let placed: Vec<&String> = points.iter().filter(|point| point.starts_with("placed ")).collect();
    assert_eq!(placed.last().unwrap().as_str(), "placed manifest.json");
    // Whoever opens the bundle finishes the export, and so does another export.
    for (point, is_opened) in [(placed[0], true), (placed[placed.len() - 2], false), (placed[placed.len() - 1], true)] {
        crate::kill::kill_at(point, &mut command());
        if !is_opened {
            root.ok(&export);
        }
        assert_eq!(list(&json(&root.ok(&asked))), whole, "{point}");
        root.ok(&export);
        assert!(!root.path(".b.new").exists() && root.path("b/mine.txt").exists(), "{point}");
    }
    // What cannot be put in its place leaves the bundle that is there.
    let manifest = std::fs::read_to_string(root.path("b/.ra-rec.json")).unwrap();
    root.write("b/.ra-rec.json", &manifest.replace("\"items.npy\",", ""));
    assert!(root.error(&export).contains("items.npy"));
    assert_eq!(list(&json(&root.ok(&asked))), whole);
}

#[test]
fn a_killed_batch_resumes_to_the_same_file() {
    let root = exported(&[]);
    let rows: String =
        (0..5000).map(|user| format!("v{user},i{},1\nv{user},i{},2\n", user % 12, (user / 12) % 12)).collect();
    root.write("who.csv", &format!("user,item,ts\n{rows}"));
    let args = ["recommend", "--bundle", "b", "--histories", "who.csv", "--top", "2", "--row", "lexical", "--out"];
    root.ok(&[&args[..], &["whole.csv"]].concat());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
    child.args(args).arg("cut.csv").current_dir(root.path("")).env("RA_REC_ROOT", root.path(""));
    let parts = || {
        let mut folders = root.path("").read_dir().unwrap().map(|entry| entry.unwrap().path());
        folders.find(|path| path.to_string_lossy().contains(".cut.csv.parts-"))
    };
    let mut child = child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    // Killed once the first part is there, or it has already ended.
    while child.try_wait().unwrap().is_none() && !parts().is_some_and(|folder| folder.join("000000.parquet").exists()) {
        std::thread::yield_now();
    }
    child.kill().ok();
    child.wait().unwrap();
    // What is there is used: a list that somebody changed stands in the file.
    let part = parts().map(|folder| folder.join("000000.parquet"));
    if let Some(part) = part.filter(|part| part.exists()) {
        let mut table = ra_data::read_table(&part).unwrap();
        let ra_data::Column::Text(titles) = table.get_mut("title").unwrap() else { panic!("titles") };
        titles[0] = "changed".into();
        let columns: Vec<(&str, ra_data::Column)> =
            table.iter().map(|(name, own)| (name.as_str(), own.clone())).collect();
        ra_data::write_columns(&part, &columns).unwrap();
        root.ok(&[&args[..], &["cut.csv", "--resume"]].concat());
        let lines = read(&root.path("cut.csv"));
        assert!(lines[1].contains("changed"), "{}", lines[1]);
        assert_eq!(lines[2..], read(&root.path("whole.csv"))[2..]);
        return;
    }
    root.ok(&[&args[..], &["cut.csv", "--resume"]].concat());
    assert_eq!(read(&root.path("cut.csv")), read(&root.path("whole.csv")));
    assert!(parts().is_none());
}

#[test]
fn a_bundle_of_a_sentence_encoder_keeps_its_pooling_and_its_dense_layers() {
    let root = Root::new();
    let encoder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ra-llm/tests/reference/sentence/dense");
    let path = format!("lm.path='{}'", encoder.display());
    // Titles of words that the encoder knows.
    let words = ["toy", "story", "red", "wool", "film", "the"];
    let title = |at: usize| format!("{} {} {}", words[at % 6], words[at * 5 % 6], words[at / 3 % 6]);
    let items: String = (0..12).map(|at| format!("i{at}\t{}\n", title(at))).collect();
    root.write("items.tsv", &format!("item\ttitle\n{items}"));
    root.ok(&["run", "tiny", "--out", "a", "--set", &path, "--set", "eval.rows=['id', 'text', 'ra-rec']"]);
    root.ok(&["export", "--run", "a", "--row", "text-only", "--to", "b"]);
    let ask = |from: [&str; 2]| {
        let own = ["recommend", from[0], from[1], "--row", "text-only", "--item", "i1", "--top", "4", "--json"];
        list(&json(&root.ok(&own)))
    };
    let (run, bundle) = (ask(["--run", "a"]), ask(["--bundle", "b"]));
    let close = |(a, b): (&(String, f64), &(String, f64))| a.0 == b.0 && (a.1 - b.1).abs() < 1e-4 * (1.0 + b.1.abs());
    assert!(run.len() == 4 && run.iter().zip(&bundle).all(close), "{run:?} {bundle:?}");
    // The vectors are those after the dense layer, which has 8 outputs.
    let vectors = std::fs::read(root.path("b/items.npy")).unwrap();
    let header = String::from_utf8_lossy(&vectors[..128]);
    assert!(header.contains(", 8)"), "{header}");
    root.ok(&["recommend", "--run", "a", "--row", "ra-rec", "--item", "i1"]);
}
