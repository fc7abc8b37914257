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
fn grounded_ids_blends_and_their_students_are_rows_that_recommend() {
    let root = Root::new();
    let tiny = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap();
    let variants = "\n[[variant]]\nname = 'counts'\nblend = ['lexical', 'item-knn']\n[[variant]]\nname = 'all'\nblend = \
                    ['sasrec-grounded', 'ra-rec', 'counts', 'text']\n[[variant]]\nname = 'student'\nteacher = 'all'\n";
    root.write("xtask/recipes/own.toml", &(tiny + variants));
    let ids = "id=[{kind='lexical'}, {kind='item-knn'}, {kind='text-knn'}, {kind='sasrec', dim=8, max_length=6, train={epochs=2}, \
               ground={ridge=2.0}}]";
    let rows = "eval.rows=['id', 'text', 'ra-rec', 'counts', 'all', 'student', 'probes']";
    let args = ["run", "own", "--out", "a", "--set", ids, "--set", rows, "--set", "eval.probes_of=['all']"];
    root.ok(&args);
    let report = root.report("a");
    let rows = report["rows"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
    for name in ["text-knn", "sasrec", "sasrec-grounded", "ra-rec(sasrec-grounded, lm)", "student(sasrec-grounded, lm)"]
    {
        assert!(row(name)["validation"].is_number(), "{name}");
    }
    // No blend validates worse than one of its parts.
    let validation = |name: &str| row(name)["validation"].as_f64().unwrap();
    for part in ["sasrec-grounded", "ra-rec(sasrec-grounded, lm)", "counts", "text-only"] {
        assert!(validation("all") >= validation(part) - 1e-9, "{part}: {} {}", validation("all"), validation(part));
    }
    assert!(validation("counts") >= validation("lexical").max(validation("item-knn")) - 1e-9);
    let told = row("all")["made"].to_string();
    assert!(told.contains("validation users out of"), "{told}");
    assert!(row("sasrec-grounded")["made"].to_string().contains("grounded with k ="));
    row("all, without ra-rec");
    let best = rows.iter().filter(|row| row["kind"] != "probe").map(|row| row["validation"].as_f64().unwrap());
    let best = best.fold(f64::MIN, f64::max);
    let page = std::fs::read_to_string(root.path("a/report.md")).unwrap();
    let named = rows.iter().find(|row| row["validation"] == best && row["kind"] != "probe").unwrap();
    let short = format!("{} is recommended: it validates best", named["name"].as_str().unwrap());
    assert!(page.contains(&short), "{short}: {page}");
    for name in ["sasrec-grounded", "counts", "all", "student"] {
        let told = root.ok(&["recommend", "--run", "a", "--row", name, "--user", "u1", "--json", "--top", "4"]);
        let found: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(found["recommended"].as_array().unwrap().len(), 4, "{name}: {told}");
    }
    // What is finished is read again and gives the same numbers.
    root.ok(&[&args[..], &["--resume"]].concat());
    let again = root.report("a");
    let metrics = |report: &serde_json::Value| {
        report["rows"].as_array().unwrap().iter().map(|row| row["metrics"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(metrics(&report), metrics(&again));
}

#[test]
fn blends_need_no_language_model() {
    let root = Root::new();
    let tiny = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap();
    let blend = "\n[[variant]]\nname = 'counts'\nblend = ['pop', 'item-knn']\n";
    root.write("xtask/recipes/own.toml", &(tiny + blend));
    let ids = "id=[{kind='pop'}, {kind='item-knn'}]";
    let told = root.ok(&[
        "run",
        "own",
        "--out",
        "a",
        "--set",
        ids,
        "--set",
        "eval.rows=['id', 'counts']",
        "--set",
        "lm.path=absent",
    ]);
    assert!(told.contains("counts"), "{told}");
    root.ok(&["recommend", "--run", "a", "--row", "counts", "--user", "u1"]);
    let error =
        |set: &str| root.error(&["run", "own", "--set", ids, "--set", "eval.rows=['id', 'counts']", "--set", set]);
    for (set, told) in [
        ("variant.blend=['pop']", "blend must name two rows or more"),
        ("variant.blend=['pop', 'pop']", "each once"),
        ("variant.blend=['pop', 'absent']", "rows before it: pop, item-knn"),
        ("variant.blend=['pop', 'counts']", "rows before it"),
        ("variant.teacher=pop", "only one of towers, blend and teacher"),
        ("variant.set={n_tok=2}", "have no effect"),
        ("id.ground={}", "scores single items and has no vectors"),
        ("id.ground={kk=1}", "kk"),
    ] {
        let error = error(set);
        assert!(error.contains(told), "{set}: {error}");
    }
}

#[test]
fn methods_too_large_for_a_catalogue_step_aside_and_idle_tables_are_told() {
    let root = Root::new();
    let tiny = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap();
    let blend = "\n[[variant]]\nname = 'both'\nblend = ['pop', 'item-knn', 'ease']\n";
    root.write("xtask/recipes/own.toml", &(tiny + blend));
    let rows = ["--set", "eval.rows=['id', 'both']"];
    let run = |ids: &str, more: &[&str]| {
        let ids = format!("id=[{ids}]");
        root.xtask(&[&["run", "own", "--out", "a", "--force", "--set", &ids], &rows[..], more].concat())
    };
    let told = |output: &std::process::Output| {
        String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
    };
    let small = run("{kind='pop'}, {kind='ease', max_items=3}, {kind='item-knn'}", &[]);
    assert!(small.status.success() && told(&small).contains("ease is left out: the catalogue has"), "{}", told(&small));
    let names = |report: serde_json::Value| {
        report["rows"].as_array().unwrap().iter().map(|row| row["name"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(root.report("a")), ["\"pop\"", "\"item-knn\"", "\"both\""]);
    let recommended = root.ok(&["recommend", "--run", "a", "--user", "u1"]);
    assert!(recommended.contains("recommended"), "{recommended}");
    let whole = run("{kind='pop'}, {kind='ease', max_items=3000}, {kind='item-knn'}", &[]);
    assert!(whole.status.success() && names(root.report("a")).len() == 4, "{}", told(&whole));
    let aligned = ["--set", "eval.rows=['id', 'both', 'ra-rec']"];
    let last = run("{kind='pop'}, {kind='item-knn'}, {kind='ease', max_items=3}", &aligned);
    let refused = ["ease is left out", "is item-knn in a table that is aligned"];
    assert!(!last.status.success() && refused.iter().all(|why| told(&last).contains(why)), "{}", told(&last));
    let last = run(
        "{kind='pop'}, {kind='sasrec', dim=8, train={epochs=1}}, {kind='ease', max_items=3}",
        &["--set", "eval.rows=['id', 'ra-rec']", "--set", "variant=[]"],
    );
    assert!(last.status.success() && told(&last).contains("sasrec is aligned in its place"), "{}", told(&last));
    assert!(names(root.report("a"))[2].contains("ra-rec(sasrec"), "{:?}", names(root.report("a")));
    let one = "variant=[{name='both', blend=['pop', 'ease']}]";
    let one = run("{kind='pop'}, {kind='ease', max_items=3}, {kind='item-knn'}", &["--set", one]);
    assert!(!one.status.success() && told(&one).contains("two rows or more"), "{}", told(&one));
    let ids = "{kind='item-knn'}, {kind='sasrec', dim=8, ground={}}, {kind='ease'}";
    let unread = ["--set", "eval.rows=['both']", "--set", "variant.blend=['item-knn', 'sasrec']"];
    let told = told(&run(ids, &unread));
    assert!(told.contains("no row reads the grounded vectors"), "{told}");
    let lift = ["--set", "eval.rows=['both', 'cold-lift']", "--set", "eval.probes_of=['both']"];
    let lifted = run("{kind='pop'}, {kind='item-knn'}, {kind='ease'}", &lift);
    assert!(String::from_utf8_lossy(&lifted.stderr).contains("a blend without towers to lift"), "{lifted:?}");
}

#[test]
fn validation_chooses_which_of_several_id_methods_is_aligned() {
    let root = Root::new();
    let methods = ["{kind='ease', align=true}", "{kind='sasrec', dim=8, train={epochs=1}, align=true, ground={}}"];
    let aligned = ["ra-rec(ease, lm)", "ra-rec(sasrec-grounded, lm)"];
    let rows = ["--set", "eval.rows=['id', 'ra-rec']"];
    let run = |ids: [&str; 2], out: &str, more: &[&str]| {
        let ids = format!("id=[{{kind='pop'}}, {}, {}]", ids[0], ids[1]);
        root.xtask(&[&["run", "tiny", "--out", out, "--set", &ids], &rows[..], more].concat())
    };
    let names = |report: &serde_json::Value| -> Vec<String> {
        report["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    for (ids, out) in [([methods[0], methods[1]], "a"), ([methods[1], methods[0]], "b")] {
        let output = run(ids, out, &[]);
        assert!(output.status.success(), "{output:?}");
        let report = root.report(out);
        let row = |name: &str| {
            let found = report["rows"].as_array().unwrap().iter().find(|row| row["name"] == name);
            found.unwrap_or_else(|| panic!("{name}: {:?}", names(&report))).clone()
        };
        let validation = ["ease", "sasrec-grounded"].map(|name| row(name)["validation"].as_f64().unwrap());
        let best = usize::from(validation[1] > validation[0]);
        assert_ne!(validation[0], validation[1], "the order would decide");
        assert_eq!(names(&report).last().unwrap(), aligned[best], "whatever the order of the tables is");
        let made = row(["ease", "sasrec-grounded"][best])["made"].to_string();
        assert!(made.contains("aligned, because it validates best: "), "{made}");
        root.ok(&["recommend", "--run", out, "--row", "ra-rec", "--user", "u1"]);
    }
    let before = root.metrics("a");
    let resumed = run([methods[0], methods[1]], "a", &["--resume"]);
    assert!(resumed.status.success(), "{resumed:?}");
    assert_eq!(root.metrics("a"), before);
    for out in ["a", "b"] {
        let bundle = format!("{out}-bundle");
        root.ok(&["export", "--run", out, "--row", "ra-rec", "--to", &bundle]);
        let manifest = std::fs::read_to_string(root.path(&bundle).join("manifest.json")).unwrap();
        assert!(!manifest.contains("align = true"), "an update keeps the choice: {manifest}");
    }
    let [one, other] = ["a-bundle", "b-bundle"]
        .map(|bundle| root.ok(&["recommend", "--bundle", bundle, "--history", "item 1", "--top", "3"]));
    assert_eq!(one, other, "the order of the tables changes nothing");
    // One candidate is aligned wherever it stands, also if another is left out.
    for (ids, aligned) in [
        ([methods[1], "{kind='ease'}"], "ra-rec(sasrec-grounded, lm)"),
        ([methods[1], "{kind='ease', align=true, max_items=3}"], "ra-rec(sasrec-grounded, lm)"),
        ([methods[0], "{kind='item-knn'}"], "ra-rec(ease, lm)"),
        (["{kind='ease'}", "{kind='sasrec', align=false}"], "ra-rec(ease, lm)"),
        (
            ["{kind='bsarec', dim=8, train={epochs=1}}, {kind='mf', align=false}", "{kind='ease', max_items=3}"],
            "ra-rec(bsarec, lm)",
        ),
    ] {
        let output = run(ids, "c", &["--force"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(names(&root.report("c")).last().unwrap(), aligned, "{ids:?}");
        root.ok(&["recommend", "--run", "c", "--row", "ra-rec", "--user", "u1"]);
    }
    // Rows that read no ID method leave nothing to choose.
    let unread = run(methods, "c", &["--force", "--set", "eval.rows=['id', 'text']"]);
    assert!(unread.status.success(), "{unread:?}");
    // Then the last of them is what rows are compared with, not a later one that may not be aligned.
    let ids = ["{kind='ease', align=true}", "{kind='sasrec', dim=8, train={epochs=1}, align=false}"];
    let more = ["--force", "--set", "eval.rows=['id', 'text']", "--set", "id.pop.align=true"];
    let unread = run(ids, "c", &more);
    assert!(unread.status.success(), "{unread:?}");
    let report = root.report("c");
    let baselines: Vec<_> =
        report["rows"].as_array().unwrap().iter().filter_map(|row| row["baseline"].as_str()).collect();
    assert!(!baselines.is_empty() && baselines.iter().all(|row| *row == "ease"), "{baselines:?}");
    let none =
        run(["{kind='ease', align=false}", "{kind='sasrec', align=false}"], "c", &["--set", "id.pop.align=false"]);
    let told = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(!none.status.success() && told.contains("id.align is false in every [[id]] table"), "{told}");
    let split = ["data.split='ratio'", "data.ratio_valid=0.0", "data.ratio_test=0.3"];
    for (more, why) in [
        (&split[..], "validation chooses the ID method that is aligned"),
        (&["align.cross_fit=2"], "several [[id]] tables have align = true"),
    ] {
        let more: Vec<&str> = more.iter().flat_map(|set| ["--set", set]).collect();
        let output = run([methods[0], "{kind='sasrec', align=true}"], "c", &more);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(why), "{more:?}: {told}");
    }
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
