//! The page of the service as a person uses it: in headless Chromium, with the mouse and with the keyboard.
use crate::bundle::exported;
use crate::driver::{Browser, axe};
use crate::serve::serve;
use serde_json::{Value, json};

/// Waits until a script returns something that is not empty, and returns it.
fn until(browser: &Browser, script: &str) -> Value {
    let mut tries = (0..20_000).map(|_| browser.run(script));
    let found = tries.find(|found| !found.is_null() && *found != "" && *found != false && *found != json!([]));
    found.unwrap_or_else(|| panic!("never: {script}"))
}

const LISTS: &str = "return [...document.querySelectorAll('.row li')].map(e => e.firstChild.textContent)";

#[test]
fn a_person_finds_items_and_sees_rows_side_by_side() {
    let Some(browser) = Browser::open("a_person_finds_items_and_sees_rows_side_by_side") else { return };
    let root = exported(&[]);
    let own = serve(&root, &[]);
    browser.visit(&format!("http://{}/", own.address));
    let rows = until(&browser, "return [...document.querySelectorAll('.row h2')].map(e => e.textContent)");
    let rows: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row.as_str().unwrap()).collect();
    assert_eq!((rows[0], rows.len()), ("all (default)", 11), "{rows:?}");
    let popular = browser.run(LISTS);
    // Words find an item, and a click on it changes the lists.
    let search = "const s = document.getElementById('search'); s.value = arguments[0] || 'quail'; s.dispatchEvent(new Event('input'))";
    browser.run(search);
    until(&browser, "return document.querySelectorAll('#found button').length === 1");
    assert_eq!(browser.click_all("#found button", "return document.querySelectorAll('#past li').length"), 1);
    until(&browser, "return document.querySelectorAll('.why').length > 0");
    let lists = browser.run(LISTS);
    assert_ne!(lists, popular);
    assert!(!lists.as_array().unwrap().contains(&json!("The quail")), "what was chosen is not recommended: {lists}");
    let why = browser.run("return document.querySelector('.row .why').textContent");
    assert!(why.as_str().unwrap().contains("like The quail"), "{why}");
    // By keyboard: an item found is a button, and so is one of the history.
    browser.run("document.querySelector('#past button').focus()");
    browser.keys("\u{e007}");
    until(&browser, "return document.querySelectorAll('#past li').length === 0");
    until(&browser, &format!("return JSON.stringify((() => {{ {LISTS} }})()) === {:?}", popular.to_string()));
    assert_eq!(browser.run("return document.activeElement.id"), "search", "the focus is not lost");
    // Nothing is loaded from elsewhere, and a phone need not scroll sideways.
    let fetched = browser.run("return performance.getEntriesByType('resource').map(e => e.name)");
    let own_address = format!("http://{}/", own.address);
    assert!(fetched.as_array().unwrap().iter().all(|url| url.as_str().unwrap().starts_with(&own_address)), "{fetched}");
    for width in [1200, 360] {
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == 360 });
        browser.set("Emulation.setDeviceMetricsOverride", &size);
        let wide = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert!(wide.as_i64().unwrap() <= 0, "{wide} pixels beyond a window of {width}");
    }
    // A title is text, whatever it holds.
    let title = "<img src=x onerror=document.title='broken'>";
    own.post("/v1/items", &json!({"items": [{"item": "bad", "title": title}]}));
    browser
        .run("const s = document.getElementById('search'); s.value = 'onerror'; s.dispatchEvent(new Event('input'))");
    let found = "return [...document.querySelectorAll('#found button')].map(e => e.textContent).join('|')";
    until(&browser, &format!("return (() => {{ {found} }})() === {title:?}"));
    assert_eq!(browser.run("return document.title"), "RA-Rec: try a bundle");
}

#[test]
fn the_page_has_no_serious_fault_of_accessibility() {
    let test = "the_page_has_no_serious_fault_of_accessibility";
    let Some(axe) = axe(test) else { return };
    let Some(browser) = Browser::open(test) else { return };
    let root = exported(&[]);
    let own = serve(&root, &[]);
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        browser.visit(&format!("http://{}/", own.address));
        until(&browser, "return document.querySelectorAll('.row li').length > 0");
        browser.run("document.querySelector('#found button').click()");
        until(&browser, "return document.querySelectorAll('.why').length > 0");
        let found = browser.axe(&axe);
        assert!(found.is_empty(), "{scheme}: {found:#?}");
    }
}
