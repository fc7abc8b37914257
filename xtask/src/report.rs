//! `cargo xtask report`.
use crate::folder::read_users;
use anyhow::{Context, Result};
use ra_eval::{Report, Row, correct};
use std::path::{Path, PathBuf};

/// Puts runs into one table, on the terminal and as `comparison.html`, `.md` and `.json` beside the first run. Runs of other
/// protocols are refused unless they are `mixed` on purpose.
pub(crate) fn compare(runs: &[PathBuf], mixed: bool) -> Result<()> {
    let folder = |run: &PathBuf| if run.is_dir() { run.clone() } else { run.parent().unwrap_or(Path::new(".")).into() };
    let reports = runs.iter().map(|run| Report::read(run)).collect::<Result<Vec<_>, _>>()?;
    let runs: Vec<PathBuf> = runs.iter().map(folder).collect();
    let comparison = match mixed {
        true => ra_eval::compare_anyway(&reports),
        false => ra_eval::compare(&reports).context("--mixed-protocols shows them all the same")?,
    };
    let comparison = comparison.with_between(between(&runs, &reports)?);
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

/// Rows of later runs against the row of the same name and seed in the first one, user by user.
fn between(runs: &[PathBuf], reports: &[Report]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let called = |run: &Path| run.file_name().map_or_else(|| run.display().to_string(), |n| n.to_string_lossy().into());
    let (Some(first), Some(base)) = (runs.first(), reports.first()) else { return Ok(rows) };
    for (run, report) in runs.iter().zip(reports).skip(1).filter(|(_, report)| report.seed == base.seed) {
        for row in &report.rows {
            let changed = |other: &&Row| other.name == row.name && other.metrics != row.metrics;
            let Some(other) = base.rows.iter().find(changed) else { continue };
            let (Some(own), Some(other)) = (read_users(run, &row.name)?, read_users(first, &other.name)?) else {
                continue;
            };
            if own.0 == other.0 {
                let named = Row { name: format!("{}: {}", called(run), row.name), ..row.clone() };
                rows.push(named.against(&called(first), &own.1, &other.1, base.seed));
            }
        }
    }
    correct(&mut rows);
    Ok(rows)
}
