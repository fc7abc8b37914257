//! One recipe in several settings, with the plot that its axes ask for.
use super::page::{figure, page, strs, table};
use crate::experiment::{Experiment, Group, Shape};
use crate::plot;
use maud::{Markup, html};

/// A table a protocol; lines where the last axis is a number, bars along one axis, a heat map over two.
pub(crate) fn experiment(experiment: &Experiment) -> String {
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
    sections.push(("published", "Published figures", published(experiment)));
    let lead = html! { ul { @for origin in &experiment.origins { li { (origin) } } } };
    page(&experiment.name, &lead, &sections)
}

fn results(experiment: &Experiment, group: &Group) -> Markup {
    let head = experiment.head();
    let names = experiment.axes.len() + 1;
    let rows = html! {
        @for line in &group.lines {
            tr {
                @for (place, cell) in line.cells().into_iter().enumerate() {
                    @if place < names { th scope="row" { (cell) } } @else { td { (cell) } }
                }
            }
        }
    };
    html! {
        div.plots {
            @for metric in ["hr@10", "ndcg@10", "hr@100"] {
                @let (svg, what) = match experiment.shape(group) {
                    Shape::Lines => (plot::lines(&group.series(metric)), "lines"),
                    Shape::Bars => (plot::bars(&group.bars(metric)), "bars"),
                    Shape::Heat => { let (rows, columns, values) = group.grid(metric); (plot::heat(&rows, &columns, &values), "cells") }
                };
                (figure(svg, &format!("{metric} by {}, as {what}; the table below has the figures", experiment.axes.join(" and ")),
                    &format!("{metric} by {}", experiment.axes.join(" and "))))
            }
        }
        (table("Means over seeds, with the smallest and the largest", &strs(&head), &rows))
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
        (table(&published.source, &strs(&published.head), &rows))
        @if !published.note.is_empty() { p { (published.note) } }
    }
}
