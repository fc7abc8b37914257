//! Run folders, suites and comparisons among other people's files, and runs whose inputs change unnoticed.
use crate::cli::Root;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const IDS: [&str; 2] = ["--set", "eval.rows=['id']"];

/// Returns every file below `folder` with its content.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => files.append(&mut snapshot(&path)),
            false => drop(files.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    files
}

fn run<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "tiny", "--out", out][..], &IDS, more].concat()
}

#[test]
fn a_folder_of_somebody_else_is_refused_and_stays_as_it_is() {
    let root = Root::new();
    root.write("q/manifest.json", "{\"name\": \"my app\"}");
    root.write("q/report.json", "mine");
    root.write("q/log.jsonl", "mine");
    for part in ["checkpoints", "metrics", "tensorboard", "vectors"] {
        root.write(&format!("q/{part}/mine.bin"), "mine");
    }
    root.write("marked/.ra-rec.json", "{\"made_by\": \"me\", \"kind\": \"run\", \"files\": []}");
    root.write(
        "exported/.ra-rec.json",
        "{\"made_by\": \"ra-rec\", \"kind\": \"export\", \"files\": [\"items.parquet\"]}",
    );
    root.write("locked/.ra-rec.lock", "my notes");
    root.write("a-file", "mine");
    for (out, told) in [
        ("q", "holds files but no run"),
        ("marked", "not a marker of ours"),
        ("exported", "another command (export"),
        ("locked", "not a lock of ours"),
        ("a-file", "is a file, not a folder"),
    ] {
        for how in [&[][..], &["--resume"], &["--force"]] {
            let before = snapshot(&root.path(""));
            let error = root.error(&run(out, how));
            assert!(error.contains(told) && error.contains(out), "{how:?}: {error}");
            assert!(snapshot(&root.path("")) == before, "{out} {how:?}");
        }
    }
    let error = root.error(&run("q", &["--set", "data.interactions=nowhere.tsv"]));
    assert!(error.contains("holds files but no run"), "before a long log is read: {error}");
    // A suite and a comparison.
    root.write("xtask/recipes/pair.toml", "recipe = 'tiny'\n[[axis]]\nname = 'x'\nvalues = [{ name = 'one' }]");
    root.ok(&run("a", &[]));
    root.write("comparison.md", "made by ra-rec report, so I read\n<!-- made by ra-rec report --> is its end");
    let before = snapshot(&root.path(""));
    for (args, told) in [
        (&["run", "pair", "--out", "q"][..], "holds files but no suite"),
        (&["run", "pair", "--out", "q", "--force"], "holds files but no suite"),
        (&["run", "pair", "--out", "a"], "another command (run"),
        (&["report", "a"], "comparison.md: exists and is not a comparison of ours"),
    ] {
        let error = root.error(args);
        assert!(error.contains(told), "{error}");
        assert!(snapshot(&root.path("")) == before, "{args:?}");
    }
    for _ in 0..2 {
        root.ok(&["report", "a", "--out", "tables"]);
        assert!(["md", "html", "json"].iter().all(|end| root.path(&format!("tables/comparison.{end}")).exists()));
    }
}

#[test]
fn files_of_somebody_else_in_a_run_folder_survive_every_command() {
    let root = Root::new();
    root.ok(&run("a", &[]));
    let theirs =
        ["notes.md", "checkpoints/mine.bin", "checkpoints/towers-mine.json", ".tmp-mine", "metrics/x/y", ".lock"];
    theirs.iter().for_each(|name| root.write(&format!("a/{name}"), "mine"));
    root.write("a/.ra-rec-tmp-left", "a write that was killed");
    for more in [&["--resume"][..], &[], &["--force", "--set", "seed=5"], &["--force"]] {
        root.ok(&run("a", more));
        for name in theirs {
            assert_eq!(std::fs::read(root.path("a").join(name)).unwrap(), b"mine", "{name} after {more:?}");
        }
        assert!(!root.path("a/.ra-rec-tmp-left").exists());
    }
    root.write("a/tensorboard/mine", "mine");
    root.ok(&run("a", &[]));
    let curves = || root.path("a/tensorboard").read_dir().unwrap().count();
    assert_eq!(curves(), 2, "theirs, and ours anew");
    root.ok(&run("a", &["--resume"]));
    assert_eq!(curves(), 3, "a run that goes on has a file of its own");
    // A file in the way of one of ours.
    std::fs::remove_file(root.path("a/report.md")).unwrap();
    std::fs::create_dir(root.path("a/report.md")).unwrap();
    assert!(root.error(&run("a", &[])).contains("report.md"));
}

