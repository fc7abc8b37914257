//! Reports as one page: no network, light and dark, readable on a phone, tables that a screen reader can follow.
use crate::experiment::Experiment;
use crate::plot;
use crate::report::{Comparison, LearningCurve, Report, ResultTable, Row, SampleRecommendation, duration, grouped};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// A whole report.
pub(crate) fn report(report: &Report) -> String {
    let table = ResultTable::new(std::slice::from_ref(report));
    let body = html! {
        (results(&table))
        (differences(&table))
        (curves(&report.curves))
        (samples(&report.samples))
        (costs(report))
        (ledger(report))
        (protocol(report))
    };
    page(&report.recipe, &html! { p { (report.origin()) } }, &body)
}

/// Several runs.
pub(crate) fn comparison(comparison: &Comparison<'_>) -> String {
    let origins = html! { ul { @for report in comparison.reports { li { (report.origin()) } } } };
    let body = html! {
        (results(&ResultTable::new(comparison.reports)))
        @if let Some(report) = comparison.reports.first() { (protocol(report)) }
    };
    page("Comparison", &origins, &body)
}

/// One recipe in several settings, with a plot a metric when the last axis is a number.
pub(crate) fn experiment(experiment: &Experiment) -> String {
    let head = experiment.head();
    let names = experiment.axes.len() + 1;
    let rows = html! {
        @for line in &experiment.lines {
            tr {
                @for (place, cell) in line.cells().into_iter().enumerate() {
                    @if place < names { th scope="row" { (cell) } } @else { td { (cell) } }
                }
            }
        }
    };
    let plots: Vec<(&str, String)> = ["hr@10", "ndcg@10", "hr@100"]
        .into_iter()
        .filter_map(|metric| Some((metric, plot::lines(&experiment.series(metric))?)))
        .collect();
    let body = html! {
        section {
            h2 { "Results" }
            @if !plots.is_empty() {
                div.plots {
                    @for (metric, svg) in &plots {
                        figure {
                            div role="img" aria-label=(format!("{metric} by {}", experiment.axes.join(" and "))) {
                                (PreEscaped(svg))
                            }
                            figcaption { (metric) " of ra-rec by " (experiment.axes.last().map_or("", String::as_str)) }
                        }
                    }
                }
            }
            (table("Means over seeds, with the smallest and the largest", &strs(&head), &rows))
        }
    };
    page(&experiment.name, &html! { ul { @for origin in &experiment.origins { li { (origin) } } } }, &body)
}

fn page(title: &str, lead: &Markup, body: &Markup) -> String {
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
                header { h1 { (title) } (lead) }
                main { (body) }
            }
        }
    }
    .into_string()
}

/// A table in a box that scrolls sideways, so that the page does not.
fn table(caption: &str, head: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll role="region" tabindex="0" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody { (rows) }
            }
        }
    }
}

fn results(table: &ResultTable<'_>) -> Markup {
    let several = table.rows.iter().any(|(run, _)| run.is_some());
    let head = |metrics: &[String]| -> Vec<String> {
        several.then(|| "run".into()).into_iter().chain(["model".into()]).chain(metrics.iter().cloned()).collect()
    };
    let rows = |metrics: &[String], headline: bool| {
        html! {
            @for (run, row) in &table.rows {
                tr {
                    @if let Some(run) = run { td.name { (run) } }
                    th scope="row" { (row.name) }
                    @for metric in metrics { (figure(table, row, metric, headline)) }
                    @if headline {
                        td { (format!("{:.2} %", 100.0 * row.tied_share)) }
                        td { (grouped(row.train_samples)) }
                        td { (grouped(row.trainable_params)) }
                        td { (duration(row.train_seconds)) }
                        td { (duration(row.eval_seconds)) }
                    }
                }
            }
        }
    };
    let mut headline = head(&table.headline);
    headline.extend(["tied", "samples", "parameters", "training", "ranking"].map(String::from));
    let further = head(&table.further);
    let caption = "Every item ranked for every user; the best of a column in bold";
    html! {
        section {
            h2 { "Results" }
            (self::table(caption, &strs(&headline), &rows(&table.headline, true)))
            @for line in table.warnings() { p.warning { strong { "Warning: " } (line) } }
            @if !table.further.is_empty() {
                details {
                    summary { "Further metrics" }
                    (self::table("Further metrics", &strs(&further), &rows(&table.further, false)))
                }
            }
        }
    }
}

