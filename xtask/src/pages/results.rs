//! Published reports, `docs/results/NAME/report.json`, and the tables that pages make from them.
use super::GUIDE;
use anyhow::{Context, Result, bail};
use ra_core::{read_json, write_atomic};
use ra_eval::{Metric, Report, Row, RowKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// The folder of the published reports.
const FOLDER: &str = "docs/results";

/// The file next to a report that holds the command that made it.
const COMMAND: &str = "command.txt";

/// Starts a generated table: the specification for [`Results::table`] follows, then `-->`, the table and [`END`].
const BEGIN: &str = "<!-- results ";
const END: &str = "<!-- results end -->";

/// Published reports by name, each with the command that made it.
pub(super) struct Results(BTreeMap<String, (Report, String)>);

impl Results {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut found = BTreeMap::new();
        let folder = root.join(FOLDER);
        let Ok(entries) = folder.read_dir() else { return Ok(Self(found)) };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let command = path.join(COMMAND);
            let command =
                std::fs::read_to_string(&command).with_context(|| format!("{}: cannot read", command.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(name, (read_json(&path.join("report.json"))?, command.trim().to_owned()));
        }
        Ok(Self(found))
    }

    /// Finds the row of `name/row`, ignoring anything in parentheses after the row's name; `-` means no row.
    fn row(&self, place: &str) -> Result<Option<&Row>> {
        if place == "-" {
            return Ok(None);
        }
        let (name, row) = place.split_once('/').with_context(|| format!("{place:?} is no report/row"))?;
        let (report, _) = self.0.get(name).with_context(|| format!("{FOLDER}/{name} is not there"))?;
        let called = |known: &&Row| known.name == row || known.name.split('(').next() == Some(row);
        report.rows.iter().find(called).with_context(|| format!("{FOLDER}/{name} has no row {row}")).map(Some)
    }

    /// Returns `text` with every marked table filled in.
    pub(super) fn filled(&self, text: &str) -> Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(BEGIN) {
            let (spec, after) = after.split_once("-->").context("a marked table is not closed by -->")?;
            let (_, after) =
                after.split_once(END).with_context(|| format!("a marked table does not end with {END}"))?;
            write!(filled, "{before}{BEGIN}{spec}-->\n{}{END}", self.table(spec)?)?;
            rest = after;
        }
        Ok(filled + rest)
    }

    /// Renders a table. The specification is a line of metrics, a line of comma-separated names of column groups, and
    /// then one line per row: its label, a colon, and one `report/row` per group.
    fn table(&self, spec: &str) -> Result<String> {
        let mut lines = spec.trim().lines();
        let metrics = lines.next().unwrap_or_default().split_whitespace();
        let metrics: Vec<Metric> =
            metrics.map(|name| name.parse().with_context(|| name.to_owned())).collect::<Result<_>>()?;
        let groups: Vec<&str> = lines.next().unwrap_or_default().split(',').map(str::trim).collect();
        let rows: Vec<(&str, Vec<Option<&Row>>)> = lines
            .map(|line| {
                let (label, places) = line.rsplit_once(':').with_context(|| format!("{line:?}: no label"))?;
                let found = places.split_whitespace().map(|place| self.row(place)).collect::<Result<Vec<_>>>()?;
                if found.len() != groups.len() {
                    bail!("{line:?}: {} rows for {} groups", found.len(), groups.len());
                }
                Ok((label.trim(), found))
            })
            .collect::<Result<_>>()?;
        let columns: Vec<(usize, Metric)> =
            (0..groups.len()).flat_map(|group| metrics.iter().map(move |metric| (group, *metric))).collect();
        let headers: Vec<String> =
            columns.iter().map(|(group, metric)| format!("{} {}", groups[*group], spelled(*metric))).collect();
        let mut table = format!("| | {} |\n|---|{}\n", headers.join(" | "), "---|".repeat(columns.len()));
        for (label, found) in &rows {
            let mut line = format!("| {label} |");
            for (group, metric) in &columns {
                let of = |found: &[Option<&Row>]| found.get(*group)?.as_ref()?.metrics.get(metric).copied();
                let best = rows.iter().filter_map(|(_, found)| of(found)).fold(f64::MIN, f64::max);
                match of(found) {
                    Some(value) if value >= best => write!(line, " **{}** |", figure(value))?,
                    Some(value) => write!(line, " {} |", figure(value))?,
                    None => line.push_str(" |"),
                }
            }
            writeln!(table, "{line}")?;
        }
        Ok(table)
    }

    /// Renders the results page of the guide.
    pub(super) fn page(&self) -> Result<String> {
        let mut page = String::from(
            "# Results\n\n\
             Each table is made from the `report.json` of one run, which is in `docs/results/`. All items are ranked for all \
             users.\nItems of the history are left out, ties count against the model, and models are chosen on the validation \
             part. The\nhighest figure of a column is bold, whether or not it is significantly higher.\n\n\
             Differences are to the row that is named. They have 95 % intervals over users (paired bootstrap, 2,000 \
             resamples)\nand *p* by a permutation test (5,000 permutations) with Holm's correction over all tests of the run. \
             With so many\npermutations, the smallest *p* that a table of 20 tests can show is .004.\n\n\
             More rows, seeds and data sets, and what failed, are in the [lab log](../../lab/README.md):\n\
             [rivals](../../lab/rivals.md), [distillation](../../lab/distillation.md), \
             [two layers](../../lab/two-layers.md),\n[few samples](../../lab/few-samples.md), \
             [every ID method](../../lab/id-methods.md).\n",
        );
        for (name, (report, command)) in &self.0 {
            let protocol = &report.protocol;
            writeln!(page, "\n## {name}\n\n```sh,long\n{command}\n```\n")?;
            writeln!(
                page,
                "{}: {} users, {} items, {} interactions; split {}.\nSeed {}, backend {}, commit {}, {}.\n",
                protocol.dataset,
                protocol.users,
                protocol.items,
                protocol.interactions,
                protocol.split,
                report.seed,
                report.backend,
                report.commit,
                report.machine.replace('_', "\\_"),
            )?;
            let shown: Vec<Metric> =
                ["hr@10", "ndcg@10", "hr@100", "ndcg@100"].iter().filter_map(|m| m.parse().ok()).collect();
            let names: Vec<String> = shown.iter().map(|metric| spelled(*metric)).collect();
            writeln!(page, "| row | {} | trained numbers | samples | training |", names.join(" | "))?;
            writeln!(page, "|---|{}---|---|---|", "---|".repeat(shown.len()))?;
            for row in &report.rows {
                let best = |metric: &Metric| {
                    let rows = report.rows.iter().filter(|row| row.kind != RowKind::Probe);
                    rows.filter_map(|row| row.metrics.get(metric)).fold(f64::MIN, |a, b| a.max(*b))
                };
                let cells = shown.iter().map(|metric| match row.metrics.get(metric) {
                    Some(value) if *value >= best(metric) => format!("**{}**", figure(*value)),
                    Some(value) => figure(*value),
                    None => String::new(),
                });
                let cells = cells.collect::<Vec<_>>().join(" | ");
                let (trained, samples) = (row.trainable_params, row.train_samples);
                writeln!(page, "| {} | {cells} | {trained} | {samples} | {:.0} s |", row.name, row.train_seconds)?;
            }
            let compared: Vec<&Row> = report.rows.iter().filter(|row| !row.differences.is_empty()).collect();
            if let Some(baseline) = compared.first().and_then(|row| row.baseline.as_deref()) {
                writeln!(page, "\n| difference to {baseline} | {} |", names.join(" | "))?;
                writeln!(page, "|---|{}", "---|".repeat(shown.len()))?;
                for row in compared {
                    let cells = shown.iter().map(|metric| match row.differences.get(metric) {
                        Some(found) => {
                            let p = found.p_holm.or(found.p).map(|p| format!(", p {}", p_value(p))).unwrap_or_default();
                            let [mean, low, high] = [found.mean, found.low, found.high].map(signed);
                            format!("{mean} ({low} to {high}{p})")
                        }
                        None => String::new(),
                    });
                    writeln!(page, "| {} | {} |", row.name, cells.collect::<Vec<_>>().join(" | "))?;
                }
            }
            page.push_str(&slices(report)?);
        }
        Ok(page)
    }

    /// Finds numbers with four decimals, `.1234` or `0.1234`, in documents and recipes that occur in no published
    /// report.
    pub(super) fn strangers(&self, root: &Path) -> Result<Vec<String>> {
        let published: BTreeSet<String> = self
            .0
            .values()
            .flat_map(|(report, _)| &report.rows)
            .flat_map(|row| {
                let ends = row.differences.values().flat_map(|d| [d.mean, d.low, d.high]);
                let sliced = row.slices.iter().flat_map(|slice| slice.metrics.values().copied());
                row.metrics
                    .values()
                    .copied()
                    .chain(ends)
                    .chain(sliced)
                    .map(|value| figure(value.abs()))
                    .collect::<Vec<_>>()
            })
            .collect();
        let recipes = root.join("xtask/recipes");
        let mut files = super::documents(root)?;
        let entries = recipes.read_dir().with_context(|| format!("{}: cannot read", recipes.display()))?;
        files.extend(entries.flatten().map(|entry| entry.path()));
        let mut strangers = Vec::new();
        for path in files {
            let text = std::fs::read_to_string(&path).with_context(|| format!("{}: cannot read", path.display()))?;
            for (number, line) in (1..).zip(text.lines()) {
                // A recipe's keys are settings; its comments may contain results.
                let is_recipe = path.extension().is_some_and(|end| end == "toml");
                let line = if is_recipe { line.split_once('#').map_or("", |(_, comment)| comment) } else { line };
                let unknown = figures(line).filter(|figure| !published.contains(*figure));
                strangers.extend(unknown.map(|figure| format!("{}:{number}: {figure}", path.display())));
            }
        }
        Ok(strangers)
    }
}

