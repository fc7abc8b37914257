//! `tune`: searches keys of a recipe on validation.
use crate::cli::Root;
use serde_json::Value;
use std::process::{Command, Output};

/// Adds a recipe `own` to the root: the tiny one with more text.
fn add(root: &Root, more: &str) {
    let tiny = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap();
    root.write("xtask/recipes/own.toml", &format!("{tiny}{more}"));
}

/// Runs `tune own` in the folder `out`, up to a point where it is killed, if one is given.
fn tune(root: &Root, out: &str, more: &[&str], stop_at: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["tune", "own", "--out", out]).args(more);
    command.current_dir(root.path("")).env("RA_REC_ROOT", root.path(""));
    if let Some(point) = stop_at {
        command.env("RA_REC_STOP_AT", point);
    }
    command.output().unwrap()
}

/// Returns `trials.json` without times.
fn trials(root: &Root, out: &str) -> Value {
    let mut found: Value = serde_json::from_slice(&std::fs::read(root.path(out).join("trials.json")).unwrap()).unwrap();
    for trial in found["trials"].as_array_mut().unwrap() {
        for training in trial["trainings"].as_array_mut().unwrap() {
            assert!(training["seconds"].take().is_f64());
        }
    }
    found
}

fn score(trial: &Value) -> Option<f64> {
    trial["trainings"].as_array().unwrap().last().unwrap()["score"].as_f64()
}

/// A recipe whose own learning rate teaches nothing.
const SLOW: &str = "rows = ['id']\n[tune]\ntrials = 6\n[tune.keys]\n'id.train.lr' = { low = 1e-6, high = 0.1, scale = 'log' }\n\
                    'id.dropout' = [0.0, 0.5]\n";

const SLOWLY: [&str; 4] = ["--set", "id.train.lr=1e-6", "--set", "id.train.epochs=30"];

#[test]
fn a_tuning_finds_better_values_without_the_test_part_and_its_recipe_runs() {
    let root = Root::new();
    add(&root, SLOW);
    let told = root.ok(&[&["tune", "own", "--out", "t"], &SLOWLY[..]].concat());
    assert!(told.contains("optimistic") && told.contains("is the best") && told.contains("t/best.toml"), "{told}");
    let found = trials(&root, "t");
    let all = found["trials"].as_array().unwrap();
    assert_eq!(all.len(), 6);
    assert_eq!(all[0]["settings"]["id.train.lr"].as_f64().unwrap() as f32, 1e-6, "the recipe itself is first");
    let best = &all[found["best"].as_u64().unwrap() as usize - 1];
    assert!(score(best).unwrap() > score(&all[0]).unwrap() + 0.05, "{all:?}");
    assert!(all.iter().all(|trial| score(trial).unwrap() <= score(best).unwrap()), "{all:?}");
    let page = std::fs::read_to_string(root.path("t/trials.md")).unwrap();
    assert!(page.contains("| id.train.lr") && page.contains("best") && page.contains("optimistic"), "{page}");
    // Only the last ID method was trained, and nothing was evaluated.
    for file in ["report.json", "metrics", "checkpoints/id-pop.json", "checkpoints/towers.json"] {
        assert!(!root.path("t/trials/001").join(file).exists(), "{file}");
    }
    root.ok(&["run", "t/best.toml", "--out", "best"]);
    let report = root.report("best");
    assert_eq!(report["rows"].as_array().unwrap().len(), 2, "the run has all rows of the recipe");
    let points = report["curves"][0]["points"].as_array().unwrap().clone();
    let highest = points.iter().filter_map(|point| point["validation"].as_f64()).fold(f64::MIN, f64::max);
    assert!((highest - score(best).unwrap()).abs() < 1e-9, "the run is the trial again: {highest}");

    assert!(root.error(&["tune", "own", "--out", "t"]).contains("--resume"));
    let other = ["tune", "own", "--out", "t", "--resume", "--set", "id.dim=4"];
    assert!(root.error(&other).contains("another recipe"));
    root.ok(&[&["tune", "own", "--out", "t", "--resume", "--set", "tune.trials=7"], &SLOWLY[..]].concat());
    let longer = trials(&root, "t");
    assert_eq!(longer["trials"].as_array().unwrap()[..6], all[..], "what was tried stays");
    assert_eq!(longer["trials"].as_array().unwrap().len(), 7);
    root.ok(&["tune", "own", "--out", "t", "--force", "--set", "tune.trials=2", "--set", "id.train.epochs=2"]);
    assert_eq!(trials(&root, "t")["trials"].as_array().unwrap().len(), 2);
}

