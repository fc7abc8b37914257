//! Two records side by side: on the terminal, and as a page.
use super::record::{Figure, Record, giga, ms, percent};
use crate::machine::Machine;
use anyhow::{Result, anyhow, ensure};
use ra_eval::TablePage;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How to read the table of a page.
const READING: &str = "A ratio below 1 is a faster step. Times are per step: wall time, and the CPU time of the process, \
    which other programs on the machine change less. A share is the step's operations or bytes per wall second beside \
    what the machine can do at most; a matrix unit or a cache may exceed it.";

/// Two records, each with the path it was read from.
#[derive(Debug)]
struct Comparison {
    paths: [String; 2],
    records: [Record; 2],
}

/// Prints a table of two records, and writes it as a page to `to`.
///
/// # Errors
/// Names a file that is not what `bench --json` prints, or a page that cannot be written.
pub(crate) fn compare(paths: &[PathBuf; 2], to: Option<&Path>) -> Result<()> {
    let [before, after] = paths;
    let found = Comparison {
        paths: paths.each_ref().map(|path| path.display().to_string()),
        records: [read(before)?, read(after)?],
    };
    if let Some(to) = to {
        ra_core::refuse_inputs(&[to.to_owned()], paths)?;
    }
    found.lines().iter().for_each(|line| say!("{line}"));
    if let Some(to) = to {
        ra_core::write_atomic(to, found.page().as_bytes())?;
        say!("\n{}", to.display());
    }
    Ok(())
}

/// Reads what `bench --json` printed.
fn read(path: &Path) -> Result<Record> {
    let remedy = "measure again with `cargo xtask bench --json > FILE`";
    let value: Value = ra_core::read_json(path).map_err(|error| anyhow!("{error}; {remedy}"))?;
    ensure!(!value.is_array(), "{}: is a list of figures, as older versions wrote it; {remedy}", path.display());
    let found: Record = serde_json::from_value(value)
        .map_err(|e| anyhow!("{}: is not what `bench --json` prints: {e}; {remedy}", path.display()))?;
    ensure!(!found.figures.is_empty(), "{}: has no figures; {remedy}", path.display());
    Ok(found)
}

impl Comparison {
    /// Returns what the two records must have in common to tell anything of a change, where they differ.
    fn warnings(&self) -> Vec<String> {
        let [before, after] = &self.records;
        let unlike = |what: &str, [before, after]: [String; 2]| {
            (before != after).then(|| format!("{what} differ: {before} before, {after} after"))
        };
        let both = |of: fn(&Record) -> String| [of(before), of(after)];
        let found = [
            unlike("machines", both(|record| hardware(&record.machine))),
            unlike("threads", both(|record| record.threads.to_string())),
            unlike("precisions", both(|record| record.precision.name().into())),
            unlike("back ends", both(|record| record.backend.name().into())),
        ];
        found.into_iter().flatten().collect()
    }

    /// Returns where and when each record was measured, as far as it is known.
    fn origins(&self) -> [String; 2] {
        let origin = |which: &str, path: &str, record: &Record| {
            let mut told = format!("{which}: {path}");
            told += &record.commit.as_ref().map_or(String::new(), |commit| format!(", commit {commit}"));
            told +=
                &format!(", {}, {} threads, load {}", hardware(&record.machine), record.threads, record.machine.load());
            if let Some(limits) = &record.limits {
                let [flops, bytes] = [limits.flops_per_s, limits.bytes_per_s].map(|limit| giga(limit.all_threads));
                told += &format!(", at most {flops} GFLOP/s and {bytes} GB/s");
            }
            told
        };
        let [before, after] = &self.records;
        [origin("before", &self.paths[0], before), origin("after", &self.paths[1], after)]
    }

