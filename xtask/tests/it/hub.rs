//! A language model of a hub, from a run to its bundle. The hub is a server on loopback.
use crate::cli::Root;
use loopback::{Models, Server};
use sha2::{Digest, Sha256};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

#[allow(dead_code)]
#[path = "../../src/fetch/loopback.rs"]
mod loopback;

fn sum_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A root whose recipe `own` reads `hf:me/tiny`, and the hub that has it.
struct Bench {
    root: Root,
    models: Arc<Mutex<Models>>,
    server: Server,
}

impl Bench {
    fn new() -> Self {
        let root = Root::new();
        let tiny = std::fs::read_to_string(root.path("xtask/recipes/tiny.toml")).unwrap();
        let path = tiny.lines().find(|line| line.starts_with("path = ")).unwrap();
        root.write("xtask/recipes/own.toml", &tiny.replace(path, "name = 'hf:me/tiny'"));
        let models = Arc::new(Mutex::new(Models { repo: "me/tiny", ..Models::default() }));
        let own = models.clone();
        let bench = Self { root, models, server: Server::start(move |asked| own.lock().unwrap().answer(asked)) };
        bench.push(1, |_| {});
        bench
    }

    /// Moves the branch to the model of the root after a change of its weights.
    fn push(&self, number: u8, change: fn(&mut Vec<u8>)) {
        let file = |name: &str| std::fs::read(self.root.path("lm").join(name)).unwrap();
        let mut weights = file("model.safetensors");
        change(&mut weights);
        let (config, tokenizer) = (file("config.json"), file("tokenizer.json"));
        let files: [(&str, &[u8]); 3] =
            [("config.json", &config), ("tokenizer.json", &tokenizer), ("model.safetensors", &weights)];
        self.models.lock().unwrap().push(number, &files);
    }

    fn xtask(&self, endpoint: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
            command.env_remove(name);
        }
        let root = self.root.path("");
        command.args(args).current_dir(&root).env("RA_REC_ROOT", &root).env("HF_ENDPOINT", endpoint);
        command.env("HF_HOME", self.root.path("hf")).output().unwrap()
    }

    fn ok(&self, endpoint: &str, args: &[&str]) -> String {
        let output = self.xtask(endpoint, args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn error(&self, endpoint: &str, args: &[&str]) -> String {
        let output = self.xtask(endpoint, args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        told
    }

    fn manifest(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.root.path("a/manifest.json")).unwrap()).unwrap()
    }
}

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn a_run_keeps_to_the_commit_that_it_began_with() {
    let bench = Bench::new();
    let url = &bench.server.url.clone();
    bench.ok(url, &["run", "own", "--out", "a"]);
    let (first, manifest) = (format!("hf:me/tiny@{}", Models::commit(1)), bench.manifest());
    assert!(manifest["recipe"].as_str().unwrap().contains(&first), "{manifest}");
    assert_eq!(manifest["source"]["asked"], "hf:me/tiny");
    let weights = std::fs::read(bench.root.path("lm/model.safetensors")).unwrap();
    assert_eq!(manifest["source"]["files"]["model.safetensors"], sum_of(&weights));
    let told = std::fs::read_to_string(bench.root.path("a/report.json")).unwrap();
    assert!(told.contains("ra-rec(sasrec, tiny)"), "rows name the model without its owner and commit");

    // The branch moves. Whoever resumes or uses the run stays where it was.
    bench.push(2, |weights| *weights.last_mut().unwrap() ^= 1);
    bench.server.asked();
    bench.ok(url, &["run", "own", "--out", "a", "--resume"]);
    assert_eq!((bench.manifest()["source"].clone(), bench.server.files()), (manifest["source"].clone(), Vec::new()));
    let told = bench.error(url, &["run", "own", "--out", "a"]);
    for commit in [1, 2] {
        assert!(told.contains(&format!("hf:me/tiny@{}", Models::commit(commit))), "{told}");
    }
    assert!(told.contains("--force"), "{told}");

    // What uses a finished run asks nobody.
    bench.server.asked();
    bench.ok(url, &["recommend", "--run", "a", "--row", "ra-rec", "--user", "u1"]);
    bench.ok(url, &["export", "--run", "a", "--row", "ra-rec", "--to", "b"]);
    assert!(bench.server.asked().is_empty());
    assert_eq!(std::fs::read(bench.root.path("b/lm/tiny/model.safetensors")).unwrap(), weights);
    let told = std::fs::read_to_string(bench.root.path("b/manifest.json")).unwrap();
    assert!(told.contains(&first), "{told}");
    std::fs::rename(bench.root.path("hf"), bench.root.path("gone")).unwrap();
    let told = bench.error(url, &["recommend", "--run", "a", "--row", "ra-rec", "--user", "u1"]);
    assert!(told.contains(&format!("fetch {first} brings it")), "{told}");
    assert!(bench.server.asked().is_empty());
}

#[test]
fn fetch_brings_a_model_that_a_run_finds_without_a_network() {
    let bench = Bench::new();
    let told = bench.error(NOWHERE, &["run", "own", "--out", "a"]);
    assert!(told.contains("127.0.0.1:9 cannot be reached") && told.contains("lm.path"), "{told}");
    let told = bench.ok(&bench.server.url.clone(), &["fetch", "hf:me/tiny"]);
    assert!(told.trim().ends_with(&Models::commit(1)), "{told}");
    bench.ok(NOWHERE, &["run", "own", "--out", "a"]);
    let told = bench.error(NOWHERE, &["run", "own", "--out", "c", "--set", "lm.name=hf:tiny"]);
    assert!(told.contains("lm.name is \"hf:tiny\", which names no owner"), "{told}");
    assert!(bench.ok(NOWHERE, &["fetch", "--list"]).contains("hf:OWNER/REPO"));
}
