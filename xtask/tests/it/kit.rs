//! `gpu-kit`: what it packs and refuses, and that its script outlives every part. The program here is a script.
use crate::workspace;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Answers as the program does; two parts end badly, and one never.
const FAKE: &str = r#"#!/bin/sh
case "$*" in
    doctor) echo "cpu         processor" ;;
    "contracts "*) sleep 100000 ;;
    "verify ra-idmodels"*) kill -SEGV $$ ;;
    "bench sasrec"*) echo "error: the device is lost" >&2; exit 1 ;;
    "verify "*) printf '[\n  {\n    "passed": true,\n    "worst": 0.25\n  }\n]\n' ;;
    "bench rank"*) echo '[{"name": "rank", "cpu_s": 1, "wall_s": 0.5}]' ;;
    "bench "*) echo '{"machine": "m", "figures": [{"name": "text \\", "cpu_s": 1, "wall_s": 0.002}]}' ;;
    "run "*)
        while [ $# -gt 1 ]; do [ "$1" != --out ] || out=$2; shift; done
        mkdir -p "$out"
        echo '{"rows": [{"name": "ra-rec(sasrec, lm)",
            "kind": "ra-rec", "metrics": {"hr@10": 0.5, "hr@100": 0.75},
            "slices": [{"name": "head", "metrics": {"hr@10": 0.1, "hr@100": 0.2}}]}]}' >"$out/report.json" ;;
esac
"#;

/// A kit around a script in place of the program, and an empty folder for what its script writes.
struct Kit(tempfile::TempDir);

