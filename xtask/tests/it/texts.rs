//! Texts by a template, and language models with adapters, from a run to its bundle and the next one.
use crate::cli::Root;
use ra_data::{Column, read_table};
use serde_json::Value;

/// A root whose items have a colour, which its recipe `own` adds to texts.
fn coloured() -> Root {
    let root = Root::new();
    let items = std::fs::read_to_string(root.path("items.tsv")).unwrap();
    let colour = |(at, line): (usize, &str)| match at {
        0 => format!("{line}\tcolour\n"),
        _ => format!("{line}\t{}\n", ["ox", "", "bee"][at % 3]),
    };
    root.write("items.tsv", &items.lines().enumerate().map(colour).collect::<String>());
    let tiny = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap();
    let own = tiny.replace("[data]\n", "[data]\ntext = \"{title}[ ({colour})]\"\n");
    root.write("xtask/recipes/own.toml", &(own + "rows = ['id', 'text', 'ra-rec']\n"));
    root
}

/// Returns the scores that a row gives.
fn scores(root: &Root, from: [&str; 2], row: &str) -> Vec<f64> {
    let told = root.ok(&["recommend", from[0], from[1], "--row", row, "--history", "i1; i4", "--top", "5", "--json"]);
    let answer: Value = serde_json::from_str(&told).unwrap();
    answer["recommended"].as_array().unwrap().iter().map(|own| own["score"].as_f64().unwrap()).collect()
}

fn close(one: &[f64], other: &[f64]) -> bool {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-4 * (1.0 + b.abs());
    one.len() == other.len() && one.iter().zip(other).all(near)
}

fn fields(root: &Root, bundle: &str) -> Vec<String> {
    let table = read_table(&root.path(bundle).join("items.parquet")).unwrap();
    let Column::Text(texts) = &table["text.colour"] else { panic!("{:?}", table.keys()) };
    texts.clone()
}

#[test]
fn a_template_reaches_the_model_the_bundle_and_its_update() {
    let root = coloured();
    let told = root.ok(&["run", "own", "--out", "a"]);
    assert!(told.contains("texts \"{title}[ ({colour})]\": 0 empty") && told.contains("4 items lack colour"), "{told}");
    root.ok(&["run", "tiny", "--out", "plain", "--set", "eval.rows=['id', 'text', 'ra-rec']"]);
    let of_run = scores(&root, ["--run", "a"], "text");
    assert!(!close(&of_run, &scores(&root, ["--run", "plain"], "text")), "the text says more than the title");
    root.ok(&["export", "--run", "a", "--row", "ra-rec", "--also", "text", "--names-users", "--to", "b"]);
    assert!(close(&scores(&root, ["--bundle", "b"], "text"), &of_run));
    // A new log with a new item, and a file of items that knows this one alone.
    let log = std::fs::read_to_string(root.path("log.tsv")).unwrap();
    let more: String = (0..11).map(|user| format!("u{user}\ti{}\t{}\n", [12, 5][user % 2], 900 + user)).collect();
    root.write("all.tsv", &(log + &more));
    root.write("new.tsv", "item\ttitle\tcolour\ni12\tThe gnu\tant\n");
    let update = ["update", "--bundle", "b", "--log", "all.tsv", "--items", "new.tsv", "--to", "c", "--accept-worse"];
    root.ok(&[&update[..], &["--set", "train.steps=4", "--set", "id.train.epochs=2"]].concat());
    let (before, after) = (fields(&root, "b"), fields(&root, "c"));
    assert_eq!((after.len(), after.iter().filter(|text| *text == "ant").count()), (13, 1));
    assert_eq!(before.iter().filter(|text| *text == "bee").count(), after.iter().filter(|text| *text == "bee").count());
}

#[test]
fn a_field_that_is_not_there_and_a_wrong_template_are_told() {
    let root = coloured();
    let told = root.error(&["run", "own", "--set", "data.text={title} {size}"]);
    assert!(told.contains("{size}") && told.contains("`colour`"), "{told}");
    let told = root.error(&["run", "own", "--set", "data.text={title"]);
    assert!(told.contains("data.text") && told.contains("without its }"), "{told}");
}

#[test]
fn a_tuned_row_becomes_an_adapter_that_another_run_and_its_bundle_read() {
    let root = Root::new();
    let rows = |rows: &str| format!("eval.rows={rows}");
    let tune = ["--set", "align.tune_scale=1", "--set", "align.loss=none", "--set", "align.first_layer=-1"];
    root.ok(&[&["run", "tiny", "--out", "a", "--set", &rows("['id', 'text', 'lora-text']")], &tune[..]].concat());
    root.ok(&["export", "--run", "a", "--row", "lora-text", "--adapter", "--to", "tuned"]);
    let config: Value =
        serde_json::from_slice(&std::fs::read(root.path("tuned/adapter_config.json")).unwrap()).unwrap();
    let targets = config["target_modules"].as_array().unwrap();
    assert!(targets.len() == 6 && targets.contains(&"encoder.layer.2.output.dense".into()), "{targets:?}");
    let told = root.error(&["export", "--run", "a", "--row", "text", "--adapter", "--to", "other"]);
    assert!(told.contains("not tuned by LoRA") && told.contains("lora-text"), "{told}");
    let told = root.error(&["run", "tiny", "--out", "b", "--set", "lm.path=tuned"]);
    assert!(told.contains("not a model") && told.contains("lm.adapter"), "{told}");
    root.ok(&["run", "tiny", "--out", "b", "--set", &rows("['text', 'ra-rec']"), "--set", "lm.adapter=tuned"]);
    let names: Vec<String> =
        root.report("b")["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().into()).collect();
    assert!(names.contains(&"ra-rec(sasrec, lm + tuned)".into()), "{names:?}");
    let of_run = scores(&root, ["--run", "b"], "text");
    assert!(!close(&of_run, &scores(&root, ["--run", "a"], "text")), "the adapter changes the model");
    root.ok(&["export", "--run", "b", "--row", "text", "--to", "bundle"]);
    for name in ["tuned", "lm"] {
        std::fs::remove_dir_all(root.path(name)).unwrap();
    }
    assert!(close(&scores(&root, ["--bundle", "bundle"], "text"), &of_run), "the bundle has the adapter");
}
