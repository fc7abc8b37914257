//! `cargo xtask verify`: golden cases, found by their files and run through the same code as users' runs.
mod lm;
mod rounding;

pub(crate) use rounding::Rounding;

use anyhow::{Context, Result, bail};
use ra_core::{Backend, Device, open_device};
use ra_idmodels::golden::Array;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The outcome of one case.
#[derive(Debug, Serialize)]
struct Outcome {
    case: String,
    kind: String,
    passed: bool,
    compared: usize,
    /// The largest error as a share of what is allowed.
    worst: f64,
    worst_tensor: String,
    /// Errors, and values that were not compared.
    notes: Vec<String>,
}

/// A case, identified by its files.
#[derive(Debug)]
enum Case {
    Lm(PathBuf),
    Id(PathBuf),
    Metrics(PathBuf),
    Data(PathBuf),
    Unknown(PathBuf),
}

/// The device that computes cases, and its rounding.
#[derive(Debug)]
struct Place {
    device: Device,
    rounding: Rounding,
    on_cuda: bool,
}

impl Place {
    /// Returns how far the arrays of a case's group may be off: absolutely, and relative to the largest number of each.
    fn tolerance(&self, case: &Value, group: &str) -> (f64, f64) {
        let of = |key: &str| case.pointer(&format!("/tolerance/{group}/{key}")).and_then(Value::as_f64);
        self.loosen((of("atol").unwrap_or(1e-5), of("rtol").unwrap_or(1e-5)), group)
    }

    /// Returns the same for an array of sums whose terms have mixed signs. If products are rounded, the error is a
    /// share of the terms, `largest`, not of their sum.
    fn tolerance_of_sum(&self, case: &Value, group: &str, largest: f64) -> (f64, f64) {
        let (absolute, relative) = self.tolerance(case, group);
        if self.rounding == Rounding::F32 { (absolute, relative) } else { (absolute.max(relative * largest), 0.0) }
    }

    fn loosen(&self, tolerance: (f64, f64), group: &str) -> (f64, f64) {
        self.rounding.loosen(tolerance, group, self.on_cuda)
    }

    /// Returns the same place for models whose matrices the precision of the language model does not affect.
    fn of_id_models(&self) -> Self {
        Self { device: self.device.clone(), rounding: self.rounding.of_id_models(self.on_cuda), on_cuda: self.on_cuda }
    }
}

/// Runs every case under `dir` on a back end, or only those of the kinds in `only` if there are any, and prints one
/// line per case. Anything that runs only on the host (data, metrics) is the same for all back ends.
///
/// # Errors
/// If a case is out of tolerance, of an unknown kind or unreadable, or if there is no case.
pub(crate) fn verify(dir: &Path, only: &[String], backend: Backend, rounding: Rounding, json: bool) -> Result<()> {
    let place = Place { device: open_device(backend)?, rounding, on_cuda: backend == Backend::Cuda };
    rounding.precision().check(&place.device)?;
    let mut cases = Vec::new();
    find(dir, &mut cases)?;
    let mut outcomes: Vec<Outcome> = cases.iter().map(|case| run(dir, case, &place)).collect();
    outcomes.retain(|o| only.is_empty() || only.iter().any(|k| o.is(k)));
    if outcomes.is_empty() {
        bail!(
            "{}: no golden case found{}",
            dir.display(),
            if only.is_empty() { "" } else { " of the kinds named by --only" }
        );
    }
    let failed = outcomes.iter().filter(|o| !o.passed).count();
    if json {
        say!("{}", serde_json::to_string_pretty(&outcomes)?);
    } else {
        outcomes.iter().for_each(print);
        say!("{} passed, {failed} failed", outcomes.len() - failed);
    }
    if failed > 0 {
        bail!("{failed} of {} cases failed", outcomes.len());
    }
    Ok(())
}

fn print(outcome: &Outcome) {
    let mark = if outcome.passed { "ok  " } else { "FAIL" };
    let worst = match outcome.compared {
        0 => String::new(),
        n => format!("{n} values or tensors, worst {:.3} of the tolerance ({})", outcome.worst, outcome.worst_tensor),
    };
    say!("{mark} {:<24} {worst}", outcome.case);
    for note in &outcome.notes {
        say!("       {note}");
    }
}