#[test]
fn a_tuning_that_is_killed_again_and_again_ends_as_if_it_had_not_been() {
    let root = Root::new();
    add(&root, SLOW);
    let sets = [&SLOWLY[..], &["--set", "tune.halving=true", "--set", "tune.trials=8"]].concat();
    assert!(tune(&root, "whole", &sets, None).status.success());
    let sets = [&sets[..], &["--resume"]].concat();
    // In the middle of the first training, and then after each trial.
    assert!(!tune(&root, "killed", &sets, Some("sasrec/step 3")).status.success());
    let mut kills = 0;
    while !tune(&root, "killed", &sets, Some("renamed trials.json")).status.success() {
        kills += 1;
        assert!(kills < 30, "a tuning that goes on gets somewhere");
    }
    assert!(kills > 8, "{kills} kills");
    let (whole, killed) = (trials(&root, "whole"), trials(&root, "killed"));
    assert_eq!(whole, killed);
    let read = |out: &str, file: &str| std::fs::read_to_string(root.path(out).join(file)).unwrap();
    assert_eq!(read("whole", "best.toml"), read("killed", "best.toml"));
    // All settings have a short training, the better half a longer one; the recipe itself is trained in full.
    let lengths: Vec<usize> =
        whole["trials"].as_array().unwrap().iter().map(|trial| trial["trainings"].as_array().unwrap().len()).collect();
    assert_eq!(lengths[0], 3, "{lengths:?}");
    let reach = |round: usize| lengths.iter().filter(|&&length| length > round).count();
    assert!(reach(0) == 8 && (4..=5).contains(&reach(1)) && (2..=4).contains(&reach(2)), "{lengths:?}");
}

#[test]
fn a_row_with_towers_is_tuned_on_one_id_method_and_a_failure_does_not_end_the_search() {
    let root = Root::new();
    add(&root, "[tune]\ntrials = 3\nmethod = 'random'\n[tune.keys]\n'align.first_layer' = [-1, 9]\n");
    let told = root.ok(&["tune", "own", "--out", "t", "--set", "align.first_layer=1"]);
    assert!(told.contains("failed: ") && told.contains("3 layers"), "{told}");
    let found = trials(&root, "t");
    assert_eq!(found["row"], "ra-rec");
    let all = found["trials"].as_array().unwrap();
    let errors = all.iter().filter(|trial| trial["trainings"][0]["error"].is_string()).count();
    assert_eq!((all.len(), errors), (3, 1), "{all:?}");
    let models = root.path("t/id-models").read_dir().unwrap().count();
    assert_eq!(models, 1, "sasrec, once for all trials");
    let best = std::fs::read_to_string(root.path("t/best.toml")).unwrap();
    assert!(!best.contains("first_layer = 9") && best.contains("kind = \"pop\""), "{best}");
    // Shorter trainings are those of the towers: no trial changes the ID method.
    let keys = "tune.keys={ 'align.n_tok' = [2, 3] }";
    root.ok(&["tune", "own", "--out", "h", "--set", keys, "--set", "tune.halving=true"]);
    let resolved =
        |trial: &str| std::fs::read_to_string(root.path("h/trials").join(trial).join("recipe.toml")).unwrap();
    assert!(resolved("001-25").contains("steps = 2\n") && resolved("001").contains("steps = 6\n"));
    assert!(resolved("001-25").contains("epochs = 6\n"), "{}", resolved("001-25"));
    let none = ["tune", "own", "--out", "n", "--set", "tune.keys={ 'align.first_layer' = [8, 9] }"];
    let told = root.error(&[&none[..], &["--set", "align.first_layer=7"]].concat());
    assert!(told.contains("first_layer") && told.contains("3 layers"), "the recipe itself: {told}");
}

