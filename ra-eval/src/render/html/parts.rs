//! The sections of a report about one run; empty where there is nothing to tell.
use super::page::table;
use super::{figure, plot};
use crate::Metric;
use crate::report::{AuditLevel, LearningCurve, Report, Row, SampleRecommendation, duration, grouped};
use crate::slices::Slice;
use maud::{Markup, html};

/// A table a metric: slices down, models across.
pub(super) fn slices(rows: &[Row]) -> Markup {
    let models: Vec<&Row> = rows.iter().filter(|row| !row.slices.is_empty()).collect();
    let Some(first) = models.first() else { return Markup::default() };
    let head: Vec<&str> = ["targets", "number"].into_iter().chain(models.iter().map(|m| m.name.as_str())).collect();
    let of = |model: &'_ Row, name: &str| -> Option<Slice> { model.slices.iter().find(|s| s.name == name).cloned() };
    let metrics = || first.slices.iter().flat_map(|slice| slice.metrics.keys());
    let smallest = metrics().filter(|metric| matches!(metric, Metric::Ndcg(_))).min_by_key(|metric| metric.k());
    let largest = metrics().filter(|metric| matches!(metric, Metric::Hr(_))).max_by_key(|metric| metric.k());
    html! {
        @for metric in largest.into_iter().chain(smallest) {
            @let rows = html! {
                @for slice in &first.slices {
                    @let found: Vec<Option<Slice>> = models.iter().map(|model| of(model, &slice.name)).collect();
                    @let value = |s: &Option<Slice>| s.as_ref().and_then(|s| s.metrics.get(metric).copied());
                    @let best = found.iter().filter_map(value).fold(0.0, f64::max);
                    tr {
                        th scope="row" { (slice.name) }
                        td { (grouped(slice.targets)) }
                        @for slice in &found {
                            td {
                                @match value(slice) {
                                    Some(value) if value == best && best > 0.0 => strong { (format!("{value:.4}")) },
                                    Some(value) => (format!("{value:.4}")),
                                    None => "-",
                                }
                                @if let Some(d) = slice.as_ref().and_then(|slice| slice.differences.get(metric)) {
                                    br;
                                    small { (format!("{:+.4} [{:+.4}, {:+.4}]", d.mean, d.low, d.high)) }
                                }
                            }
                        }
                    }
                }
            };
            (table(&format!("{metric} by parts of the targets"), &head, &rows))
        }
        p { "Small: the difference to the baseline with its 95 % interval over the users of the part; the best of a row in bold." }
    }
}

/// Loss and validation of what was trained.
pub(super) fn curves(curves: &[LearningCurve]) -> Markup {
    let curve_plot = |name: &str, what: &str, points: Vec<(f64, f64)>| {
        let (Some((from, first)), Some((to, last))) = (points.first(), points.last()) else { return Markup::default() };
        let told = format!("{name}: {what} from {first:.4} at step {from} to {last:.4} at step {to}");
        figure(plot::line(&points), &told, &format!("{what} by step"))
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
                "Best at step " (grouped(curve.best_step))
                @if curve.stopped_early { "; stopped early." } @else { "." }
            }
        }
    }
}

/// What models recommend beside what the users did.
pub(super) fn samples(samples: &[SampleRecommendation]) -> Markup {
    html! {
        @if !samples.is_empty() { p { "Marked: what the user chose next." } }
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

/// Seconds, tokens and memory of each stage.
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
            th scope="row" { "in all" }
            td { (duration(report.stages.iter().map(|stage| stage.seconds).sum())) }
            td { (grouped(report.stages.iter().filter_map(|stage| stage.tokens).sum::<u64>() as usize)) }
            td { (report.stages.iter().filter_map(|s| s.peak_mib).max().map_or("-".into(), |mib| grouped(mib as usize))) }
        }
    };
    let caption = "Wall time, tokens that the language model read, and largest memory so far";
    html! {
        @if !report.stages.is_empty() { (table(caption, &["stage", "time", "tokens", "peak MiB"], &rows)) }
    }
}

/// Every trained tensor.
pub(super) fn parameter_table(report: &Report) -> Markup {
    let total: usize = report.ledger.iter().map(|row| row.params).sum();
    let caption = format!("All that was trained: {} scalars", grouped(total));
    let rows = html! {
        @for row in &report.ledger {
            tr {
                th scope="row" { code { (row.name) } }
                td { (format!("{:?}", row.shape)) }
                td { (grouped(row.params)) }
            }
        }
    };
    html! { @if !report.ledger.is_empty() { (table(&caption, &["tensor", "shape", "scalars"], &rows)) } }
}

/// Under what the rows compare.
pub(super) fn protocol(report: &Report) -> Markup {
    let rows = html! {
        @for (name, value) in Report::protocol_facts(&report.protocol) {
            tr { th scope="row" { (name) } td.name { (value) } }
        }
    };
    table("Only rows with the same fingerprint compare", &["what", "how"], &rows)
}

/// What was looked for in the data.
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
            (table("What was looked for, and what it does to the figures", &["what", "level", "finding"], &rows))
        }
    }
}