/// Copies the report of a finished run into the repository, without its sample recommendations, because they contain
/// titles from the data set.
///
/// # Errors
/// Returns an error if the run has no report or the folder cannot be written.
pub(crate) fn publish(run: &Path, name: &str, command: &str, commit: Option<String>, root: &Path) -> Result<()> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        bail!("{name:?} is no name for a report: letters, digits and - are allowed");
    }
    let mut report: Report = read_json(&run.join("report.json"))?;
    report.samples.clear();
    report.commit = commit.unwrap_or(report.commit);
    let folder = root.join(FOLDER).join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    write_atomic(&folder.join("report.json"), serde_json::to_string(&report)?.as_bytes())?;
    write_atomic(&folder.join(COMMAND), format!("{command}\n").as_bytes())?;
    say!("{}; call cargo xtask pages, which writes {GUIDE}/results.md", folder.display());
    Ok(())
}

/// Renders HR@10 by parts of the targets, with one column per row of the report.
fn slices(report: &Report) -> Result<String> {
    let hr = Metric::Hr(10);
    let rows: Vec<&Row> =
        report.rows.iter().filter(|row| row.slices.iter().any(|s| s.metrics.contains_key(&hr))).collect();
    let mut table = String::new();
    let Some(first) = rows.first() else { return Ok(table) };
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    writeln!(table, "\n| HR@10 by targets | number | {} |", names.join(" | "))?;
    writeln!(table, "|---|---|{}", "---|".repeat(rows.len()))?;
    for slice in &first.slices {
        let of = |row: &&Row| row.slices.iter().find(|other| other.name == slice.name)?.metrics.get(&hr).copied();
        let cells = rows.iter().map(|row| of(row).map(figure).unwrap_or_default());
        writeln!(table, "| {} | {} | {} |", slice.name, slice.targets, cells.collect::<Vec<_>>().join(" | "))?;
    }
    Ok(table)
}

