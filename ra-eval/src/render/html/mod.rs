//! Reports as one page: no network, no scripts, light and dark, readable on a phone, tables that a screen reader can follow.
mod experiment;
mod page;
mod parts;
mod plot;
mod plotted;

use crate::Metric;
use crate::report::{Comparison, Experiment, Report, ResultTable, Row, duration, grouped, over_seeds};
use crate::significance::Interval;
use maud::{Markup, html};
use page::{figure, page, strs, table};

impl Report {
    /// The report as one page that needs nothing else.
    pub fn html(&self) -> String {
        report(self)
    }
}

impl Comparison<'_> {
    /// The comparison as one page that needs nothing else.
    pub fn html(&self) -> String {
        comparison(self)
    }
}

impl Experiment {
    /// Table and plots as one page that needs nothing else.
    pub fn html(&self) -> String {
        experiment::experiment(self)
    }
}

/// A whole report.
fn report(report: &Report) -> String {
    let table = ResultTable::new(std::slice::from_ref(report));
    let sections = [
        ("results", "Results", results(&table)),
        ("differences", "Differences", differences(&table)),
        ("slices", "Where each model is good", parts::slices(&report.rows)),
        ("curves", "Learning curves", parts::curves(&report.curves)),
        ("samples", "Sample recommendations", parts::samples(&report.samples)),
        ("costs", "Costs", parts::costs(report)),
        ("ledger", "Parameters trained", parts::parameter_table(report)),
        ("protocol", "Protocol", parts::protocol(report)),
        ("data", "Data audit", parts::audit(report)),
    ];
    page(&report.recipe, &html! { p { (report.origin()) } }, &sections)
}

/// Several runs.
fn comparison(comparison: &Comparison<'_>) -> String {
    let lead = html! {
        ul { @for report in comparison.reports { li { (report.origin()) } } }
        @if let Some(caution) = comparison.caution() { p.warning { strong { "Warning: " } (caution) } }
    };
    let all = ResultTable::new(comparison.reports);
    let between = ResultTable::of(comparison.between.iter().map(|row| (None, row)).collect(), Vec::new());
    let protocols = html! {
        @for (index, report) in comparison.reports.iter().enumerate() {
            @if index == 0 || comparison.caution().is_some() { (parts::protocol(report)) }
        }
    };
    let sections = [
        ("results", "Results", results(&all)),
        ("seeds", "Over seeds", seeds(comparison.reports, &all.headline)),
        ("between", "Differences between runs", differences(&between)),
        ("differences", "Differences within runs", differences(&all)),
        ("protocol", "Protocol", protocols),
    ];
    page("Comparison", &lead, &sections)
}

