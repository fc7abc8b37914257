//! The report of a run, and comparisons of several runs.
use crate::cli::Root;
use std::path::Path;

#[test]
fn runs_are_compared_user_by_user_and_protocols_kept_apart() {
    let root = Root::new();
    root.ok(&["run", "tiny", "--out", "a"]);
    root.ok(&["run", "tiny", "--out", "b", "--set", "align.n_tok=2", "--set", "train.lr=0.3"]);
    root.ok(&["run", "tiny", "--out", "c", "--set", "eval.candidates={ uniform = 3 }"]);

    let report = root.report("a");
    assert!(report["audit"].as_array().unwrap().len() > 5, "{}", report["audit"]);
    let aligned = report["rows"].as_array().unwrap().iter().find(|row| row["kind"] == "ra-rec").unwrap();
    assert!(aligned["slices"].as_array().unwrap().len() >= 3, "{aligned}");
    assert!(aligned["differences"]["hr@10"]["p_holm"].is_f64() && aligned["differences"]["map@10"]["p"].is_null());
    assert!(report["stages"].as_array().unwrap().iter().any(|stage| stage["tokens"].as_u64() > Some(0)));

    let told = root.ok(&["report", "a", "b"]);
    assert!(told.contains("Differences between runs") && told.contains("b: ra-rec(sasrec, lm)"), "{told}");
    assert!(told.contains("tiny, a (seed 3)") && told.contains("tiny, b (seed 3)"), "{told}");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.path("comparison.json")).unwrap()).unwrap();
    let between = json["between_runs"].as_array().unwrap();
    assert!(between.iter().all(|row| row["baseline"] == "a"), "{between:?}");
    let row = between.iter().find(|row| row["kind"] == "ra-rec").unwrap();
    let mean = |run: &str| {
        let rows = root.report(run)["rows"].as_array().unwrap().clone();
        rows.iter().find(|row| row["kind"] == "ra-rec").unwrap()["metrics"]["ndcg@10"].as_f64().unwrap()
    };
    let difference = row["differences"]["ndcg@10"]["mean"].as_f64().unwrap();
    assert!((difference - (mean("b") - mean("a"))).abs() < 1e-9, "{difference}");

    let refusal = root.error(&["report", "a", "b", "--to", "ra-rec"]);
    assert!(refusal.contains("\"a: ra-rec(sasrec, lm)\" or \"b: ra-rec(sasrec, lm)\""), "{refusal}");
    let told = root.ok(&["report", "a", "b", "--to", "a: ra-rec(sasrec, lm)"]);
    assert!(told.contains("a: sasrec"), "{told}");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.path("comparison.json")).unwrap()).unwrap();
    let between = json["between_runs"].as_array().unwrap();
    assert!(between.iter().all(|row| row["baseline"] == "a: ra-rec(sasrec, lm)"), "{between:?}");
    // Rows that both runs share appear once, and the reference is not compared with itself.
    let names: Vec<&str> = between.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a: pop", "a: sasrec", "a: text-only", "b: ra-rec(sasrec, lm)"]);
    let refusal = root.error(&["report", "a", "b", "--to", "absent"]);
    assert!(refusal.contains("there are pop; ra-rec(sasrec, lm); sasrec; text-only"), "{refusal}");
    root.ok(&["run", "tiny", "--out", "d", "--set", "seed=2", "--set", "eval.rows=['id']"]);
    let told = root.ok(&["report", "a", "d", "--to", "text-only"]);
    assert!(told.contains("tiny (seed 3)") && told.contains("Over seeds"), "{told}");
    assert!(told.contains("not compared") && told.contains("d: sasrec") && !told.contains("a: sasrec;"), "{told}");

    let refusal = root.error(&["report", "a", "c"]);
    assert!(refusal.contains("--mixed-protocols") && refusal.contains("3 sampled uniformly"), "{refusal}");
    assert!(root.ok(&["report", "a", "c", "--mixed-protocols"]).contains("cannot be compared"));
}

