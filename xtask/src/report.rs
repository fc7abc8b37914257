//! `cargo xtask report`.
use crate::folder::read_users;
use anyhow::{Context, Result, bail};
use ra_eval::{Report, Row, correct};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Puts runs into one table, on the terminal and as `comparison.html`, `.md` and `.json` beside the first run. Runs of other
/// protocols are refused unless they are `mixed` on purpose. Rows are compared user by user, [`between`].
pub(crate) fn compare(runs: &[PathBuf], mixed: bool, to: Option<&str>) -> Result<()> {
    let folder = |run: &PathBuf| if run.is_dir() { run.clone() } else { run.parent().unwrap_or(Path::new(".")).into() };
    let reports = runs.iter().map(|run| Report::read(run)).collect::<Result<Vec<_>, _>>()?;
    let runs: Vec<PathBuf> = runs.iter().map(folder).collect();
    let comparison = match mixed {
        true => ra_eval::compare_anyway(&reports),
        false => ra_eval::compare(&reports).context("--mixed-protocols shows them all the same")?,
    };
    let comparison = comparison.with_between(between(&runs, &reports, to)?);
    let markdown = comparison.markdown();
    say!("{markdown}");
    let folder = runs[0].parent().unwrap_or(Path::new("."));
    let files =
        [("comparison.md", markdown), ("comparison.html", comparison.html()), ("comparison.json", comparison.json()?)];
    for (name, text) in files {
        ra_core::write_atomic(&folder.join(name), text.as_bytes())?;
        say!("{}", folder.join(name).display());
    }
    Ok(())
}

/// A row of a run.
type Of<'a> = (&'a Path, u64, &'a Row);

/// Rows against others of the same seed, user by user: every row against the one that is called `to`, or those of later runs
/// against the row of the same name in the first run.
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
        // The ID method of several runs is often one and the same.
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
                rows.push(Row { name: full(run, row), ..row.clone() }.against(&baseline, &own.1, &others.1, seed));
            }
            _ => left_out.push(full(run, row)),
        }
    }
    if let Some(to) = to {
        if rows.is_empty() {
            bail!("--to {to:?}: no other row has its seed and its users");
        }
        if !left_out.is_empty() {
            say!(
                "not compared with {to:?}, for want of the same seed, users or per-user figures: {}\n",
                left_out.join("; ")
            );
        }
    }
    correct(&mut rows);
    Ok(rows)
}

/// The row of each seed that `to` means: a kind, a name, or a run's folder and a name.
fn called<'a>(all: &[Of<'a>], to: &str) -> Result<Vec<Of<'a>>> {
    let is_meant = |(run, _, row): &&Of<'_>| row.kind == to || row.name == to || full(run, row) == to;
    let mut found: Vec<Of<'a>> = Vec::new();
    for row in all.iter().filter(is_meant) {
        match found.iter().find(|(_, seed, _)| *seed == row.1) {
            None => found.push(*row),
            Some(known) if is_same(known, row) => {}
            Some((run, _, known)) => {
                bail!("--to {to:?}: this may be {:?} or {:?}; say which", full(run, known), full(row.0, row.2))
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
