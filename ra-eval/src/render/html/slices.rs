//! Where each model is good: one plot per metric, and the numbers.
use super::dots;
use super::page::{panel, table};
use crate::Metric;
use crate::report::{Glance, Row, grouped};
use crate::significance::Interval;
use crate::slices::Slice;
use maud::{Markup, html};

/// The number of models that a plot has shapes for.
const DRAWN: usize = 5;

/// Renders a plot for NDCG at the smallest K and one for HR at the largest; the tables below them contain all models.
pub(super) fn slices(rows: &[Row], glance: Option<&Glance<'_>>) -> Markup {
    let models: Vec<&Row> = rows.iter().filter(|row| !row.slices.is_empty()).collect();
    let Some(first) = models.first() else { return Markup::default() };
    let metrics = || first.slices.iter().flat_map(|slice| slice.metrics.keys());
    let smallest = metrics().filter(|metric| matches!(metric, Metric::Ndcg(_))).min_by_key(|metric| metric.k());
    let largest = metrics().filter(|metric| matches!(metric, Metric::Hr(_))).max_by_key(|metric| metric.k());
    let metrics: Vec<Metric> = smallest.into_iter().chain(largest).copied().collect();
    let drawn = drawn(&models, glance);
    let names: Vec<String> = drawn.iter().map(|row| row.name.clone()).collect();
    html! {
        p {
            "Metrics on parts of the targets. A whisker is the 95 % interval of the difference from the baseline, drawn around \
             the model's value; the dashed line is the baseline's value. Where a whisker does not cross the line, the \
             difference is significant before any correction for the number of comparisons."
        }
        (dots::legend(&names))
        div.panels {
            @for metric in &metrics { (plot(*metric, first, &drawn)) }
        }
        @if drawn.len() < models.len() {
            p { small { "The plots show " (drawn.len()) " of " (models.len()) " models; the table has all of them." } }
        }
        details {
            summary { "All slices as numbers" }
            @for metric in &metrics { (numbers(*metric, first, &models)) }
        }
    }
}

/// Returns the models of the first screen, or the first few.
fn drawn<'a>(models: &[&'a Row], glance: Option<&Glance<'_>>) -> Vec<&'a Row> {
    let is_shown = |row: &&&Row| glance.is_none_or(|glance| glance.rows.iter().any(|shown| shown.name == row.name));
    models.iter().filter(is_shown).take(DRAWN).copied().collect()
}

/// Returns the same part of the targets for another model.
fn of<'a>(model: &'a Row, name: &str) -> Option<&'a Slice> {
    model.slices.iter().find(|slice| slice.name == name)
}

fn plot(metric: Metric, first: &Row, models: &[&Row]) -> Markup {
    let parts: Vec<dots::Part<'_>> = first.slices.iter().map(|slice| part(metric, slice, models)).collect();
    let values = |part: &dots::Part<'_>| {
        let value = |value: &dots::Value| format!("{} {:.4}", value.name, value.value);
        format!("{}: {}", part.name, part.values.iter().map(value).collect::<Vec<_>>().join(", "))
    };
    let described: Vec<String> = parts.iter().map(values).collect();
    panel(&metric.to_string(), &format!("{metric} by slice. {}", described.join("; ")), &dots::parts(&parts))
}

/// Returns the models' values on one part of the targets.
fn part<'a>(metric: Metric, slice: &'a Slice, models: &[&Row]) -> dots::Part<'a> {
    let value = |(glyph, model): (usize, &&Row)| {
        let found = of(model, &slice.name)?;
        let value = found.metrics.get(&metric).copied().filter(|value| value.is_finite())?;
        let around = |d: &Interval| (value - d.mean + d.low, value - d.mean + d.high);
        let interval = found.differences.get(&metric).map(around);
        Some(dots::Value { name: model.name.clone(), glyph, value, interval })
    };
    let values: Vec<dots::Value> = models.iter().enumerate().filter_map(value).collect();
    let baseline = models.iter().find_map(|model| model.baseline.as_ref());
    let baseline = values.iter().find(|value| Some(&value.name) == baseline).map(|value| value.value);
    dots::Part { name: &slice.name, targets: format!("{} targets", grouped(slice.targets)), baseline, values }
}

/// Lists every model on every part.
fn numbers(metric: Metric, first: &Row, models: &[&Row]) -> Markup {
    let name = metric.to_string();
    let head = ["slice", "model", "targets", &name, "difference", "95 % interval"];
    let rows = html! {
        @for slice in &first.slices {
            @for (model, own) in models.iter().filter_map(|model| Some((model, of(model, &slice.name)?))) {
                @let difference = own.differences.get(&metric);
                tr {
                    th scope="row" { (slice.name) }
                    td.name { (model.name) }
                    td { (grouped(own.targets)) }
                    td { (own.metrics.get(&metric).map_or("-".into(), |value| format!("{value:.4}"))) }
                    td { (difference.map_or("-".into(), |d| format!("{:+.4}", d.mean))) }
                    td { (difference.map_or("-".into(), |d| format!("{:+.4} to {:+.4}", d.low, d.high))) }
                }
            }
        }
    };
    table(&format!("{metric} by slice, with the difference from the baseline"), &head, 2, &rows)
}