#[test]
fn a_run_of_another_recipe_seed_or_data_is_replaced_by_force_alone() {
    let root = Root::new();
    root.ok(&run("a", &[]));
    let kept = snapshot(&root.path("a"));
    let log = std::fs::read_to_string(root.path("log.tsv")).unwrap();
    root.write("xtask/recipes/other.toml", &std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap());
    root.write("other.tsv", &log.replace("u3\t", "v3\t"));
    let other = format!("data.interactions={:?}", root.path("other.tsv"));
    let as_other = ["run", "other", "--out", "a", "--set", "eval.rows=['id']", "--set", "seed=5"];
    for (args, told) in [
        (run("a", &["--set", "seed=5"]), ["seed is 3 there and 5 here", "tiny (seed 3, data"]),
        (as_other.to_vec(), ["there tiny (seed 3", "here other (seed 5"]),
        (run("a", &["--set", "id.dim=4"]), ["id.sasrec.dim is 8 there and 4 here", "holds another finished run"]),
        (run("a", &["--set", &other]), ["data.interactions", "other.tsv"]),
    ] {
        let error = root.error(&args);
        assert!(told.iter().all(|told| error.contains(told)) && error.contains("--force"), "{error}");
        let error = root.error(&[&args[..], &["--resume"]].concat());
        assert!(error.contains("by another recipe") && error.contains("--force"), "{error}");
        let mut now = snapshot(&root.path("a"));
        now.insert(root.path("a/.ra-rec.lock"), kept[&root.path("a/.ra-rec.lock")].clone());
        assert!(now == kept, "nothing is touched: {args:?}");
    }
    root.ok(&run("a", &["--set", "seed=5", "--force"]));
    assert_eq!(root.report("a")["seed"], 5);
    // A finished run that is being extended still counts as finished.
    let longer = ["--set", "seed=5", "--set", "id.train.epochs=9", "--resume"];
    let mut killed = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
    killed.args(run("a", &longer)).current_dir(root.path("")).env("RA_REC_ROOT", root.path(""));
    assert!(!killed.env("RA_REC_STOP_AT", "renamed recipe.toml").output().unwrap().status.success());
    assert_eq!(root.report("a")["seed"], 5, "its report is still there");
    assert!(root.error(&run("a", &[])).contains("holds another finished run"));
    assert!(root.error(&["recommend", "--run", "a", "--user", "u1"]).contains("--resume"));
    root.ok(&run("a", &longer));
    root.ok(&["recommend", "--run", "a", "--user", "u1"]);
    // A run that is repeated keeps its reports until there are new ones.
    let again = ["--set", "seed=5", "--set", "id.train.epochs=9"];
    let mut killed = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
    killed.args(run("a", &again)).current_dir(root.path("")).env("RA_REC_ROOT", root.path(""));
    assert!(!killed.env("RA_REC_STOP_AT", "renamed recipe.toml").output().unwrap().status.success());
    assert_eq!(root.report("a")["seed"], 5);
    assert!(root.path("a/metrics").read_dir().unwrap().count() > 1 && !root.path("a/checkpoints").exists());
    root.ok(&run("a", &[&again[..], &["--resume"]].concat()));
    // An interrupted run is replaced by another one, with a warning.
    std::fs::remove_file(root.path("a/report.json")).unwrap();
    assert!(root.warned(&run("a", &["--set", "seed=6"])).contains("seed is 5 there and 6 here"));
    root.ok(&run("a", &["--set", "seed=5", "--force"]));
    assert_eq!(root.report("a")["seed"], 5);
    assert!(root.error(&run("a", &[])).contains("seed is 5 there and 3 here"));
    root.ok(&run("a", &["--set", "seed=5"]));
}

#[test]
fn what_is_read_is_never_in_the_folder_that_is_written() {
    let root = Root::new();
    root.ok(&["run", "tiny", "--out", "a"]);
    for (name, from) in [("log.tsv", "log.tsv"), ("items.tsv", "items.tsv"), ("lm/config.json", "lm/config.json")] {
        root.write(&format!("a/{name}"), &std::fs::read_to_string(root.path(from)).unwrap());
    }
    root.write("a/vectors.npy", "");
    let before = snapshot(&root.path("a"));
    for set in [
        "data.interactions='a/log.tsv'",
        "data.interactions='a'",
        "data.interactions='a/*.tsv'",
        "data.items='lm/../a/items.tsv'",
        "lm.path='a/lm'",
        "id=[{kind='import', items='a/vectors.npy'}]",
    ] {
        let error = root.error(&["run", "tiny", "--out", "a", "--force", "--set", set]);
        assert!(error.contains("is an input inside the output folder a"), "{set}: {error}");
        assert!(snapshot(&root.path("a")) == before, "{set}");
    }
}

