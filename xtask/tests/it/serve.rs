//! The service: its answers, its limits, and bundles that are swapped under load.
use crate::bundle::exported;
use crate::cli::Root;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A running service, ended with its test.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn serve(root: &Root, more: &[&str]) -> Served {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["serve", "--bundle", "b", "--listen", "127.0.0.1:0"]).args(more).current_dir(root.path(""));
    let mut child = command.env_remove("RA_REC_TOKEN").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let address =
        line.split("http://").nth(1).unwrap_or_else(|| panic!("{line}")).split(' ').next().unwrap().to_owned();
    // What it says later must not block it.
    std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    Served { child, address }
}

impl Served {
    /// Sends a request and returns the status and the body.
    fn send(&self, head: &str, body: &str) -> (u16, String) {
        exchange(&self.address, head, body)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) =
            self.send(&format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n"), &body.to_string());
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}")))
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), "")
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }
}

fn exchange(address: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("{head}Host: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    // A service that has seen enough may hang up before the end.
    stream.write_all(body.as_bytes()).ok();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok();
    let text = String::from_utf8_lossy(&all).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
}

fn items(answer: &Value) -> Vec<&str> {
    answer["recommended"].as_array().unwrap().iter().map(|own| own["item"].as_str().unwrap()).collect()
}

#[test]
fn it_recommends_explains_finds_and_learns_of_new_items() {
    let root = exported(&["--names-users"]);
    let own = serve(&root, &[]);
    assert_eq!(own.get("/healthz"), (200, "ok\n".into()));
    assert_eq!(own.get("/readyz"), (200, "ready: 12 items\n".into()));
    let (status, answer) =
        own.post("/v1/recommend", &json!({"history": ["i1", "the dog", "no such thing"], "top": 4, "explain": true}));
    assert_eq!((status, items(&answer).len(), &answer["unknown"]), (200, 4, &json!(["no such thing"])));
    assert!(!items(&answer).contains(&"i1") && answer["fallback"].is_null(), "{answer}");
    let explained = &answer["recommended"][0]["explain"];
    assert!(explained["parts"].as_object().unwrap().len() > 1 && explained["because"].is_string(), "{answer}");
    assert!(["red", "blue", "green"].contains(&answer["recommended"][0]["group"].as_str().unwrap()));
    // Popularity is one number per item: no item of the history is more similar than another.
    let (_, popular) = own.post("/v1/recommend", &json!({"history": ["i1", "i8"], "row": "pop", "explain": true}));
    assert!(popular["recommended"][0]["explain"]["because"].is_null(), "{popular}");
    // What the command says is what the service says.
    let told = root.ok(&["recommend", "--bundle", "b", "--item", "i1", "--item", "i8", "--top", "4", "--json"]);
    assert_eq!(items(&serde_json::from_str(&told).unwrap()), items(&answer));

    for (history, why) in [(json!([]), "empty_history"), (json!(["nobody knows"]), "unknown_history")] {
        let (status, answer) = own.post("/v1/recommend", &json!({"history": history, "top": 2}));
        assert_eq!((status, answer["fallback"].as_str()), (200, Some(why)), "{answer}");
        assert_eq!(items(&answer).len(), 2);
    }
    let ask = |more: Value| {
        let mut request = json!({"history": ["i1", "i2"], "top": 12});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        own.post("/v1/recommend", &request).1
    };
    // Requests to several rows at once, and none after them.
    let burst: Vec<_> = (0..24)
        .map(|n| {
            let (address, row) = (own.address.clone(), ["all", "pop", "lexical", "ease"][n % 4]);
            std::thread::spawn(move || {
                let head = "POST /v1/recommend HTTP/1.1\r\nContent-Type: application/json\r\n";
                exchange(&address, head, &json!({"history": ["i1"], "row": row}).to_string()).0
            })
        })
        .collect();
    assert!(burst.into_iter().all(|one| one.join().unwrap() == 200));
    let all = ask(json!({}));
    assert_eq!(items(&all).len(), 10, "all but the history");
    assert_eq!(items(&ask(json!({"seen": true}))).len(), 12);
    assert_eq!(items(&ask(json!({"deny": [items(&all)[0]]})))[0], items(&all)[1]);
    assert_eq!(items(&ask(json!({"allow": ["i5", "i1", "absent"]}))), ["i5"]);
    let last = items(&all)[9];
    assert_eq!(items(&ask(json!({"boosts": {last: 1000.0}})))[0], last);
    let capped = ask(json!({"per_group": 1}));
    assert_eq!(items(&capped).len(), 3, "one of each colour: {capped}");
    let rows = ["lexical", "ra-rec", "pop"].map(|row| ask(json!({"row": row}))["row"].as_str().unwrap().to_owned());
    assert_eq!(rows, ["lexical", "ra-rec", "pop"]);
    let timed = json!([{"item": "i2", "ts": 9}, {"title": "The ant", "ts": 1}]);
    let ordered = own.post("/v1/recommend", &json!({"history": timed, "top": 3})).1;
    assert_eq!(items(&ordered), items(&own.post("/v1/recommend", &json!({"history": ["i0", "i2"], "top": 3})).1));
    let disliked = json!([{"item": "i1"}, {"item": "i3", "weight": 0}]);
    let answer = own.post("/v1/recommend", &json!({"history": disliked, "top": 12})).1;
    assert!(answer["history"] == 1 && !items(&answer).contains(&"i3"), "{answer}");
    let answer = own.post("/v1/recommend", &json!({"history": disliked, "top": 12, "seen": true})).1;
    assert!(items(&answer).contains(&"i1") && !items(&answer).contains(&"i3"), "{answer}");
    let of_user = own.post("/v1/recommend", &json!({"user": "u3", "top": 3})).1;
    assert_eq!((of_user["user"].as_str(), items(&of_user).len()), (Some("u3"), 3));

    let found: Value = serde_json::from_str(&own.get("/v1/items?q=THE+q").1).unwrap();
    assert_eq!(found[0]["title"], "The quail");
    let popular: Value = serde_json::from_str(&own.get("/v1/items?top=2").1).unwrap();
    assert_eq!(popular.as_array().unwrap().len(), 2);
    let (status, similar) = own.post("/v1/similar", &json!({"item": "The ox", "top": 3}));
    assert_eq!((status, similar["similar"].as_array().unwrap().len()), (200, 3));

    // An addition changes nothing about the items before it, to the last bit.
    let alike = |item: &str, without: &[&str]| {
        let mut all = own.post("/v1/similar", &json!({"item": item, "row": "ra-rec", "top": 20})).1["similar"].take();
        all.as_array_mut().unwrap().retain(|other| !without.contains(&other["item"].as_str().unwrap()));
        all
    };
    let before = alike("i1", &[]);
    let (status, added) = own.post("/v1/items", &json!({"items": [{"item": "new", "title": "the ant ant ant"}]}));
    assert_eq!((status, &added["items"]), (200, &json!(13)), "{added}");
    let answer = own.post("/v1/recommend", &json!({"history": ["i0"], "row": "lexical", "top": 1})).1;
    assert_eq!(items(&answer), ["new"], "it is found by its title at once");
    assert_eq!(own.post("/v1/similar", &json!({"item": "new"})).0, 200);
    // A row that knows items by their ids alone says nothing about it.
    for row in ["ease", "pop", "item-knn"] {
        let answer = own.post("/v1/recommend", &json!({"history": ["i0"], "row": row, "top": 20})).1;
        assert!(!items(&answer).contains(&"new"), "{row}: {answer}");
    }
    let (status, again) = own.post("/v1/items", &json!({"items": [{"item": "new", "title": "again"}]}));
    assert!(status == 400 && again["error"].as_str().unwrap().contains("is in the catalogue already"), "{again}");
    let of_new = alike("new", &[]);
    assert_eq!(own.post("/v1/items", &json!({"items": [{"item": "twin", "title": "THE ox"}]})).0, 200);
    assert_eq!((alike("i1", &["new", "twin"]), alike("new", &["twin"])), (before, of_new));
    let answer = own.post("/v1/recommend", &json!({"history": ["the ox"]})).1;
    let note = answer["notes"][0].as_str().unwrap();
    assert!(note.contains("is the title of 2 items; i3 was taken"), "{answer}");
    let (status, none) = own.post("/v1/items", &json!({"items": []}));
    assert!(status == 400 && none["error"].as_str().unwrap().contains("items is empty"), "{none}");
    assert_eq!(own.post("/v1/items", &json!({"items": [{"item": "untitled", "title": " "}]})).0, 400);
    // What a row has nothing to say about.
    let answer = own.post("/v1/recommend", &json!({"history": ["new"], "row": "ease", "top": 2})).1;
    assert_eq!(answer["fallback"], "no_signal", "{answer}");
    let (status, answer) = own.post("/v1/similar", &json!({"item": "i1", "row": "pop"}));
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("does not tell items apart"), "{answer}");
    // A folder that holds another bundle by now is not mixed with this one.
    let manifest = std::fs::read_to_string(root.path("b/manifest.json")).unwrap();
    root.write("b/manifest.json", &manifest.replace("\"commit\": \"", "\"commit\": \"other"));
    let (status, answer) = own.post("/v1/items", &json!({"items": [{"item": "late", "title": "the fox"}]}));
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("holds another bundle by now"), "{answer}");
    root.write("b/manifest.json", &manifest);

    let (_, api) = own.get("/openapi.json");
    let api: Value = serde_json::from_str(&api).unwrap();
    for path in
        ["/v1/recommend", "/v1/similar", "/v1/items", "/v1/bundle", "/v1/reload", "/healthz", "/readyz", "/metrics"]
    {
        assert!(api["paths"][path].is_object(), "{path} is not described");
    }
    assert!(api["components"]["schemas"]["Request"]["properties"]["per_group"].is_object());
    let (_, numbers) = own.get("/metrics");
    for name in [
        "ra_rec_requests_total{route=\"/v1/recommend\",status=\"200\"}",
        "ra_rec_request_seconds_bucket",
        "ra_rec_coverage_ratio",
        "ra_rec_recommended_popularity_total",
        "ra_rec_canary_drift_ratio 0",
        "ra_rec_items 14",
    ] {
        assert!(numbers.contains(name), "{name}: {numbers}");
    }
    let fallbacks = numbers.lines().find_map(|line| line.strip_prefix("ra_rec_fallbacks_total ")).unwrap();
    assert!(fallbacks.parse::<usize>().unwrap() >= 3, "an empty, an unknown and a silent one: {numbers}");
    let (status, page) = own.get("/");
    assert!(status == 200 && page.contains("Try the recommender") && !page.contains("http"), "nothing from elsewhere");
}

