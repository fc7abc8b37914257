use super::*;
use crate::fetch::loopback::{Answer, Models, Server};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const CONFIG: (&str, &[u8]) = ("config.json", b"{}");
const TOKENIZER: (&str, &[u8]) = ("tokenizer.json", b"{\"t\": 1}");
const WEIGHTS: (&str, &[u8]) = ("model.safetensors", b"0123456789 weights");

/// A hub with the model `me/tiny`, and a user with a cache.
struct Bench {
    models: Arc<Mutex<Models>>,
    server: Server,
    home: TempDir,
    more: Vec<(&'static str, String)>,
}

impl Bench {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let mut models = Models { repo: "me/tiny", ..Models::default() };
        models.push(1, files);
        let models = Arc::new(Mutex::new(models));
        let own = models.clone();
        let server = Server::start(move |asked| own.lock().unwrap().answer(asked));
        Self { models, server, home: tempfile::tempdir().unwrap(), more: Vec::new() }
    }

    fn plain() -> Self {
        Self::new(&[
            CONFIG,
            TOKENIZER,
            WEIGHTS,
            ("README.md", b"x"),
            ("pytorch_model.bin", b"x"),
            ("onnx/config.json", b"x"),
        ])
    }

    fn hub(&self) -> Hub {
        let own = [("HF_HOME", self.home.path().display().to_string()), ("HF_ENDPOINT", self.server.url.clone())];
        let all: Vec<_> = own.into_iter().chain(self.more.clone()).collect();
        Hub::of(&|name| all.iter().rev().find(|(own, _)| *own == name).map(|(_, value)| value.clone()), None).unwrap()
    }

    fn locate(&self, name: &str) -> Result<Found> {
        self.hub().locate(&name.parse().unwrap())
    }

    fn told(&self, name: &str) -> String {
        let told = format!("{:#}", self.locate(name).unwrap_err());
        assert!(!told.contains('\n'), "{told}");
        told
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.more.push((name, value.into()));
        self
    }

    fn push(&self, number: u8, files: &[(&str, &[u8])]) {
        self.models.lock().unwrap().push(number, files);
    }

    fn instead(&self, name: &str, answer: Answer) {
        self.models.lock().unwrap().instead.insert(name.into(), answer);
    }

    fn repair(&self) {
        self.models.lock().unwrap().instead.clear();
    }

    fn cache(&self) -> PathBuf {
        self.home.path().join("hub/models--me--tiny")
    }
}

fn contains(told: &str, words: &[&str]) {
    for word in words {
        assert!(told.contains(word), "{word:?} is not in: {told}");
    }
}