    /// Returns the heads of the columns.
    fn head(&self) -> Vec<&'static str> {
        let mut head = vec!["bench", "before", "after", "ratio", "CPU before", "CPU after", "CPU ratio"];
        head.extend(["share before", "share after"]);
        if self.has_scaling() {
            head.extend(["efficiency before", "efficiency after"]);
        }
        head
    }

    /// Returns a row for each benchmark of either record, in the order of the first.
    fn rows(&self) -> Vec<Vec<String>> {
        let [before, after] = self.records.each_ref().map(|record| &record.figures);
        let of = |figures: &'_ [Figure], name: &str| figures.iter().find(|figure| figure.name == name).cloned();
        let new = after.iter().filter(|figure| of(before, &figure.name).is_none());
        before
            .iter()
            .chain(new)
            .map(|Figure { name, .. }| self.row(name, [of(before, name), of(after, name)]))
            .collect()
    }

    fn row(&self, name: &str, both: [Option<Figure>; 2]) -> Vec<String> {
        let mut row = vec![name.to_owned()];
        let each = |tell: fn(&Figure) -> Option<String>| {
            both.each_ref().map(|figure| figure.as_ref().and_then(tell).unwrap_or_else(|| "-".into()))
        };
        let ratio = |of: fn(&Figure) -> f64| {
            let [before, after] = both.each_ref().map(|figure| figure.as_ref().map(of));
            ratio(before, after).map_or_else(|| "-".into(), |ratio| format!("{ratio:.3}"))
        };
        row.extend(each(|figure| Some(ms(figure.wall_s))));
        row.push(ratio(|figure| figure.wall_s));
        row.extend(each(|figure| Some(ms(figure.cpu_s))));
        row.push(ratio(|figure| figure.cpu_s));
        row.extend(each(shares));
        if self.has_scaling() {
            row.extend(each(|figure| Some(format!("{:.2}", figure.one_thread?.efficiency))));
        }
        row
    }

    fn has_scaling(&self) -> bool {
        self.records.iter().flat_map(|record| &record.figures).any(|figure| figure.one_thread.is_some())
    }

    /// Returns the comparison as a self-contained page.
    fn page(&self) -> String {
        let (origins, warnings, head, rows) = (self.origins(), self.warnings(), self.head(), self.rows());
        let (title, reading) = ("Speed before and after", READING);
        TablePage { title, origins: &origins, warnings: &warnings, reading, head: &head, rows: &rows }.html()
    }

    /// Returns the comparison for a terminal.
    fn lines(&self) -> Vec<String> {
        let head = self.head().into_iter().map(String::from).collect();
        let rows: Vec<Vec<String>> = std::iter::once(head).chain(self.rows()).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        let line = |row: &Vec<String>| {
            // Names to the left, numbers to the right.
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ")
        };
        let warnings = self.warnings().into_iter().map(|warning| format!("warning: {warning}"));
        self.origins().into_iter().chain(warnings).chain(rows.iter().map(line)).collect()
    }
}

/// Returns what of a machine decides how fast it is.
fn hardware(machine: &Machine) -> String {
    let processor = machine.processor.as_ref().map_or(String::new(), |name| format!("{name}, "));
    format!("{processor}{}", machine.units())
}

