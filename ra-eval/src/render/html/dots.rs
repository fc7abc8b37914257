//! Dots with intervals as inline SVG: differences between models, and models on parts of the targets.
//!
//! Plots are drawn for a panel [`WIDE`] pixels wide, so that their text is readable both on a phone and on a wide
//! screen. Colours are classes of the style sheet; shapes carry the same information.
use crate::report::{probability, signed};
use crate::significance::Interval;
use maud::{Markup, html};

/// The width of every plot; a panel of another width scales it.
const WIDE: f64 = 360.0;

/// The margin at both sides, for a dot at the edge and half an axis label.
const EDGE: f64 = 14.0;

/// The height of the axis with its labels.
const AXIS: f64 = 24.0;

/// The maximum length of a name next to its numbers, and on a line of its own, in characters.
const NAME: usize = 24;
const LONG_NAME: usize = 50;

/// A model and its difference from another.
pub(super) struct Difference<'a> {
    pub(super) name: String,
    pub(super) found: &'a Interval,
}

/// A part of the targets and the models' values on it.
pub(super) struct Part<'a> {
    pub(super) name: &'a str,
    pub(super) targets: String,
    /// The value of the baseline that the models are compared with.
    pub(super) baseline: Option<f64>,
    pub(super) values: Vec<Value>,
}

/// The value of a model, drawn with the glyph of its position.
pub(super) struct Value {
    pub(super) name: String,
    pub(super) glyph: usize,
    pub(super) value: f64,
    /// The interval of the value relative to the baseline: the value plus the interval of the difference.
    pub(super) interval: Option<(f64, f64)>,
}

/// Maps values to pixels and chooses round numbers for labels.
struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

impl Scale {
    /// Spans the smallest to the largest of `values` and 0.
    fn new(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) =
            values.filter(|v| v.is_finite()).fold((0.0f64, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if high > low { (low, high) } else { (-0.01, 0.01) };
        let rough = (high - low) / 4.0;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * magnitude).into_iter().find(|step| *step >= rough);
        Self { low, high, step: step.unwrap_or(rough) }
    }

    fn at(&self, value: f64) -> f64 {
        EDGE + (value.clamp(self.low, self.high) - self.low) / (self.high - self.low) * (WIDE - 2.0 * EDGE)
    }

    /// Returns the labelled values and their text.
    fn ticks(&self) -> Vec<(f64, String)> {
        let digits = (-self.step.log10().floor()).clamp(0.0, 8.0) as usize;
        let ticks = (self.low / self.step).ceil() as i64..=(self.high / self.step).floor() as i64;
        let text = |value: f64| format!("{value:.digits$}").replace('-', "\u{2212}");
        ticks.map(|n| (n as f64 * self.step, if n == 0 { "0".into() } else { text(n as f64 * self.step) })).collect()
    }

    /// Draws grid lines through `bands`, which exclude lines of text, and the labels below the last band.
    fn axis(&self, bands: &[(f64, f64)]) -> Markup {
        let bottom = bands.last().map_or(0.0, |(_, bottom)| *bottom);
        html! {
            @for (value, text) in self.ticks() {
                @let x = px(self.at(value));
                @for (top, bottom) in bands {
                    line class=(if value == 0.0 { "zero" } else { "grid" }) x1=(x) x2=(x) y1=(px(*top)) y2=(px(*bottom)) {}
                }
                text.soft x=(x) y=(px(bottom + 16.0)) text-anchor="middle" { (text) }
            }
        }
    }

    fn whisker(&self, (low, high): (f64, f64), y: f64) -> Markup {
        let (left, right) = (px(self.at(low)), px(self.at(high)));
        let (top, bottom) = (px(y - 4.0), px(y + 4.0));
        let path = format!("M{left} {}H{right}M{left} {top}V{bottom}M{right} {top}V{bottom}", px(y));
        html! { path.whisker d=(path) {} }
    }
}

