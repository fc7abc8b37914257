//! Variants that a recipe describes, and the installed program.
use crate::cli::Root;
use std::process::Command;

#[test]
fn variants_of_a_recipe_are_rows_that_are_probed_and_recommend() {
    let root = Root::new();
    let tiny = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap();
    let variants = "\n[[variant]]\nname = 'two-rows'\nset = { n_tok = 2 }\n[[variant]]\nname = 'numbers'\nbase = 'two-rows'\nitems = \
                    'number'\n[[variant]]\nname = 'weighed'\ntowers = 'two-rows'\nbase = 'two-rows'\nset = { id_residual = true }\n";
    root.write("xtask/recipes/own.toml", &(tiny + variants));
    let rows = "eval.rows=['id', 'text', 'two-rows', 'numbers', 'weighed', 'probes', 'cold-lift']";
    let looked_at = "eval.probes_of=['two-rows', 'numbers']";
    root.ok(&["run", "own", "--out", "a", "--set", "data.cold_items=0.2", "--set", rows, "--set", looked_at]);
    let report = root.report("a");
    let names: Vec<String> =
        report["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    for name in [
        "two-rows(sasrec, lm)",
        "two-rows, zero IDs",
        "two-rows, shuffled titles",
        "cold-lift(two-rows, sasrec, lm)",
        "numbers(sasrec, lm)",
        "numbers, permuted IDs",
        "cold-lift(numbers, sasrec, lm)",
        "weighed(sasrec, lm)",
    ] {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    assert!(!names.iter().any(|name| name.starts_with("weighed,") || name.starts_with("ra-rec")), "{names:?}");
    let curves: Vec<&str> =
        report["curves"].as_array().unwrap().iter().map(|curve| curve["name"].as_str().unwrap()).collect();
    assert!(curves.contains(&"numbers") && !curves.contains(&"weighed"), "its towers are another's: {curves:?}");
    for row in ["two-rows", "numbers", "weighed"] {
        let told = root.ok(&["recommend", "--run", "a", "--row", row, "--user", "u1", "--json"]);
        let found: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(found["row"]["kind"], row);
        assert!(!found["recommended"].as_array().unwrap().is_empty());
        assert!(root.path(&format!("a/vectors/items-{row}.safetensors")).exists());
    }
    // By default the report has a row for every variant that the recipe describes.
    let told = root.error(&["run", "own", "--set", "variant.base=absent"]);
    assert!(told.contains("\"weighed\"") && told.contains("allowed: ra-rec"), "{told}");
}

#[test]
fn ra_rec_knows_recipes_without_the_repository_and_calls_itself_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let ra_rec = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ra-rec"));
        let output = command.args(args).current_dir(folder.path()).env_remove("RA_REC_ROOT").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (listed, list) = ra_rec(&["fetch", "--list"]);
    assert!(listed && list.contains("minilm"), "{list}");
    let (ran, told) = ra_rec(&["run", "absent"]);
    assert!(!ran && told.contains("known recipes:") && told.contains("quickstart"), "{told}");
    // Its data is missing and cannot be downloaded automatically.
    let (ran, told) = ra_rec(&["run", "scientific"]);
    assert!(!ran && told.contains("ra-rec") && !told.contains("cargo xtask"), "{told}");
    let (ran, told) = ra_rec(&["ci"]);
    assert!(!ran && told.contains("unrecognized"), "{told}");
}