#[test]
fn a_suite_keeps_to_its_own_files() {
    let root = Root::new();
    let pair = |seed: &str| {
        format!(
            "recipe = 'tiny'\nset = {{ 'eval.rows' = ['id'] }}\n[[axis]]\nname = 'seed'\n\
             values = [{{ name = '1', set = {{ seed = 1 }} }}, {{ name = '2', set = {{ seed = {seed} }} }}]"
        )
    };
    root.write("xtask/recipes/pair.toml", &pair("2"));
    root.ok(&["run", "pair", "--out", "p"]);
    let theirs = ["id-models/mine/mark.json", "notes.md", "1/checkpoints/mine"];
    theirs.iter().for_each(|name| root.write(&format!("p/{name}"), "mine"));
    let shared = || root.path("p/id-models").read_dir().unwrap().count();
    let models = shared();
    root.ok(&["run", "pair", "--out", "p"]);
    assert_eq!(shared(), models, "the same ID methods, and theirs");
    let kept = std::fs::read(root.path("p/2/report.json")).unwrap();
    root.write("xtask/recipes/pair.toml", &pair("7"));
    let error = root.error(&["run", "pair", "--out", "p"]);
    assert!(error.contains("p: holds the suite \"pair\"") && error.contains("--force"), "{error}");
    // When the suite is resumed, the run is the one that differs.
    assert!(root.error(&["run", "pair", "--out", "p", "--resume"]).contains("seed is 2 there and 7 here"));
    assert_eq!(std::fs::read(root.path("p/2/report.json")).unwrap(), kept);
    root.write("xtask/recipes/other.toml", &pair("7"));
    let error = root.error(&["run", "other", "--out", "p", "--resume"]);
    assert!(error.contains("p: holds the suite \"pair\", and this is \"other\""), "{error}");
    root.ok(&["run", "pair", "--out", "p", "--force"]);
    assert_eq!(root.report("p/2")["seed"], 7);
    for name in theirs {
        assert_eq!(std::fs::read(root.path("p").join(name)).unwrap(), b"mine", "{name}");
    }
}

/// Replaces the first `from` in a file of the root by `to`.
fn edit(root: &Root, file: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(root.path(file)).unwrap();
    assert!(text.contains(from), "{file}: {text}");
    root.write(file, &text.replacen(from, to, 1));
}

/// Returns the metrics of a run in a folder of its own, with an empty or the existing cache.
fn metrics(root: &Root, out: &str, empty_cache: bool) -> Vec<serde_json::Value> {
    if empty_cache {
        std::fs::remove_dir_all(root.path("cache")).unwrap();
    }
    root.ok(&["run", "tiny", "--out", out]);
    root.metrics(out)
}

#[test]
fn a_language_model_that_changed_is_another_one() {
    for (file, from, to) in [
        ("lm/config.json", "\"gelu\"", "\"relu\""),
        ("lm/tokenizer.json", "\"ant\": 6, \"quail\": 7", "\"ant\": 7, \"quail\": 6"),
    ] {
        let root = Root::new();
        let before = metrics(&root, "before", false);
        edit(&root, file, from, to);
        let error = root.error(&["run", "tiny", "--out", "before", "--resume"]);
        assert!(error.contains("with another language model"), "{file}: {error}");
        let error = root.error(&["run", "tiny", "--out", "before"]);
        assert!(error.contains("language model") && error.contains("--force"), "{file}: {error}");
        for row in ["ra-rec", "text"] {
            let error = root.error(&["recommend", "--run", "before", "--row", row, "--user", "u3"]);
            assert!(error.contains("another language model"), "{file}: {error}");
        }
        let with_old_cache = metrics(&root, "cached", false);
        assert_eq!(with_old_cache, metrics(&root, "fresh", true), "{file}: the old model's rows were used");
        // And a run with the original inputs is not affected.
        edit(&root, file, to, from);
        assert_eq!(before, metrics(&root, "again", false), "{file}");
    }
}

