//! Pages that are generated from the source and from published reports, so that they stay up to date: the reference and
//! the results of the guide, and every table of results in a document.
mod commands;
mod metrics;
mod results;
pub(crate) mod source;

pub(crate) use commands::{completions, man_pages};
pub(crate) use results::publish;

use crate::recipe::reference;
use anyhow::{Context, Result, bail};
use ra_core::write_atomic;
use source::Source;
use std::path::{Path, PathBuf};

/// The folder of the guide's generated pages.
const GUIDE: &str = "docs/guide/src";

/// Writes every generated page, or with `check` only compares the pages with their expected content.
///
/// # Errors
/// Returns an error if a page cannot be generated or written; with `check`, also if a page differs or a number comes
/// from no published report.
pub(crate) fn pages(root: &Path, check: bool) -> Result<()> {
    let results = results::Results::read(root)?;
    let mut stale = Vec::new();
    for (path, text) in made(root, &results)? {
        if std::fs::read_to_string(&path).ok().as_ref() == Some(&text) {
            continue;
        }
        if check {
            stale.push(path.display().to_string());
        } else {
            write_atomic(&path, text.as_bytes())?;
            say!("{}", path.display());
        }
    }
    if !stale.is_empty() {
        bail!("{}: not what they are made of; call cargo xtask pages", stale.join(", "));
    }
    let strangers = if check { results.strangers(root)? } else { Vec::new() };
    if !strangers.is_empty() {
        bail!("figures of no published report: {}; publish a report, or name none", strangers.join("; "));
    }
    Ok(())
}

/// Generates every page, with its path.
fn made(root: &Path, results: &results::Results) -> Result<Vec<(PathBuf, String)>> {
    const SOURCES: [&str; 7] = [
        "ra-core/src",
        "ra-data/src",
        "ra-idmodels/src",
        "ra-llm/src",
        "ra-align/src",
        "ra-eval/src",
        "xtask/src/recipe",
    ];
    let source = Source::read(SOURCES.map(|folder| root.join(folder)))?;
    let folder = root.join(GUIDE).join("reference");
    let mut pages = vec![
        (folder.join("recipe.md"), reference::page(&source)?),
        (folder.join("recipes.md"), reference::recipes()),
        (folder.join("commands.md"), commands::page()),
        (folder.join("metrics.md"), metrics::page(&source)?),
        (root.join(GUIDE).join("results.md"), results.page()?),
    ];
    for path in documents(root)? {
        let filled = results.filled(&read(&path)?).with_context(|| path.display().to_string())?;
        pages.push((path, filled));
    }
    Ok(pages)
}

/// Lists the documents that may contain numbers from published reports.
fn documents(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![root.join("README.md")];
    let folder = root.join(GUIDE);
    let entries = folder.read_dir().with_context(|| format!("{}: cannot read", folder.display()))?;
    found.extend(entries.flatten().map(|entry| entry.path()).filter(|path| {
        path.extension().is_some_and(|end| end == "md") && path.file_name().is_none_or(|name| name != "results.md")
    }));
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))
}
