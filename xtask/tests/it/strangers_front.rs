//! Settings, terminals and tables as other people use them.
use crate::cli::Root;
use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

fn command(root: &Root, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(args).current_dir(root.path("")).env("RA_REC_ROOT", root.path(""));
    command
}

fn output(root: &Root, args: &[&str]) -> Output {
    command(root, args).output().unwrap()
}

fn refused(root: &Root, sets: &[&str]) -> String {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    root.error(&["run", "tiny", "--out", "x"].into_iter().chain(sets).collect::<Vec<_>>())
}

#[test]
fn what_cannot_work_is_refused_by_key_and_value_before_anything_runs() {
    let root = Root::new();
    for (set, told) in [
        ("train.lr=-0.01", "train.lr is -0.01, it must be above 0"),
        ("train.lr=nan", "train.lr is NaN"),
        ("train.lr=inf", "train.lr is inf"),
        ("train.lr=0", "train.lr is 0"),
        ("train.batch=0", "train.batch is 0, it must be at least 1"),
        ("train.weight_decay=-1", "train.weight_decay is -1"),
        ("train.clip=-1", "train.clip is -1"),
        ("train.clip=nan", "train.clip is NaN"),
        ("train.warmup=1000000", "train.warmup is 1000000"),
        ("id.train.weight_decay=-5", "id.train.weight_decay is -5"),
        ("id.train.lr=-1", "id.train.lr is -1"),
        ("id.train.betas=[0.9, 1.0]", "id.train.betas is 1"),
        ("id.dropout=1.0", "id.dropout is 1"),
        ("prompt.item_tokens=0", "prompt.item_tokens is 0, it must be at least 1"),
        ("prompt.title_tokens=0", "prompt.title_tokens is 0"),
        ("align.tau=0", "align.tau is 0"),
        ("align.id_drop=1.5", "align.id_drop is 1.5"),
        ("device.count=0", "device.count is 0"),
        ("eval.rows=[]", "eval.rows is empty"),
        ("eval.candidates={uniform=0}", "eval.candidates is 0 items"),
        ("eval.select={}", "eval.select is empty"),
        (
            "eval.select={'ndgc@10'=1.0}",
            "eval.select.ndgc@10 is not a metric with a K, such as ndcg@10; the metrics are hr, ndcg",
        ),
        ("eval.select={'hr@10'=nan}", "eval.select.hr@10 is NaN"),
        ("train.steps=many", "train.steps: invalid type: string \"many\", expected a whole number, 0 or above"),
        ("train.lr='fast'", "train.lr: "),
        ("seed=-1", "seed: "),
        ("id.train.betas=[0.9]", "id.train.betas: invalid length 1"),
        ("id.dim=1000000", "id.dim is 1000000, it must be at most 65536"),
        ("id.max_length=1000000000000", "id.max_length is 1000000000000, it must be at most 65536"),
        ("align.n_tok=1000000000000", "align.n_tok is 1000000000000, it must be at most 256"),
        ("data.name=true", "data.name: invalid type: boolean `true`, expected text: put quotes around it"),
        ("eval.ks=[18446744073709551615]", "--set eval.ks: [18446744073709551615] is not a TOML value"),
    ] {
        let error = refused(&root, &[set]);
        assert!(error.contains(told), "{set}: {error}");
    }
    let all = ["train.lr=-0.01", "id.train.batch=0", "prompt.item_tokens=0", "align.lambda=-1", "eval.ks=[0]"];
    let error = refused(&root, &all);
    for told in
        ["train.lr is -0.01", "id.train.batch is 0", "prompt.item_tokens is 0", "align.lambda is -1", "eval.ks is [0]"]
    {
        assert!(error.contains(told), "all problems at once, {told}: {error}");
    }
    let error = refused(&root, &["train.steps=many", "align.n_tok=few"]);
    assert!(error.contains("train.steps") && error.contains("align.n_tok"), "wrong kinds too: {error}");
    assert!(!root.path("x").exists());
}