fn find(dir: &Path, cases: &mut Vec<Case>) -> Result<()> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("{}: cannot be read", dir.display()))?;
    let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    let names: BTreeSet<String> = paths.iter().filter_map(|p| p.file_name()?.to_str().map(String::from)).collect();
    if names.contains("case.json") {
        cases.push(Case::Lm(dir.into()));
        return Ok(());
    }
    for path in paths {
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        if path.is_dir() {
            if name != "model" {
                find(&path, cases)?;
            }
        } else if let Some(stem) = name.strip_suffix(".json") {
            let has = |suffix: &str| names.contains(&format!("{stem}{suffix}"));
            match stem.rsplit_once('.') {
                Some((_, "expected")) => {}
                Some((_, "input")) => cases.push(Case::Data(path.clone())),
                _ if has(".input.safetensors") => cases.push(Case::Id(path.clone())),
                _ if has(".safetensors") => cases.push(Case::Metrics(path.clone())),
                _ => cases.push(Case::Unknown(path.clone())),
            }
        }
    }
    Ok(())
}

fn run(root: &Path, case: &Case, place: &Place) -> Outcome {
    let (path, kind) = match case {
        Case::Lm(path) => (path, "lm"),
        Case::Id(path) => (path, "id_models"),
        Case::Metrics(path) => (path, "metrics"),
        Case::Data(path) => (path, "data"),
        Case::Unknown(path) => (path, "unknown"),
    };
    let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let mut outcome = Outcome {
        case: name.trim_end_matches(".json").trim_end_matches(".input").into(),
        kind: kind.into(),
        passed: false,
        compared: 0,
        worst: 0.0,
        worst_tensor: String::new(),
        notes: Vec::new(),
    };
    let result = match case {
        Case::Lm(path) => lm::run(path, place, &mut outcome),
        Case::Id(path) => id(path, place, &mut outcome),
        Case::Metrics(path) => metrics(path, &mut outcome),
        Case::Data(path) => data(path, &mut outcome),
        Case::Unknown(_) => Err(anyhow::anyhow!("not a golden case of a known layout")),
    };
    match result {
        Ok(()) => outcome.passed = outcome.worst <= 1.0 && outcome.compared > 0 && outcome.notes.is_empty(),
        Err(error) => outcome.notes.push(format!("{error:#}")),
    }
    outcome
}

impl Outcome {
    /// Returns whether `--only NAME` means this case: its kind, its whole name or a part of its path.
    fn is(&self, name: &str) -> bool {
        self.kind == name || self.case == name || self.case.split('/').any(|part| part == name)
    }

    /// Compares values under the rule `|got - want| <= atol + rtol * max |want|`.
    fn compare(&mut self, name: &str, got: &[f64], want: &[f64], (atol, rtol): (f64, f64)) {
        self.compared += 1;
        let top = want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
        let error = if got.len() == want.len() {
            // A NaN is an infinite error; otherwise it would pass every comparison.
            got.iter()
                .zip(want)
                .map(|(g, w)| (g - w).abs())
                .fold(0.0, |m, e| if e.is_nan() { f64::INFINITY } else { m.max(e) })
        } else {
            f64::INFINITY
        };
        let share = if error == 0.0 { 0.0 } else { error / (atol + rtol * top) };
        if share >= self.worst || self.worst_tensor.is_empty() {
            (self.worst, self.worst_tensor) = (share, format!("{name}, error {error:.1e}"));
        }
        if share > 1.0 && self.notes.len() < 8 {
            self.notes.push(format!("{name}: error {error:.2e}, allowed {:.2e}", atol + rtol * top));
        }
    }

    /// Compares all tensors of `want`, and notes those that were not computed.
    fn compare_all(
        &mut self,
        got: &BTreeMap<String, Array>,
        want: &BTreeMap<String, Array>,
        tolerance: impl Fn(&str) -> (f64, f64),
    ) {
        for (name, (shape, values)) in want {
            match got.get(name) {
                Some((found, computed)) if found == shape => self.compare(name, computed, values, tolerance(name)),
                Some((found, _)) => self.notes.push(format!("{name} is {found:?}, expected {shape:?}")),
                None => self.notes.push(format!("{name} is not computed")),
            }
        }
    }
}

fn largest<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().fold(0.0, |largest, value| value.abs().max(largest))
}

fn read_value(path: &Path) -> Result<Value> {
    Ok(ra_core::read_json(path)?)
}

fn read_arrays(path: &Path) -> Result<BTreeMap<String, Array>> {
    let bytes = ra_core::read_bytes(path)?;
    let file =
        safetensors::SafeTensors::deserialize(&bytes).with_context(|| format!("{}: not whole", path.display()))?;
    file.iter().map(|(name, view)| Ok((name.to_string(), (view.shape().to_vec(), numbers(&view, name)?)))).collect()
}

