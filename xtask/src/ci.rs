//! `cargo xtask test` and `cargo xtask ci`.
use anyhow::{Context, Result, bail};
use std::process::Command;
use std::time::Instant;

/// Everything that CI runs as tests.
pub(crate) fn test() -> Result<()> {
    cargo("tests", &["test", "--workspace"], &[])
}

/// Format, lints, tests and documentation; dependency checks where their tools are installed.
pub(crate) fn ci() -> Result<()> {
    cargo("format", &["fmt", "--all", "--check"], &[])?;
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    test()?;
    cargo("documentation", &["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    for (tool, args) in [("deny", &["deny", "--offline", "check", "licenses", "bans", "sources"][..]), ("machete", &["machete"])] {
        let known = Command::new("cargo").args([tool, "--version"]).output().is_ok_and(|o| o.status.success());
        if known {
            cargo(tool, args, &[])?;
        } else {
            println!("skipped: cargo-{tool} is not installed");
        }
    }
    Ok(())
}

fn cargo(what: &str, args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    println!("== {what}: cargo {}", args.join(" "));
    let since = Instant::now();
    let status = Command::new("cargo").args(args).envs(env.iter().copied()).status().context("cargo cannot be started")?;
    if !status.success() {
        bail!("{what} failed (cargo {})", args.join(" "));
    }
    println!("== {what}: passed in {:.0} s", since.elapsed().as_secs_f64());
    Ok(())
}
