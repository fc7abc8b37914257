//! `cargo xtask report`.
use anyhow::{Context, Result};
use ra_eval::Report;
use std::path::{Path, PathBuf};

/// Puts runs into one table, on the terminal and as `comparison.html`, `.md` and `.json` beside the first run. Runs of other
/// protocols are refused unless they are `mixed` on purpose.
pub(crate) fn compare(runs: &[PathBuf], mixed: bool) -> Result<()> {
    let reports = runs.iter().map(|run| Report::read(run)).collect::<Result<Vec<_>, _>>()?;
    let comparison = match mixed {
        true => ra_eval::compare_anyway(&reports),
        false => ra_eval::compare(&reports).context("--mixed-protocols shows them all the same")?,
    };
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
