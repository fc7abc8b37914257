//! `cargo xtask gpu-check`: everything that must hold on a GPU, compared with the CPU of the same machine in one table.
//!
//! Each part starts this program again, for the CPU and for the back end, so that a crash of one ends no other. It
//! needs neither cargo nor a network: a bare GPU machine needs only the binary, golden cases and, for the whole
//! quickstart, `data/` and `models/`.
pub(super) mod tiny;

use crate::bench::Record;
use crate::fetch;
use anyhow::{Context, Result, bail};
use ra_core::{Backend, Precision, device_name, open_device};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The benchmarks: steps of an ID method, of the language model and of the alignment, and the ranking.
const BENCHES: [&str; 7] =
    ["sasrec-softmax", "minilm-text", "minilm-hybrid", "align-all", "align-two", "align-last", "rank-64"];

/// The benchmark of the back end alone, in every precision it supports; it is too large for a CPU.
const LARGE: &str = "many-pooled";

/// The arguments of the command line.
#[derive(Debug)]
pub(crate) struct CheckArgs {
    pub(crate) backend: Backend,
    /// Folders of golden cases; the first holds language models.
    pub(crate) cases: Vec<PathBuf>,
    /// Whether to use a tiny run instead of the quickstart and run no benchmarks.
    pub(crate) quick: bool,
}

/// Returns the golden cases of the repository whose outcome depends on the back end.
pub(crate) fn own_cases(root: &Path) -> Vec<PathBuf> {
    ["ra-llm", "ra-idmodels"].map(|name| root.join(name).join("tests/golden")).to_vec()
}

/// A line of the table.
#[derive(Debug)]
struct Line {
    what: String,
    /// The results on the CPU and on the back end.
    found: [String; 2],
    /// The problem, if there is one.
    problem: Option<String>,
}

/// Compares golden cases, contracts, a run and benchmarks on the CPU and on a back end.
///
/// # Errors
/// If a part fails on the back end, or if the back end cannot be opened.
pub(crate) fn gpu_check(asked: &CheckArgs, root: &Path) -> Result<()> {
    let device = open_device(asked.backend)?;
    let name = device_name(&device);
    say!("gpu-check: {} is {name}; {}", asked.backend.name(), crate::machine::describe());
    let check = Check { asked, root };
    let mut lines = Vec::new();
    // A quick check uses only f32.
    let coarser = [Precision::F16, Precision::Bf16].into_iter().filter(|p| !asked.quick && p.check(&device).is_ok());
    let coarser: Vec<Precision> = coarser.collect();
    for cases in &asked.cases {
        lines.extend(check.golden(&cases.to_string_lossy(), Precision::F32));
    }
    for &precision in &coarser {
        // The first folder holds the language models; other models have no matrices in another precision.
        lines.extend(check.golden(&check.models().to_string_lossy(), precision));
    }
    lines.push(check.contracts());
    lines.extend(or_a_line("run", check.run(&coarser)));
    if !asked.quick {
        lines.extend(BENCHES.iter().map(|bench| check.bench(bench, Precision::F32, true)));
        lines.push(check.bench(LARGE, Precision::F32, false));
        lines.extend(coarser.iter().map(|&precision| check.bench(LARGE, precision, false)));
    }
    say!("\n| | cpu | {} |\n|---|---|---|", asked.backend.name());
    for Line { what, found: [cpu, here], problem } in &lines {
        say!("| {what} | {cpu} | {here}{} |", if problem.is_some() { ", FAILED" } else { "" });
    }
    let wrong: Vec<String> =
        lines.iter().filter_map(|line| line.problem.as_ref().map(|p| format!("{}: {p}", line.what))).collect();
    if !wrong.is_empty() {
        bail!("on {}: {}", asked.backend.name(), wrong.join("; "));
    }
    Ok(())
}

/// Turns a part that cannot be checked at all into a line, so that the others are still reported.
fn or_a_line(what: &str, lines: Result<Vec<Line>>) -> Vec<Line> {
    lines.unwrap_or_else(|error| {
        let found = ["-".to_owned(), "-".to_owned()];
        vec![Line { what: what.to_owned(), found, problem: Some(format!("{error:#}")) }]
    })
}

/// The result of a started command.
struct CheckResult {
    stdout: String,
    seconds: f64,
    problem: Option<String>,
}

struct Check<'a> {
    asked: &'a CheckArgs,
    root: &'a Path,
}