#[test]
fn a_key_without_effect_is_refused_unless_the_command_line_takes_its_effect_away() {
    let root = Root::new();
    for (sets, told) in [
        (&["align.distill_scale=0.5"][..], "align.distill_scale has no effect"),
        (&["align.tune_scale=0.5"], "align.tune_scale has no effect"),
        (&["align.pair_loss=bpr_in_batch", "align.temperature=0.2"], "align.temperature has no effect"),
        (&["align.loss=none", "align.lambda=0.5"], "align.lambda has no effect"),
        (&["align.loss=mmd", "align.tau=0.5"], "align.tau has no effect"),
        (&["id.calibration=0.5"], "id.calibration has no effect"),
        (&["id.negatives=5"], "id.negatives has no effect"),
        (&["train.validate_every=0", "train.patience=3"], "train.patience has no effect"),
        (&["id.train.validate_every=0", "id.train.patience=3"], "id.train.patience has no effect"),
        (&["lm.name=smollm2"], "lm.name has no effect"),
        (&["id=[{kind='gru4rec', negatives=5, dim=8}, {kind='sasrec', dim=8}]"], "id.negatives has no effect"),
        (
            &["train.patience=3", "train.validate_every=9"],
            "train.patience has no effect: train.validate_every is above",
        ),
        (&["align.projection=none", "align.n_tok=3"], "align.n_tok has no effect"),
        (&["align.projection=none", "align.id_noise=0.5"], "align.id_noise has no effect"),
        (&["align.projection=none", "align.id_dropout=0.5"], "align.id_dropout has no effect"),
        (&["eval.rows=['text']", "align.id_drop=0.5"], "align.id_drop has no effect"),
        (&["eval.rows=['prefix-only']", "align.item_id_drop=0.5"], "align.item_id_drop has no effect"),
        (&["align.projection=none", "align.cross_fit=2"], "align.cross_fit has no effect"),
    ] {
        let error = refused(&root, sets);
        assert!(error.contains(told), "{sets:?}: {error}");
    }
    // The recipe sets `extra_negatives`: a warning says that this loss has none, and the run continues.
    let sets = ["--set", "align.pair_loss=bpr_in_batch", "--set", "train.steps=2", "--set", "train.warmup=0"];
    let done = output(&root, &[&["run", "tiny", "--out", "bpr"], &sets[..]].concat());
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && told.contains("align.extra_negatives has no effect"), "{told}");
    root.ok(&["run", "bpr/recipe.toml", "--out", "again", "--set", "align.extra_negatives=256"]);
    // If rows are no longer requested, their keys lose their effect.
    let recipe = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap();
    let keys = "[align]\ntune_scale = 0.1\ndistill_scale = 0.5\nid_noise = 0.5\n";
    let rows = "[eval]\nrows = ['distilled', 'lora']\n";
    root.write("scales.toml", &recipe.replace("[align]\n", keys).replace("[eval]\n", rows));
    let told = root.warned(&["run", "scales.toml", "--out", "rows", "--set", "eval.rows=['id', 'text']"]);
    assert!(["tune_scale", "distill_scale", "id_noise"].iter().all(|key| told.contains(key)), "{told}");
    // Without prefixes, distillation still reads IDs, and a row of instructions has the rows of the ID.
    for sets in [["align.cross_fit=2", "eval.rows=['distilled']"], ["align.n_tok=3", "eval.rows=['prefix-only']"]] {
        let sets = [&["align.projection=none"][..], &sets].concat();
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
        root.ok(&[&["run", "tiny", "--force", "--out", "none"], &sets[..]].concat());
    }
}

#[test]
fn what_is_odd_runs_and_says_so_beside_its_row() {
    let root = Root::new();
    let sets = ["id.train.epochs=0", "train.steps=0", "prompt.titles=0"].map(|set| ["--set", set]);
    let args = [&["run", "tiny", "--out", "odd"], &sets.concat()[..]].concat();
    let done = output(&root, &args);
    let (told, warned) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{warned}");
    for odd in ["id.train.epochs is 0: the model is untrained", "train.steps is 0", "prompt.titles is 0"] {
        assert!(told.contains(odd) && warned.contains(odd), "{odd}: {told} {warned}");
        assert!(std::fs::read_to_string(root.path("odd/report.md")).unwrap().contains("epochs is 0"), "{odd}");
    }
    let report = root.report("odd");
    let notes = |at: usize| report["rows"][at]["notes"].as_array().map_or(0, Vec::len);
    assert_eq!([0, 1, 2, 3].map(notes), [0, 1, 1, 2], "pop, sasrec, text, ra-rec: {}", report["rows"]);
}

#[test]
fn models_are_chosen_by_what_the_recipe_says_and_every_paper_of_the_run_says_it_too() {
    let root = Root::new();
    root.ok(&["run", "tiny", "--out", "usual", "--set", "eval.rows=['id']"]);
    let usual = root.report("usual");
    assert_eq!(usual["protocol"]["select"], "0.25 hr@100 + 1 ndcg@10 on up to 2000 validation users");
    let sets = ["--set", "eval.select={'mrr@5'=2}", "--set", "eval.select_users=3", "--set", "eval.rows=['id']"];
    root.ok(&[&["run", "tiny", "--out", "own"], &sets[..]].concat());
    let own = root.report("own");
    assert_eq!(own["protocol"]["select"], "2 mrr@5 on up to 3 validation users");
    assert_ne!(own["protocol"]["fingerprint"], usual["protocol"]["fingerprint"]);
    for file in ["own/report.md", "own/report.html"] {
        assert!(
            std::fs::read_to_string(root.path(file)).unwrap().contains("2 mrr@5 on up to 3 validation users"),
            "{file}"
        );
    }
    let manifest = std::fs::read_to_string(root.path("own/recipe.toml")).unwrap();
    assert!(manifest.contains("[eval.select]") && manifest.contains("\"mrr@5\" = 2"), "{manifest}");
    let resumed = output(&root, &["run", "tiny", "--out", "own", "--resume", "--set", "eval.rows=['id']"]);
    assert!(!resumed.status.success(), "another criterion is another run");
}

