//! Reports as self-contained pages: no network, no scripts, light and dark, readable on a phone, with accessible
//! tables.
mod dots;
mod experiment;
mod glance;
mod page;
mod parts;
mod plot;
mod plotted;
mod results;
mod slices;
mod table_page;

pub use table_page::TablePage;

use crate::Metric;
use crate::report::{Comparison, Experiment, Glance, OverSeeds, Report, ResultTable, over_seeds};
use maud::{Markup, html};
use page::{page, strs, table};

impl Report {
    /// Renders the report as one self-contained page.
    pub fn html(&self) -> String {
        report(self)
    }
}

impl Comparison<'_> {
    /// Renders the comparison as one self-contained page.
    pub fn html(&self) -> String {
        comparison(self)
    }
}

impl Experiment {
    /// Renders tables and plots as one self-contained page.
    pub fn html(&self) -> String {
        experiment::experiment(self)
    }
}

/// Renders a whole report.
fn report(report: &Report) -> String {
    let reports = std::slice::from_ref(report);
    let table = ResultTable::new(reports);
    let glance = Glance::new(reports, &[], &table);
    let first = glance::glance(glance.as_ref(), &glance::warnings(&table.warnings(), reports));
    let sections = [
        (page::FIRST, "At a glance", first),
        ("results", "Results", results::results(&table)),
        ("differences", "Differences", results::differences(&table)),
        ("slices", "Where each model is good", slices::slices(&report.rows, glance.as_ref())),
        ("curves", "Learning curves", parts::curves(&report.curves)),
        ("samples", "Sample recommendations", parts::samples(&report.samples)),
        ("costs", "Costs", parts::costs(report)),
        ("ledger", "Parameters trained", parts::parameter_table(report)),
        ("protocol", "Protocol", parts::protocol(report)),
        ("data", "Data audit", parts::audit(report)),
    ];
    page(&report.recipe, &html! { p { (report.origin()) } }, &sections)
}

/// Renders several runs. Runs of different protocols have no best row.
fn comparison(comparison: &Comparison<'_>) -> String {
    let Comparison { reports, between, .. } = comparison;
    let lead = html! {
        ul { @for report in *reports { li { (report.origin()) } } }
        @if let Some(caution) = comparison.caution() { p.warning { strong { "Warning: " } (caution) } }
    };
    let all = ResultTable::new(reports);
    let glance = Glance::new(reports, between, &all).filter(|_| comparison.caution().is_none());
    let first = glance::glance(glance.as_ref(), &glance::warnings(&all.warnings(), reports));
    let between = ResultTable::of(between.iter().map(|row| (None, row)).collect(), Vec::new());
    let protocols = html! {
        @for (index, report) in reports.iter().enumerate() {
            @if index == 0 || comparison.caution().is_some() { (parts::protocol(report)) }
        }
    };
    let sections = [
        (page::FIRST, "At a glance", first),
        ("results", "Results", results::results(&all)),
        ("seeds", "Over seeds", seeds(reports, &all.headline)),
        ("between", "Differences between runs", results::differences(&between)),
        ("differences", "Differences within runs", results::differences(&all)),
        ("protocol", "Protocol", protocols),
    ];
    page("Comparison", &lead, &sections)
}

/// Renders the rows that were run with several seeds: their metrics and their differences.
fn seeds(reports: &[Report], headline: &[Metric]) -> Markup {
    let found = over_seeds(reports);
    if found.is_empty() {
        return Markup::default();
    }
    let metrics: Vec<String> = headline.iter().map(ToString::to_string).collect();
    let head = |third: &'static str| -> Vec<String> {
        ["model", "recipe", third].into_iter().map(String::from).chain(metrics.iter().cloned()).collect()
    };
    let values = html! {
        @for over in &found {
            @let seeds: Vec<String> = over.seeds.iter().map(u64::to_string).collect();
            (seed_row(over, &seeds.join(", "), headline, |metric| {
                over.metrics.get(&metric).map(|[mean, deviation]| format!("{mean:.4} ±\u{a0}{deviation:.4}"))
            }))
        }
    };
    let differences = html! {
        @for (over, to) in found.iter().filter_map(|over| Some((over, over.baseline.as_ref()?))) {
            (seed_row(over, to, headline, |metric| {
                let (mean, significant) = over.differences.get(&metric)?;
                Some(format!("{mean:+.4} ({significant}\u{a0}of\u{a0}{})", over.seeds.len()))
            }))
        }
    };
    let counted = "Mean difference over seeds, and the number of seeds in which it is significant";
    html! {
        (table("Mean ± standard deviation over seeds", &strs(&head("seeds")), 3, &values))
        @if !differences.0.is_empty() { (table(counted, &strs(&head("compared with")), 3, &differences)) }
    }
}

/// Renders a row of a table over seeds, with one cell per metric.
fn seed_row(over: &OverSeeds, third: &str, metrics: &[Metric], cell: impl Fn(Metric) -> Option<String>) -> Markup {
    html! {
        tr {
            th scope="row" { (over.name) }
            td.name { (over.recipe) }
            td.name { (third) }
            @for metric in metrics { td.wrap { (cell(*metric).unwrap_or("-".into())) } }
        }
    }
}
