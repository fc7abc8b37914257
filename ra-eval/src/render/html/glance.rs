//! The first screen: the answers, the rows they refer to, and the warnings.
use super::page::{strs, table};
use crate::report::{AuditLevel, Glance, Report, Shown, duration, grouped, supported};
use maud::{Markup, html};

/// Renders the answers as cards, the warnings and a short table; only the warnings if there is no row to choose.
pub(super) fn glance(glance: Option<&Glance<'_>>, warnings: &Markup) -> Markup {
    let Some(glance) = glance else { return warnings.clone() };
    html! {
        div.cards {
            @for answer in &glance.answers {
                div.card {
                    h3 { (answer.question) }
                    p.short { (answer.short) }
                    p { (answer.text) }
                }
            }
        }
        (warnings)
        (rows(glance))
        @for line in &glance.made { p { small { (line) } } }
        p { small { (glance.caveat) } }
    }
}

fn rows(glance: &Glance<'_>) -> Markup {
    let metrics: Vec<String> = glance.measures.iter().map(ToString::to_string).collect();
    let mut head = vec!["model", "significance"];
    head.extend(strs(&metrics));
    head.extend(["parameters", "training", "ranking"]);
    let cells = |place: usize, Shown { name, row, standing }: &Shown<'_>| {
        html! {
            tr.best[place == 0] {
                th scope="row" { (name) }
                td.name { (standing) }
                @for measure in &glance.measures {
                    td {
                        @match (row.measure(*measure), measure.group) {
                            (Some((value, _)), None) => (format!("{value:.4}")),
                            (found, _) => (supported(found)),
                        }
                    }
                }
                td { (grouped(row.trainable_params)) }
                td { (duration(row.train_seconds)) }
                td { (duration(row.eval_seconds)) }
            }
        }
    };
    let rows = html! { @for (place, shown) in glance.rows.iter().enumerate() { (cells(place, shown)) } };
    table("This row, and the rows to compare it with, on the test part", &head, 2, &rows)
}

/// Renders what a reader must know before trusting the rows.
pub(super) fn warnings(lines: &[String], reports: &[Report]) -> Markup {
    let mut items: Vec<Markup> = lines.iter().map(|line| html! { (line) }).collect();
    items.extend(audit_warning(reports));
    html! {
        @match &items[..] {
            [] => {}
            [one] => p.warning { strong { "Warning: " } (one) },
            _ => div.warning { strong { "Warnings" } ul { @for item in &items { li { (item) } } } },
        }
    }
}

/// States that the audit found something; the details are below, or in the reports of the runs.
fn audit_warning(reports: &[Report]) -> Option<Markup> {
    let findings = reports.iter().flat_map(|report| &report.audit);
    let mut names: Vec<&str> = findings.filter(|f| f.level == AuditLevel::Warning).map(|f| f.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| {
        html! {
            "The data audit found " (names.join(", ")) "; "
            @if reports.len() == 1 { a href="#data" { "see what it does to the metrics" } "." }
            @else { "the reports of the runs say what it does to the metrics." }
        }
    })
}
