//! A headless Chromium, driven through WebDriver, which is JSON over HTTP. Also used by the tests of `xtask`.
//!
//! Chromium and chromedriver come from Debian's packages of these names; without them the tests report that they skip.
//! `.ci/run` installs axe-core, the accessibility checker, from npm into `axe/` of the target folder.
use ra_core::testkit::skipped;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A browser that ends with the test.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// Opens a browser; without Chromium, reports that `test` is skipped and returns nothing.
    pub(crate) fn open(test: &str) -> Option<Self> {
        let mut command = Command::new("chromedriver");
        let started = command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut driver) = started else {
            skipped(test, "there is no chromedriver (apt-get install chromium chromium-driver)");
            return None;
        };
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok());
        let mut browser = Self { driver, port: port.expect("chromedriver tells its port"), session: String::new() };
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": args } } } });
        let session = browser.send("POST", "/session", &wanted);
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        Some(browser)
    }

    /// Returns the `value` of a command's answer; an error of the browser ends the test.
    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (host, length) = (self.port, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        // The driver keeps the connection open, so the header gives the length of the answer.
        let (mut reader, mut length) = (BufReader::new(stream), 0);
        for line in reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()) {
            if let Some((_, n)) = line.to_lowercase().split_once("content-length:") {
                length = n.trim().parse().unwrap();
            }
        }
        let mut json = vec![0; length];
        reader.read_exact(&mut json).unwrap();
        let value: Value = serde_json::from_slice(&json).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(value["value"]["error"].is_null(), "{path}: {}", value["value"]);
        value["value"].clone()
    }

    pub(crate) fn command(&self, name: &str, body: &Value) -> Value {
        self.send("POST", &format!("/session/{}/{name}", self.session), body)
    }

    /// Changes a setting of the developer tools.
    pub(crate) fn set(&self, what: &str, params: &Value) {
        self.command("goog/cdp/execute", &json!({ "cmd": what, "params": params }));
    }

    pub(crate) fn visit(&self, page: &str) {
        self.command("url", &json!({ "url": page }));
    }

    /// Returns what a script returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Clicks every element that `css` finds, as a person does: it must be visible. `check` runs after each click.
    pub(crate) fn click_all(&self, css: &str, check: &str) -> usize {
        let found = self.command("elements", &json!({ "using": "css selector", "value": css }));
        let found = found.as_array().unwrap();
        for element in found {
            let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap();
            let script = format!("window.clicked = arguments[0]; window.before = (() => {{ {check} }})();");
            self.command("execute/sync", &json!({ "script": script, "args": [element] }));
            self.command(&format!("element/{id}/click"), &json!({}));
            let after = self.run(&format!("return JSON.stringify([window.before, (() => {{ {check} }})()])"));
            let after: [Value; 2] = serde_json::from_str(after.as_str().unwrap()).unwrap();
            assert_ne!(after[0], after[1], "a click on {css} does nothing");
        }
        found.len()
    }

    /// Presses keys, as WebDriver names them, where the focus is.
    #[allow(dead_code)]
    pub(crate) fn keys(&self, keys: &str) {
        let focused = self.run("return document.activeElement");
        let id = focused.as_object().and_then(|own| own.values().next()).and_then(Value::as_str).expect("a focus");
        self.command(&format!("element/{id}/value"), &json!({ "text": keys }));
    }

    /// Shows pages in the light or the dark theme.
    pub(crate) fn prefer(&self, scheme: &str) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.set("Emulation.setEmulatedMedia", &media);
    }

    /// Returns the serious findings of axe-core, whose code is `script`.
    pub(crate) fn axe(&self, script: &str) -> Vec<String> {
        self.run(script);
        let run = "const done = arguments[0]; axe.run().then(found => done(JSON.stringify(found.violations)), e => done(`[]${e}`));";
        let found = self.command("execute/async", &json!({ "script": run, "args": [] }));
        let found: Value = serde_json::from_str(found.as_str().unwrap()).unwrap();
        let bad =
            found.as_array().unwrap().iter().filter(|v| matches!(v["impact"].as_str(), Some("serious" | "critical")));
        let told = |v: &Value| format!("{}: {} at {}", v["id"], v["help"], v["nodes"][0]["html"]);
        bad.map(told).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The session ends first, and its browser with it.
        if !self.session.is_empty() && !std::thread::panicking() {
            self.send("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Returns the code of axe-core; without it, reports that `test` is skipped and returns nothing.
pub(crate) fn axe(test: &str) -> Option<String> {
    let axe = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../axe/node_modules/axe-core/axe.min.js");
    let code = std::fs::read_to_string(axe).ok();
    if code.is_none() {
        skipped(test, "there is no axe-core in the target folder, see .ci/run");
    }
    code
}
