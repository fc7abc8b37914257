//! Reports as a person sees them: in headless Chromium, driven through WebDriver, which is JSON over HTTP.
//!
//! Chromium and chromedriver come from Debian's packages of these names; without them the tests report that they skip.
//! `.ci/run` installs axe-core, the accessibility checker, from npm into `axe/` of the target folder.
use ra_core::testkit::skipped;
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

    fn command(&self, name: &str, body: &Value) -> Value {
        self.send("POST", &format!("/session/{}/{name}", self.session), body)
    }

    /// Changes a setting of the developer tools.
    fn set(&self, what: &str, params: &Value) {
        self.command("goog/cdp/execute", &json!({ "cmd": what, "params": params }));
    }

    fn visit(&self, page: &Path) {
        self.command("url", &json!({ "url": format!("file://{}", page.display()) }));
    }

    /// Returns what a script returns.
    fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Clicks every element that `css` finds, as a person does: it must be visible. `check` runs after each click.
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

    /// Shows pages in the light or the dark theme.
    fn prefer(&self, scheme: &str) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.set("Emulation.setEmulatedMedia", &media);
    }

    /// Returns the serious findings of axe-core, whose code is `script`.
    fn axe(&self, script: &str) -> Vec<String> {
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

/// Writes a page to a file of its own.
fn file(name: &str, html: &str) -> PathBuf {
    let page = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&page, html).unwrap();
    page
}

/// Checks a page in the light and the dark theme: nothing is fetched, no table is wider than a window of 1,200 pixels,
/// a phone need not scroll sideways, and whatever can be clicked does something. Returns the number of clicks.
fn look(browser: &Browser, name: &str, html: &str) -> usize {
    let page = file(name, html);
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for (width, phone) in [(1200, false), (360, true)] {
            let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": phone });
            browser.set("Emulation.setDeviceMetricsOverride", &size);
            browser.visit(&page);
            let fetched = browser.run("return performance.getEntriesByType('resource').length");
            assert_eq!(fetched, 0, "{name} fetches something");
            let wide =
                browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert!(wide.as_i64().unwrap() <= 0, "{name}: {wide} pixels beyond a window of {width}");
            let hidden = browser.run(
                "document.querySelectorAll('details').forEach(e => e.open = true);
                 return [...document.querySelectorAll('.scroll:has(table)')].filter(e => e.scrollWidth > e.clientWidth)
                 .map(e => `${e.ariaLabel}: ${e.scrollWidth - e.clientWidth} pixels`).join()",
            );
            let tables = browser.run("return document.querySelectorAll('.scroll:has(table)').length");
            assert!(tables.as_i64().unwrap() > 0, "{name}: there is a table, and it is found");
            assert!(phone || hidden == "", "{name}: columns out of sight in a window of {width}: {hidden}");
            let small = browser.run(
                "return [...document.querySelectorAll('body *')].filter(e => parseFloat(getComputedStyle(e).fontSize) < 11)
                 .map(e => e.outerHTML).slice(0, 1).join()",
            );
            assert_eq!(small, "", "{name}: too small to read");
        }
        grounds.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1], "{name} is as dark as it is light");
    browser.visit(&page);
    let folded = browser.click_all("summary", "return window.clicked.parentElement.open");
    let jumps = browser.click_all("nav a", "return location.hash");
    let lost = "return [...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash)).length";
    assert_eq!(browser.run(lost), 0, "{name}: a link leads nowhere");
    folded + jumps
}

/// Returns every kind of page, and the least number of things on it that can be clicked.
fn pages() -> Vec<(&'static str, String, usize)> {
    let reports = [crate::reports::report(1), crate::reports::report(2)];
    let wide = [crate::reports::wide(1), crate::reports::wide(2)];
    let experiment = |axes: &[&str]| crate::reports::experiment(axes).html();
    vec![
        // Sections to jump to, folded numbers and a sample.
        ("report.html", reports[0].html(), 9),
        ("wide.html", crate::reports::wide(1).html(), 9),
        ("wide-comparison.html", ra_eval::compare(&wide).unwrap().html(), 4),
        ("comparison.html", ra_eval::compare(&reports).unwrap().html(), 4),
        ("bars.html", experiment(&["ablation"]), 2),
        ("heat.html", experiment(&["ID method", "language model"]), 2),
        ("lines.html", experiment(&["samples"]), 2),
    ]
}

#[test]
fn reports_are_readable_and_what_can_be_clicked_works() {
    let Some(browser) = Browser::open("reports_are_readable_and_what_can_be_clicked_works") else { return };
    for (name, html, clicks) in pages() {
        assert!(clicks != 2 || html.contains("<svg"), "{name}");
        assert!(look(&browser, name, &html) >= clicks, "{name}");
    }
}

#[test]
fn reports_have_no_serious_fault_of_accessibility() {
    let test = "reports_have_no_serious_fault_of_accessibility";
    let axe = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../axe/node_modules/axe-core/axe.min.js");
    let Ok(axe) = std::fs::read_to_string(axe) else {
        return skipped(test, "there is no axe-core in the target folder, see .ci/run");
    };
    let Some(browser) = Browser::open(test) else { return };
    for (name, html, _) in pages() {
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            browser.visit(&file(&format!("axe-{name}"), &html));
            let found = browser.axe(&axe);
            assert!(found.is_empty(), "{name}, {scheme}: {found:#?}");
        }
    }
}
