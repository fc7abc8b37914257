//! `cargo xtask report`.
use anyhow::Result;
use ra_eval::Report;
use std::path::{Path, PathBuf};

/// Puts runs of one protocol into one table, on the terminal and as `comparison.html` and `.md` beside the first run.
pub(crate) fn compare(runs: &[PathBuf]) -> Result<()> {
    let reports = runs.iter().map(|run| Report::read(run)).collect::<Result<Vec<_>, _>>()?;
    let comparison = ra_eval::compare(&reports)?;
    say!("{}", comparison.markdown());
    let folder = runs[0].parent().unwrap_or(Path::new("."));
    for (name, text) in [("comparison.md", comparison.markdown()), ("comparison.html", comparison.html())] {
        ra_core::write_atomic(&folder.join(name), text.as_bytes())?;
        say!("{}", folder.join(name).display());
    }
    Ok(())
}