fn results(table: &ResultTable<'_>) -> Markup {
    let several = table.rows.iter().any(|(run, _)| run.is_some());
    let head = |metrics: &[Metric]| -> Vec<String> {
        let names = metrics.iter().map(ToString::to_string);
        several.then(|| "run".into()).into_iter().chain(["model".into()]).chain(names).collect()
    };
    let rows = |metrics: &[Metric], headline: bool| {
        html! {
            @for (run, row) in &table.rows {
                tr {
                    @if let Some(run) = run { td.name { (run) } }
                    th scope="row" { (row.name) }
                    @for metric in metrics { (metric_cell(table, row, *metric, headline)) }
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
    let marked = |(_, row): &(_, &Row)| table.headline.iter().any(|&metric| mark(row, metric).is_some());
    html! {
        (page::table("The best of a column in bold", &strs(&headline), &rows(&table.headline, true)))
        @if table.rows.iter().any(marked) { p { "▲ and ▼: significantly above or below the row it is compared to (see Differences)." } }
        @for line in table.warnings() { p.warning { strong { "Warning: " } (line) } }
        @if !table.further.is_empty() {
            details {
                summary { "Further metrics" }
                (page::table("Further metrics", &strs(&further), &rows(&table.further, false)))
            }
        }
    }
}

fn metric_cell(table: &ResultTable<'_>, row: &Row, metric: Metric, headline: bool) -> Markup {
    let Some(&value) = row.metrics.get(&metric) else { return html! { td { "-" } } };
    let mark = mark(row, metric).filter(|_| headline);
    html! {
        td {
            @if headline && table.is_best(metric, value) { strong { (format!("{value:.4}")) } }
            @else { (format!("{value:.4}")) }
            @if let (Some(d), Some(to)) = (mark, &row.baseline) {
                @let (sign, word) = if d.mean > 0.0 { ("▲", "above") } else { ("▼", "below") };
                " " span.mark role="img" aria-label=(format!("significantly {word} {to}")) { (sign) }
            }
        }
    }
}

/// A difference that is worth a mark: tested, and significant.
fn mark(row: &Row, metric: Metric) -> Option<&Interval> {
    row.differences.get(&metric).filter(|found| found.p_holm.is_some() && found.is_significant())
}

/// A difference with all that says how sure it is.
fn difference(found: &Interval) -> Markup {
    html! {
        @if found.is_significant() { strong { (format!("{:+.4}", found.mean)) } }
        @else { (format!("{:+.4}", found.mean)) }
        br;
        small { (format!("{:+.4} to {:+.4}", found.low, found.high)) }
        @if let Some(p) = found.p_holm { br; small { (format!("p {p:.4}")) } }
        @if let Some(size) = found.detectable { br; small { (format!("detectable {size:.4}")) } }
    }
}

fn differences(table: &ResultTable<'_>) -> Markup {
    if table.rows.iter().all(|(_, row)| row.baseline.is_none()) {
        return Markup::default();
    }
    let several = table.rows.iter().any(|(run, _)| run.is_some());
    let mut head = if several { vec!["run"] } else { vec![] };
    head.extend(["model", "to"]);
    let metrics: Vec<String> = table.headline.iter().map(ToString::to_string).collect();
    head.extend(strs(&metrics));
    let rows = html! {
        @for (run, row) in &table.rows {
            @if let Some(baseline) = &row.baseline {
                tr {
                    @if let Some(run) = run { td.name { (run) } }
                    th scope="row" { (row.name) }
                    td.name { (baseline) }
                    @for metric in &table.headline {
                        td { @match row.differences.get(metric) { Some(found) => (difference(found)), None => "-" } }
                    }
                }
            }
        }
    };
    html! {
        (page::table("Mean difference over users, its 95 % interval and test", &head, &rows))
        p {
            "Intervals: paired bootstrap over users. p: paired permutation test, corrected over the whole table (Holm); bold where \
             it is below .05. Detectable: the true difference that so many users show in four of five cases."
        }
    }
}

/// Rows that were run with several seeds.
fn seeds(reports: &[Report], headline: &[Metric]) -> Markup {
    let found = over_seeds(reports);
    if found.is_empty() {
        return Markup::default();
    }
    let metrics: Vec<String> = headline.iter().map(ToString::to_string).collect();
    let head: Vec<&str> = ["recipe", "model", "seeds"].into_iter().chain(strs(&metrics)).collect();
    let rows = html! {
        @for over in &found {
            tr {
                td.name { (over.recipe) }
                th scope="row" { (over.name) }
                td { (over.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")) }
                @for metric in headline {
                    td {
                        @if let Some([mean, deviation]) = over.metrics.get(metric) { (format!("{mean:.4} ± {deviation:.4}")) }
                        @else { "-" }
                        @if let (Some((mean, significant)), Some(to)) = (over.differences.get(metric), &over.baseline) {
                            br;
                            small { (format!("{mean:+.4} to {to}, significant in {significant}")) }
                        }
                    }
                }
            }
        }
    };
    table("Mean ± standard deviation over seeds; differences as a mean over seeds", &head, &rows)
}