#[test]
fn a_choice_may_leave_other_keys_without_effect() {
    let root = Root::new();
    add(
        &root,
        "rows = ['id']\n[tune]\ntrials = 5\nmethod = 'random'\n[tune.keys]\n'id.loss' = ['softmax', 'bce']\n'id.negatives' = [1, 2]\n",
    );
    root.ok(&["tune", "own", "--out", "t", "--set", "id.loss=bce", "--set", "id.negatives=3"]);
    root.ok(&["run", "t/best.toml", "--out", "b"]);
    let found = trials(&root, "t");
    let all = found["trials"].as_array().unwrap();
    assert!(all.len() == 5 && all.iter().all(|trial| score(trial).is_some()), "{all:?}");
}

#[test]
fn what_is_wrong_with_a_table_is_told_at_once_and_before_anything_is_read() {
    let root = Root::new();
    add(
        &root,
        "[tune]\ntrials = 1\nrow = 'text'\n[tune.keys]\n'align.n_tokk' = [1, 2]\n'align.lambda' = { low = 3.0, high = 3.0 }\n\
         'align.loss' = { low = 1, high = 2 }\n'align.tau' = { low = 0.0, high = 1.0, scale = 'log' }\n\
         'eval.ks' = [1, 2]\n'id.dropout' = [0.1, 0.2]\nid.dropout = [0.1, 0.3]\n'id.heads' = { low = 1.5, high = 2.5 }\n\
         'align.n_tok' = [0, 1]\n'train.batch' = 'many'\n'id.loss' = ['softmax', 'hard']\n'align.distill_scale' = [1.0, 2.0]\n",
    );
    let told = root.error(&["tune", "own", "--out", "t"]);
    for part in [
        "tune.trials is 1, it must be from 2",
        "tune.row: \"text\" cannot be tuned; allowed: sasrec, ra-rec",
        "n_tokk",
        "`n_tok`",
        "tune.keys.align.lambda: the range from 3 to 3 is empty",
        "tune.keys.align.loss: is \"",
        "tune.keys.align.tau: low is 0; a range on a log scale must begin above 0",
        "tune.keys.eval.ks: cannot be tuned; allowed are the keys of",
        "tune.keys.id.dropout is there twice",
        "tune.keys.id.heads: holds whole numbers",
        "align.n_tok is 0",
        "tune.keys.train.batch: is \"many\"; give a list of choices",
        "softmax",
        "align.distill_scale has no effect",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!root.path("t").exists(), "what is refused leaves nothing");

    let on = |more: &[&str]| root.error(&[&["tune", "own", "--out", "t", "--set", "tune.trials=3"], more].concat());
    let keys = |keys: &str| format!("tune.keys={{ {keys} }}");
    let (row, of_row) = ("tune.row=sasrec", keys("'align.n_tok' = [1, 2]"));
    assert!(on(&["--set", row, "--set", &of_row]).contains("has no effect on the row sasrec"));
    let lr = keys("'id.train.lr' = [0.1, 0.2]");
    let split = ["data.split='ratio'", "data.ratio_valid=0.0", "data.ratio_test=0.3"];
    let split: Vec<&str> = split.iter().flat_map(|set| ["--set", *set]).collect();
    let told = on(&[&["--set", row, "--set", &lr], &split[..]].concat());
    assert!(told.contains("holds nothing out for it") && told.contains("data.split"), "{told}");
    assert!(on(&["--set", "tune.method=grid"]).contains("random"));
    let taught = ["--set", "variant=[{ name = 's', set = { n_tok = 1 } }]", "--set", "eval.rows=['id', 's']"];
    let keys_of = keys("'align.n_tok' = [1, 2]");
    let told = on(&[&taught[..], &["--set", "tune.row=s", "--set", &keys_of]].concat());
    assert!(told.contains("no effect on the row s: its [[variant]] gives the key"), "{told}");
    let ease = ["--set", "id=[{ kind = 'ease' }]", "--set", "tune.row=ease", "--set", "tune.halving=true"];
    let told = on(&[&ease[..], &["--set", &keys("'id.l2' = [1.0, 2.0]")]].concat());
    assert!(told.contains("ease is not trained in epochs"), "{told}");
    assert!(root.error(&["tune", "tiny"]).contains("has no [tune] table"));
    root.write("xtask/recipes/list.toml", "suite = ['tiny', 'own']");
    assert!(root.error(&["tune", "list"]).contains("is a suite"));
    // A recipe with the table runs, and the table is no part of the run.
    root.ok(&["run", "own", "--out", "r", "--set", "eval.rows=['id']"]);
    assert!(!std::fs::read_to_string(root.path("r/recipe.toml")).unwrap().contains("[tune"));
}

