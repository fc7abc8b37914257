//! Plots as SVG without embedded fonts or scripts.
//!
//! The page's style sheet replaces the colours [`ACCENT`], [`QUIET`] and [`INK`], so that plots follow the light or
//! dark theme.
use plotters::prelude::*;

/// The colour of curves.
pub(crate) const ACCENT: RGBColor = RGBColor(0x1F, 0x6F, 0xEB);
/// The colour of axes.
pub(crate) const QUIET: RGBColor = RGBColor(0x80, 0x80, 0x80);

/// The colour of numbers in a plot.
pub(crate) const INK: RGBColor = RGBColor(0x10, 0x10, 0x10);

const SIZE: (u32, u32) = (420, 220);

/// The size of all text: 12 pixels in SVG units.
const TEXT: i32 = 15;

/// The maximum length of a line's name, in characters.
const NAME: usize = 24;

fn text(colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&colour)
}

/// A bar or a cell: its name, its value and, if known, the interval around it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) interval: Option<(f64, f64)>,
}

/// Draws a line through `points`; `None` if fewer than two of them are finite.
pub(crate) fn line(points: &[(f64, f64)]) -> Option<String> {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    plot(&[(String::new(), points)], Scale { log: false, marks: false, margin: 0.05, right: 20 })
}

/// Draws several lines over a common logarithmic `x` axis, with marked points and a name at the end of each line;
/// `None` if no line has two points.
pub(crate) fn lines(series: &[(String, Vec<(f64, f64)>)]) -> Option<String> {
    if series.iter().flat_map(|s| &s.1).any(|p| p.0 <= 0.0) {
        return None;
    }
    let longest = series.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(NAME) as i32;
    plot(series, Scale { log: true, marks: true, margin: 0.1, right: 7 * longest + 20 })
}

/// Draws one horizontal bar per value, starting at 0, with whiskers for intervals; `None` if no value is above 0.
pub(crate) fn bars(bars: &[Bar]) -> Option<String> {
    let largest = bars.iter().map(|bar| bar.interval.map_or(bar.value, |i| i.1.max(bar.value))).fold(0.0, f64::max);
    let whole = bars.iter().all(|bar| bar.value.is_finite());
    if bars.is_empty() || !whole || largest <= 0.0 {
        return None;
    }
    let mut svg = String::new();
    draw_bars(&mut svg, bars, largest).ok()?;
    Some(svg)
}

fn draw_bars(svg: &mut String, bars: &[Bar], largest: f64) -> Drawn {
    const HIGH: i32 = 22;
    let longest = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0).min(44) as i32;
    let (left, wide) = (7 * longest + 8, 300);
    let root = SVGBackend::with_string(svg, ((left + wide + 60) as u32, (HIGH * bars.len() as i32 + 8) as u32));
    let root = root.into_drawing_area();
    let at = |value: f64| left + (value.max(0.0) / largest * f64::from(wide)) as i32;
    for (bar, top) in bars.iter().zip((4..).step_by(HIGH as usize)) {
        let name: String = bar.name.chars().take(44).collect();
        let middle = top + HIGH / 2;
        root.draw(&Text::new(name, (0, top + 5), text(QUIET)))?;
        root.draw(&Rectangle::new([(left, top + 4), (at(bar.value), top + HIGH - 4)], ACCENT.mix(0.55).filled()))?;
        if let Some((low, high)) = bar.interval {
            root.draw(&PathElement::new([(at(low), middle), (at(high), middle)], INK.stroke_width(2)))?;
        }
        let end = at(bar.interval.map_or(bar.value, |i| i.1.max(bar.value)));
        root.draw(&Text::new(format!("{:.4}", bar.value), (end + 6, top + 5), text(INK)))?;
    }
    root.present()?;
    Ok(())
}

/// Draws one cell for each of `rows` and `columns`, darker for larger values; `None` if fewer than two cells have a
/// value.
pub(crate) fn heat(rows: &[String], columns: &[String], values: &[Vec<Option<f64>>]) -> Option<String> {
    let known: Vec<f64> = values.iter().flatten().flatten().copied().filter(|v| v.is_finite()).collect();
    if known.len() < 2 {
        return None;
    }
    let mut svg = String::new();
    draw_heat(&mut svg, rows, columns, values, span(known.into_iter(), 0.0)).ok()?;
    Some(svg)
}

