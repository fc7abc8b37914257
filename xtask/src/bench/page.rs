//! A comparison as a self-contained page that looks like a report.
use super::compare::Comparison;
use maud::{DOCTYPE, PreEscaped, html};

const TITLE: &str = "Speed before and after";

/// The style of reports, so that all pages look alike.
const STYLE: &str = include_str!("../../../ra-eval/src/render/html/report.css");

const READING: &str = "A ratio below 1 is a faster step. Times are per step: wall time, and the CPU time of the process, \
    which other programs on the machine change less. A share is the step's operations or bytes per wall second beside \
    what the machine can do at most; a matrix unit or a cache may exceed it.";

/// Renders the page.
pub(super) fn page(found: &Comparison) -> String {
    let (head, rows, warnings) = (found.head(), found.rows(), found.warnings());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (TITLE) " | RA-Rec" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (TITLE) }
                    ul { @for origin in found.origins() { li { (origin) } } }
                    @for warning in &warnings { p.warning { strong { "Warning: " } (warning) } }
                }
                main {
                    div.scroll role="region" tabindex="0" aria-label=(TITLE) {
                        table {
                            caption { (READING) }
                            thead {
                                tr { @for (place, name) in head.iter().enumerate() { th.name[place == 0] scope="col" { (name) } } }
                            }
                            tbody {
                                @for row in &rows {
                                    tr {
                                        @for (place, cell) in row.iter().enumerate() {
                                            @if place == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}
