//! All rows: their metrics, costs and differences.
use super::dots;
use super::page::{self, strs};
use crate::Metric;
use crate::report::{ResultTable, Row, duration, grouped, supported};
use crate::significance::Interval;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Renders the headline metrics, the costs of the rows, and all other metrics in one table per K.
pub(super) fn results(table: &ResultTable<'_>) -> Markup {
    let marked = |(_, row): &(_, &Row)| table.headline.iter().any(|&metric| mark(row, metric).is_some());
    html! {
        (metrics(table))
        @if table.rows.iter().any(marked) {
            p {
                small {
                    "▲ and ▼: significantly above or below the row it is compared with, see Differences. Tied: the share of \
                     targets whose score equals that of another item."
                }
            }
        }
        @if !table.groups.is_empty() {
            p {
                small {
                    "tail and cold: the users whose target is an item outside the most popular fifth, or an item that was \
                     never trained on; in brackets, how many they are."
                }
            }
        }
        (costs(table))
        @if !table.further.is_empty() {
            details { summary { "Further metrics" } (further(table)) }
        }
    }
}

/// Renders the column names and one row per model, with the cells that `cells` returns.
fn rows(table: &ResultTable<'_>, caption: &str, columns: &[String], cells: impl Fn(&Row) -> Markup) -> Markup {
    let several = table.rows.iter().any(|(run, _)| run.is_some());
    let mut head = if several { vec!["model", "run"] } else { vec!["model"] };
    let names = head.len();
    head.extend(strs(columns));
    let rows = html! {
        @for (run, row) in &table.rows {
            tr {
                th scope="row" { (row.name) }
                @if let Some(run) = run { td.name { (run) } }
                (cells(row))
            }
        }
    };
    page::table(caption, &head, names, &rows)
}

fn metrics(table: &ResultTable<'_>) -> Markup {
    let mut columns: Vec<String> = table.headline.iter().map(ToString::to_string).collect();
    // A narrow page may break the line after the group.
    columns.extend(table.groups.iter().map(|measure| measure.to_string().replace(':', ":\u{200b}")));
    columns.push("tied".into());
    rows(table, "Metrics on the test part; the best value of each column is bold", &columns, |row| {
        html! {
            @for metric in &table.headline { (metric_cell(table, row, *metric)) }
            @for measure in &table.groups { td.pair { (supported(row.measure(*measure))) } }
            td { (format!("{:.2} %", 100.0 * row.tied_share)) }
        }
    })
}

fn costs(table: &ResultTable<'_>) -> Markup {
    let columns = ["samples", "parameters", "training", "ranking", "users"].map(String::from);
    rows(table, "Cost of each row, excluding the models it builds on", &columns, |row| {
        html! {
            td { (grouped(row.train_samples)) }
            td { (grouped(row.trainable_params)) }
            td { (duration(row.train_seconds)) }
            td { (duration(row.eval_seconds)) }
            td { (grouped(row.users)) }
        }
    })
}

fn further(table: &ResultTable<'_>) -> Markup {
    let ks: BTreeSet<usize> = table.further.iter().map(|metric| metric.k()).collect();
    html! {
        @for k in ks {
            @let of: Vec<Metric> = table.further.iter().copied().filter(|metric| metric.k() == k).collect();
            @let columns: Vec<String> = of.iter().map(|metric| metric.name().into()).collect();
            (rows(table, &format!("Further metrics at K = {k}"), &columns, |row| html! {
                @for metric in &of {
                    td { @match row.metrics.get(metric) { Some(value) => (format!("{value:.4}")), None => "-" } }
                }
            }))
        }
    }
}

fn metric_cell(table: &ResultTable<'_>, row: &Row, metric: Metric) -> Markup {
    let Some(&value) = row.metrics.get(&metric) else { return html! { td { "-" } } };
    html! {
        td {
            @if table.is_best(metric, value) { strong { (format!("{value:.4}")) } }
            @else { (format!("{value:.4}")) }
            @if let (Some(d), Some(to)) = (mark(row, metric), &row.baseline) {
                @let (sign, word, class) = if d.mean > 0.0 { ("▲", "above", "mark") } else { ("▼", "below", "mark low") };
                " " span class=(class) role="img" aria-label=(format!("significantly {word} {to}")) { (sign) }
            }
        }
    }
}

