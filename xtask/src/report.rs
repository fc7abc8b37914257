//! `cargo xtask report` and `cargo xtask data describe`.
use crate::fetch;
use anyhow::Result;
use ra_data::DataConfig;
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

/// Describes a data set by name or a file of interactions.
pub(crate) fn describe(data: &str, items: Option<PathBuf>, json: bool, root: &Path) -> Result<()> {
    let path = PathBuf::from(data);
    let dataset = if path.is_file() {
        let config = DataConfig { interactions: Some(path), items, ..DataConfig::default() };
        ra_data::prepare(data, &config)?
    } else {
        ra_data::prepare(data, &fetch::locate_data(data, root)?.into_config(DataConfig::default()))?
    };
    let description = ra_data::describe(&dataset)?;
    if json {
        say!("{}", serde_json::to_string_pretty(&description)?);
    } else {
        say!("{description}");
    }
    Ok(())
}
