//! Reports as Markdown.
use crate::report::{
    Comparison, Experiment, Glance, Report, ResultTable, Row, SampleRecommendation, duration, grouped, over_seeds,
    supported,
};
use crate::{Measure, Metric};
use std::fmt::Write;

impl Report {
    /// Renders the report as Markdown.
    pub fn markdown(&self) -> String {
        report(self)
    }
}

impl Comparison<'_> {
    /// Renders the comparison as Markdown.
    pub fn markdown(&self) -> String {
        comparison(self)
    }
}

impl Experiment {
    /// Renders the tables as Markdown.
    pub fn markdown(&self) -> String {
        experiment(self)
    }
}

/// Renders a whole report.
fn report(report: &Report) -> String {
    let mut out = format!("# {}\n\n{}\n\n", plain(&report.recipe), plain(&report.origin()));
    let table = ResultTable::new(std::slice::from_ref(report));
    glance(&mut out, Glance::new(std::slice::from_ref(report), &[], &table).as_ref(), &table);
    results(&mut out, &table);
    differences(&mut out, &table, "Differences");
    slices(&mut out, report);
    protocol(&mut out, report);
    let finding =
        |f: &crate::AuditFinding| vec![plain(&f.name), plain(f.level.name()), plain(&f.told), plain(&f.effect)];
    section(&mut out, "Data audit", &["check", "level", "finding", "effect"], report.audit.iter().map(finding));
    let count = |n: Option<u64>| n.map_or("-".into(), |n| grouped(n as usize));
    let stage = |s: &crate::StageCost| vec![plain(&s.name), duration(s.seconds), count(s.tokens), count(s.peak_mib)];
    section(&mut out, "Costs", &["stage", "time", "tokens", "peak MiB"], report.stages.iter().map(stage));
    let tensor = |row: &ra_core::ParamRow| vec![plain(&row.name), format!("{:?}", row.shape), grouped(row.params)];
    section(&mut out, "Parameters trained", &["tensor", "shape", "parameters"], report.ledger.iter().map(tensor));
    let total: usize = report.ledger.iter().map(|row| row.params).sum();
    if total > 0 {
        let _ = writeln!(out, "{} parameters in total.\n", grouped(total));
    }
    samples(&mut out, &report.samples);
    out
}

/// Renders several runs.
fn comparison(comparison: &Comparison<'_>) -> String {
    let mut out = String::from("# Comparison\n\n");
    for report in comparison.reports {
        let _ = writeln!(out, "- {}", plain(&report.origin()));
    }
    out.push('\n');
    if let Some(caution) = comparison.caution() {
        let _ = writeln!(out, "Warning: {caution}\n");
    }
    let all = ResultTable::new(comparison.reports);
    let best = Glance::new(comparison.reports, &comparison.between, &all).filter(|_| comparison.caution().is_none());
    glance(&mut out, best.as_ref(), &all);
    results(&mut out, &all);
    seeds(&mut out, comparison.reports);
    let between = ResultTable::of(comparison.between.iter().map(|row| (None, row)).collect(), Vec::new());
    differences(&mut out, &between, "Differences between runs");
    differences(&mut out, &all, "Differences within runs");
    for (index, report) in comparison.reports.iter().enumerate() {
        if index == 0 || comparison.caution().is_some() {
            protocol(&mut out, report);
        }
    }
    out
}

/// Writes the answers to a reader's first questions and the warnings.
fn glance(out: &mut String, glance: Option<&Glance<'_>>, table: &ResultTable<'_>) {
    for line in table.warnings() {
        let _ = writeln!(out, "Warning: {}\n", plain(&line));
    }
    let Some(glance) = glance else { return };
    out.push_str("## At a glance\n\n");
    for answer in &glance.answers {
        let _ = writeln!(out, "- {} **{}.** {}", answer.question, plain(&answer.short), plain(&answer.text));
    }
    for line in &glance.made {
        let _ = writeln!(out, "- {}", plain(line));
    }
    let metrics = names(&glance.measures);
    let head = ["model", "significance"].into_iter().chain(metrics.iter().map(String::as_str));
    let head: Vec<&str> = head.chain(["parameters", "training", "ranking"]).collect();
    let rows = glance.rows.iter().map(|shown| {
        let value = |measure: &Measure| match (shown.row.measure(*measure), measure.group) {
            (Some((value, _)), None) => format!("{value:.4}"),
            (found, _) => supported(found),
        };
        let (trained, ranked) = (duration(shown.row.train_seconds), duration(shown.row.eval_seconds));
        let mut cells = vec![plain(&shown.name), plain(&shown.standing)];
        cells.extend(glance.measures.iter().map(value));
        cells.extend([grouped(shown.row.trainable_params), trained, ranked]);
        cells
    });
    out.push('\n');
    rows_of(out, &head, rows);
    let _ = writeln!(out, "{}\n", glance.caveat);
}