fn numbers(view: &safetensors::tensor::TensorView<'_>, name: &str) -> Result<Vec<f64>> {
    use safetensors::Dtype;
    let data = view.data();
    let word = |b: &[u8]| b.iter().rev().fold(0u64, |n, &byte| (n << 8) | u64::from(byte));
    Ok(match view.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f64::from(f32::from_bits(word(b) as u32))).collect(),
        Dtype::I64 => data.chunks_exact(8).map(|b| word(b) as i64 as f64).collect(),
        Dtype::U8 | Dtype::BOOL => data.iter().map(|&b| f64::from(b)).collect(),
        other => bail!("{name} is {other:?}, expected f32, i64 or u8"),
    })
}

fn id(path: &Path, place: &Place, outcome: &mut Outcome) -> Result<()> {
    let case = read_value(path)?;
    let inputs = read_arrays(&path.with_extension("input.safetensors"))?;
    let want = read_arrays(&path.with_extension("expected.safetensors"))?;
    let want = ra_idmodels::golden::comparable(&case, &inputs, want).map_err(anyhow::Error::msg)?;
    let place = &place.of_id_models();
    let Some(got) = ra_idmodels::golden::verify_case(&case, &inputs, &place.device) else {
        bail!("not yet supported: {}", case.get("model").and_then(Value::as_str).unwrap_or("no model named"));
    };
    let got = got.map_err(anyhow::Error::msg)?;
    outcome.compare_all(&got, &want, |name| {
        let group = if name.starts_with("grad") { "grad" } else { "forward" };
        // The bias of the keys does not change any attention weight, so its gradient is only rounding.
        match name.strip_suffix(".k.b").and_then(|layer| want.get(&format!("{layer}.k.w"))) {
            Some((_, weight)) => place.tolerance_of_sum(&case, group, largest(weight)),
            None => place.tolerance(&case, group),
        }
    });
    Ok(())
}

fn metrics(path: &Path, outcome: &mut Outcome) -> Result<()> {
    let case = read_value(path)?;
    let arrays = read_arrays(&path.with_extension("safetensors"))?;
    let get =
        |name: &str| arrays.get(name).map(|(_, v)| v).with_context(|| format!("{}: lacks {name}", path.display()));
    let scores: Vec<f32> = get("scores")?.iter().map(|&x| x as f32).collect();
    let seen: Vec<u8> = get("seen")?.iter().map(|&x| x as u8).collect();
    let counts: Vec<i64> = get("train_count")?.iter().map(|&x| x as i64).collect();
    let computed = ra_eval::verify_case(&case, &scores, &seen, &counts)?;
    for key in ["evaluated_users", "mean", "per_user", "beyond_accuracy", "tied_candidates"] {
        if let Some(want) = case.get(key) {
            compare_json(key, computed.values.get(key).unwrap_or(&Value::Null), want, outcome);
        }
    }
    let topk: Vec<f64> = computed.topk.iter().map(|&x| x as f64).collect();
    outcome.compare("topk", &topk, get("topk")?, (0.5, 0.0));
    Ok(())
}

/// Compares numbers within 1e-6 and everything else exactly. Text about how the case was made is ignored.
fn compare_json(name: &str, got: &Value, want: &Value, outcome: &mut Outcome) {
    match want {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| !key.contains("checked_with")) {
                compare_json(&format!("{name}.{key}"), got.get(key).unwrap_or(&Value::Null), value, outcome);
            }
        }
        Value::Array(_) => {
            let list = |v: &Value| serde_json::from_value::<Vec<f64>>(v.clone());
            match (list(got), list(want)) {
                (Ok(got), Ok(want)) => outcome.compare(name, &got, &want, (1e-6, 0.0)),
                _ => outcome.notes.push(format!("{name} is not a list of numbers")),
            }
        }
        Value::Number(n) => {
            let got = got.as_f64().unwrap_or(f64::NAN);
            outcome.compare(name, &[got], &[n.as_f64().unwrap_or(f64::NAN)], (1e-6, 0.0));
        }
        other => {
            if got != other {
                outcome.notes.push(format!("{name} is {got}, expected {other}"));
            }
            outcome.compared += 1;
        }
    }
}

fn data(path: &Path, outcome: &mut Outcome) -> Result<()> {
    let input = read_value(path)?;
    let expected = path.to_string_lossy().replace(".input.json", ".expected.json");
    let want = read_value(Path::new(&expected))?;
    let got = ra_data::golden::verify_case(&input)?;
    for (key, value) in want.as_object().into_iter().flatten() {
        outcome.compared += 1;
        if got.get(key) != Some(value) {
            outcome.worst = f64::INFINITY;
            outcome.worst_tensor.clone_from(key);
            outcome.notes.push(format!("{key} differs"));
        }
    }
    if outcome.worst_tensor.is_empty() {
        outcome.worst_tensor = "all exact".into();
    }
    Ok(())
}
