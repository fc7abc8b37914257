//! What all pages share.
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The section that answers what a reader asks first.
pub(super) const FIRST: &str = "glance";

/// A whole page; `contents` are the sections to jump to, by id and name.
pub(super) fn page(title: &str, lead: &Markup, sections: &[(&str, &str, Markup)]) -> String {
    let filled: Vec<_> = sections.iter().filter(|(_, _, body)| !body.0.is_empty()).collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " | RA-Rec" }
                style { (PreEscaped(include_str!("report.css"))) }
            }
            body {
                header {
                    h1 { (title) }
                    (lead)
                    nav aria-label="Contents" {
                        // The first screen is in sight already.
                        @for (id, name, _) in filled.iter().filter(|(id, ..)| *id != FIRST) { a href=(format!("#{id}")) { (name) } " " }
                    }
                }
                main {
                    @for (id, name, body) in &filled {
                        section id=(id) { h2 { (name) } (body) }
                    }
                }
            }
        }
    }
    .into_string()
}

/// A table in a box that scrolls sideways, so that the page does not. Its first `names` columns are text, the others numbers.
pub(super) fn table(caption: &str, head: &[&str], names: usize, rows: &Markup) -> Markup {
    html! {
        div.scroll role="region" tabindex="0" aria-label=(caption) {
            table {
                caption { (caption) }
                thead {
                    tr { @for (place, name) in head.iter().enumerate() { th.name[place < names] scope="col" { (name) } } }
                }
                tbody { (rows) }
            }
        }
    }
}

/// A plot that is described in words; nothing where there is none.
pub(super) fn figure(svg: Option<String>, described: &str, caption: &str) -> Markup {
    html! {
        @if let Some(svg) = svg {
            figure {
                div role="img" aria-label=(described) { (PreEscaped(svg)) }
                figcaption { (caption) }
            }
        }
    }
}

/// A plot of dots under its title, described in words with all its figures.
pub(super) fn panel(title: &str, described: &str, svg: &Markup) -> Markup {
    html! {
        figure.panel {
            figcaption { (title) }
            div role="img" aria-label=(described) { (svg) }
        }
    }
}

pub(super) fn strs(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}