/// Draws one row per difference: the name and the numbers, and below them the dot with its interval around 0. Long
/// names get a line of their own.
pub(super) fn differences(rows: &[Difference<'_>]) -> Markup {
    let is_long = rows.iter().any(|row| row.name.chars().count() > NAME);
    let (name_high, anchor, x) = if is_long { (16.0, "start", 0.0) } else { (0.0, "end", WIDE) };
    let high = 42.0 + name_high;
    let scale = Scale::new(rows.iter().flat_map(|row| [row.found.low, row.found.mean, row.found.high]));
    let bands: Vec<(f64, f64)> = tops(rows.len(), high).map(|top| (top + high - 22.0, top + high - 3.0)).collect();
    let row = |place: usize, Difference { name, found }: &Difference<'_>| {
        let top = high * place as f64;
        let y = top + high - 13.0;
        let (class, glyph) = match (found.is_significant(), found.mean > 0.0) {
            (true, true) => ("better", 0),
            (true, false) => ("worse", 2),
            (false, _) => ("open", 0),
        };
        html! {
            g class=(class) {
                title { (difference(name, found)) }
                text x="0" y=(px(top + 15.0)) { (short(name)) }
                text.soft x=(x) y=(px(top + name_high + 15.0)) text-anchor=(anchor) { (figures(found)) }
                (scale.whisker((found.low, found.high), y))
                (shape(glyph, scale.at(found.mean), y, 5.0))
            }
        }
    };
    html! {
        svg viewBox=(view(high * rows.len() as f64 + AXIS)) {
            (scale.axis(&bands))
            @for (place, difference) in rows.iter().enumerate() { (row(place, difference)) }
        }
    }
}

/// Draws one band per part: its name, below it the models one under another, and a line at the baseline.
pub(super) fn parts(parts: &[Part<'_>]) -> Markup {
    const HEAD: f64 = 22.0;
    const HIGH: f64 = 13.0;
    let models = parts.iter().map(|part| part.values.len()).max().unwrap_or(0);
    let high = HEAD + HIGH * models as f64 + 6.0;
    let all = parts.iter().flat_map(|part| &part.values);
    let scale = Scale::new(all.flat_map(|v| [Some(v.value), v.interval.map(|i| i.1)]).flatten());
    let bands: Vec<(f64, f64)> = tops(parts.len(), high).map(|top| (top + HEAD - 2.0, top + high - 4.0)).collect();
    let band = |place: usize, part: &Part<'_>| {
        let top = high * place as f64;
        html! {
            text.name x="0" y=(px(top + 15.0)) { (part.name) }
            text.soft x=(WIDE) y=(px(top + 15.0)) text-anchor="end" { (part.targets) }
            @if let Some(x) = part.baseline.map(|value| px(scale.at(value))) {
                line.baseline x1=(x) x2=(x) y1=(px(top + HEAD - 2.0)) y2=(px(top + high - 4.0)) {}
            }
            @for (line, value) in part.values.iter().enumerate() {
                @let y = top + HEAD + HIGH * (line as f64 + 0.5);
                g class=(format!("model-{}", value.glyph)) {
                    title { (value.name) ": " (format!("{:.4}", value.value)) }
                    @if let Some(interval) = value.interval { (scale.whisker(interval, y)) }
                    (shape(value.glyph, scale.at(value.value), y, 4.5))
                }
            }
        }
    };
    html! {
        svg viewBox=(view(high * parts.len() as f64 + AXIS)) {
            (scale.axis(&bands))
            @for (place, part) in parts.iter().enumerate() { (band(place, part)) }
        }
    }
}

/// Draws each glyph next to its name.
pub(super) fn legend(names: &[String]) -> Markup {
    html! {
        ul.legend {
            @for (glyph, name) in names.iter().enumerate() {
                li {
                    (key_glyph(&format!("model-{glyph}"), glyph))
                    (name)
                }
            }
        }
    }
}

/// Draws a glyph in the colour of a class, for a legend.
fn key_glyph(class: &str, glyph: usize) -> Markup {
    html! {
        svg class=(format!("key {class}")) viewBox="0 0 14 14" aria-hidden="true" { (shape(glyph, 7.0, 7.0, 5.0)) }
    }
}