#[test]
fn what_a_model_needs_comes_once_and_is_known_by_its_hashes() {
    let bench = Bench::plain();
    let found = bench.locate("hf:me/tiny").unwrap();
    assert_eq!(bench.server.files(), ["config.json", "tokenizer.json", "model.safetensors"], "and nothing else");
    assert_eq!(found.name.to_string(), format!("hf:me/tiny@{}", Models::commit(1)));
    assert_eq!(found.path, bench.cache().join("snapshots").join(Models::commit(1)));
    let sums = found.sums().unwrap();
    assert_eq!(sums["model.safetensors"], crate::fetch::sum_of(WEIGHTS.1));
    assert_eq!(sums.keys().collect::<Vec<_>>(), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(fs::read_to_string(bench.cache().join("refs/main")).unwrap(), Models::commit(1));
    bench.locate("hf:me/tiny").unwrap();
    assert_eq!(bench.server.files(), [""; 0]);
}

#[test]
fn shards_and_modules_belong_to_a_model() {
    let bench = Bench::new(&[
        ("1_Pooling/config.json", b"{}"),
        ("2_Dense/config.json", b"{}"),
        ("2_Dense/model.safetensors", b"dense"),
        CONFIG,
        ("model-00001-of-00002.safetensors", b"one"),
        ("model-00002-of-00002.safetensors", b"two"),
        (
            "model.safetensors.index.json",
            br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#,
        ),
        ("modules.json", br#"[{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}]"#),
        ("sentence_bert_config.json", b"{}"),
        ("vocab.txt", b"a"),
    ]);
    assert_eq!(bench.locate("hf:me/tiny").unwrap().sums().unwrap().len(), 10);
    bench.push(
        2,
        &[CONFIG, TOKENIZER, ("model.safetensors.index.json", br#"{"weight_map": {"a": "../../x.safetensors"}}"#)],
    );
    contains(&bench.told("hf:me/tiny"), &["model.safetensors.index.json", "../../x.safetensors, which is missing"]);
    bench.push(
        3,
        &[
            ("0_Transformer/config.json", b"{}"),
            ("0_Transformer/model.safetensors", b"w"),
            ("0_Transformer/vocab.txt", b"v"),
        ],
    );
    assert_eq!(bench.locate("hf:me/tiny").unwrap().sums().unwrap().len(), 3);
}

#[test]
fn a_gguf_file_has_all_its_parts() {
    let bench =
        Bench::new(&[("q/a-00001-of-00002.gguf", b"1"), ("q/a-00002-of-00002.gguf", b"2"), ("b.gguf", b"b"), CONFIG]);
    let found = bench.locate("hf:me/tiny:q/a-00002-of-00002.gguf").unwrap();
    assert_eq!(bench.server.files(), ["q/a-00001-of-00002.gguf", "q/a-00002-of-00002.gguf"]);
    assert!(found.path.ends_with("q/a-00002-of-00002.gguf") && fs::read(&found.path).unwrap() == b"2");
    contains(&bench.told("hf:me/tiny:c.gguf"), &["no file c.gguf", "b.gguf", "q/a-00001-of-00002.gguf"]);
    contains(&bench.told("hf:me/tiny"), &["no model.safetensors", "hf:OWNER/REPO:b.gguf"]);
    bench.push(2, &[("q/a-00001-of-00002.gguf", b"1")]);
    contains(&bench.told("hf:me/tiny:q/a-00001-of-00002.gguf"), &["no file q/a-00002-of-00002.gguf"]);
}

#[test]
fn a_moved_branch_moves_only_who_asks_for_the_branch() {
    let bench = Bench::plain();
    let old = bench.locate("hf:me/tiny").unwrap();
    bench.push(2, &[("config.json", b"{\"new\": 1}"), TOKENIZER, WEIGHTS]);
    bench.server.asked();
    let new = bench.locate("hf:me/tiny").unwrap();
    assert_eq!(bench.server.files(), ["config.json"], "the other contents are there already");
    assert_eq!(new.name.revision(), Models::commit(2));
    assert_eq!(bench.locate(&old.name.to_string()).unwrap().sums().unwrap(), old.sums().unwrap());
    assert_ne!(old.sums().unwrap(), new.sums().unwrap());
    assert_eq!(bench.server.files(), [""; 0]);
}

#[test]
fn offline_takes_the_cache_or_says_what_to_do() {
    let bench = Bench::plain().with("HF_HUB_OFFLINE", "1");
    contains(&bench.told("hf:me/tiny"), &["HF_HUB_OFFLINE", "not in the cache", "fetch hf:me/tiny"]);
    assert!(bench.server.asked().is_empty() && !bench.cache().exists());
    let online = Bench { more: Vec::new(), ..bench };
    let found = online.locate("hf:me/tiny").unwrap();
    online.server.asked();
    let offline = online.with("HF_HUB_OFFLINE", "true");
    assert_eq!(offline.locate("hf:me/tiny").unwrap().sums().unwrap(), found.sums().unwrap());
    let pinned = offline.hub().kept(&found.name).unwrap();
    assert_eq!(pinned.path, found.path);
    assert!(offline.server.asked().is_empty());
    // Nobody listens there.
    let lost = offline.with("HF_HUB_OFFLINE", "0").with("HF_ENDPOINT", "http://127.0.0.1:9");
    assert_eq!(lost.locate("hf:me/tiny").unwrap().path, found.path);
    contains(&lost.told("hf:me/other"), &["hf:me/other", "127.0.0.1:9 cannot be reached", "lm.path", "fetch minilm"]);
}

#[test]
fn a_cache_that_another_program_filled_is_found() {
    let bench = Bench::plain().with("HF_HUB_OFFLINE", "1");
    let snapshot = bench.cache().join("snapshots").join(Models::commit(7));
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(bench.cache().join("refs/pr")).unwrap();
    fs::write(bench.cache().join("refs/pr/1"), Models::commit(7)).unwrap();
    for (name, content) in [CONFIG, TOKENIZER] {
        fs::write(snapshot.join(name), content).unwrap();
    }
    contains(&bench.told("hf:me/tiny@pr/1"), &["not in the cache, whole", "no weights"]);
    fs::write(snapshot.join(WEIGHTS.0), WEIGHTS.1).unwrap();
    assert_eq!(bench.locate("hf:me/tiny@pr/1").unwrap().path, snapshot);
}

#[test]
fn refusals_say_what_a_person_can_do() {
    let bench = Bench::plain();
    contains(
        &bench.told("hf:you/tiny"),
        &["no model you/tiny", "HF_TOKEN is not set, or holds what cannot be sent", "did you mean hf:me/tiny?"],
    );
    contains(&bench.told("hf:you/other"), &["no model you/other at http"]);
    contains(&bench.told("hf:me/tiny@v9"), &["no revision v9", "did you mean main?"]);
    bench.instead("model.safetensors", Answer::error(401, "GatedRepo"));
    contains(
        &bench.told("hf:me/tiny"),
        &["gated (HF_TOKEN is not set, or holds what cannot be sent)", "accept its terms on http", "/me/tiny"],
    );
    bench.instead("model.safetensors", Answer::error(403, ""));
    contains(&bench.told("hf:me/tiny"), &["gated"]);
    bench.instead("model.safetensors", Answer::error(429, ""));
    contains(&bench.told("hf:me/tiny"), &["429", "wait"]);
    bench.instead("model.safetensors", Answer::error(503, ""));
    contains(&bench.told("hf:me/tiny"), &["503", "lm.path"]);
    assert!(bench.hub().kept(&"hf:me/tiny".parse().unwrap()).is_err(), "nothing is taken for whole");
    bench.push(2, &[CONFIG, TOKENIZER, ("pytorch_model.bin", b"x")]);
    bench.server.asked();
    contains(&bench.told("hf:me/tiny"), &["pytorch_model.bin, a pickle", "refs/pr/1", "lm.path=models/mine"]);
    bench.push(3, &[CONFIG, WEIGHTS]);
    contains(&bench.told("hf:me/tiny"), &["neither tokenizer.json nor vocab.txt"]);
    assert_eq!(bench.server.files(), [""; 0], "told before anything is downloaded");
    let wrong = Bench::plain().with("HF_ENDPOINT", "hub.example");
    let told = Hub::of(&|name| (name == "HF_ENDPOINT").then(|| "hub.example".into()), Some("/".into())).unwrap_err();
    contains(&told.to_string(), &["HF_ENDPOINT", "hub.example", "https://"]);
    drop(wrong);
}

#[test]
fn a_token_goes_to_the_hub_and_is_read_where_users_keep_it() {
    let bench = Bench::plain();
    fs::write(bench.home.path().join("token"), "kept\n").unwrap();
    bench.locate("hf:me/tiny").unwrap();
    assert!(bench.server.asked().iter().all(|asked| asked.headers["authorization"] == "Bearer kept"));
    let bench = bench.with("HF_TOKEN", "given");
    bench.locate("hf:me/tiny").unwrap();
    assert!(bench.server.asked().iter().all(|asked| asked.headers["authorization"] == "Bearer given"));
}

#[test]
fn a_download_that_broke_off_goes_on_and_is_never_taken_for_whole() {
    let bench = Bench::plain();
    let whole = Answer::file(WEIGHTS.1).with("etag", format!("\"{}\"", crate::fetch::sum_of(WEIGHTS.1)));
    bench.instead("model.safetensors", Answer { cut: 7, ..whole });
    contains(&bench.told("hf:me/tiny"), &["model.safetensors", "broke off after 7 of 18 bytes", "goes on from there"]);
    assert!(bench.hub().kept(&"hf:me/tiny".parse().unwrap()).is_err());
    bench.repair();
    bench.server.asked();
    let found = bench.locate("hf:me/tiny").unwrap();
    let asked = bench.server.asked();
    assert_eq!(asked.last().unwrap().headers["range"], "bytes=7-");
    assert_eq!(fs::read(found.path.join("model.safetensors")).unwrap(), WEIGHTS.1);
    let left = names_within(&bench.cache().join("blobs"));
    assert_eq!(left.len(), 3, "contents alone: {left:?}");
}

#[test]
fn what_is_not_the_published_file_is_refused_and_removed() {
    let bench = Bench::plain();
    for (answer, told) in [
        (Answer::file("0123456789 weightz"), "is not the published file: sha256"),
        (Answer::file("0123456789 weights and more"), "another file"),
        (Answer::new(200, "text/html; charset=utf-8", "<html>log in</html>"), "is a web page"),
    ] {
        bench.instead("model.safetensors", answer);
        contains(&bench.told("hf:me/tiny"), &["model.safetensors", told]);
        assert_eq!(names_within(&bench.cache().join("blobs")).len(), 2, "{told}: the settings alone");
    }
    bench.repair();
    bench.locate("hf:me/tiny").unwrap();
}

#[test]
fn a_mirror_that_says_little_is_enough() {
    let bench = Bench::plain();
    bench.models.lock().unwrap().is_terse = true;
    let found = bench.locate("hf:me/tiny").unwrap();
    assert_eq!(found.sums().unwrap().len(), 3);
    let own = Server::start(|_| Answer::new(200, "text/plain", "hello"));
    contains(&bench.with("HF_ENDPOINT", &own.url).told("hf:me/tiny"), &["not the answer of a hub", "HF_ENDPOINT"]);
}

#[test]
fn two_at_once_share_a_download() {
    let bench = Bench::plain();
    std::thread::scope(|scope| {
        let both: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.locate("hf:me/tiny").map(|found| found.path))).collect();
        let paths: Vec<PathBuf> = both.into_iter().map(|own| own.join().unwrap().unwrap()).collect();
        assert!(paths.iter().all(|path| *path == paths[0] && path.join("model.safetensors").exists()));
    });
}

#[test]
fn the_places_are_those_of_other_programs() {
    let hub = |vars: &[(&str, &str)]| {
        let var = |name: &str| vars.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        Hub::of(&var, Some("/home/me".into())).unwrap()
    };
    let place = |vars: &[(&str, &str)]| hub(vars).cache.path().clone();
    assert_eq!(place(&[]), Path::new("/home/me/.cache/huggingface/hub"));
    assert_eq!(place(&[("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
    assert_eq!(place(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/h/hub"));
    assert_eq!(place(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")]), Path::new("/c"));
    assert_eq!(hub(&[]).endpoint, "https://huggingface.co");
    assert_eq!(hub(&[("HF_ENDPOINT", "http://mirror/")]).endpoint, "http://mirror");
    assert!(hub(&[("HF_TOKEN", "a\nb")]).token.is_none(), "what cannot be sent is no token");
}

#[test]
fn the_list_of_modules_says_which_folders_belong_to_a_model() {
    let modules = br#"[{"path": "", "type": "x.Transformer"}, {"path": "pool", "type": "x.Pooling"}]"#;
    let pooling: (&str, &[u8]) = ("pool/config.json", b"{}");
    let bench =
        Bench::new(&[CONFIG, TOKENIZER, WEIGHTS, ("modules.json", modules), pooling, ("other/config.json", b"x")]);
    let found = bench.locate("hf:me/tiny").unwrap();
    assert!(found.files.contains(&"pool/config.json".into()) && found.path.join("pool/config.json").is_file());
    assert!(!bench.server.files().contains(&"other/config.json".to_owned()));
}

#[test]
fn a_static_table_needs_no_configuration_beside_its_weights() {
    let modules = br#"[{"path": "0_StaticEmbedding", "type": "x.StaticEmbedding"}]"#;
    let files: [(&str, &[u8]); 3] = [
        ("modules.json", modules),
        ("0_StaticEmbedding/tokenizer.json", b"{}"),
        ("0_StaticEmbedding/model.safetensors", b"weights"),
    ];
    let bench = Bench::new(&files);
    let found = bench.locate("hf:me/tiny").unwrap();
    assert!(found.path.join("0_StaticEmbedding/model.safetensors").is_file());
    let offline = Bench { more: vec![("HF_HUB_OFFLINE", "1".into())], ..bench };
    assert_eq!(offline.locate("hf:me/tiny").unwrap().path, found.path);
}
