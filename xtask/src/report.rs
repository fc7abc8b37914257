//! `cargo xtask report`.
use crate::folder::read_users;
use anyhow::{Context, Result, bail};
use ra_eval::{Report, Row, correct};
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

/// Rows against others of the same seed, user by user: every row against the first that is called `to`, or those of later
/// runs against the row of the same name in the first run.
fn between(runs: &[PathBuf], reports: &[Report], to: Option<&str>) -> Result<Vec<Row>> {
    let called = |run: &Path| run.file_name().map_or_else(|| run.display().to_string(), |n| n.to_string_lossy().into());
    let all: Vec<(&Path, u64, &Row)> = (runs.iter().zip(reports))
        .flat_map(|(run, report)| report.rows.iter().map(move |row| (run.as_path(), report.seed, row)))
        .collect();
    let is_reference = |run: &Path, row: &Row, name: &str| match to {
        Some(to) => row.name == to || row.kind == to,
        None => run == runs[0] && row.name == name,
    };
    let mut rows = Vec::new();
    for (at, &(run, seed, row)) in all.iter().enumerate() {
        let reference = all.iter().find(|(base, other, found)| *other == seed && is_reference(base, found, &row.name));
        let Some(&(base, _, other)) = reference.filter(|(_, _, other)| other.metrics != row.metrics) else { continue };
        // The ID method of several runs is often one and the same.
        let same = |(_, earlier, known): &(&Path, u64, &Row)| {
            *earlier == seed && known.name == row.name && known.metrics == row.metrics
        };
        if all[..at].iter().any(same) {
            continue;
        }
        let (Some(own), Some(others)) = (read_users(run, &row.name)?, read_users(base, &other.name)?) else { continue };
        if own.0 == others.0 {
            let baseline = if to.is_some() { format!("{}: {}", called(base), other.name) } else { called(base) };
            let named = Row { name: format!("{}: {}", called(run), row.name), ..row.clone() };
            rows.push(named.against(&baseline, &own.1, &others.1, seed));
        }
    }
    if let Some(to) = to.filter(|_| rows.is_empty()) {
        let mut names: Vec<&str> = all.iter().map(|(_, _, row)| row.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        bail!("--to {to:?}: no row of that name or kind to compare others with; there are {}", names.join("; "));
    }
    correct(&mut rows);
    Ok(rows)
}