/// Explains the dots of [`differences`].
pub(super) fn key() -> Markup {
    let dot = |class: &str, glyph: usize, name: &str| {
        html! {
            li {
                (key_glyph(class, glyph))
                (name)
            }
        }
    };
    html! {
        ul.legend {
            (dot("better", 0, "significantly better"))
            (dot("worse", 2, "significantly worse"))
            (dot("open", 0, "no significant difference"))
        }
    }
}

/// Describes a difference in words.
pub(super) fn difference(name: &str, found: &Interval) -> String {
    let p = found.p_holm.map(|p| format!(", corrected p {}", probability(p))).unwrap_or_default();
    let significant = if found.is_significant() { "significant" } else { "not significant" };
    format!("{name}: {}{p}, {significant}", figures(found))
}

fn figures(found: &Interval) -> String {
    format!("{} ({} to {})", signed(found.mean), signed(found.low), signed(found.high))
}

/// Draws the glyph of a position: circle, square, diamond, triangle, inverted triangle.
fn shape(glyph: usize, x: f64, y: f64, r: f64) -> Markup {
    let points = |corners: &[(f64, f64)]| {
        let corner = |(dx, dy): &(f64, f64)| format!("{},{}", px(x + r * dx), px(y + r * dy));
        corners.iter().map(corner).collect::<Vec<_>>().join(" ")
    };
    let corners: &[(f64, f64)] = match glyph % 5 {
        0 => return html! { circle.dot cx=(px(x)) cy=(px(y)) r=(r) {} },
        1 => &[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        2 => &[(0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0)],
        3 => &[(0.0, -1.1), (1.1, 0.9), (-1.1, 0.9)],
        _ => &[(0.0, 1.1), (1.1, -0.9), (-1.1, -0.9)],
    };
    html! { polygon.dot points=(points(corners)) {} }
}

/// Returns the top of each band.
fn tops(bands: usize, high: f64) -> impl Iterator<Item = f64> {
    (0..bands).map(move |band| high * band as f64)
}

/// Truncates a name to the available space.
fn short(name: &str) -> String {
    if name.chars().count() <= LONG_NAME {
        return name.into();
    }
    name.chars().take(LONG_NAME - 1).chain(['…']).collect()
}

fn view(high: f64) -> String {
    format!("0 0 {WIDE} {}", px(high))
}

/// Rounds a coordinate to a tenth of a pixel.
fn px(value: f64) -> f64 {
    (10.0 * value).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_numbers_and_0() {
        let ticks = |low, high| -> Vec<String> {
            Scale::new([low, high].into_iter()).ticks().into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(ticks(-0.207, -0.01), ["\u{2212}0.2", "\u{2212}0.1", "0"]);
        assert_eq!(ticks(0.1, 0.75), ["0", "0.2", "0.4", "0.6"]);
        assert_eq!(ticks(0.0, 0.0).len(), 5, "nothing differs");
        assert_eq!(ticks(f64::NAN, 4.0), ["0", "1", "2", "3", "4"]);
    }

    #[test]
    fn every_difference_has_a_dot_with_its_figures() {
        let of = |mean, p| Interval { mean, low: mean - 0.1, high: mean + 0.1, p_holm: Some(p), ..Interval::default() };
        let found = [of(0.3, 0.01), of(-0.3, 0.01), of(0.0, 0.9)];
        let name = |place: usize| format!("a model with a <long> name, number {place}");
        let rows: Vec<Difference<'_>> =
            found.iter().enumerate().map(|(place, found)| Difference { name: name(place), found }).collect();
        let svg = differences(&rows).into_string();
        for part in
            ["class=\"better\"", "class=\"worse\"", "class=\"open\"", "+0.3000 (+0.2000 to +0.4000)", "&lt;long&gt;"]
        {
            assert_eq!(svg.matches(part).count().min(1), 1, "{part}: {svg}");
        }
        assert_eq!(svg.matches("class=\"dot\"").count(), 3);
        assert!(difference("a", &found[2]).ends_with("corrected p 0.90, not significant"));
    }
}
