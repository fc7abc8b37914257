//! Published reports, `docs/results/NAME/report.json`, and the tables that pages make from them.
use super::GUIDE;
use anyhow::{Context, Result, bail};
use ra_core::{read_json, write_atomic};
use ra_eval::{Interval, Metric, PERMUTATIONS, Protocol, RESAMPLES, Report, Row, RowKind};
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

/// Published reports by name.
pub(super) struct Results(BTreeMap<String, PublishedRun>);

struct PublishedRun {
    report: Report,
    /// The command that made it.
    command: String,
}

impl Results {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut found = BTreeMap::new();
        let folder = root.join(FOLDER);
        let Ok(entries) = folder.read_dir() else { return Ok(Self(found)) };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let command = super::read(&path.join(COMMAND))?.trim().to_owned();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(name, PublishedRun { report: read_json(&path.join("report.json"))?, command });
        }
        Ok(Self(found))
    }

    /// Finds the row of `name/row`, ignoring anything in parentheses after the row's name; `-` means no row.
    fn row(&self, place: &str) -> Result<Option<&Row>> {
        if place == "-" {
            return Ok(None);
        }
        let (name, row) = place.split_once('/').with_context(|| format!("{place:?} is no report/row"))?;
        let PublishedRun { report, .. } = self.0.get(name).with_context(|| format!("{FOLDER}/{name} is not there"))?;
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
        let headers = columns.iter().map(|(group, metric)| format!("{} {}", groups[*group], spelled(*metric)));
        let mut table = head("", headers);
        for (label, found) in &rows {
            let cells = columns.iter().map(|(group, metric)| {
                let value = |found: &[Option<&Row>]| found.get(*group)?.as_ref()?.metrics.get(metric).copied();
                cell(value(found), rows.iter().filter_map(|(_, found)| value(found)))
            });
            table.push_str(&line(label, cells));
        }
        Ok(table)
    }

    /// Renders the results page of the guide.
    pub(super) fn page(&self) -> Result<String> {
        let mut page = format!(
            "# Results\n\n\
             Each section is made from the `report.json` of one run, which is in `docs/results/`. It shows the recipe as it \
             was at\nthe commit that is named above its table, so the same command may give other rows today. What the rows \
             are:\n[best](best.md#what-it-makes), [quick start](quick-start.md#run).\n\n\
             All items are ranked. Items of the history are left out, ties count against the model, and models are chosen on \
             the\nvalidation part. The highest figure of a column is bold, whether or not it is significantly higher. A row \
             `X, without Y`\nis a probe, never bold: the blend `X`, chosen again without the row `Y`.\n\n\
             Differences are from the row that is named. They have 95 % intervals over users (paired bootstrap, {RESAMPLES} \
             resamples)\nand *p* by a permutation test ({PERMUTATIONS} permutations) with Holm's correction over all tests of \
             the run. Before the\ncorrection, no *p* is below 1/{}, however large the difference.\n\n\
             Amazon data are processed 5-core files that we were given\n\
             ([what is known of them](your-data.md#the-amazon-data-sets-of-this-project)): your counts may differ.\n\n\
             More rows, seeds and data sets, and what failed, are in the [lab log](../../lab/README.md):\n\
             [rivals](../../lab/rivals.md), [distillation](../../lab/distillation.md), \
             [two layers](../../lab/two-layers.md),\n[few samples](../../lab/few-samples.md), \
             [every ID method](../../lab/id-methods.md).\n",
            PERMUTATIONS + 1,
        );
        for (name, PublishedRun { report, command }) in &self.0 {
            writeln!(page, "\n## {name}\n\n```sh,long\n{command}\n```\n\n{}", origin(report))?;
            page.extend([metrics(report), differences(report), slices(report)]);
        }
        Ok(page)
    }

    /// Finds numbers with four decimals, `.1234` or `0.1234`, in documents and recipes that occur in no published
    /// report.
    pub(super) fn strangers(&self, root: &Path) -> Result<Vec<String>> {
        let mut published = BTreeSet::new();
        let known = |value: f64| figure(value.abs());
        for row in self.0.values().flat_map(|run| &run.report.rows) {
            let ends = row.differences.values().flat_map(|found| [found.mean, found.low, found.high]);
            let sliced = row.slices.iter().flat_map(|slice| slice.metrics.values().copied());
            published.extend(row.metrics.values().copied().chain(ends).chain(sliced).map(known));
        }
        let recipes = root.join("xtask/recipes");
        let mut files = super::documents(root)?;
        let entries = recipes.read_dir().with_context(|| format!("{}: cannot read", recipes.display()))?;
        files.extend(entries.flatten().map(|entry| entry.path()));
        let mut strangers = Vec::new();
        for path in files {
            // A recipe's keys are settings; its comments may contain results.
            let is_recipe = path.extension().is_some_and(|end| end == "toml");
            for (number, line) in (1..).zip(super::read(&path)?.lines()) {
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

/// The metrics of the page.
const SHOWN: [Metric; 4] = [Metric::Hr(10), Metric::Ndcg(10), Metric::Hr(100), Metric::Ndcg(100)];

/// Describes the data, the split and the machine of a report.
fn origin(report: &Report) -> String {
    let Report { seed, backend, commit, machine, protocol, recommended, rows, .. } = report;
    let Protocol { dataset, users, items, interactions, split, .. } = protocol;
    let ranked = rows.first().map_or(*users, |row| row.users);
    let ranked = if ranked < *users { format!(" ({ranked} of them ranked)") } else { String::new() };
    let recommended =
        recommended.as_ref().map(|row| format!(" Recommended by validation: `{row}`.")).unwrap_or_default();
    format!(
        "{dataset}: {users} users{ranked}, {items} items, {interactions} interactions; split {split}.\n\
         Seed {seed}, backend {backend}, commit {commit}, {}.\n\
         Chosen by {}.{recommended}\n",
        machine.replace('_', "\\_"),
        protocol.select,
    )
}

/// Renders the rows of a report. Probes are no choice, so they are never bold.
fn metrics(report: &Report) -> String {
    let more = ["trained numbers", "samples", "training"].map(str::to_owned);
    let mut table = head("row", SHOWN.map(spelled).into_iter().chain(more));
    let usable = || report.rows.iter().filter(|row| row.kind != RowKind::Probe);
    for row in &report.rows {
        let cells = SHOWN.map(|metric| {
            let value = |row: &Row| row.metrics.get(&metric).copied();
            match row.kind {
                RowKind::Probe => value(row).map(figure).unwrap_or_default(),
                _ => cell(value(row), usable().filter_map(value)),
            }
        });
        let trained = row.trainable_params.to_string();
        let more = [trained, row.train_samples.to_string(), format!("{:.0} s", row.train_seconds)];
        table.push_str(&line(&row.name, cells.into_iter().chain(more)));
    }
    table
}

/// Renders the differences between rows of a report; empty if there are none.
fn differences(report: &Report) -> String {
    let compared: Vec<&Row> = report.rows.iter().filter(|row| !row.differences.is_empty()).collect();
    let Some(baseline) = compared.first().and_then(|row| row.baseline.as_deref()) else { return String::new() };
    let mut table = format!("\n{}", head(&format!("difference from {baseline}"), SHOWN.map(spelled)));
    for row in compared {
        let cells = SHOWN.map(|metric| row.differences.get(&metric).map(difference).unwrap_or_default());
        table.push_str(&line(&row.name, cells));
    }
    table
}

/// Renders HR@10 by parts of the targets, with one column per row of the report but probes; empty if no row has any.
fn slices(report: &Report) -> String {
    let hr = Metric::Hr(10);
    let is_sliced = |row: &&Row| row.slices.iter().any(|slice| slice.metrics.contains_key(&hr));
    let rows: Vec<&Row> = report.rows.iter().filter(|row| row.kind != RowKind::Probe).filter(is_sliced).collect();
    let Some(first) = rows.first() else { return String::new() };
    let names = rows.iter().map(|row| row.name.clone());
    let mut table = format!("\n{}", head("HR@10 by targets", std::iter::once("number".into()).chain(names)));
    for slice in &first.slices {
        let of = |row: &&Row| row.slices.iter().find(|other| other.name == slice.name)?.metrics.get(&hr).copied();
        let cells = rows.iter().map(|row| of(row).map(figure).unwrap_or_default());
        table.push_str(&line(&slice.name, std::iter::once(slice.targets.to_string()).chain(cells)));
    }
    table
}

/// Starts a table of Markdown.
fn head(first: &str, columns: impl IntoIterator<Item = String>) -> String {
    let columns: Vec<String> = columns.into_iter().collect();
    let rule = "---|".repeat(1 + columns.len());
    format!("{}|{rule}\n", line(first, columns))
}

/// Renders a line of a table of Markdown.
fn line(first: &str, cells: impl IntoIterator<Item = String>) -> String {
    let mut line = String::from("|");
    for cell in std::iter::once(first.to_owned()).chain(cells) {
        line.extend([if cell.is_empty() { "" } else { " " }, &cell, " |"]);
    }
    line + "\n"
}

/// Formats a value of a column, bold if none of the column is higher; empty if there is no value.
fn cell(value: Option<f64>, column: impl Iterator<Item = f64>) -> String {
    match value {
        Some(value) if value >= column.fold(f64::MIN, f64::max) => format!("**{}**", figure(value)),
        Some(value) => figure(value),
        None => String::new(),
    }
}

/// Formats a difference as `+.0123 (+.0045 to +.0201, p .004)`.
fn difference(found: &Interval) -> String {
    let p = found.p_holm.or(found.p).map(|p| format!(", p {}", p_value(p))).unwrap_or_default();
    let [mean, low, high] = [found.mean, found.low, found.high].map(signed);
    format!("{mean} ({low} to {high}{p})")
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
    fn versions_and_settings_are_no_figures() {
        let found = |line| figures(line).collect::<Vec<_>>();
        assert_eq!(found("HR@10 .1941, or 0.1941 (+.0999)"), [".1941", ".1941", ".0999"]);
        assert!(found("version 0.22.2024, arXiv 2402.04527, 12.3456, lr = 0.03, .12345, v.1234a").is_empty());
    }

    fn report() -> Report {
        let protocol = serde_json::json!({ "fingerprint": "f", "dataset": "tiny", "users": 4, "items": 5,
            "interactions": 20, "filter": "", "split": "s", "candidates": "all", "seen": "removed", "ties": "t",
            "select": "hr@10" });
        let row = |name: &str, kind: &str, hr: f64| {
            let mut row = Row::default();
            (row.name, row.kind) = (name.into(), kind.into());
            row.metrics = [(Metric::Hr(10), hr), (Metric::Ndcg(10), 0.0987)].into();
            row.users = 3;
            row
        };
        let mut compared = row("ra-rec(mf, bert)", "ra-rec", 0.1234);
        let difference = Interval { mean: -0.0333, low: -0.0501, high: 0.0166, p: Some(0.2), ..Interval::default() };
        (compared.baseline, compared.differences) = (Some("pop".into()), [(Metric::Hr(10), difference)].into());
        let rows = vec![row("pop", "id", 0.1567), compared, row("zero IDs", "probe", 0.9)];
        let mut report = Report::new("r", 1, serde_json::from_value(protocol).unwrap(), rows);
        report.recommended = Some("pop".into());
        let sample = serde_json::json!({ "user": "u", "history": ["A title"], "targets": [], "lists": [] });
        report.samples.push(serde_json::from_value(sample).unwrap());
        report
    }

    /// Makes a repository of a README, an empty folder of recipes and a published report.
    fn repository(readme: &str) -> (tempfile::TempDir, Results) {
        let root = tempfile::tempdir().unwrap();
        let (run, recipes) = (root.path().join("runs/tiny"), root.path().join("xtask/recipes"));
        for folder in [&run, &recipes, &root.path().join(GUIDE)] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(root.path().join("README.md"), readme).unwrap();
        write_atomic(&run.join("report.json"), &serde_json::to_vec(&report()).unwrap()).unwrap();
        publish(&run, "tiny", "ra-rec run tiny", Some("abc123".into()), root.path()).unwrap();
        let results = Results::read(root.path()).unwrap();
        (root, results)
    }

    #[test]
    fn a_report_is_published_without_titles_and_under_a_plain_name() {
        let (root, results) = repository("");
        let PublishedRun { report, command } = &results.0["tiny"];
        assert!(report.samples.is_empty() && report.commit == "abc123" && command == "ra-rec run tiny");
        for name in ["", "../tiny", "a/b", "a b"] {
            assert!(publish(&root.path().join("runs/tiny"), name, "", None, root.path()).is_err(), "{name:?}");
        }
        assert!(publish(&root.path().join("runs/none"), "none", "", None, root.path()).is_err());
        let page = results.page().unwrap();
        for line in [
            "## tiny",
            "tiny: 4 users (3 of them ranked), 5 items, 20 interactions; split s.",
            "Chosen by hr@10. Recommended by validation: `pop`.",
            "| row | HR@10 | NDCG@10 | HR@100 | NDCG@100 | trained numbers | samples | training |",
            "| pop | **.1567** | **.0987** | | | 0 | 0 | 0 s |",
            "| ra-rec(mf, bert) | .1234 | **.0987** | | | 0 | 0 | 0 s |",
            "| zero IDs | .9000 | .0987 | | | 0 | 0 | 0 s |",
            "| difference from pop | HR@10 | NDCG@10 | HR@100 | NDCG@100 |",
            "| ra-rec(mf, bert) | -.0333 (-.0501 to +.0166, p .200) | | | |",
        ] {
            assert!(page.lines().any(|known| known == line), "{line}\n{page}");
        }
    }

    #[test]
    fn a_marked_table_is_filled_in_or_says_what_is_wrong_with_it() {
        let (_root, results) = repository("");
        let page = |spec: &str| format!("before\n<!-- results {spec} -->old<!-- results end -->\nafter\n");
        let spec = "hr@10\none, two\nRA-Rec: tiny/ra-rec -\nPopularity: tiny/pop tiny/pop";
        let table = "| | one HR@10 | two HR@10 |\n|---|---|---|\n| RA-Rec | .1234 | |\n| Popularity | **.1567** | **.1567** |\n";
        let filled = results.filled(&page(spec)).unwrap();
        assert_eq!(filled, page(spec).replace("old", &format!("\n{table}")));
        assert_eq!(results.filled(&filled).unwrap(), filled);
        for (wrong, told) in [
            (page("hr@10\none\nA: tiny/none"), "has no row none"),
            (page("hr@10\none\nA: huge/pop"), "huge is not there"),
            (page("hr@10\none\nA: pop"), "is no report/row"),
            (page("hr@10\none\nA: tiny/pop tiny/pop"), "2 rows for 1 groups"),
            (page("hr@10\none\nA tiny/pop"), "no label"),
            (page("hit@10\none\nA: tiny/pop"), "hit@10"),
            ("<!-- results hr@10".into(), "not closed"),
            ("<!-- results hr@10 --> a table".into(), "does not end"),
        ] {
            let found = format!("{:#}", results.filled(&wrong).unwrap_err());
            assert!(found.contains(told), "{wrong}: {found}");
        }
    }

    #[test]
    fn a_figure_of_no_published_report_is_found_with_its_line() {
        let (root, results) = repository("from .1567 to 0.1234, -.0333 (-.0501 to +.0166)\nand .9999 besides\n");
        let recipe = root.path().join("xtask/recipes/r.toml");
        std::fs::write(&recipe, "# .0987 and .4321\nlr = 0.0003\nid_noise = .2468\n").unwrap();
        let readme = root.path().join("README.md");
        let expected = [format!("{}:2: .9999", readme.display()), format!("{}:1: .4321", recipe.display())];
        assert_eq!(results.strangers(root.path()).unwrap(), expected);
    }
}