fn strs(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn figure(table: &ResultTable<'_>, row: &Row, metric: &str, headline: bool) -> Markup {
    match row.metrics.get(metric) {
        Some(&value) if headline && table.is_best(metric, value) => html! { td { strong { (format!("{value:.4}")) } } },
        Some(value) => html! { td { (format!("{value:.4}")) } },
        None => html! { td { "-" } },
    }
}

fn differences(table: &ResultTable<'_>) -> Markup {
    let head: Vec<&str> = ["model", "to"].into_iter().chain(table.headline.iter().map(String::as_str)).collect();
    let rows = html! {
        @for (_, row) in &table.rows {
            @if let Some(baseline) = &row.baseline {
                tr {
                    th scope="row" { (row.name) }
                    td.name { (baseline) }
                    @for metric in &table.headline {
                        @match row.differences.get(metric) {
                            Some(d) => td {
                                @if d.excludes_zero() { strong { (format!("{:+.4}", d.mean)) } }
                                @else { (format!("{:+.4}", d.mean)) }
                                br;
                                small { (format!("{:+.4} to {:+.4}", d.low, d.high)) }
                            },
                            None => td { "-" },
                        }
                    }
                }
            }
        }
    };
    let caption = "Mean difference over users with its paired bootstrap 95 % interval; bold where that excludes 0";
    html! {
        @if table.rows.iter().any(|(_, row)| row.baseline.is_some()) {
            section { h2 { "Differences" } (self::table(caption, &head, &rows)) }
        }
    }
}

fn curves(curves: &[LearningCurve]) -> Markup {
    html! {
        @if !curves.is_empty() {
            section {
                h2 { "Learning curves" }
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
    }
}

fn curve_plot(name: &str, what: &str, points: Vec<(f64, f64)>) -> Markup {
    html! {
        @if let (Some(svg), Some((from, first)), Some((to, last))) = (plot::line(&points), points.first(), points.last()) {
            figure {
                div role="img" aria-label=(format!("{name}: {what} from {first:.4} at step {from} to {last:.4} at step {to}")) {
                    (PreEscaped(svg))
                }
                figcaption { (what) " by step" }
            }
        }
    }
}

fn samples(samples: &[SampleRecommendation]) -> Markup {
    html! {
        @if !samples.is_empty() {
            section {
                h2 { "Sample recommendations" }
                p { "Marked: what the user chose next." }
                @for sample in samples {
                    article {
                        h3 { "User " (sample.user) }
                        div.sample {
                            div {
                                h4 { "History" }
                                ol { @for title in &sample.history { li { (title) } } }
                                h4 { "Held out" }
                                ul { @for title in &sample.targets { li { mark { (title) } } } }
                            }
                            @for list in &sample.lists {
                                div {
                                    h4 { (list.row) }
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
    }
}

fn costs(report: &Report) -> Markup {
    let rows = html! {
        @for stage in &report.stages {
            tr {
                th scope="row" { (stage.name) }
                td { (duration(stage.seconds)) }
                td { (stage.peak_mib.map_or("-".into(), |mib| grouped(mib as usize))) }
            }
        }
    };
    html! {
        @if !report.stages.is_empty() {
            section { h2 { "Costs" } (table("Wall time and largest memory so far", &["stage", "time", "peak MiB"], &rows)) }
        }
    }
}

fn ledger(report: &Report) -> Markup {
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
    html! {
        @if !report.ledger.is_empty() {
            section { h2 { "Parameters trained" } (table(&caption, &["tensor", "shape", "scalars"], &rows)) }
        }
    }
}

fn protocol(report: &Report) -> Markup {
    let rows = html! {
        @for (name, value) in Report::protocol_facts(&report.protocol) {
            tr { th scope="row" { (name) } td.name { (value) } }
        }
    };
    html! {
        section {
            h2 { "Protocol" }
            (table("Only rows with the same fingerprint compare", &["what", "how"], &rows))
        }
    }
}
