//! Reports as a person sees them: in headless Chromium.
use crate::driver::{Browser, axe};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Writes a page to a file of its own.
fn file(name: &str, html: &str) -> PathBuf {
    let page = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&page, html).unwrap();
    page
}

fn url(page: &Path) -> String {
    format!("file://{}", page.display())
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
            browser.visit(&url(&page));
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
    browser.visit(&url(&page));
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
    let Some(axe) = axe(test) else { return };
    let Some(browser) = Browser::open(test) else { return };
    for (name, html, _) in pages() {
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            browser.visit(&url(&file(&format!("axe-{name}"), &html)));
            let found = browser.axe(&axe);
            assert!(found.is_empty(), "{name}, {scheme}: {found:#?}");
        }
    }
}