/// Writes the rows that were run with several seeds.
fn seeds(out: &mut String, reports: &[Report]) {
    let headline = ResultTable::new(reports).headline;
    let names = names(&headline);
    let head: Vec<&str> = ["recipe", "model", "seeds"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let rows = over_seeds(reports).into_iter().map(|over| {
        let seeds = over.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let figure = |metric: &Metric| match over.metrics.get(metric) {
            Some([mean, deviation]) => format!("{mean:.4} ± {deviation:.4}"),
            None => "-".into(),
        };
        [plain(&over.recipe), plain(&over.name), seeds].into_iter().chain(headline.iter().map(figure)).collect()
    });
    section(out, "Over seeds: mean ± standard deviation", &head, rows);
}

/// Writes one table per metric, with slices as rows and models as columns.
fn slices(out: &mut String, report: &Report) {
    let models: Vec<&Row> = report.rows.iter().filter(|row| !row.slices.is_empty()).collect();
    let Some(first) = models.first() else { return };
    for metric in first.slices.first().map(|slice| slice.metrics.keys().collect::<Vec<_>>()).unwrap_or_default() {
        let head: Vec<String> =
            ["slice".into(), "targets".into()].into_iter().chain(models.iter().map(|m| plain(&m.name))).collect();
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let rows = first.slices.iter().map(|slice| {
            let figure = |model: &&Row| {
                let own = model.slices.iter().find(|other| other.name == slice.name);
                own.and_then(|own| own.metrics.get(metric)).map_or("-".into(), |value| format!("{value:.4}"))
            };
            [plain(&slice.name), grouped(slice.targets)].into_iter().chain(models.iter().map(figure)).collect()
        });
        section(out, &format!("{metric} by slice"), &head, rows);
    }
}

fn results(out: &mut String, table: &ResultTable<'_>) {
    for (title, metrics, costs) in [("Results", &table.headline, true), ("Further metrics", &table.further, false)] {
        let mut head: Vec<&str> = if table.rows.iter().any(|(run, _)| run.is_some()) { vec!["run"] } else { vec![] };
        head.push("model");
        let names = names(metrics);
        head.extend(names.iter().map(String::as_str));
        let within: Vec<String> = table.groups.iter().map(|measure| format!("{measure} (users)")).collect();
        if costs {
            head.extend(within.iter().map(String::as_str));
            head.extend(["tied", "samples", "parameters", "training", "ranking"]);
        }
        let rows = table.rows.iter().map(|(run, row)| {
            let mut cells: Vec<String> = run.iter().map(|run| plain(run)).collect();
            cells.push(plain(&row.name));
            for &metric in metrics {
                cells.push(match row.metrics.get(&metric) {
                    Some(&value) if costs && table.is_best(metric, value) => format!("**{value:.4}**"),
                    Some(value) => format!("{value:.4}"),
                    None => "-".into(),
                });
            }
            if costs {
                cells.extend(table.groups.iter().map(|&measure| supported(row.measure(measure))));
                cells.extend([format!("{:.2} %", 100.0 * row.tied_share), grouped(row.train_samples)]);
                cells.extend([grouped(row.trainable_params), duration(row.train_seconds), duration(row.eval_seconds)]);
            }
            cells
        });
        if costs || !metrics.is_empty() {
            section(out, title, &head, rows);
        }
    }
}

/// Renders one recipe in several settings.
fn experiment(experiment: &Experiment) -> String {
    let mut out = format!("# {}\n\n", plain(&experiment.name));
    for group in &experiment.groups {
        let head: Vec<String> = experiment.head(group).iter().map(|name| plain(name)).collect();
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let title =
            if experiment.groups.len() == 1 { "Results".into() } else { format!("Results: {}", plain(&group.name())) };
        let rows = group.lines.iter().map(|line| line.cells(group).iter().map(|cell| plain(cell)).collect());
        section(&mut out, &title, &head, rows);
        let _ = writeln!(out, "{}; {}\n", group.caption(), plain(&group.facts()));
    }
    let head: Vec<String> = experiment.axes.iter().map(|axis| plain(axis)).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).chain(["stage", "time", "tokens", "peak MiB"]).collect();
    let count = |n: Option<u64>| n.map_or("-".into(), |n| grouped(n as usize));
    let rows = experiment.costs.iter().map(|(labels, s)| {
        let own = [plain(&s.name), duration(s.seconds), count(s.tokens), count(s.peak_mib)];
        labels.iter().map(|label| plain(label)).chain(own).collect()
    });
    section(&mut out, "Costs", &head, rows);
    if let Some(published) = &experiment.published {
        let head: Vec<&str> = published.head.iter().map(String::as_str).collect();
        let rows = published.rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect());
        section(&mut out, &format!("Published: {}", plain(&published.source)), &head, rows);
        let _ = writeln!(out, "{}\n", plain(&published.note));
    }
    for origin in &experiment.origins {
        let _ = writeln!(out, "- {}", plain(origin));
    }
    out
}