impl Kit {
    fn new(fake: &str) -> Self {
        let kit = Self(tempfile::tempdir().unwrap());
        std::fs::write(kit.path("fake"), fake).unwrap();
        // No PyTorch, whatever this machine has.
        std::fs::create_dir(kit.path("bin")).unwrap();
        std::fs::write(kit.path("bin/python3"), "#!/bin/sh\nexit 1\n").unwrap();
        set_executable(&kit.path("bin/python3"));
        let packed = kit.pack("kit");
        assert!(packed.status.success(), "{}", text(&packed.stderr));
        kit
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn pack(&self, to: &str) -> Output {
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        xtask.args(["gpu-kit", "--without-data", "--binary"]).arg(self.path("fake")).arg("--to").arg(self.path(to));
        xtask.env("RA_REC_ROOT", workspace()).output().unwrap()
    }

    fn run(&self, out: &str, variables: &[(&str, &str)]) -> Output {
        let paths = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect::<Vec<_>>();
        let paths = std::env::join_paths(std::iter::once(self.path("bin")).chain(paths)).unwrap();
        let mut script = Command::new(self.path("kit/run.sh"));
        script.env("PATH", paths).env("OUT", self.path(out)).env("KIT_BACKEND", "cpu").env_remove("KIT_PYTHON");
        script.envs(variables.iter().copied()).output().unwrap()
    }

    /// Returns the files of all parts by name; that of all parts together must say the same.
    fn parts(&self, out: &str) -> BTreeMap<String, Value> {
        let read = |path: &Path| serde_json::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap();
        let all = read(&self.path(out).join("all.json")).as_array().unwrap().clone();
        let parts = all.into_iter().map(|part| (part["name"].as_str().unwrap().to_owned(), part));
        let parts: BTreeMap<String, Value> = parts.collect();
        let summary = std::fs::read_to_string(self.path(out).join("summary.txt")).unwrap();
        for (name, part) in &parts {
            assert_eq!(&read(&self.path(out).join(format!("{name}.json"))), part);
            assert!(summary.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {summary}");
        }
        assert_eq!(std::fs::read_dir(self.path(out)).unwrap().count(), parts.len() + 2);
        parts
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn set_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_kit_replaces_a_kit_and_refuses_what_is_none() {
    let kit = Kit::new(FAKE);
    let template = workspace().join("xtask/src/checks/gpu_kit/run.sh");
    assert!(Command::new("bash").arg("-n").arg(&template).status().unwrap().success());
    for name in [
        "run.sh",
        "kit.json",
        "xtask/recipes/tiny.toml",
        "xtask/recipes/quickstart.toml",
        "tiny/log.tsv",
        "tiny/lm/model.safetensors",
        "ra-llm/tests/golden/bert/model/config.json",
        "docs/lab/peers/card.py",
        "expected/quickstart.json",
    ] {
        assert!(kit.path("kit").join(name).is_file(), "{name}");
    }
    assert_eq!(std::fs::read_dir(kit.path("kit/bin")).unwrap().count(), 1);
    assert!(!kit.path("kit/models").exists());
    let again = kit.pack("kit");
    assert!(again.status.success() && text(&again.stdout).contains("WITHOUT ml-100k and minilm"));
    std::fs::create_dir(kit.path("theirs")).unwrap();
    std::fs::write(kit.path("theirs/notes"), "mine").unwrap();
    let refused = kit.pack("theirs");
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(told.starts_with("error: ") && told.contains("holds notes, which is no part of a kit"), "{told}");
    assert_eq!(std::fs::read_dir(kit.path("theirs")).unwrap().count(), 1);
}

#[test]
fn a_part_that_crashes_or_hangs_stops_no_other() {
    let kit = Kit::new(FAKE);
    // Nothing but the part that never ends comes near its limit.
    let many = [("KIT_SECONDS", "100000"), ("KIT_LIMIT_contracts", "1")];
    let run = kit.run("out", &many);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let parts = kit.parts("out");
    let of = |name: &str, key: &str| parts[name][key].as_str().unwrap().to_owned();
    assert_eq!((of("contracts", "status"), of("contracts", "why")), ("killed".into(), "it ran past 1 s".into()));
    assert_eq!(
        (of("golden-id", "status"), of("golden-id", "why")),
        ("failed".into(), "it crashed with signal 11".into())
    );
    assert_eq!(
        (of("bench-sasrec", "status"), of("bench-sasrec", "why")),
        ("failed".into(), "error: the device is lost".into())
    );
    assert!(of("bench-sasrec", "stderr").contains("device is lost"));
    // What came after them, and what it found.
    for (name, found) in [
        ("device", "cpu         processor"),
        ("golden-lm", "1 passed, 0 failed, largest error 0.250 of what is allowed"),
        ("tiny", "ra-rec(sasrec, lm) 0.5000"),
        ("bench-rank", "rank 500 ms wall"),
        ("bench-align", "text \\ 2 ms wall"),
        ("tiny-bf16", "ra-rec(sasrec, lm) 0.5000"),
    ] {
        assert_eq!((of(name, "status"), of(name, "found")), ("ok".into(), found.into()), "{name}");
    }
    for (name, why) in [
        ("pytorch", "has no PyTorch"),
        ("quickstart", "without data and model"),
        ("bench-many-f32", "too large for a processor"),
        ("tuned", "another program"),
        ("wgpu", "no program with WGPU"),
    ] {
        assert!(of(name, "status") == "skipped" && of(name, "why").contains(why), "{name}: {}", of(name, "why"));
    }

    // Without any time every part still has its file.
    let none = kit.run("none", &[("KIT_SECONDS", "0")]);
    assert!(none.status.success(), "{}", text(&none.stderr));
    let left = kit.parts("none");
    assert_eq!(left.keys().collect::<Vec<_>>(), parts.keys().collect::<Vec<_>>());
    assert!(left.iter().all(|(name, part)| name == "machine" || part["status"] == "skipped"), "{left:?}");
    let wrong = kit.run("wrong", &[("KIT_SECONDS", "ten")]);
    assert_eq!(text(&wrong.stderr), "error: KIT_SECONDS=ten: a whole number of seconds is needed\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_script_that_is_stopped_leaves_what_it_has() {
    // The first part stops the script that waits for it.
    let fake = "#!/bin/sh\necho begun\nkill -TERM $(awk '{ print $4 }' /proc/$PPID/stat)\nsleep 100000\n";
    let kit = Kit::new(fake);
    let run = kit.run("out", &[("KIT_SECONDS", "100000"), ("KIT_LIMIT_device", "90000")]);
    assert_eq!(run.status.code(), Some(143), "{}", text(&run.stderr));
    let parts = kit.parts("out");
    assert_eq!(parts["device"]["status"], "killed");
    assert_eq!(parts["device"]["stdout"], "begun");
    assert!(text(&run.stdout).contains("results: "));
}
