//! Reports as a person sees them: in headless Chromium, driven over WebDriver, which is JSON over HTTP.
//!
//! Chromium and chromedriver come from Debian's packages of these names; without them the tests say that they skip. axe-core,
//! the accessibility checker, comes from npm into `axe/` of the target folder (`.ci/run` does so).
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A browser that ends with the test.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// None where there is no Chromium, which is said.
    pub(crate) fn open() -> Option<Self> {
        let mut command = Command::new("chromedriver");
        let started = command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut driver) = started else {
            skipped("there is no chromedriver (apt-get install chromium chromium-driver)");
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

    /// The `value` of a command's answer; an error of the browser ends the test.
    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (host, length) = (self.port, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        // The driver keeps the connection open: its answer is as long as it says.
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

    fn command(&self, name: &str, body: &Value) -> Value {
        self.send("POST", &format!("/session/{}/{name}", self.session), body)
    }

    /// A setting of the developer tools.
    fn set(&self, what: &str, params: &Value) {
        self.command("goog/cdp/execute", &json!({ "cmd": what, "params": params }));
    }

    fn visit(&self, page: &Path) {
        self.command("url", &json!({ "url": format!("file://{}", page.display()) }));
    }

    /// What a script returns.
    fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Clicks every element that `css` finds, as a person does: it must be in sight. `check` runs after each.
    fn click_all(&self, css: &str, check: &str) -> usize {
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

    /// Serious findings of axe-core, when it is at hand.
    fn axe(&self) -> Option<Vec<String>> {
        let script = std::fs::read_to_string(axe()?).unwrap();
        self.run(&script);
        let run = "const done = arguments[0]; axe.run().then(found => done(JSON.stringify(found.violations)), e => done(`[]${e}`));";
        let found = self.command("execute/async", &json!({ "script": run, "args": [] }));
        let found: Value = serde_json::from_str(found.as_str().unwrap()).unwrap();
        let bad =
            found.as_array().unwrap().iter().filter(|v| matches!(v["impact"].as_str(), Some("serious" | "critical")));
        let told = |v: &Value| format!("{}: {} at {}", v["id"], v["help"], v["nodes"][0]["html"]);
        Some(bad.map(told).collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The session goes first, and its browser with it.
        if !self.session.is_empty() && !std::thread::panicking() {
            self.send("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Says so where it is seen: what a test prints with the macros is kept back when it passes.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED, a look at the reports in a browser: {why}");
}

fn axe() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../axe/node_modules/axe-core/axe.min.js");
    path.exists().then_some(path)
}

/// Looks at a page: nothing is fetched, a phone need not scroll sideways, whatever can be clicked does something, and axe-core
/// finds nothing serious, in light and in dark. Gives back how many things were clicked.
pub(crate) fn look(browser: &Browser, name: &str, html: &str) -> usize {
    let page = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&page, html).unwrap();
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.set("Emulation.setEmulatedMedia", &media);
        for (width, phone) in [(1200, false), (360, true)] {
            let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": phone });
            browser.set("Emulation.setDeviceMetricsOverride", &size);
            browser.visit(&page);
            let fetched = browser.run("return performance.getEntriesByType('resource').length");
            assert_eq!(fetched, 0, "{name} fetches something");
            let wide =
                browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert!(wide.as_i64().unwrap() <= 0, "{name}: {wide} pixels beyond a window of {width}");
            let small = browser.run(
                "return [...document.querySelectorAll('body *')].filter(e => parseFloat(getComputedStyle(e).fontSize) < 11)
                 .map(e => e.outerHTML).slice(0, 1).join()",
            );
            assert_eq!(small, "", "{name}: too small to read");
        }
        match browser.axe() {
            Some(found) => assert!(found.is_empty(), "{name}, {scheme}: {found:#?}"),
            None => skipped("there is no axe-core in the target folder, see .ci/run"),
        }
        grounds.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1], "{name} is as dark as it is light");
    let folded = browser.click_all("summary", "return window.clicked.parentElement.open");
    let jumps = browser.click_all("nav a", "return location.hash");
    let lost = "return [...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash)).length";
    assert_eq!(browser.run(lost), 0, "{name}: a link leads nowhere");
    folded + jumps
}

#[test]
fn reports_are_readable_and_what_can_be_clicked_works() {
    let Some(browser) = Browser::open() else { return };
    let report = crate::reports::report(1);
    // Sections to jump to, further metrics and a sample.
    assert!(look(&browser, "report.html", &report.html()) >= 9);
    let reports = [report, crate::reports::report(2)];
    assert!(look(&browser, "comparison.html", &ra_eval::compare(&reports).unwrap().html()) >= 4);
    for (name, axes) in
        [("bars", &["ablation"][..]), ("heat", &["ID method", "language model"]), ("lines", &["samples"])]
    {
        let page = crate::reports::experiment(axes).html();
        assert!(page.contains("<svg"), "{name}");
        assert!(look(&browser, &format!("{name}.html"), &page) >= 2, "{name}");
    }
}
