//! Learning curves as SVG without fonts or scripts of their own.
//!
//! [`ACCENT`] and [`QUIET`] are colours that the page's style sheet replaces, so that a plot follows light and dark.
use plotters::prelude::*;

/// Of the curve.
pub(crate) const ACCENT: RGBColor = RGBColor(0x1F, 0x6F, 0xEB);
/// Of axes.
pub(crate) const QUIET: RGBColor = RGBColor(0x80, 0x80, 0x80);

const SIZE: (u32, u32) = (420, 220);

/// A line through `points`; none when there are fewer than two that are finite.
pub(crate) fn line(points: &[(f64, f64)]) -> Option<String> {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    plot(&[(String::new(), points)], Scale { log: false, marks: false, margin: 0.05, right: 20 })
}

/// Several lines over a common axis of logarithmic `x`, their points marked, each named where it ends; none unless one has
/// two points.
pub(crate) fn lines(series: &[(String, Vec<(f64, f64)>)]) -> Option<String> {
    if series.iter().flat_map(|s| &s.1).any(|p| p.0 <= 0.0) {
        return None;
    }
    plot(series, Scale { log: true, marks: true, margin: 0.1, right: 80 })
}

/// How a plot is laid out.
struct Scale {
    /// Whether `x` is logarithmic.
    log: bool,
    /// Whether points are marked and lines named where they end.
    marks: bool,
    /// Room above and below, as a share of the range of `y`.
    margin: f64,
    /// Pixels on the right.
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

fn draw(
    svg: &mut String,
    series: &[(String, Vec<(f64, f64)>)],
    scale: &Scale,
) -> Result<(), Box<dyn std::error::Error>> {
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
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_labels(5)
        .y_labels(5)
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(QUIET.mix(0.25))
        .axis_style(QUIET)
        .label_style(("sans-serif", 12).into_font().color(&QUIET))
        .x_label_formatter(&|x| format!("{:.0}", if scale.log { x.exp() } else { *x }))
        .y_label_formatter(&|y| format!("{y:.digits$}"))
        .draw()?;
    for (index, (name, points)) in series.iter().enumerate() {
        let mut points: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (place(x), y)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let colour = if index == 0 { ACCENT } else { QUIET };
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        if let Some(&last) = points.last().filter(|_| scale.marks) {
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
            let label = ("sans-serif", 12).into_font().color(&colour);
            chart.draw_series(std::iter::once(EmptyElement::at(last) + Text::new(name.clone(), (6, -6), label)))?;
        }
    }
    root.present()?;
    Ok(())
}

/// The range of `values` and a margin on both sides; never empty.
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
}