fn draw_heat(
    svg: &mut String,
    rows: &[String],
    columns: &[String],
    values: &[Vec<Option<f64>>],
    range: std::ops::Range<f64>,
) -> Drawn {
    const HIGH: i32 = 30;
    let longest = |names: &[String]| names.iter().map(|n| n.chars().count()).max().unwrap_or(0) as i32;
    let (left, wide) = (7 * longest(rows) + 8, (7 * longest(columns)).max(70) + 8);
    let size = (left + wide * columns.len() as i32 + 4, HIGH * (rows.len() as i32 + 1) + 4);
    let root = SVGBackend::with_string(svg, (size.0 as u32, size.1 as u32)).into_drawing_area();
    for (name, x) in columns.iter().zip((left..).step_by(wide as usize)) {
        root.draw(&Text::new(name.clone(), (x + 6, 8), text(QUIET)))?;
    }
    for ((name, values), y) in rows.iter().zip(values).zip((HIGH..).step_by(HIGH as usize)) {
        root.draw(&Text::new(name.clone(), (0, y + 9), text(QUIET)))?;
        for (value, x) in values.iter().zip((left..).step_by(wide as usize)) {
            let Some(value) = value.filter(|v| v.is_finite()) else { continue };
            // Light enough for the number to be readable in every cell.
            let share = 0.06 + 0.5 * (value - range.start) / (range.end - range.start);
            root.draw(&Rectangle::new([(x, y), (x + wide - 2, y + HIGH - 2)], ACCENT.mix(share).filled()))?;
            root.draw(&Text::new(format!("{value:.4}"), (x + 6, y + 9), text(INK)))?;
        }
    }
    root.present()?;
    Ok(())
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// The layout of a plot.
struct Scale {
    /// Whether `x` is logarithmic.
    log: bool,
    /// Whether points are marked and lines named where they end.
    marks: bool,
    /// Margin above and below, as a share of the range of `y`.
    margin: f64,
    /// The right margin in pixels.
    right: i32,
}

fn plot(series: &[(String, Vec<(f64, f64)>)], scale: Scale) -> Option<String> {
    if series.iter().all(|(_, points)| points.len() < 2) {
        return None;
    }
    let mut svg = String::new();
    draw(&mut svg, series, &scale).ok()?;
    Some(svg)
}

fn draw(svg: &mut String, series: &[(String, Vec<(f64, f64)>)], scale: &Scale) -> Drawn {
    let place = |x: f64| if scale.log { x.ln() } else { x };
    let all = || series.iter().flat_map(|(_, points)| points);
    let x = span(all().map(|p| place(p.0)), 0.0);
    let y = span(all().map(|p| p.1), scale.margin);
    let digits = (1.0 - (y.end - y.start).log10().floor()).clamp(0.0, 8.0) as usize;
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .margin_right(scale.right)
        .x_label_area_size(28)
        .y_label_area_size(58)
        .build_cartesian_2d(x, y.clone())?;
    chart
        .configure_mesh()
        .x_labels(if scale.log { 0 } else { 5 })
        .y_labels(5)
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(QUIET.mix(0.25))
        .axis_style(QUIET)
        .label_style(text(QUIET))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.digits$}"))
        .draw()?;
    if scale.log {
        // Round numbers are of little use on an uneven axis: each point gets its own label if there is room.
        let mut free = 0;
        for at in distinct(all().map(|p| p.0)) {
            let ((x, y), label) = (chart.backend_coord(&(place(at), y.start)), at.to_string());
            let half = 4 * label.chars().count() as i32;
            if x - half >= free {
                root.draw(&Text::new(label, (x - half, y + 8), text(QUIET)))?;
                free = x + half + 4;
            }
        }
    }
    let mut names = Vec::new();
    for (index, (name, points)) in series.iter().enumerate() {
        let mut points: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (place(x), y)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let colour = if index == 0 { ACCENT } else { QUIET };
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        if let Some(&last) = points.last().filter(|_| scale.marks) {
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
            names.push((chart.backend_coord(&last), name, colour));
        }
    }
    names.sort_by_key(|((_, y), ..)| *y);
    let mut free = 0;
    for ((x, y), name, colour) in names {
        // Placed below the previous name if two lines end close together.
        let top = free.max(y - 6);
        free = top + TEXT;
        let name: String = name.chars().take(NAME).collect();
        root.draw(&Text::new(name, (x + 6, top), text(colour)))?;
    }
    root.present()?;
    Ok(())
}

/// Returns the values in ascending order, each once.
fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// Returns the range of `values` with a margin on both sides; it is never empty.
fn span(values: impl Iterator<Item = f64>, margin: f64) -> std::ops::Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let width = if high > low { high - low } else { low.abs().max(1.0) * 0.1 };
    let margin = if high > low { margin * width } else { width };
    low - margin..high + margin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_an_svg_in_the_colours_of_the_style_sheet() {
        let svg = line(&[(0.0, 1.0), (100.0, 0.5), (200.0, f64::NAN)]).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("#1F6FEB") && svg.contains("#808080"), "{svg}");
        assert!(line(&[(0.0, 2.0), (10.0, 2.0)]).is_some());
        assert!(line(&[(0.0, 2.0), (10.0, f64::NAN)]).is_none());
    }

    #[test]
    fn lines_have_a_tick_at_each_point_and_names_that_do_not_cover_each_other() {
        let of = |name: &str, points: &[(f64, f64)]| (name.to_string(), points.to_vec());
        let series =
            [of("random", &[(1.0, 0.1), (6.0, 0.2), (100.0, 0.3)]), of("curated", &[(1.0, 0.05), (100.0, 0.3)])];
        let svg = lines(&series).unwrap();
        assert!([1, 6, 100].iter().all(|x| svg.contains(&format!("\n{x}\n"))), "{svg}");
        let top = |name: &str| -> i32 {
            let (before, _) = svg.split_once(&format!("\n{name}\n")).unwrap();
            let (_, y) = before.rsplit_once(" y=\"").unwrap();
            y.split('"').next().unwrap().parse().unwrap()
        };
        assert!((top("random") - top("curated")).abs() >= TEXT, "{svg}");
    }

    #[test]
    fn bars_and_cells_are_as_many_as_values() {
        let bar = |name: &str, value, interval| Bar { name: name.into(), value, interval };
        let svg = bars(&[bar("full", 0.3, Some((0.2, 0.4))), bar("no <ID>", 0.1, None)]).unwrap();
        assert_eq!(svg.matches("fill=\"#1F6FEB\"").count(), 2, "{svg}");
        assert!(svg.contains("no &lt;ID&gt;") && svg.contains("0.3000"), "{svg}");
        assert!(bars(&[]).is_none() && bars(&[bar("a", 0.0, None)]).is_none());
        let names = ["a", "b"].map(String::from);
        let svg = heat(&names, &names, &[vec![Some(0.1), None], vec![Some(0.2), Some(0.3)]]).unwrap();
        assert_eq!(svg.matches("fill=\"#1F6FEB\"").count(), 3, "{svg}");
        assert!(heat(&names, &names, &[vec![Some(0.1), None], vec![None, None]]).is_none());
    }
}