/// Returns the difference if it deserves a mark: tested and significant.
fn mark(row: &Row, metric: Metric) -> Option<&Interval> {
    row.differences.get(&metric).filter(|found| found.p_holm.is_some() && found.is_significant())
}

/// A row that is compared with another: its name, and the name of the other row.
struct Compared<'a> {
    name: String,
    run: Option<&'a str>,
    row: &'a Row,
    baseline: &'a str,
}

/// Renders one plot per metric, and the numbers in a table.
pub(super) fn differences(table: &ResultTable<'_>) -> Markup {
    let compared: Vec<Compared<'_>> =
        table.rows.iter().filter_map(|(run, row)| compared(run.as_deref(), row)).collect();
    let baselines: BTreeSet<&str> = compared.iter().map(|row| row.baseline).collect();
    let Some(&first) = baselines.first() else { return Markup::default() };
    let to = if baselines.len() == 1 { first } else { "the row named" };
    html! {
        p {
            "Mean difference from " strong { (to) } " over the users, with its 95 % interval (paired bootstrap). Significant: the paired \
             permutation test, corrected by Holm's method over all tests of the run, gives p below .05."
        }
        (dots::key())
        div.panels {
            @for metric in &table.headline { (plot(*metric, &compared, to, baselines.len() > 1)) }
        }
        details {
            summary { "All differences as numbers" }
            (numbers(&compared, &table.headline))
        }
    }
}

fn compared<'a>(run: Option<&'a str>, row: &'a Row) -> Option<Compared<'a>> {
    let baseline = row.baseline.as_deref()?;
    let name = run.map_or(row.name.clone(), |run| format!("{}, {run}", row.name));
    Some(Compared { name, run, row, baseline })
}

fn plot(metric: Metric, compared: &[Compared<'_>], to: &str, several: bool) -> Markup {
    let drawn = |of: &'_ Compared<'_>| {
        let found = of.row.differences.get(&metric).copied().filter(|found| found.mean.is_finite())?;
        Some((if several { format!("{} vs {}", of.name, of.baseline) } else { of.name.clone() }, found))
    };
    let found: Vec<(String, Interval)> = compared.iter().filter_map(drawn).collect();
    let rows: Vec<dots::Difference<'_>> =
        found.iter().map(|(name, found)| dots::Difference { name: name.clone(), found }).collect();
    let told: Vec<String> = rows.iter().map(|row| dots::difference(&row.name, row.found)).collect();
    let described = format!("Difference in {metric} from {to}: {}", told.join("; "));
    html! {
        @if !rows.is_empty() { (page::panel(&metric.to_string(), &described, &dots::differences(&rows))) }
    }
}

fn numbers(compared: &[Compared<'_>], headline: &[Metric]) -> Markup {
    let mut head = if compared.iter().any(|of| of.run.is_some()) { vec!["model", "run"] } else { vec!["model"] };
    head.extend(["compared with", "metric"]);
    let names = head.len();
    head.extend(["difference", "95 % interval", "corrected p", "detectable"]);
    let rows = html! {
        @for of in compared {
            @let tested = headline.iter().filter_map(|metric| Some((metric, of.row.differences.get(metric)?)));
            @for (metric, found) in tested {
                tr {
                    th scope="row" { (of.row.name) }
                    @if let Some(run) = of.run { td.name { (run) } }
                    td.name { (of.baseline) }
                    td.name { (metric.to_string()) }
                    td {
                        @if found.is_significant() { strong { (format!("{:+.4}", found.mean)) } }
                        @else { (format!("{:+.4}", found.mean)) }
                    }
                    td { (format!("{:+.4} to {:+.4}", found.low, found.high)) }
                    td { (found.p_holm.map_or("-".into(), |p| format!("{p:.4}"))) }
                    td { (found.detectable.map_or("-".into(), |size| format!("{size:.4}"))) }
                }
            }
        }
    };
    html! {
        (page::table("Significant differences are bold", &head, names, &rows))
        p { small { "Detectable: the smallest true difference that the test finds in four of five cases with this many users." } }
    }
}
