//! Recommendations for people who name users and items as they please.
use crate::cli::Root;
use serde_json::Value;

/// Titles that are hard to handle.
fn awkward(root: &Root) {
    let titles = [
        "",
        "\u{1b}[2J\u{1b}]0;owned\u{7}esc",
        "two\nlines",
        "Salt; pepper",
        "Twin",
        "twin",
        "\u{202e}back",
        "The ox",
        "bee",
        "yak",
        "cat",
        "\u{9b}31m",
    ];
    let line =
        |(i, title): (usize, &&str)| format!("{}\n", serde_json::json!({ "item": format!("i{i}"), "title": title }));
    root.write("items.jsonl", &titles.iter().enumerate().map(line).collect::<String>());
}

#[test]
fn titles_have_no_power_over_the_terminal_and_every_item_can_be_asked_for() {
    let root = Root::new();
    awkward(&root);
    let items = format!("data.items={:?}", root.path("items.jsonl"));
    root.ok(&["run", "tiny", "--out", "a", "--set", &items, "--set", "eval.rows=['id']"]);
    let recommend = |args: &[&str]| root.ok(&[&["recommend", "--run", "a"], args].concat());
    let told = recommend(&["--user", "u1", "--top", "20"]);
    assert!(told.chars().all(|c| c == '\n' || !c.is_control()) && !told.contains('\u{202e}'), "{told:?}");
    let told = recommend(&["--item", "i7", "--top", "20"]);
    let listed = told.split("recommended\n").nth(1).unwrap().lines().filter(|line| !line.starts_with("note")).count();
    assert_eq!(listed, 11, "a line an item: {told}");
    assert!(told.contains("i0   i0") && told.contains("two\\u000alines") && told.contains("\\u001b[2J"), "{told}");
    for (args, shown) in [
        (&["--history", "salt; pepper; the ox"][..], "i3   Salt; pepper"),
        (&["--history", "Salt\\; pepper"], "i3   Salt; pepper"),
        (&["--title", "Salt; pepper", "--title", "bee"], "i8   bee"),
        (&["--item", "i4", "--item", "the ox"], "i4   Twin"),
        (&["--history", "i0; yak"], "i9   yak"),
    ] {
        let told = recommend(args);
        assert!(told.split("recommended").next().unwrap().contains(shown), "{args:?}: {told}");
    }
    let error = |args: &[&str]| root.error(&[&["recommend", "--run", "a"], args].concat());
    let twins = error(&["--history", "twin"]);
    assert!(twins.contains("title of 2 items: i4, i5") && twins.contains("--item"), "{twins}");
    assert!(error(&["--item", "ox"]).contains("did you mean \"The ox\""));
    assert!(error(&["--user", "u1 "]).contains("did you mean \"u1\""));
    assert!(error(&["--user", "u1", "--top", "0"]).contains("--top is 0"));
    assert!(error(&["--user", "u1", "--item", "i1"]).contains("exactly one of"));
    assert!(error(&[]).contains("--user ID"));
    let all: Vec<String> = (0..12).map(|i| format!("i{i}")).collect();
    let all: Vec<&str> = all.iter().flat_map(|id| ["--item", id]).collect();
    assert!(recommend(&all).contains("the history holds every item"));
    assert!(recommend(&["--item", "i1", "--item", "i1"]).contains("named more than once: i1; each one counts"));
}

