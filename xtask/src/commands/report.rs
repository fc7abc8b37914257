//! `report`: combines several runs in one table.
use crate::store::read_users;
use anyhow::{Result, anyhow, bail};
use ra_eval::{Report, Row, holm_correct};
use serde_json::Value;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The run folders.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Show runs with different protocols in one table, with a warning.
    #[arg(long)]
    mixed_protocols: bool,
    /// Compare every row with this row of the same seed: a kind, a name, or a run's folder and a name, such as
    /// `distilled`, "ra-rec(sasrec, minilm)" or "b: ra-rec(sasrec, minilm)".
    #[arg(long, value_name = "ROW")]
    to: Option<String>,
    /// The folder for comparison.html, .md and .json; that of the first run by default.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The mark in each file of a comparison, which allows a later comparison to replace the file.
const OURS: &str = "made by ra-rec report";

/// Returns the end of a page that is a comparison.
fn comment() -> String {
    format!("\n<!-- {OURS} -->\n")
}

/// Combines runs in one table, on the terminal and as `comparison.html`, `.md` and `.json` in `out` or next to the
/// first run. Refuses runs with different protocols unless they are mixed on purpose. Compares rows user by user, see
/// [`between`].
pub(super) fn report(args: &Args) -> Result<()> {
    let Args { runs, mixed_protocols, to, out } = args;
    let folder = |run: &PathBuf| if run.is_dir() { run.clone() } else { run.parent().unwrap_or(Path::new(".")).into() };
    let read = |run: &PathBuf| {
        Report::read(run).map_err(|error| anyhow!("{error}; give the folders of finished runs, or their report.json"))
    };
    let reports = runs.iter().map(read).collect::<Result<Vec<_>>>()?;
    let runs: Vec<PathBuf> = runs.iter().map(folder).collect();
    let comparison = match mixed_protocols {
        true => ra_eval::compare_unchecked(&reports),
        false => ra_eval::compare(&reports)
            .map_err(|error| anyhow!("{error}; --mixed-protocols shows them in one table anyway"))?,
    };
    let comparison = comparison.with_between(between(&runs, &reports, to.as_deref())?);
    let beside = runs[0].parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files =
        ["md", "html", "json"].map(|ending| out.as_deref().unwrap_or(beside).join(format!("comparison.{ending}")));
    files.iter().try_for_each(|file| check_ours(file))?;
    let markdown = comparison.markdown();
    say!("{markdown}");
    let mut json: serde_json::Map<String, Value> = serde_json::from_str(&comparison.json()?)?;
    json.insert("made_by".into(), OURS.into());
    let texts = [markdown + &comment(), comparison.html() + &comment(), serde_json::to_string_pretty(&json)?];
    for (file, text) in files.iter().zip(texts) {
        ra_core::write_atomic(file, text.as_bytes())?;
        say!("{}", file.display());
    }
    Ok(())
}

/// Refuses to overwrite a file that no comparison wrote. The folder belongs to the user and may hold other files, so
/// each of our files carries a mark.
fn check_ours(file: &Path) -> Result<()> {
    if file.symlink_metadata().is_err() {
        return Ok(());
    }
    let is_ours = |bytes: Vec<u8>| match file.extension().is_some_and(|ending| ending == "json") {
        true => serde_json::from_slice::<Value>(&bytes).is_ok_and(|json| json["made_by"] == OURS),
        false => bytes.trim_ascii_end().ends_with(comment().trim_end().as_bytes()),
    };
    if !file.is_file() || !is_ours(ra_core::read_bytes(file)?) {
        bail!(
            "{}: exists and is not a comparison of ours; move it away, or name another folder by --out",
            file.display()
        );
    }
    Ok(())
}

/// A row of a run.
type Of<'a> = (&'a Path, u64, &'a Row);

/// Compares rows with others of the same seed, user by user: every row with the one called `to`, or those of later runs
/// with the row of the same name in the first run.
fn between(runs: &[PathBuf], reports: &[Report], to: Option<&str>) -> Result<Vec<Row>> {
    let all: Vec<Of<'_>> = (runs.iter().zip(reports))
        .flat_map(|(run, report)| report.rows.iter().map(move |row| (run.as_path(), report.seed, row)))
        .collect();
    let references = to.map(|to| called(&all, to)).transpose()?;
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    let mut their_users = BTreeMap::new();
    for (at, &(run, seed, row)) in all.iter().enumerate() {
        let reference = match &references {
            Some(found) => found.iter().find(|(_, other, _)| *other == seed),
            None => {
                all.iter().find(|(base, other, found)| *base == runs[0] && *other == seed && found.name == row.name)
            }
        };
        // Several runs often share a single ID method.
        if all[..at].iter().any(|known| is_same(known, &(run, seed, row))) {
            continue;
        }
        let Some(&(base, _, other)) = reference else {
            left_out.push(full(run, row));
            continue;
        };
        if other.metrics == row.metrics {
            continue;
        }
        let others = match their_users.entry((base, &other.name)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(read_users(base, &other.name)?),
        };
        match (read_users(run, &row.name)?, others) {
            (Some(own), Some(others)) if own.0 == others.0 => {
                let baseline = if to.is_some() { full(base, other) } else { short(base) };
                let mut row = row.clone();
                row.name = full(run, &row);
                rows.push(row.with_baseline(&baseline, &own.1, &others.1, seed));
            }
            _ => left_out.push(full(run, row)),
        }
    }
    if let Some(to) = to {
        if rows.is_empty() {
            bail!("--to {to:?}: no other row has the same seed and users");
        }
        if !left_out.is_empty() {
            say!(
                "not compared with {to:?}, whose seed or users differ, or without per-user figures: {}\n",
                left_out.join("; ")
            );
        }
    }
    holm_correct(&mut rows);
    Ok(rows)
}

/// Returns the row of each seed that `to` means: a kind, a name, or a run's folder and a name.
fn called<'a>(all: &[Of<'a>], to: &str) -> Result<Vec<Of<'a>>> {
    let is_meant = |(run, _, row): &&Of<'_>| row.kind.as_str() == to || row.name == to || full(run, row) == to;
    let mut found: Vec<Of<'a>> = Vec::new();
    for row in all.iter().filter(is_meant) {
        match found.iter().find(|(_, seed, _)| *seed == row.1) {
            None => found.push(*row),
            Some(known) if is_same(known, row) => {}
            Some((run, _, known)) => {
                bail!("--to {to:?}: this may be {:?} or {:?}; name one of them", full(run, known), full(row.0, row.2))
            }
        }
    }
    if found.is_empty() {
        let names: BTreeSet<&str> = all.iter().map(|(_, _, row)| row.name.as_str()).collect();
        bail!("--to {to:?}: no row has that name or kind; there are {}", Vec::from_iter(names).join("; "));
    }
    Ok(found)
}

fn is_same(one: &Of<'_>, other: &Of<'_>) -> bool {
    one.1 == other.1 && one.2.name == other.2.name && one.2.metrics == other.2.metrics
}

fn short(run: &Path) -> String {
    run.file_name().map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into())
}

fn full(run: &Path, row: &Row) -> String {
    format!("{}: {}", short(run), row.name)
}