#[test]
fn a_run_is_logged_where_it_lies_and_for_tensorboard() {
    let root = Root::new();
    let axis = "recipe = 'tiny'\n[[axis]]\nname = 'seed'\nvalues = [{ name = '1', set = { seed = 1 } }, { name = '2', set = { seed = 2 } }]";
    std::fs::write(root.path("xtask/recipes/two.toml"), axis).unwrap();
    root.ok(&["run", "two", "--out", "s"]);
    for run in ["s/1", "s/2"] {
        let log = std::fs::read_to_string(root.path(run).join("log.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let fits = lines.iter().filter(|line| line["fields"]["message"] == "fit");
        let fits: Vec<(&str, u64)> = fits
            .map(|line| (line["fields"]["stage"].as_str().unwrap(), line["fields"]["step"].as_u64().unwrap()))
            .collect();
        assert!(fits.contains(&("align", 6)), "{run}: {fits:?}");
        let files: Vec<_> = root.path(run).join("tensorboard").read_dir().unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{run}");
        let bytes = std::fs::read(&files[0]).unwrap();
        let found = |tag: &str| bytes.windows(tag.len()).filter(|w| *w == tag.as_bytes()).count();
        let points = fits.iter().filter(|(stage, _)| *stage == "align").count();
        assert!(found("sasrec/loss") > 0, "{run}");
        assert_eq!((found("ra-rec/loss"), found("ra-rec/validation")), (points, points), "{run}");
    }
}

#[test]
fn the_tables_of_the_paper_are_made_cell_by_cell() {
    let root = Root::new();
    // Enough users that 1 % of the samples is at least one, and a common word so that the paper's denoising keeps
    // samples.
    let read = |name: &str| std::fs::read_to_string(root.path(name)).unwrap();
    let (log, items) = (read("log.tsv"), read("items.tsv"));
    let (head, rows) = log.split_once('\n').unwrap();
    let rows: String = (0..15).map(|copy| rows.replace('u', &format!("{copy}u"))).collect();
    for (data, word) in [("amazon-scientific", "Red"), ("amazon-games", "Blue")] {
        root.write(&format!("data/{data}/interactions.tsv"), &format!("{head}\n{rows}"));
        root.write(&format!("data/{data}/items.tsv"), &items.replace("The", word));
    }
    for file in root.path("lm").read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::create_dir_all(root.path("models/minilm")).unwrap();
        std::fs::copy(&file, root.path("models/minilm").join(file.file_name().unwrap())).unwrap();
    }
    let recipes = Path::new("recipes");
    for name in ["scientific", "tuned", "paper-ablation", "paper-cost", "paper-main", "paper-selection"] {
        let text = std::fs::read_to_string(recipes.join(format!("{name}.toml"))).unwrap();
        root.write(&format!("xtask/recipes/{name}.toml"), &text);
    }
    for (name, cell, published) in [
        ("paper-main", "Games", ".1395"),
        ("paper-ablation", "Scientific+uniform_projection", "third"),
        ("paper-selection", "Games+curated+100", "about 6 %"),
        ("paper-cost", "Games", "32"),
    ] {
        // What an axis sets for Games, such as its batch, is applied after these and takes precedence.
        let small = [
            "train.steps=2",
            "train.batch=8",
            "train.validate_every=0",
            "align.extra_negatives=4",
            "data.curate.budget=1.0",
        ];
        let mut args = vec!["run", name, "--resume", "--out", name];
        args.extend(small.iter().flat_map(|set| ["--set", *set]));
        root.ok(&args);
        let page = std::fs::read_to_string(root.path(name).join("overview.md")).unwrap();
        for part in
            ["Results: amazon-scientific", "Results: amazon-games", "## Costs", "ra-rec(sasrec, minilm)", published]
        {
            assert!(page.contains(part), "{name} lacks {part}: {page}");
        }
        // Only a lost cell runs again.
        let (lost, kept) = (root.path(name).join(cell).join("report.json"), root.path(name).join("overview.json"));
        let before: serde_json::Value = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
        std::fs::remove_file(&lost).unwrap();
        root.ok(&args);
        assert!(lost.exists(), "{name}");
        let after: serde_json::Value = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
        assert_eq!(before["costs"][0], after["costs"][0], "{name}: the first cell was made again");
    }
}

#[test]
fn cold_items_get_a_row_that_lifts_them() {
    let root = Root::new();
    let rows = "eval.rows=['id', 'ra-rec', 'probes', 'cold-lift']";
    root.ok(&["run", "tiny", "--out", "r", "--set", "data.cold_items=0.2", "--set", rows]);
    let report = root.report("r");
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"ra-rec, cold items by title"), "{names:?}");
    let row = |kind: &str| rows.iter().find(|row| row["kind"] == kind).unwrap();
    assert_eq!(row("cold-lift")["trainable_params"], row("ra-rec")["trainable_params"], "nothing more is trained");
    let error = root.error(&["run", "tiny", "--set", "eval.rows=['id', 'cold-lift']"]);
    assert!(error.contains("cold-lift") && error.contains("ra-rec"), "{error}");
}