impl Check<'_> {
    /// Returns the folder of the language models of golden cases.
    fn models(&self) -> &Path {
        self.asked.cases.first().map_or(self.root, PathBuf::as_path)
    }

    fn start(&self, root: &Path, backend: Backend, args: &[&str]) -> Result<CheckResult> {
        say!("gpu-check: {} on {} ..", args[..2.min(args.len())].join(" "), backend.name());
        let started = Instant::now();
        let own = std::env::current_exe().context("cannot find the file of this program")?;
        let output = Command::new(own).args(args).args(["--backend", backend.name()]).env("RA_REC_ROOT", root).output();
        let output = output.context("cannot start this program again")?;
        let told = String::from_utf8_lossy(&output.stderr);
        // The line of an error or a panic; a crash prints nothing.
        let line = told.lines().rev().find(|l| l.starts_with("error: ") || l.contains("panicked"));
        let problem = (!output.status.success())
            .then(|| line.map_or_else(|| output.status.to_string(), |l| l.trim_start_matches("error: ").to_owned()));
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(CheckResult { stdout, seconds: started.elapsed().as_secs_f64(), problem })
    }

    fn both(&self, root: &Path, args: &[&str]) -> Result<[CheckResult; 2]> {
        Ok([self.start(root, Backend::Cpu, args)?, self.start(root, self.asked.backend, args)?])
    }

    /// Returns the largest error of each kind of golden case, as a share of what is allowed.
    fn golden(&self, cases: &str, precision: Precision) -> Vec<Line> {
        or_a_line(&format!("golden {cases}{}", of_matrices(precision)), self.verified(cases, precision))
    }

    fn verified(&self, cases: &str, precision: Precision) -> Result<Vec<Line>> {
        // CUDA multiplies on tensor cores, which round f32 to 11 bits.
        let tf32 = self.asked.backend == Backend::Cuda && precision == Precision::F32;
        let here = if tf32 { "tf32" } else { precision.name() };
        let verify = |on, bits| self.start(self.root, on, &["verify", cases, "--json", "--precision", bits]);
        let both = [verify(Backend::Cpu, precision.name())?, verify(self.asked.backend, here)?];
        let [cpu, here] = both.each_ref().map(|ended| worst(&ended.stdout));
        let (cpu, here) = (cpu.unwrap_or_default(), here.with_context(|| both[1].problem.clone().unwrap_or_default())?);
        Ok(here
            .into_iter()
            .map(|(kind, (worst, failed))| Line {
                found: [cpu.get(&kind).map_or_else(|| "-".into(), |(w, _)| format!("{w:.3}")), format!("{worst:.3}")],
                problem: (!failed.is_empty()).then(|| failed.join(", ")),
                what: format!("golden {kind}{}: largest error, as a share of what is allowed", of_matrices(precision)),
            })
            .collect())
    }

    fn contracts(&self) -> Line {
        let cases = self.models().to_string_lossy().into_owned();
        let what = "contracts kept".to_owned();
        match self.both(self.root, &["contracts", &cases]) {
            Ok(both) => {
                let kept = |ended: &CheckResult| ended.stdout.lines().filter(|l| l.starts_with("ok ")).count();
                let told = |ended: &CheckResult| {
                    let broken = ended.stdout.lines().filter(|l| l.starts_with("FAIL")).count();
                    format!("{} of {}, {:.0} s", kept(ended), kept(ended) + broken, ended.seconds)
                };
                let found = both.each_ref().map(told);
                let [_, here] = both;
                let broken = here.stdout.lines().find(|l| l.starts_with("FAIL")).map(str::to_owned);
                Line { what, found, problem: broken.or(here.problem) }
            }
            Err(error) => Line { what, found: Default::default(), problem: Some(format!("{error:#}")) },
        }
    }

    /// Compares a whole run on both sides, row by row, and on the back end with less precise matrices.
    fn run(&self, coarser: &[Precision]) -> Result<Vec<Line>> {
        let temporary = tempfile::tempdir()?;
        let available = |name: &str| fetch::list().iter().any(|e| e.name == name && e.available(self.root).is_some());
        let whole = !self.asked.quick && available("ml-100k") && available("minilm");
        let (root, recipe) = if whole {
            (self.root, "quickstart")
        } else {
            tiny::write(temporary.path(), temporary.path(), self.models())?;
            (temporary.path(), "tiny")
        };
        let run = |backend: Backend, precision: Precision| -> Result<(CheckResult, Value)> {
            let out = temporary.path().join(backend.name()).join(precision.name());
            let set = format!("lm.precision={}", precision.name());
            let ended = self.start(root, backend, &["run", recipe, "--out", &out.to_string_lossy(), "--set", &set])?;
            if let Some(problem) = &ended.problem {
                bail!("run {recipe} on {}: {problem}", backend.name());
            }
            let report = ra_core::read_json(&out.join("report.json"))?;
            Ok((ended, report))
        };
        let (cpu, cpu_report) = run(Backend::Cpu, Precision::F32)?;
        let (here, report) = run(self.asked.backend, Precision::F32)?;
        let mut lines = vec![Line {
            what: format!("run {recipe}"),
            found: [cpu.seconds, here.seconds].map(|s| format!("{s:.0} s")),
            problem: None,
        }];
        let users = report.pointer("/protocol/users").and_then(Value::as_f64).unwrap_or(1.0);
        let rows = |report: &Value| report["rows"].as_array().cloned().unwrap_or_default();
        for (cpu, here) in rows(&cpu_report).iter().zip(&rows(&report)) {
            lines.push(compare(cpu, here, users));
        }
        for &precision in coarser {
            let what = format!("run {recipe}{}", of_matrices(precision));
            // Compared with the CPU in f32; the last row is RA-Rec.
            let last = run(self.asked.backend, precision).map(|(_, report)| {
                let line =
                    rows(&cpu_report).last().zip(rows(&report).last()).map(|(cpu, here)| compare(cpu, here, users));
                line.map(|line| Line { what: format!("{}{}", line.what, of_matrices(precision)), ..line })
                    .into_iter()
                    .collect()
            });
            lines.extend(or_a_line(&what, last));
        }
        Ok(lines)
    }

    fn bench(&self, name: &str, precision: Precision, on_cpu: bool) -> Line {
        let figure = |backend: Backend| -> Result<f64> {
            let args = ["bench", name, "--json", "--precision", precision.name()];
            let ended = self.start(self.root, backend, &args)?;
            let found: Record =
                serde_json::from_str(&ended.stdout).with_context(|| ended.problem.unwrap_or_default())?;
            let figure = found.figures.first().context("the bench gave no figure")?;
            Ok(figure.wall_s)
        };
        let told = |found: &Result<f64>| found.as_ref().map_or_else(|_| "-".into(), |s| format!("{:.1} ms", 1e3 * s));
        let cpu = if on_cpu { figure(Backend::Cpu) } else { Err(anyhow::anyhow!("not requested")) };
        let here = figure(self.asked.backend);
        Line {
            what: format!("bench {name}{}, wall time per step", of_matrices(precision)),
            found: [told(&cpu), told(&here)],
            problem: here.err().map(|error| format!("{error:#}")),
        }
    }
}