#[test]
fn titles_and_imported_tables_that_changed_are_others() {
    let root = Root::new();
    root.ok(&["run", "tiny", "--out", "a"]);
    edit(&root, "items.tsv", "The quail", "The ox and the hen");
    assert!(root.error(&["run", "tiny", "--out", "a", "--resume"]).contains("from other data"));
    assert!(root.error(&["run", "tiny", "--out", "a"]).contains("--force"));
    assert!(root.error(&["recommend", "--run", "a", "--user", "u3"]).contains("not the one this run was made from"));

    let vectors = |value: f32| {
        let numbers: Vec<u8> =
            (0..12 * 4).flat_map(|at| (value * ((at * 7 % 11) as f32 - 5.0)).to_le_bytes()).collect();
        let head = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 4), }");
        [&b"\x93NUMPY\x01\x00"[..], &(head.len() as u16).to_le_bytes(), head.as_bytes(), &numbers].concat()
    };
    let names: String = (0..12).map(|item| format!("i{item}\n")).collect();
    root.write("names.txt", &names);
    let users: String = (0..12).map(|user| format!("u{user}\n")).collect();
    root.write("users.txt", &users);
    std::fs::write(root.path("items.npy"), vectors(0.1)).unwrap();
    std::fs::write(root.path("users.npy"), vectors(0.2)).unwrap();
    let ids = "id=[{kind='import', items='items.npy', item_ids='names.txt', users='users.npy', user_ids='users.txt'}]";
    root.ok(&["run", "tiny", "--out", "b", "--set", ids]);
    root.ok(&["run", "tiny", "--out", "b", "--set", ids, "--resume"]);
    for file in ["items.npy", "users.npy"] {
        let old = std::fs::read(root.path(file)).unwrap();
        std::fs::write(root.path(file), vectors(0.3)).unwrap();
        let error = root.error(&["run", "tiny", "--out", "b", "--set", ids, "--resume"]);
        assert!(error.contains("from other imported files"), "{file}: {error}");
        assert!(root.error(&["run", "tiny", "--out", "b", "--set", ids]).contains("--force"), "{file}");
        let error = root.error(&["recommend", "--run", "b", "--user", "u3"]);
        assert!(error.contains("imported files are not those"), "{file}: {error}");
        std::fs::write(root.path(file), old).unwrap();
    }
    assert!(root.ok(&["recommend", "--run", "b", "--user", "u3"]).contains("recommended"));
}

#[test]
fn item_vectors_of_other_towers_are_not_recommended_from() {
    let root = Root::new();
    root.ok(&["run", "tiny", "--out", "a"]);
    root.ok(&["run", "tiny", "--out", "b", "--set", "train.steps=3"]);
    // The state after a kill between the towers and the item vectors.
    for name in ["towers.safetensors", "towers.json"] {
        std::fs::copy(root.path("b/checkpoints").join(name), root.path("a/checkpoints").join(name)).unwrap();
    }
    let error = root.error(&["recommend", "--run", "a", "--row", "ra-rec", "--user", "u3"]);
    assert!(error.contains("made with other towers") && error.contains("--resume"), "{error}");
    root.ok(&["run", "tiny", "--out", "a", "--resume"]);
    assert!(root.ok(&["recommend", "--run", "a", "--row", "ra-rec", "--user", "u3"]).contains("recommended"));
}

#[test]
fn an_id_checkpoint_of_another_run_is_not_taken() {
    let root = Root::new();
    root.ok(&run("a", &[]));
    root.ok(&run("b", &["--set", "seed=5"]));
    let file = |out: &str| root.path(out).join("checkpoints/id-sasrec.safetensors");
    let own = std::fs::read(file("a")).unwrap();
    std::fs::copy(file("b"), file("a")).unwrap();
    let recommend = ["recommend", "--run", "a", "--row", "sasrec", "--user", "u3"];
    for args in [recommend.to_vec(), run("a", &["--resume"])] {
        let error = root.error(&args);
        assert!(error.contains("id-sasrec.safetensors: not the checkpoint that this run trained"), "{error}");
    }
    std::fs::write(file("a"), own).unwrap();
    root.ok(&run("a", &["--resume"]));
    root.ok(&recommend);
}

#[test]
fn a_cache_that_is_none_does_no_harm_and_is_not_touched() {
    let root = Root::new();
    let right = metrics(&root, "a", false);
    for junk in [&b"my notes, which are long enough"[..], b"short"] {
        let files: Vec<PathBuf> = root.path("cache").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty());
        files.iter().for_each(|file| std::fs::write(file, junk).unwrap());
        assert_eq!(metrics(&root, "b", false), right);
        assert!(files.iter().all(|file| std::fs::read(file).unwrap() == junk));
    }
}