/// Formats a metric as `HR@10`.
fn spelled(metric: Metric) -> String {
    metric.to_string().to_uppercase()
}

/// Formats a value as `.1234`, as papers do.
fn figure(value: f64) -> String {
    format!("{value:.4}").trim_start_matches('0').to_owned()
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    format!("{sign}{}", figure(value.abs()))
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "below .001".into() } else { format!("{p:.3}").trim_start_matches('0').to_owned() }
}

/// Finds numbers that look like results: a point and four digits, optionally after a 0, and not part of a longer number
/// or word.
fn figures(line: &str) -> impl Iterator<Item = &str> {
    let bytes = line.as_bytes();
    line.match_indices('.').filter_map(move |(at, _)| {
        let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        let behind = bytes.get(at + 1 + digits);
        let leads = |b: &u8| b.is_ascii_alphanumeric() || *b == b'.';
        let before = match at.checked_sub(1).map(|at| bytes[at]) {
            Some(b'0') => at.checked_sub(2).map(|at| bytes[at]),
            other => other,
        };
        let apart = before.is_none_or(|b| !leads(&b)) && behind.is_none_or(|b| !b.is_ascii_alphabetic());
        (digits == 4 && apart).then(|| &line[at..at + 5])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_from_versions_and_settings() {
        let found = |line| figures(line).collect::<Vec<_>>();
        assert_eq!(found("HR@10 .1941, or 0.1941 (+.0999)"), [".1941", ".1941", ".0999"]);
        assert!(found("version 0.22.2024, arXiv 2402.04527, 12.3456, lr = 0.03, .12345, v.1234a").is_empty());
    }
}