#[test]
fn models_are_chosen_by_tail_items_if_validation_has_them_and_reports_show_them() {
    let root = Root::new();
    let ids = "eval.rows=['id']";
    let select = "eval.select={ 'ndcg@10' = 1.0, 'tail:hr@1' = 0.5 }";
    root.ok(&["run", "tiny", "--out", "a", "--set", ids, "--set", select]);
    let report = root.report("a");
    assert!(report["protocol"]["select"].as_str().unwrap().contains("0.5 tail:hr@1"), "{}", report["protocol"]);
    for row in report["rows"].as_array().unwrap() {
        let groups: Vec<&str> =
            row["slices"].as_array().unwrap().iter().filter_map(|slice| slice["group"].as_str()).collect();
        assert_eq!(groups, ["head", "tail"], "nobody has a cold target: {row}");
    }
    let page = std::fs::read_to_string(root.path("a/report.md")).unwrap();
    assert!(page.contains("tail:hr@100 (users) | cold:hr@100 (users)") && page.contains(" | - | "), "{page}");

    let cold = "eval.select={ 'cold:hr@100' = 1.0 }";
    let told = root.error(&["run", "tiny", "--out", "b", "--set", ids, "--set", cold]);
    assert!(told.contains("validation users has a cold target") && told.contains("data.cold_items"), "{told}");
    let told = root.ok(&["run", "tiny", "--out", "b", "--set", ids, "--set", cold, "--set", "data.cold_items=0.2"]);
    assert!(told.contains("with a cold target") && told.contains("cold:hr@100"), "{told}");
    let wrong = "eval.select={ 'cool:hr@100' = 1.0 }";
    let told = root.error(&["run", "tiny", "--set", wrong]);
    assert!(told.contains("head, tail or cold") && told.contains("cool:hr@100"), "{told}");
}

#[test]
fn a_blend_is_tuned_with_its_parts_and_what_failed_is_tried_again() {
    let root = Root::new();
    add(
        &root,
        "rows = ['id', 'both']\n[[variant]]\nname = 'both'\nblend = ['pop', 'sasrec']\n[tune]\ntrials = 3\nrow = 'both'\n\
         [tune.keys]\n'id.dropout' = [0.0, 0.2, 0.5]\n",
    );
    root.ok(&["tune", "own", "--out", "t"]);
    let found = trials(&root, "t");
    let all = found["trials"].as_array().unwrap();
    assert_eq!((found["row"].as_str(), all.len()), (Some("both"), 3));
    for trial in all {
        let file = root
            .path("t")
            .join(trial["trainings"][0]["folder"].as_str().unwrap())
            .join("checkpoints/towers-both.blend.json");
        assert!(score(trial).unwrap().is_finite() && file.exists(), "{}", file.display());
    }
    // As a full disk leaves it.
    let file = root.path("t/trials.json");
    let mut damaged: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let training = &mut damaged["trials"][1]["trainings"][0];
    (training["score"], training["error"]) = (Value::Null, "no space left".into());
    std::fs::write(&file, damaged.to_string()).unwrap();
    root.write("t/trials/notes.txt", "mine");
    root.ok(&["tune", "own", "--out", "t", "--resume"]);
    assert_eq!(trials(&root, "t"), found);
    root.ok(&["tune", "own", "--out", "t", "--force", "--set", "tune.trials=2"]);
    assert_eq!(std::fs::read_to_string(root.path("t/trials/notes.txt")).unwrap(), "mine");
}