fn differences(out: &mut String, table: &ResultTable<'_>, title: &str) {
    let several = table.rows.iter().any(|(run, _)| run.is_some());
    let mut head = if several { vec!["run"] } else { vec![] };
    head.extend(["model", "compared with"]);
    let names = names(&table.headline);
    head.extend(names.iter().map(String::as_str));
    let rows = table.rows.iter().filter_map(|(run, row)| Some((run, row, row.baseline.as_ref()?)));
    let rows = rows.map(|(run, row, baseline)| {
        let mut cells: Vec<String> = run.iter().map(|run| plain(run)).collect();
        cells.extend([plain(&row.name), plain(baseline)]);
        cells.extend(table.headline.iter().map(|metric| match row.differences.get(metric) {
            Some(d) => {
                let p = d.p_holm.map_or(String::new(), |p| format!(", corrected p {p:.4}"));
                let size = d.detectable.map_or(String::new(), |size| format!(", detectable {size:.4}"));
                format!("{:+.4} \\[{:+.4}, {:+.4}\\]{p}{size}", d.mean, d.low, d.high)
            }
            None => "-".into(),
        }));
        cells
    });
    let how = "95 % interval (paired bootstrap over users), p of a permutation test with Holm's correction";
    section(out, &format!("{title}: {how}"), &head, rows);
}

fn protocol(out: &mut String, report: &Report) {
    let facts = Report::protocol_facts(&report.protocol);
    section(out, "Protocol", &["", ""], facts.into_iter().map(|(name, value)| vec![name.into(), plain(&value)]));
}

fn samples(out: &mut String, samples: &[SampleRecommendation]) {
    if !samples.is_empty() {
        out.push_str("## Sample recommendations\n\n");
    }
    for sample in samples {
        let _ = writeln!(out, "### User {}\n", plain(&sample.user));
        let _ = writeln!(out, "History: {}  ", list(&sample.history));
        let _ = writeln!(out, "Held out: {}\n", list(&sample.targets));
        for recommended in &sample.lists {
            let title = |(place, title): (usize, &String)| {
                let title = plain(title);
                if recommended.hits.contains(&place) { format!("**{title}**") } else { title }
            };
            let titles: Vec<String> = recommended.titles.iter().enumerate().map(title).collect();
            let _ = writeln!(out, "- {}: {}", plain(&recommended.row), titles.join("; "));
        }
        out.push('\n');
    }
}

/// Returns metrics as column headings.
fn names<T: ToString>(measures: &[T]) -> Vec<String> {
    measures.iter().map(ToString::to_string).collect()
}

fn list(titles: &[String]) -> String {
    titles.iter().map(|title| plain(title)).collect::<Vec<_>>().join("; ")
}

/// Writes a heading and a table, unless there are no rows.
fn section(out: &mut String, title: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = write!(out, "## {title}\n\n");
    rows_of(out, head, rows);
}

/// Writes a table.
fn rows_of(out: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = write!(out, "| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out.push('\n');
}

/// Escapes text for Markdown and HTML, on one line.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_only_text() {
        assert_eq!(plain("a|b\n<b>*c*</b> & _d_"), r"a\|b &lt;b&gt;\*c\*&lt;/b&gt; &amp; \_d\_");
    }
}
