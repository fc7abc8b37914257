//! One recipe in several settings, with a plot that depends on its axes.
use super::page::{figure, page, strs, table};
use super::plot;
use super::plotted::Shape;
use crate::Metric;
use crate::report::{Experiment, Group, duration, grouped};
use maud::{Markup, html};
use std::ops::Range;

/// Renders one table per protocol, with lines if the last axis is numeric, bars for one axis, or a heat map for two.
pub(super) fn experiment(experiment: &Experiment) -> String {
    let names: Vec<(String, String)> = match experiment.groups.len() {
        1 => vec![("results".into(), "Results".into())],
        _ => (1..)
            .zip(&experiment.groups)
            .map(|(n, g)| (format!("results-{n}"), format!("Results: {}", g.name())))
            .collect(),
    };
    let mut sections: Vec<(&str, &str, Markup)> = names
        .iter()
        .zip(&experiment.groups)
        .map(|((id, name), group)| (id.as_str(), name.as_str(), results(experiment, group)))
        .collect();
    sections.push(("costs", "Costs", costs(experiment)));
    sections.push(("published", "Published results", published(experiment)));
    let origins = html! { ul { @for origin in &experiment.origins { li { (origin) } } } };
    let lead = match experiment.origins.len() {
        0..=3 => origins,
        runs => html! { details { summary { (runs) " runs: recipe, commit, machine, load" } (origins) } },
    };
    page(&experiment.name, &lead, &sections)
}

fn results(experiment: &Experiment, group: &Group) -> Markup {
    // A narrow page may break the line after the group of a measure.
    let head: Vec<String> = experiment.head(group).iter().map(|name| name.replace(':', ":\u{200b}")).collect();
    let names = experiment.axes.len() + 1;
    // After the metrics and the difference come the groups of targets, and then the costs.
    let groups = names + group.metrics.len() + usize::from(!group.metrics.is_empty());
    let costs = groups + group.groups.len();
    let rows = |shown: Range<usize>| {
        html! {
            @for line in &group.lines {
                tr {
                    @for (place, cell) in line.cells(group).into_iter().enumerate() {
                        @if place < names { th scope="row" { (cell) } }
                        @else if shown.contains(&place) { td.wrap[place < groups].pair[place >= groups] { (cell) } }
                    }
                }
            }
        }
    };
    let part = |shown: Range<usize>| [&head[..names], &head[shown]].concat();
    let axes = experiment.axes.join(" and ");
    let shape = experiment.shape(group);
    let plot = |&metric: &Metric| {
        let svg = match shape {
            Shape::Lines => plot::lines(&group.series(metric)),
            Shape::Bars => plot::bars(&group.bars(metric)),
            Shape::Heat => {
                let (rows, columns, values) = group.grid(metric);
                plot::heat(&rows, &columns, &values)
            }
        };
        figure(svg, &format!("{metric} by {axes}; the table below has the numbers"), &format!("{metric} by {axes}"))
    };
    let plots: Vec<Markup> = group.metrics.iter().map(plot).collect();
    html! {
        @if shape != Shape::Lines {
            // Names and numbers keep their size: a small window scrolls sideways, and the first metric is visible at
            // once.
            @for plot in &plots { div.scroll.wide role="region" tabindex="0" aria-label="Plot" { (plot) } }
        } @else {
            div.plots { @for plot in &plots { (plot) } }
        }
        (table(group.caption(), &strs(&part(names..costs)), names, &rows(names..costs)))
        (table("What the rows cost", &strs(&part(costs..head.len())), names, &rows(costs..head.len())))
        p { (group.facts()) }
    }
}

/// Renders the cost of every stage of every run.
fn costs(experiment: &Experiment) -> Markup {
    let head: Vec<&str> =
        experiment.axes.iter().map(String::as_str).chain(["stage", "time", "tokens", "peak MiB"]).collect();
    let count = |n: Option<u64>| n.map_or("-".into(), |n| grouped(n as usize));
    let rows = html! {
        @for (labels, stage) in &experiment.costs {
            tr {
                @for label in labels { td.name { (label) } }
                th scope="row" { (stage.name) }
                td { (duration(stage.seconds)) }
                td { (count(stage.tokens)) }
                td { (count(stage.peak_mib)) }
            }
        }
    };
    let caption = "Wall time, tokens read by the language model, and peak memory up to the end of each stage; shared work is \
         done once";
    html! {
        @if !experiment.costs.is_empty() {
            details { summary { "Every stage of every run" } (table(caption, &head, experiment.axes.len() + 1, &rows)) }
        }
    }
}

fn published(experiment: &Experiment) -> Markup {
    let Some(published) = &experiment.published else { return Markup::default() };
    let rows = html! {
        @for row in &published.rows {
            tr {
                @for (place, cell) in row.iter().enumerate() {
                    @if place == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                }
            }
        }
    };
    html! {
        (table(&published.source, &strs(&published.head), 1, &rows))
        @if !published.note.is_empty() { p { (published.note) } }
    }
}