#[test]
fn recipes_are_read_as_editors_save_them() {
    let root = Root::new();
    let recipe = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml"))
        .unwrap()
        .replace("[eval]\n", "[eval]\nrows = ['id']\n");
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(root.path(name), bytes).unwrap();
    write("UPPER.TOML", recipe.clone().into());
    write("no-ending", recipe.clone().into());
    write("bom.toml", [b"\xef\xbb\xbf", recipe.as_bytes()].concat());
    write("crlf.toml", recipe.replace('\n', "\r\n").into());
    for name in ["UPPER.TOML", "no-ending", "./no-ending", "bom.toml", "crlf.toml"] {
        root.ok(&["run", name, "--out", "r", "--set", "id.train.epochs=1"]);
        std::fs::remove_dir_all(root.path("r")).unwrap();
    }
    write("utf16.toml", [0xff, 0xfe].into_iter().chain(recipe.encode_utf16().flat_map(u16::to_le_bytes)).collect());
    write("latin.toml", [b"seed = 1\n# caf\xe9\n", recipe.as_bytes()].concat());
    write("twice.toml", format!("{recipe}seed = 1\n[eval]\n").into());
    write("empty.toml", vec![]);
    for (name, told) in [
        ("utf16.toml", "utf16.toml: the file is UTF-16 text"),
        ("latin.toml", "latin.toml: line 2, column 6"),
        ("twice.toml", "twice.toml"),
        ("empty.toml", "[[id]] is missing"),
        ("./crlf", "did you mean ./crlf.toml?"),
        ("absent.toml", "absent.toml: no such file"),
        ("lm", "lm: is a folder"),
    ] {
        let error = root.error(&["run", name, "--out", "r"]);
        assert!(error.contains(told) && !error.contains("known recipes"), "{name}: {error}");
    }
    assert!(root.error(&["run", "absent"]).contains("known recipes: tiny"));
}

#[test]
fn a_key_that_takes_text_takes_numbers_too() {
    let root = Root::new();
    let log = std::fs::read_to_string(root.path("log.tsv")).unwrap();
    root.write("named.tsv", &log);
    root.write("numbered.tsv", &log.replacen("user\titem\tpos", "0\t1\t3", 1));
    let columns = ["columns.user=0", "columns.item=1", "columns.time=3"].map(|set| ["--set", set]);
    let args = |file: &'static str| ["data", "export", file, "--out", "out"];
    let fingerprint = |told: String| told.lines().find(|l| l.starts_with("fingerprint")).unwrap().to_owned();
    let named = fingerprint(root.ok(&["data", "export", "named.tsv", "--out", "plain", "--set", "columns.time=pos"]));
    let numbered = fingerprint(root.ok(&[&args("numbered.tsv")[..], &columns.concat()[..]].concat()));
    assert_eq!(named, numbered);
    let described = |set: &str| root.ok(&["data", "describe", "named.tsv", "--set", "columns.time=pos", "--set", set]);
    assert_eq!(described("data.k_core=2"), described("k_core=2"), "a key may be written as in a recipe");
    let error = root.error(&["data", "describe", "named.tsv", "--set", "k_core=many", "--set", "columns.user=true"]);
    assert!(error.contains("--set") && error.contains("k_core") && error.contains("columns.user"), "{error}");
    let recipe = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap();
    for (key, told) in [("columns.user = 1.10", "columns.user"), ("columns = { title = [1.10] }", "columns.title")] {
        root.write("float.toml", &recipe.replace("[data]\n", &format!("[data]\n{key}\n")));
        let error = root.error(&["run", "float.toml", "--out", "x"]);
        assert!(error.contains(told) && error.contains("put quotes around it"), "{key}: {error}");
    }
    let error = root.error(&["run", "tiny", "--out", "x", "--set", "id.kind=SASRec"]);
    assert_eq!(error.matches("sasrec").count(), 1, "{error}");
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    let root = Root::new();
    root.ok(&["run", "tiny", "--out", "whole"]);
    for gone in ["stdout", "stderr", "both"] {
        let mut run = command(&root, &["run", "tiny", "--out", gone]);
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            Stdio::from(writer)
        };
        run.stdout(if gone == "stderr" { Stdio::null() } else { closed() });
        run.stderr(if gone == "stdout" { Stdio::null() } else { closed() });
        assert!(run.status().unwrap().success(), "{gone}");
        assert_eq!(root.metrics(gone), root.metrics("whole"), "{gone}");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let refused =
        command(&root, &["data", "describe", "nowhere"]).stdout(Stdio::null()).stderr(writer).status().unwrap();
    assert_eq!(refused.code(), Some(1), "an error that nobody reads is one all the same");
}

