//! Further sections of the report of one run; each is empty if there is nothing to show.
use super::page::{figure, table};
use super::plot;
use crate::report::{AuditLevel, LearningCurve, Report, SampleRecommendation, duration, grouped};
use maud::{Markup, html};

/// Renders the loss and the validation metric of each trained part.
pub(super) fn curves(curves: &[LearningCurve]) -> Markup {
    let curve_plot = |name: &str, what: &str, points: Vec<(f64, f64)>| {
        let (Some((from, first)), Some((to, last))) = (points.first(), points.last()) else { return Markup::default() };
        let described = format!("{name}: {what} from {first:.4} at step {from} to {last:.4} at step {to}");
        figure(plot::line(&points), &described, &format!("{what} by step"))
    };
    html! {
        @for LearningCurve { name, curve } in curves {
            h3 { (name) }
            div.plots {
                (curve_plot(name, "training loss", curve.points.iter().map(|p| (p.step as f64, p.loss)).collect()))
                (curve_plot(name, "validation metric",
                    curve.points.iter().filter_map(|p| Some((p.step as f64, p.validation?))).collect()))
            }
            p {
                "The best validation was at step " (grouped(curve.best_step))
                @if curve.stopped_early { "; training stopped early." } @else { "." }
            }
        }
    }
}

/// Renders what models recommend next to what the users chose.
pub(super) fn samples(samples: &[SampleRecommendation]) -> Markup {
    html! {
        @if !samples.is_empty() { p { "What the user chose next is marked." } }
        @for (place, sample) in samples.iter().enumerate() {
            details open[place == 0] {
                summary { "User " (sample.user) }
                div.sample {
                    div {
                        h3 { "History" }
                        ol { @for title in &sample.history { li { (title) } } }
                        h3 { "Held out" }
                        ul { @for title in &sample.targets { li { mark { (title) } } } }
                    }
                    @for list in &sample.lists {
                        div {
                            h3 { (list.row) }
                            ol {
                                @for (place, title) in list.titles.iter().enumerate() {
                                    li { @if list.hits.contains(&place) { mark { (title) } } @else { (title) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Renders time, tokens and memory of each stage.
pub(super) fn costs(report: &Report) -> Markup {
    let rows = html! {
        @for stage in &report.stages {
            tr {
                th scope="row" { (stage.name) }
                td { (duration(stage.seconds)) }
                td { (stage.tokens.map_or("-".into(), |tokens| grouped(tokens as usize))) }
                td { (stage.peak_mib.map_or("-".into(), |mib| grouped(mib as usize))) }
            }
        }
        tr {
            th scope="row" { "total" }
            td { (duration(report.stages.iter().map(|stage| stage.seconds).sum())) }
            td { (grouped(report.stages.iter().filter_map(|stage| stage.tokens).sum::<u64>() as usize)) }
            td { (report.stages.iter().filter_map(|s| s.peak_mib).max().map_or("-".into(), |mib| grouped(mib as usize))) }
        }
    };
    let caption = "Wall time, tokens read by the language model, and peak memory up to the end of each stage";
    html! {
        @if !report.stages.is_empty() { (table(caption, &["stage", "time", "tokens", "peak MiB"], 1, &rows)) }
    }
}

/// Lists every trained tensor.
pub(super) fn parameter_table(report: &Report) -> Markup {
    let total: usize = report.ledger.iter().map(|row| row.params).sum();
    let caption = format!("Trained tensors: {} parameters in total", grouped(total));
    let rows = html! {
        @for row in &report.ledger {
            tr {
                th scope="row" { code { (row.name) } }
                td { (format!("{:?}", row.shape)) }
                td { (grouped(row.params)) }
            }
        }
    };
    html! { @if !report.ledger.is_empty() { (table(&caption, &["tensor", "shape", "parameters"], 1, &rows)) } }
}

/// Renders the protocol of the rows.
pub(super) fn protocol(report: &Report) -> Markup {
    let rows = html! {
        @for (name, value) in Report::protocol_facts(&report.protocol) {
            tr { th scope="row" { (name) } td.name { (value) } }
        }
    };
    table("Rows can be compared only if their fingerprints are equal", &["part", "choice"], 2, &rows)
}

/// Renders the results of the data audit.
pub(super) fn audit(report: &Report) -> Markup {
    let rows = html! {
        @for finding in &report.audit {
            tr {
                th scope="row" { (finding.name) }
                td.name { @if finding.level == AuditLevel::Warning { strong { (finding.level.name()) } } @else { (finding.level.name()) } }
                td.name { (finding.told) @if finding.level != AuditLevel::Fine { br; small { (finding.effect) } } }
            }
        }
    };
    html! {
        @if !report.audit.is_empty() {
            (table("Data checks, and the effect of each finding on the metrics", &["check", "level", "finding"], 3, &rows))
        }
    }
}
