//! The layout shared by all pages.
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The section that answers a reader's first questions.
pub(super) const FIRST: &str = "glance";

/// Renders a whole page; its contents link to the sections, given by id and name.
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
                        // The first screen is already visible.
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

/// Renders a table that scrolls sideways within its box, so that the page does not. The first `names` columns are text,
/// the others numbers.
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

/// Renders a plot with a description in words, or nothing if there is no plot.
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

/// Renders a plot of dots with a title and a description that contains all its numbers.
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