#[test]
fn bad_requests_are_told_and_none_reaches_a_file() {
    let root = exported(&[]);
    let own = serve(&root, &[]);
    for (body, told) in [
        (json!({"history": ["i1"], "top": 0}), "top is 0"),
        (json!({"history": ["i1"], "top": 1001}), "at most 1000"),
        (json!({"history": ["i1"], "row": "../../etc/passwd"}), "the bundle has all"),
        (json!({"user": "u1"}), "holds no names of users"),
        (json!({"history": [{"weight": 1}]}), "neither item nor title"),
        (json!({"history": [{"item": "i1", "ts": 1}, "i2"]}), "give it to all or to none"),
        (json!({"history": ["i1"], "per_group": 0}), "per_group is 0"),
        (json!({"history": ["i1"], "boosts": {"i2": 1e30}}), "it must be a number from"),
        (json!({"history": ["i1"], "tpo": 3}), "unknown field"),
        (json!({"history": "i1"}), "history"),
        (json!([1, 2]), "expected"),
    ] {
        let (status, answer) = own.post("/v1/recommend", &body);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!((400..500).contains(&status) && error.contains(told), "{body}: {status} {answer}");
    }
    let json_head = "POST /v1/recommend HTTP/1.1\r\nContent-Type: application/json\r\n";
    assert_eq!(own.send(json_head, "{\"history\": [").0, 400);
    assert_eq!(own.send("POST /v1/recommend HTTP/1.1\r\n", "{}").0, 415);
    assert_eq!(own.get("/v1/recommend").0, 405);
    // What a page of another site could make a browser send.
    let foreign = [
        "Host: evil.example",
        "Host: 127.0.0.1.evil.example",
        "Host: 192.168.0.1",
        "Host: 127.0.0.1\r\nOrigin: http://evil.example",
        "Host: 127.0.0.1\r\nOrigin: null",
    ];
    let asked_with = |lines: &str| {
        let mut stream = TcpStream::connect(&own.address).unwrap();
        let head = format!("GET /v1/items HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        all
    };
    for lines in foreign {
        assert!(asked_with(lines).starts_with("HTTP/1.1 403"), "{lines}");
    }
    for lines in
        ["Host: 127.0.0.2:80", "Host: [::1]:80", "Host: [::1]", "Host: localhost\r\nOrigin: http://127.1.2.3:4"]
    {
        assert!(asked_with(lines).starts_with("HTTP/1.1 200"), "{lines}");
    }
    assert_eq!(own.send("POST /v1/reload HTTP/1.1\r\n", "").0, 415);
    assert_eq!(own.get("/../b/manifest.json").0, 404);
    assert_eq!(own.get("/v1/items?top=x").0, 400);
    assert_eq!(own.get("/v1/items?top=0").0, 400);
    for (route, body) in [
        ("/v1/recommend", json!(["u1"])),
        ("/v1/recommend", json!([])),
        ("/v1/similar", json!(["i1"])),
        ("/v1/items", json!([[["new", "title"]]])),
        ("/v1/items", json!({"items": [["new", "title"]]})),
    ] {
        let (status, told) = own.post(route, &body);
        assert!(status == 422 && told.to_string().contains("a JSON object"), "{route}: {status} {told}");
    }
    for id in [" spaced ", "null\u{0}"] {
        assert_eq!(own.post("/v1/items", &json!({"items": [{"item": id, "title": "the yak"}]})).0, 400, "{id:?}");
    }
    let large = format!("{{\"history\": [\"{}\"]}}", "x".repeat(2 << 20));
    assert_eq!(own.send(json_head, &large).0, 413);
    // A body that says it is a gigabyte is not waited for.
    let mut stream = TcpStream::connect(&own.address).unwrap();
    stream
        .write_all(format!("{json_head}Host: localhost:80\r\nContent-Length: 1073741824\r\n\r\n").as_bytes())
        .unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
    let numbers = own.get("/metrics").1;
    assert!(numbers.contains("{route=\"/v1/recommend\",status=\"413\"} 2"), "each is counted once: {numbers}");
    // The longest history that fits is read in part.
    let many: Vec<String> = (0..90_000).map(|n| format!("\"i{}\"", n % 12)).collect();
    let (status, text) = own.send(json_head, &format!("{{\"seen\": true, \"history\": [{}]}}", many.join(",")));
    assert!(status == 200 && text.contains("only the newest 1000 of 90000"), "{status} {text}");
    // Clients that say nothing, or half of it, keep nobody waiting.
    let slow: Vec<TcpStream> = (0..32)
        .map(|n| {
            let mut stream = TcpStream::connect(&own.address).unwrap();
            stream.write_all(if n % 2 == 0 { b"POST /v1/rec" } else { b"" }).unwrap();
            stream
        })
        .collect();
    assert_eq!(own.post("/v1/recommend", &json!({"history": ["i1"]})).0, 200);
    drop(slow);
    let port = own.address.clone();
    let told = root.error(&["serve", "--bundle", "b", "--listen", &port]);
    assert!(told.contains("is another service there"), "{told}");
    for (listen, told) in [("0.0.0.0:0", "set a token"), ("nowhere", "is not an address")] {
        let found = root.error(&["serve", "--bundle", "b", "--listen", listen]);
        assert!(found.contains(told), "{found}");
    }
}

#[test]
fn a_token_is_asked_for_if_there_is_one() {
    let root = exported(&[]);
    root.write("short", "abc");
    assert!(root.error(&["serve", "--bundle", "b", "--token-file", "short"]).contains("fewer than 16"));
    root.write("lines", "0123456789abcdef\n0123456789abcdef\n");
    assert!(root.error(&["serve", "--bundle", "b", "--token-file", "lines"]).contains("which no request can send"));
    root.write("token", "0123456789abcdef\n");
    let own = serve(&root, &["--token-file", "token"]);
    let with = |token: &str| {
        let head = format!(
            "POST /v1/recommend HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\n"
        );
        own.send(&head, "{\"history\": [\"i1\"]}").0
    };
    assert_eq!(
        (with("0123456789abcdef"), with("0123456789abcdeg"), with("0123456789abcde"), with("")),
        (200, 401, 401, 401)
    );
    assert_eq!(
        (own.get("/v1/items").0, own.get("/metrics").0, own.get("/").0, own.get("/healthz").0),
        (401, 401, 200, 200)
    );
}

/// Asks until told to stop, and returns how many answers there were and how many of them were not good.
fn ask(address: String, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<(usize, usize)> {
    std::thread::spawn(move || {
        let (mut all, mut failed) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let head = "POST /v1/recommend HTTP/1.1\r\nContent-Type: application/json\r\n";
            let body = format!("{{\"history\": [\"i{}\"]}}", all % 12);
            let (status, text) = exchange(&address, head, &body);
            all += 1;
            failed += usize::from(status != 200 || !text.contains("recommended"));
        }
        (all, failed)
    })
}

#[test]
fn a_new_bundle_takes_over_under_load_and_a_bad_one_does_not() {
    let root = exported(&[]);
    let own = serve(&root, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3).map(|_| ask(own.address.clone(), stop.clone())).collect();
    own.post("/v1/items", &json!({"items": [{"item": "new", "title": "the emu"}]}));
    let manifest = std::fs::read(root.path("b/manifest.json")).unwrap();
    root.write("b/manifest.json", "{}");
    let (status, refused) = own.post("/v1/reload", &json!({}));
    assert!(status == 400 && refused["error"].as_str().unwrap().contains("manifest.json"), "{refused}");
    assert_eq!(own.post("/v1/recommend", &json!({"history": ["i1"]})).0, 200, "the old one stays");
    std::fs::write(root.path("b/manifest.json"), manifest).unwrap();
    root.ok(&["export", "--run", "a", "--row", "sasrec-grounded", "--to", "c"]);
    std::fs::rename(root.path("b"), root.path("old")).unwrap();
    std::fs::rename(root.path("c"), root.path("b")).unwrap();
    let (status, served) = own.post("/v1/reload", &json!({}));
    assert_eq!((status, served["rows"][0]["name"].as_str()), (200, Some("sasrec-grounded")), "{served}");
    assert_eq!(served["items"], 13, "what was added is in the new one too");
    // By signal as well.
    std::fs::rename(root.path("b"), root.path("c")).unwrap();
    std::fs::rename(root.path("old"), root.path("b")).unwrap();
    own.signal("-HUP");
    let is_back = || own.get("/v1/bundle").1.contains("\"name\":\"all\"");
    assert!((0..10_000).any(|_| is_back()), "the signal does nothing");
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let (all, failed) = client.join().unwrap();
        assert!(all > 0 && failed == 0, "{failed} of {all} requests failed");
    }
    let (_, numbers) = own.get("/metrics");
    assert!(
        numbers.contains("ra_rec_bundle_refusals_total 1") && numbers.contains("ra_rec_bundle_loads_total 3"),
        "{numbers}"
    );
}

#[test]
fn told_to_end_it_answers_what_it_has_begun() {
    let root = exported(&[]);
    let mut own = serve(&root, &[]);
    // A connection whose request is half there when the service is told to end.
    let mut stream = TcpStream::connect(&own.address).unwrap();
    let body = "{\"history\": [\"i1\"]}";
    let head = format!(
        "POST /v1/recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..5]).unwrap();
    // It has read the head once it answers another request that came later.
    assert_eq!(own.get("/healthz").0, 200);
    own.signal("-TERM");
    while TcpStream::connect(&own.address).is_ok() {
        std::thread::yield_now();
    }
    stream.write_all(&body.as_bytes()[5..]).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.starts_with("HTTP/1.1 200") && all.contains("recommended"), "{all}");
    assert!(own.child.wait().unwrap().success());
}