/// Returns the time after as a share of that before; nothing if either is missing or too short to be told.
fn ratio(before: Option<f64>, after: Option<f64>) -> Option<f64> {
    let ratio = after? / before?;
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

/// Returns the shares of the limits that are known: `61 % of FLOP/s`.
fn shares(figure: &Figure) -> Option<String> {
    let told = |share: Option<f64>, unit: &str| Some(format!("{} of {unit}", percent(share?)));
    let all = [told(figure.flops_share, "FLOP/s"), told(figure.bytes_share, "B/s")];
    let all: Vec<String> = all.into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::record::{OneThread, tests::record};
    use super::*;

    fn comparison(before: Record, after: Record) -> Comparison {
        Comparison { paths: ["old.json", "new.json"].map(String::from), records: [before, after] }
    }

    #[test]
    fn each_bench_of_either_record_has_a_row() {
        let found = comparison(record(&[("a", 0.4), ("gone", 1.0)]), record(&[("new", 2.0), ("a", 0.1)]));
        let rows = found.rows();
        let cells = |row: usize| rows[row].iter().map(String::as_str).collect::<Vec<_>>();
        let expected = ["a", "400.0 ms", "100.0 ms", "0.250", "800.0 ms", "200.0 ms", "0.250"];
        assert_eq!(cells(0), [&expected[..], &["12 % of FLOP/s", "50 % of FLOP/s"]].concat());
        assert_eq!(cells(1)[..5], ["gone", "1000.0 ms", "-", "-", "2000.0 ms"]);
        assert_eq!(cells(2)[..5], ["new", "-", "2000.0 ms", "-", "-"]);
        assert!(rows.iter().all(|row| row.len() == found.head().len()));
        let lines = found.lines();
        assert!(lines[0].contains("old.json") && lines[0].contains("load 0.50 1.00 1.50"), "{}", lines[0]);
        let widths: Vec<usize> = lines[2..].iter().map(|line| line.chars().count()).collect();
        assert_eq!((lines.len(), widths), (6, vec![lines[2].len(); 4]), "{lines:?}");
    }

    #[test]
    fn efficiencies_are_compared_where_there_are_any() {
        let mut after = record(&[("a", 0.1)]);
        after.figures[0].one_thread = Some(OneThread { cpu_s: 0.19, wall_s: 0.19, efficiency: 0.95 });
        let found = comparison(record(&[("a", 0.1)]), after);
        assert_eq!(found.head()[9..], ["efficiency before", "efficiency after"]);
        assert_eq!(found.rows()[0][9..], ["-", "0.95"]);
    }

    #[test]
    fn records_of_other_conditions_are_warned_of() {
        let same = record(&[("a", 1.0)]);
        assert!(comparison(same.clone(), same.clone()).warnings().is_empty());
        let mut other = same.clone();
        other.machine.load = None;
        other.commit = Some("abc".into());
        assert!(comparison(same.clone(), other.clone()).warnings().is_empty(), "what may differ");
        (other.machine.cores, other.threads, other.precision) = (4, 1, ra_core::Precision::Bf16);
        let warnings = comparison(same, other).warnings();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].starts_with("machines differ: Xeon, 2 cores") && warnings[0].contains("4 cores"));
        assert_eq!(warnings[1], "threads differ: 2 before, 1 after");
        assert_eq!(warnings[2], "precisions differ: f32 before, bf16 after");
    }

    #[test]
    fn a_time_that_noise_has_swallowed_has_no_ratio() {
        assert_eq!(ratio(Some(2.0), Some(1.0)), Some(0.5));
        for (before, after) in [(Some(0.0), Some(1.0)), (Some(1.0), Some(-0.1)), (None, Some(1.0)), (Some(1.0), None)] {
            assert_eq!(ratio(before, after), None);
        }
    }

    #[test]
    fn a_file_that_is_no_record_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let whole = serde_json::to_value(record(&[("a", 1.0)])).unwrap();
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove("figures");
        let empty = serde_json::to_value(record(&[])).unwrap();
        let list = whole["figures"].clone();
        for (name, text, problem) in [
            ("text", "minilm-text 3 ms".to_owned(), "not the expected JSON"),
            ("cut", whole.to_string()[..100].to_owned(), "not the expected JSON"),
            ("list", list.to_string(), "older versions"),
            ("without", without.to_string(), "missing field `figures`"),
            ("empty", empty.to_string(), "no figures"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let message = crate::terminal::one_line(&read(&path).unwrap_err());
            let told = [path.to_str().unwrap(), problem, "measure again"];
            assert!(told.iter().all(|part| message.contains(part)), "{name}: {message}");
        }
        let absent = folder.path().join("absent.json");
        assert!(crate::terminal::one_line(&read(&absent).unwrap_err()).contains("absent.json"));
    }

    #[test]
    fn a_page_holds_the_table_and_no_markup_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let [before, after, page] = ["before.json", "after.json", "page.html"].map(|name| folder.path().join(name));
        let mut bad = record(&[("<script>alert(1)</script>", 0.4)]);
        bad.machine.processor = Some("\"><img src=x>".into());
        bad.commit = Some("<b>".into());
        ra_core::write_json(&before, &bad).unwrap();
        ra_core::write_json(&after, &record(&[("<script>alert(1)</script>", 0.2)])).unwrap();
        let paths = [before.clone(), after];
        compare(&paths, Some(&page)).unwrap();
        let html = std::fs::read_to_string(&page).unwrap();
        for part in ["&lt;script&gt;alert(1)", "&quot;&gt;&lt;img", "&lt;b&gt;", "0.500", "machines differ"] {
            assert!(html.contains(part), "{part}: {html}");
        }
        for part in ["<script", "<img", "<b>", "http"] {
            assert!(!html.contains(part), "{part}");
        }
        assert!(compare(&paths, Some(&before)).is_err(), "a page never replaces a record");
        assert_eq!(read(&before).unwrap(), bad);
    }
}
