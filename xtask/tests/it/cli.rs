//! Runs the built command in folders of its own.
use crate::workspace;
use ra_core::Backend;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A root with a tiny data set, a tiny language model and a recipe over both.
pub(crate) struct Root(tempfile::TempDir);

impl Root {
    pub(crate) fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        root.write("log.tsv", &log(12));
        let titles = ["ant", "quail", "bee", "ox", "hen", "yak", "cat", "newt", "dog", "emu", "fox", "gnu"];
        let items: String = titles.iter().enumerate().map(|(i, t)| format!("i{i}\tThe {t}\n")).collect();
        root.write("items.tsv", &format!("item\ttitle\n{items}"));
        let model = workspace().join("ra-llm/tests/golden/bert/model");
        for name in ["config.json", "model.safetensors"] {
            std::fs::create_dir_all(root.path("lm")).unwrap();
            std::fs::copy(model.join(name), root.path("lm").join(name)).unwrap();
        }
        root.write("lm/tokenizer.json", &tokenizer(&titles));
        root.write("xtask/recipes/tiny.toml", &recipe(&root));
        root
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn xtask(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).current_dir(self.0.path()).env("RA_REC_ROOT", self.0.path()).output().unwrap()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.xtask(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns what a successful command prints besides its output.
    pub(crate) fn warned(&self, args: &[&str]) -> String {
        let output = self.xtask(args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args:?}: {text}");
        text
    }

    /// Returns the one line of a failure.
    pub(crate) fn error(&self, args: &[&str]) -> String {
        let output = self.xtask(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(!text.contains("panicked"), "{text}");
        lines[0].to_owned()
    }

    pub(crate) fn report(&self, run: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.path(run).join("report.json")).unwrap()).unwrap()
    }

    pub(crate) fn metrics(&self, run: &str) -> Vec<serde_json::Value> {
        self.report(run)["rows"].as_array().unwrap().iter().map(|r| r["metrics"].clone()).collect()
    }
}

fn log(users: usize) -> String {
    let row = |(u, t): (usize, usize)| format!("u{u}\ti{}\t{t}\n", (u + t) % 12);
    "user\titem\tpos\n".to_owned() + &(0..users).flat_map(|u| (0..6).map(move |t| (u, t))).map(row).collect::<String>()
}

fn tokenizer(titles: &[&str]) -> String {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", ";"].iter().chain(titles);
    let vocab: Vec<String> = words.enumerate().map(|(i, w)| format!("{w:?}: {i}")).collect();
    format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": {{"type": "Lowercase"}},
        "pre_tokenizer": {{"type": "Whitespace"}}, "post_processor": {{"type": "BertProcessing", "sep": ["[SEP]", 3],
        "cls": ["[CLS]", 2]}}, "decoder": null, "model": {{"type": "WordLevel", "vocab": {{{}}}, "unk_token": "[UNK]"}}}}"#,
        vocab.join(", ")
    )
}

fn recipe(root: &Root) -> String {
    format!(
        "seed = 3\n[data]\nname = 'tiny'\ninteractions = {:?}\nitems = {:?}\n[[id]]\nkind = 'pop'\n[[id]]\nkind = 'sasrec'\n\
         dim = 8\nmax_length = 6\n[id.train]\nepochs = 6\nvalidate_every = 2\n[lm]\npath = {:?}\n\
         [align]\nextra_negatives = 4\n[train]\nbatch = 8\nsteps = 6\nvalidate_every = 3\n[eval]\nks = [1, 10, 100]\n",
        root.path("log.tsv"),
        root.path("items.tsv"),
        root.path("lm")
    )
}

