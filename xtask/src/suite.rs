//! `cargo xtask run` of a suite: a recipe that names other recipes.
use crate::run::{RunArgs, run_one};
use anyhow::{Result, bail};
use ra_eval::Report;
use std::path::Path;

/// Runs the recipes of a suite one after another and puts their tables into one page. A member that cannot run, say for
/// want of its data, does not keep the others from it.
pub(crate) fn run(args: &RunArgs, members: &[String], root: &Path) -> Result<()> {
    let name = Path::new(&args.recipe).file_stem().unwrap_or_default();
    let out = args.out.clone().unwrap_or_else(|| root.join("runs").join(name));
    let (mut reports, mut failed) = (Vec::new(), Vec::new());
    for member in members {
        say!("== {member}");
        let folder = out.join(member);
        let one = RunArgs { recipe: member.clone(), sets: args.sets.clone(), out: Some(folder.clone()), ..*args };
        match run_one(&one, root).and_then(|()| Ok(Report::read(&folder)?)) {
            Ok(report) => reports.push(report),
            Err(error) => failed.push(format!("{member}: {error:#}")),
        }
    }
    let page = ra_eval::overview(&reports);
    ra_core::write_atomic(&out.join("overview.md"), page.as_bytes())?;
    say!("{page}\n{}", out.join("overview.md").display());
    if !failed.is_empty() {
        bail!("{} of {} recipes of the suite did not run: {}", failed.len(), members.len(), failed.join("; "));
    }
    Ok(())
}