#[test]
fn every_row_recommends_and_says_which_it_is() {
    let root = Root::new();
    let rows = "eval.rows=['id', 'text', 'ra-rec', 'prefix-only', 'id-direct', 'id-residual', 'distilled', 'probes']";
    let ids = "id=[{kind='pop'}, {kind='sasrec', dim=8, max_length=6, train={epochs=2}}]";
    root.ok(&["run", "tiny", "--out", "a", "--set", rows, "--set", ids]);
    let recommend = |args: &[&str]| -> Value {
        let told = root.ok(&[&["recommend", "--run", "a", "--user", "u3", "--json", "--top", "4"], args].concat());
        serde_json::from_str(&told).unwrap()
    };
    for row in ["pop", "sasrec", "text", "ra-rec", "prefix-only", "id-direct", "id-residual", "distilled"] {
        let told = recommend(&["--row", row]);
        assert_eq!(told["recommended"].as_array().unwrap().len(), 4, "{row}");
        assert!(told["row"]["kind"] == row || told["row"]["name"] == row, "{row}: {told}");
        let first = &told["recommended"][0];
        assert!(first["item"].is_string() && first["title"].is_string() && first["score"].is_number(), "{told}");
    }
    // The default is the first of the rows that validate best.
    let report = root.report("a");
    let rows: Vec<&Value> = report["rows"].as_array().unwrap().iter().filter(|row| row["kind"] != "probe").collect();
    let validation = |row: &Value| row["validation"].as_f64().unwrap();
    let best = rows.iter().rev().max_by(|a, b| validation(a).total_cmp(&validation(b))).unwrap();
    assert_eq!(recommend(&[])["row"]["name"], best["name"]);
    assert_eq!(recommend(&["--row", "sasrec"])["user"], "u3");
    assert!(root.path("a/vectors/items-distilled.safetensors").exists());
    let kept = recommend(&["--row", "distilled"]);
    std::fs::remove_file(root.path("a/vectors/items-distilled.safetensors")).unwrap();
    assert_eq!(recommend(&["--row", "distilled"]), kept, "vectors that are not there are computed");
    let error = |row: &str| root.error(&["recommend", "--run", "a", "--user", "u3", "--row", row]);
    assert!(error("probe").contains("there are pop; sasrec; text-only; ra-rec(sasrec, lm)"), "{}", error("probe"));
    assert!(error("id").contains("this may be pop; sasrec"), "{}", error("id"));
    for row in ["probes", "probe", "ra-rec, zero IDs"] {
        assert!(error(row).contains("is in the report, but its model was not saved"), "{}", error(row));
    }
    // Recommendations use what the table evaluated: the same history of the user and the same model.
    let one = root.ok(&["recommend", "--run", "a", "--user", "u3", "--row", "distilled", "--top", "2"]);
    assert!(one.starts_with("row distilled(sasrec, lm)\nafter\n"), "{one}");
}

#[test]
fn a_history_is_nobody_for_a_method_that_knows_its_users_only() {
    let root = Root::new();
    let mf = "id=[{kind='mf', dim=4, train={epochs=2}}]";
    let run = |out: &str, rows: &str, more: &[&str]| {
        let sets = ["--set", mf, "--set", rows];
        root.warned(&[&["run", "tiny", "--out", out][..], &sets, more].concat())
    };
    run("a", "eval.rows=['id', 'text', 'ra-rec', 'prefix-only']", &[]);
    // Without a prefix of the ID, the own score still needs a known user.
    run("b", "eval.rows=['text', 'id-residual']", &["--set", "align.projection=none"]);
    let error = root.error(&["recommend", "--run", "b", "--item", "i1", "--row", "id-residual"]);
    assert!(error.contains("mf knows only the users") && error.contains("--row: text-only"), "{error}");
    assert_eq!(root.report("b")["rows"][1]["name"], "id-residual(mf, lm)");
    let others = "which other rows have";
    assert!(!run("c", "eval.rows=['lora']", &[]).contains(others));
    assert!(run("d", "eval.rows=['ra-rec', 'lora']", &[]).contains(others));
    for row in [&[][..], &["--row", "mf"], &["--row", "ra-rec"]] {
        let error = root.error(&[&["recommend", "--run", "a", "--item", "i1"], row].concat());
        assert!(error.contains("mf knows only the users it was trained on") && error.contains("--user"), "{error}");
        assert!(error.contains("--row: text-only; prefix-only(lm)"), "rows that read no user: {error}");
        root.ok(&[&["recommend", "--run", "a", "--user", "u1"], row].concat());
    }
    for row in ["text", "prefix-only"] {
        root.ok(&["recommend", "--run", "a", "--item", "i1", "--row", row]);
    }
}