#[test]
fn an_answer_that_is_lost_is_a_failure() {
    let root = Root::new();
    root.ok(&["run", "tiny", "--out", "a", "--set", "eval.rows=['id']"]);
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    for args in [
        &["data", "describe", "log.tsv", "--json"][..],
        &["data", "audit", "log.tsv"],
        &["report", "a"],
        &["recommend", "--run", "a", "--user", "u1"],
        &["fetch", "--list"],
        &["--help"],
        &["run", "tiny", "--out", "b", "--set", "eval.rows=['id']"],
    ] {
        let Ok(full) = full() else {
            ra_core::testkit::skipped("an_answer_that_is_lost_is_a_failure", "there is no /dev/full");
            return;
        };
        let done = command(&root, args).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{args:?}: {told}");
        assert!(args == ["--help"] || told.contains("error: stdout: "), "{args:?}: {told}");
    }
    assert_eq!(root.metrics("a"), root.metrics("b"), "the run was finished first");
}

// Other systems may refuse such a name.
#[cfg(target_os = "linux")]
#[test]
fn names_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let root = Root::new();
    let name = OsStr::from_bytes(b"caf\xe9.tsv");
    std::fs::copy(root.path("log.tsv"), root.path("").join(name)).unwrap();
    let describe = |name: &OsStr| {
        let mut command = command(&root, &["data", "describe"]);
        command.arg(name).output().unwrap()
    };
    let done = describe(name);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let told = String::from_utf8_lossy(&describe(OsStr::from_bytes(b"n\xe9.tsv")).stderr).into_owned();
    assert!(told.starts_with("error: n") && told.contains("no such file"), "{told}");
}

#[test]
fn a_table_shows_every_k_and_whom_it_is_over() {
    let root = Root::new();
    let run = |out: &str, sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
        root.ok(&[&["run", "tiny", "--set", "eval.rows=['id']", "--out", out], &sets[..]].concat())
    };
    let told = run("ks", &["eval.ks=[5,20]"]);
    for part in
        ["hr@5", "ndcg@5", "hr@20", "ndcg@20", "12 users evaluated, 12 items", "a list of K = 20 holds the whole"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = run("few", &["eval.ks=[1]", "eval.candidates={uniform=100}"]);
    let fewer = "100 candidates were requested for each target, but there were fewer: at least 6, and 6.0 on average";
    assert!(told.contains(fewer), "{told}");
    assert_eq!(root.report("few")["rows"][0]["candidates"], serde_json::json!([6, 6.0]));
    assert!(std::fs::read_to_string(root.path("few/report.html")).unwrap().contains("there were fewer: at least 6"));
    assert_eq!(root.report("ks")["rows"][0]["users"], 12);
}

#[test]
fn figures_over_nobody_and_texts_without_titles_are_refused_before_training() {
    let root = Root::new();
    let rows: String = (0..5).flat_map(|u| (0..6).map(move |t| format!("u{u}\ti{u}\t{t}\n"))).collect();
    root.write("repeats.tsv", &format!("user\titem\tpos\n{rows}"));
    let log = format!("data.interactions={:?}", root.path("repeats.tsv"));
    let error = refused(&root, &[&log, "eval.repeats=skipped", "eval.rows=['id']"]);
    assert!(error.contains("eval.repeats is skipped") && error.contains("nobody is left"), "{error}");
    root.write("others.tsv", "item\ttitle\nx1\tSomething else\n");
    let others = format!("data.items={:?}", root.path("others.tsv"));
    let error = refused(&root, &[&others]);
    assert!(error.contains("none of the 12 items has a title") && error.contains("data.items"), "{error}");
    let lexical = "id=[{kind='lexical'}]";
    let error = refused(&root, &[&others, "eval.rows=['id']", lexical]);
    assert!(error.contains("none of the 12 items has a title"), "the method reads titles: {error}");
    root.ok(&["run", "tiny", "--out", "id", "--set", &others, "--set", "eval.rows=['id']"]);
    assert!(!root.path("x").exists(), "what is refused leaves nothing");
}