#[test]
fn a_run_gives_four_rows_twice_alike_and_resumes_to_the_same_bits() {
    let root = Root::new();
    let told = root.ok(&["run", "tiny", "--out", "a"]);
    for part in ["pop", "sasrec", "text-only", "ra-rec(sasrec, lm)", "user.project.0.weight", "report.html"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let report = root.report("a");
    for key in ["recipe", "commit", "seed", "backend", "protocol", "rows", "ledger"] {
        assert!(report.get(key).is_some(), "report.json lacks {key}");
    }
    for row in report["rows"].as_array().unwrap() {
        for key in [
            "name",
            "kind",
            "metrics",
            "tied_share",
            "train_samples",
            "trainable_params",
            "train_seconds",
            "eval_seconds",
        ] {
            assert!(row.get(key).is_some(), "a row lacks {key}");
        }
        for key in
            ["hr@10", "ndcg@10", "hr@100", "mrr@1", "recall@10", "map@10", "coverage@10", "gini@10", "novelty@10"]
        {
            assert!(row["metrics"].get(key).is_some(), "metrics lack {key}");
        }
    }
    for file in [
        "recipe.toml",
        "report.md",
        "report.html",
        "manifest.json",
        "metrics/sasrec.parquet",
        "checkpoints/towers.safetensors",
    ] {
        assert!(root.path("a").join(file).exists(), "{file}");
    }
    std::fs::remove_dir_all(root.path("cache")).unwrap();
    root.ok(&["run", "tiny", "--out", "b"]);
    assert_eq!(root.metrics("a"), root.metrics("b"), "the same seed");
    assert_eq!(
        std::fs::read(root.path("a/vectors/items.safetensors")).unwrap(),
        std::fs::read(root.path("b/vectors/items.safetensors")).unwrap()
    );

    // A run that was interrupted while it aligned, or before it had trained anything.
    let cost = |run: &str, stage: &str| {
        let stages = root.report(run)["stages"].as_array().unwrap().clone();
        let named: Vec<_> = stages.iter().filter(|cost| cost["name"] == stage).collect();
        assert_eq!(named.len(), 1, "{stage} in {stages:?}");
        named[0]["seconds"].as_f64().unwrap()
    };
    for (lost, again, kept) in [
        ("checkpoints/towers.json", "align ra-rec", "train sasrec"),
        ("checkpoints/id-sasrec.json", "train sasrec", "train pop"),
    ] {
        let before = [again, kept].map(|stage| cost("b", stage));
        std::fs::remove_file(root.path("b").join(lost)).unwrap();
        std::fs::remove_file(root.path("b/report.json")).unwrap();
        root.ok(&["run", "tiny", "--out", "b", "--resume"]);
        assert_eq!(root.metrics("a"), root.metrics("b"), "after {lost} was lost");
        // The costs are those of all parts of the run.
        assert!(cost("b", again) > before[0] && cost("b", kept) == before[1], "after {lost} was lost");
    }
    // Costs that cannot be read are told, and no reason to stop.
    std::fs::write(root.path("b/costs.json"), "[{").unwrap();
    std::fs::remove_file(root.path("b/report.json")).unwrap();
    let told = root.warned(&["run", "tiny", "--out", "b", "--resume"]);
    assert!(told.contains("costs.json") && told.contains("will lack the costs"), "{told}");
    root.ok(&["report", "a", "b"]);
}

#[test]
fn a_finished_run_recommends_and_refuses_what_it_does_not_know() {
    let root = Root::new();
    root.ok(&["run", "tiny", "--out", "a", "--set", "align.first_layer=-1"]);
    let told = root.ok(&["recommend", "--run", "a", "--history", "the ant; The Bee", "--top", "3"]);
    let recommended: Vec<&str> =
        told.split("recommended").nth(1).unwrap().lines().filter(|l| l.contains("The ")).collect();
    assert_eq!(recommended.len(), 3, "{told}");
    assert!(recommended.iter().all(|l| !l.ends_with("The ant") && !l.ends_with("The bee")), "{told}");
    assert!(root.ok(&["recommend", "--run", "a", "--user", "u3"]).contains("recommended"));

    let error = root.error(&["recommend", "--run", "a", "--history", "the aardvark"]);
    assert!(error.contains("aardvark") && error.contains("did you mean"), "{error}");
    assert!(root.error(&["recommend", "--run", "a", "--user", "nobody"]).contains("nobody"));
    assert!(root.error(&["recommend", "--run", "nowhere", "--user", "u3"]).contains("not a run folder"));

    root.write("log.tsv", &log(11));
    assert!(root.error(&["recommend", "--run", "a", "--user", "u3"]).contains("not the one this run was made from"));
    let resume = ["run", "tiny", "--out", "a", "--resume", "--set", "align.first_layer=-1"];
    assert!(root.error(&resume).contains("other data"));
    root.write("log.tsv", &log(12));
    let weights = root.path("lm/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    assert!(
        root.error(&["recommend", "--run", "a", "--row", "ra-rec", "--user", "u3"]).contains("another language model")
    );
}

#[test]
fn faults_are_one_line_and_leave_nothing() {
    let root = Root::new();
    let run = |set: &str| root.error(&["run", "tiny", "--out", "x", "--set", set]);
    for (set, told) in [
        ("align.n_tokk=2", "n_tok"),
        ("align.first_layer=9", "3 layers"),
        ("data.k_core=99", "no user is left"),
        ("data.interactions='absent.tsv'", "absent.tsv"),
        ("lm.path='absent'", "absent"),
        ("lm.name=bert", "minilm"),
        ("id.kind=sasrek", "sasrec"),
        ("id.heads=3", "id.dim is 8, it must be a multiple of heads"),
        ("eval.ks=[]", "at least one K"),
        ("id.kind=pop", "unknown field"),
        ("eval.rows=['p5']", "ra-rec"),
        ("train.batch=many", "batch"),
        ("data.curate.method=best", "paper"),
    ] {
        let set = if set.starts_with("lm.name") {
            root.error(&["run", "tiny", "--set", "lm={name='bert'}"])
        } else {
            run(set)
        };
        assert!(set.contains(told), "{told}: {set}");
    }
    assert!(root.error(&["run", "absent"]).contains("known recipes: tiny"));
    for row in ["id-residual", "cold-lift"] {
        let rows = &format!("eval.rows=['id', 'ra-rec', '{row}']");
        let sets =
            ["data.split='ratio'", "data.ratio_valid=0.0", "data.ratio_test=0.3", rows].map(|set| ["--set", set]);
        let told = root.error(&[&["run", "tiny", "--out", "x"], &sets.concat()[..]].concat());
        assert!(told.contains("validation") && told.contains(row), "{told}");
    }
    let told = root.error(&["run", "tiny", "--out", "x", "--set", "eval.rows=['ra-rec', 'cold-lift']"]);
    assert!(told.contains("data.cold_items"), "{told}");
    for backend in Backend::ALL.into_iter().filter(|b| !Backend::built().contains(b)) {
        let told = root.error(&["run", "tiny", "--backend", backend.name()]);
        assert!(told.contains(&format!("--features {}", backend.name())), "{told}");
    }
    assert!(root.error(&["run", "tiny", "--out", "/proc/nowhere"]).contains("/proc/nowhere"));
    root.write("mine/notes.txt", "keep me");
    assert!(root.error(&["run", "tiny", "--out", "mine"]).contains("holds files but no run"));
    assert!(root.path("mine/notes.txt").exists());
    assert!(!root.path("x").exists(), "what is refused leaves nothing");
}

/// A small separate file system, if the machine lets a test make one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=48k", "tmpfs"]).arg(&path).output();
        mount.is_ok_and(|o| o.status.success()).then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_is_one_line_and_nothing_half_written() {
    let root = Root::new();
    let Some(_disk) = SmallDisk::mount(root.path("small")) else {
        let test = "a_full_disk_is_one_line_and_nothing_half_written";
        ra_core::testkit::skipped(test, "this user cannot mount a small file system");
        return;
    };
    let error = root.error(&["run", "tiny", "--out", "small/run"]);
    assert!(error.contains("small/run") && error.contains("disk full"), "{error}");
    for entry in std::fs::read_dir(root.path("small/run")).unwrap().map(|e| e.unwrap().path()) {
        if entry.extension().is_some_and(|e| e == "json") {
            let text = std::fs::read_to_string(&entry).unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", entry.display());
        }
        assert!(!entry.file_name().unwrap().to_string_lossy().starts_with(".tmp"), "{}", entry.display());
    }
    // Once there is room again, the same command succeeds.
    root.ok(&["run", "tiny", "--out", "elsewhere"]);
}

#[test]
fn a_suite_multiplies_its_axes_shares_its_id_method_and_goes_on_where_it_stopped() {
    let root = Root::new();
    root.write(
        "xtask/recipes/grid.toml",
        "recipe = 'tiny'\n[[axis]]\nname = 'choice'\nvalues = [{ name = 'full' }, { name = 'no ID', set = { \
         'align.projection' = 'none' } }]\n[[axis]]\nname = 'steps'\nvalues = [{ name = '2', set = { 'train.steps' = 2 } }, \
         { name = '4', set = { 'train.steps' = 4 } }]\n",
    );
    let told = root.ok(&["run", "grid", "--out", "g"]);
    assert!(told.contains("overview.md"), "{told}");
    let page = std::fs::read_to_string(root.path("g/overview.md")).unwrap();
    assert_eq!(page.matches("| sasrec |").count(), 1, "the same in all settings, told once: {page}");
    assert_eq!(page.matches("| ra-rec(").count(), 4, "{page}");
    let html = std::fs::read_to_string(root.path("g/overview.html")).unwrap();
    assert!(html.contains("<svg"), "the last axis is a number");
    assert_eq!(std::fs::read_dir(root.path("g/id-models")).unwrap().count(), 2, "pop and sasrec, once each");
    let read = |cell: &str, file: &str| std::fs::read(root.path("g").join(cell).join(file)).unwrap();
    assert_eq!(
        read("full+2", "checkpoints/id-sasrec.safetensors"),
        read("no_ID+4", "checkpoints/id-sasrec.safetensors")
    );
    let (kept, lost) = (read("full+2", "report.json"), root.metrics("g/no_ID+4"));
    std::fs::remove_file(root.path("g/no_ID+4/report.json")).unwrap();
    root.ok(&["run", "grid", "--out", "g", "--resume"]);
    assert_eq!(read("full+2", "report.json"), kept, "a finished run is not made again, seconds and all");
    assert_eq!(root.metrics("g/no_ID+4"), lost);
    // A longer training of the shared method: what was aligned to the shorter one is made again, in every run.
    root.ok(&["run", "grid", "--out", "g", "--resume", "--set", "id.train.epochs=9"]);
    root.ok(&["run", "grid", "--out", "fresh", "--set", "id.train.epochs=9"]);
    for cell in ["full+2", "full+4", "no_ID+2", "no_ID+4"] {
        assert_eq!(root.metrics(&format!("g/{cell}")), root.metrics(&format!("fresh/{cell}")), "{cell}");
    }
}

#[test]
fn a_list_of_recipes_makes_one_page_with_a_table_a_protocol() {
    let root = Root::new();
    let (same, other) = (recipe(&root), recipe(&root).replace("ks = [1, 10, 100]", "ks = [20]\nseen = 'kept'"));
    root.write("xtask/recipes/same.toml", &same);
    root.write("xtask/recipes/other.toml", &other);
    root.write("xtask/recipes/list.toml", "suite = ['tiny', 'same', 'other']");
    root.ok(&["run", "list", "--out", "l"]);
    let page = std::fs::read_to_string(root.path("l/overview.md")).unwrap();
    assert_eq!(page.matches("## Results").count(), 2, "tiny and same have one protocol: {page}");
    let head = |metrics: &str| format!("| recipe | model | {metrics} vs ID (95 %) |");
    assert!(page.contains(&head("hr@10 | ndcg@10 | hr@100 | hr@100")), "{page}");
    assert!(page.contains(&head("recall@20 | ndcg@20 | ndcg@20")), "{page}");
    root.ok(&["run", "list", "--out", "more", "--set", "eval.ks=[10, 20, 100]"]);
    let more = std::fs::read_to_string(root.path("more/overview.md")).unwrap();
    assert!(more.contains("| hr@100 | hr@100 vs ID"), "differences are told of HR@100 where it is there: {more}");
    assert!(page.contains("| all | sasrec |") && page.contains("| other | sasrec |"), "{page}");
    let html = std::fs::read_to_string(root.path("l/overview.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("recall@20 by recipe"), "{html}");
}

#[test]
fn every_row_that_a_recipe_may_ask_for_is_made() {
    let root = Root::new();
    let rivals = ["prefix-only", "id-direct", "soft-token", "id-residual", "distilled", "head"];
    let tuned = ["lora", "lora-text", "fine-tuned", "fine-tuned-text"];
    let rows = [&["id", "text", "ra-rec", "probes"], &rivals[..], &tuned[..]].concat();
    let rows = &format!("eval.rows={rows:?}");
    let ids = "id=[{kind=\"alpharec\", train={epochs=2}}, {kind=\"unisrec\", dim=8, max_length=6, train={epochs=2}}]";
    root.ok(&["run", "tiny", "--out", "r", "--set", rows, "--set", ids, "--set", "align.cross_fit=2"]);
    let report = root.report("r");
    let names: Vec<&str> = report["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "alpharec",
            "unisrec",
            "text-only",
            "ra-rec(unisrec, lm)",
            "ra-rec, zero IDs",
            "ra-rec, permuted IDs",
            "ra-rec, random IDs",
            "ra-rec, shuffled titles",
            "prefix-only(lm)",
            "id-direct(lm)",
            "soft-token(unisrec, lm)",
            "id-residual(unisrec, lm)",
            "distilled(unisrec, lm)",
            "head(unisrec, lm)",
            "lora(unisrec, lm, without align.loss)",
            "lora-text(lm, without align.loss)",
            "fine-tuned(unisrec, lm, without align.loss)",
            "fine-tuned-text(lm, without align.loss)",
        ]
    );
    let params = |name: &str| {
        let rows = report["rows"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap()["trainable_params"].as_u64().unwrap()
    };
    let own = params("ra-rec(unisrec, lm)");
    assert_eq!(params("id-residual(unisrec, lm)"), own + 1, "the weight of the ID's own score");
    assert_eq!(params("distilled(unisrec, lm)"), own, "another loss, nothing more to train");
    let tuned = |row: &str| params(&format!("{row}(unisrec, lm, without align.loss)"));
    assert!(own < tuned("lora") && tuned("lora") < tuned("fine-tuned"));
    assert!(root.path("r/checkpoints/id-unisrec-fold-2-of-2.safetensors").exists());
    let curves = |run: &str| {
        let curves = root.report(run)["curves"].as_array().unwrap().clone();
        curves.iter().map(|curve| curve["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(
        curves("r").contains(&"ra-rec".into()) && !curves("r").contains(&"id-residual".into()),
        "{:?}",
        curves("r")
    );
    root.ok(&["run", "tiny", "--out", "own", "--set", "align.id_residual=true"]);
    assert!(curves("own").contains(&"ra-rec".into()), "its own towers were trained");
    assert!(root.ok(&["recommend", "--run", "r", "--user", "u3"]).contains("recommended"));
    for kind in ["mf", "pop"] {
        let id = format!("id=[{{kind=\"{kind}\"}}]");
        let error = root.error(&["run", "tiny", "--set", &id, "--set", "align.cross_fit=2"]);
        assert!(error.contains("cross_fit is above 0") && error.contains(&format!("; {kind} does not")), "{error}");
    }
}