/// Names the precision of matrices that are not in `f32`.
fn of_matrices(precision: Precision) -> String {
    if precision == Precision::F32 { String::new() } else { format!(" in {}", precision.name()) }
}

/// Returns, for each kind of case, the largest error as a share of what is allowed, and the cases that failed.
fn worst(json: &str) -> Option<BTreeMap<String, (f64, Vec<String>)>> {
    let cases: Vec<Value> = serde_json::from_str(json).ok()?;
    let mut kinds: BTreeMap<String, (f64, Vec<String>)> = BTreeMap::new();
    for case in cases {
        let (worst, failed) = kinds.entry(case.get("kind")?.as_str()?.to_owned()).or_default();
        // JSON has no infinity: an unbounded error is written as null.
        *worst = worst.max(case.get("worst")?.as_f64().unwrap_or(f64::INFINITY));
        if case.get("passed")?.as_bool() != Some(true) {
            failed.push(case.get("case")?.as_str()?.to_owned());
        }
    }
    Some(kinds)
}

/// Compares a row of two reports. Untrained models rank alike except for a user or two with nearly tied scores.
/// Trainings diverge by rounding, and their results may differ by chance: two standard errors of a share of `users`.
fn compare(cpu: &Value, here: &Value, users: f64) -> Line {
    let name = if here.pointer("/metrics/hr@100").is_some() { "hr@100" } else { "hr@10" };
    let metric = |row: &Value| row["metrics"][name].as_f64().unwrap_or(f64::NAN);
    let (a, b) = (metric(cpu), metric(here));
    let trained = here["trainable_params"].as_u64().unwrap_or(0) > 0;
    let allowed = if trained { 2.0 * (a * (1.0 - a) / users).sqrt() } else { 0.0 }.max(2.0 / users);
    // A NaN never agrees.
    let agrees = (a - b).abs() <= allowed;
    Line {
        what: format!("{} of {}", name.to_uppercase(), here["name"].as_str().unwrap_or_default()),
        found: [a, b].map(|x| format!("{x:.4}")),
        problem: (!agrees).then(|| format!("{b:.4} against {a:.4}, more than {allowed:.4} apart")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_agree_within_chance_and_a_nan_agrees_with_nothing() {
        let row =
            |hr: f64, params: u64| json!({ "name": "sasrec", "metrics": { "hr@10": hr }, "trainable_params": params });
        let problem = |a, b, params| compare(&row(a, params), &row(b, params), 1000.0).problem;
        assert_eq!(problem(0.2, 0.221, 7), None, "one standard error is .0126");
        assert!(problem(0.2, 0.23, 7).unwrap().contains("apart"));
        assert_eq!(problem(0.2, 0.2015, 0), None, "a user or two");
        assert!(problem(0.2, 0.221, 0).is_some(), "what is not trained does not drift");
        assert!(problem(0.2, f64::NAN, 7).is_some());
    }

    #[test]
    fn the_worst_of_a_kind_counts_and_failures_are_named() {
        let json = r#"[{"case": "bert/main", "kind": "bert", "passed": true, "worst": 0.2},
            {"case": "bert/left", "kind": "bert", "passed": false, "worst": null},
            {"case": "k2", "kind": "data", "passed": true, "worst": 0.0}]"#;
        let found = worst(json).unwrap();
        assert_eq!(found["bert"], (f64::INFINITY, vec!["bert/left".to_owned()]));
        assert_eq!(found["data"], (0.0, vec![]));
        assert!(worst("error").is_none());
    }
}
