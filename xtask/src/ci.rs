//! What must hold before a change goes in; `.ci/run` calls it.
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs all tests.
///
/// # Errors
/// When a test fails or cargo cannot be started.
pub(crate) fn test() -> Result<()> {
    cargo(&["test", "--workspace"], None)
}

/// Golden cases, contracts and a small run on the WGPU back end, which a processor stands in for. Built apart, so that run,
/// test and CI share the build without it; all but Burn and what stands on it serves both.
const WGPU: [&str; 10] =
    ["run", "--quiet", "--package", "xtask", "--features", "wgpu", "--", "gpu-check", "--backend=wgpu", "--quick"];

/// Formatting, lints, tests, documentation, the WGPU back end, dependencies; stops at the first that fails.
///
/// # Errors
/// Names the step that failed.
pub(crate) fn ci() -> Result<()> {
    let mut report = Report::default();
    report.step("fmt", || cargo(&["fmt", "--all", "--check"], None))?;
    report.step("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], None))?;
    report.step("test", test)?;
    report.step("doc", || cargo(&["doc", "--workspace", "--no-deps"], Some(("RUSTDOCFLAGS", "-D warnings"))))?;
    if has_vulkan() {
        report.step("features", same_features)?;
        report.step("wgpu", || cargo(&WGPU, None))?;
    } else {
        report.skip("wgpu", "no Vulkan driver is here; Mesa's will do: apt-get install mesa-vulkan-drivers libvulkan1");
    }
    report.tool("deny", &["deny", "--workspace", "check", "licenses", "bans", "sources"])?;
    report.tool("machete", &["machete"])?;
    say!("ci: all well\n{}", report.lines.join("\n"));
    Ok(())
}

/// That other packages than Burn's have the same features in a build for a GPU as without: each that has not is built
/// twice, and all that stands on it, such as polars.
fn same_features() -> Result<()> {
    let twice = built_twice(&features(&[])?, &features(&["--features=wgpu"])?);
    if twice.is_empty() {
        return Ok(());
    }
    bail!("built twice, for wgpu wants more features of them: {}; name these in xtask/Cargo.toml", twice.join(", "))
}

/// Packages of which `gpu` has features that `plain` has not: not ours and not Burn's, which differ by design.
fn built_twice(plain: &Features, gpu: &Features) -> Vec<String> {
    let apart = |package: &str| ["burn", "cubecl", "ra-", "xtask"].iter().any(|ours| package.starts_with(ours));
    let twice = |(package, own): &(&String, &BTreeSet<String>)| {
        !apart(package) && gpu.get(*package).is_some_and(|all| !all.is_subset(own))
    };
    plain.iter().filter(twice).map(|(package, _)| package.clone()).collect()
}

/// Packages, each with its features.
type Features = BTreeMap<String, BTreeSet<String>>;

/// The packages of xtask.
fn features(more: &[&str]) -> Result<Features> {
    let args = ["tree", "--package=xtask", "--edges=normal,build", "--prefix=none", "--format={p}|{f}|"];
    let output = Command::new("cargo").args(args).args(more).stderr(Stdio::inherit()).output();
    let output = output.context("cargo tree: cannot be started")?;
    if !output.status.success() {
        bail!("cargo tree: {}", output.status);
    }
    let mut all = Features::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let mut parts = line.split('|');
        let (package, features) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        // A package without features may be there beside the same one with: a macro's own, for one, on the host.
        let features = features.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        all.entry(package.to_owned()).or_default().extend(features);
    }
    Ok(all)
}

/// Whether a Vulkan driver has announced itself.
fn has_vulkan() -> bool {
    let announced = |folder| Path::new(folder).read_dir().is_ok_and(|mut files| files.next().is_some());
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"].into_iter().any(announced)
}

/// A line a step.
#[derive(Debug, Default)]
struct Report {
    lines: Vec<String>,
}

impl Report {
    fn step(&mut self, name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
        say!("ci: {name} ..");
        let begun = Instant::now();
        let result = run();
        let seconds = begun.elapsed().as_secs_f64();
        if result.is_err() && !self.lines.is_empty() {
            say!("{}", self.lines.join("\n"));
        }
        result.with_context(|| format!("ci: {name} failed after {seconds:.1} s"))?;
        self.lines.push(format!("  {name:<8} {seconds:>8.1} s"));
        Ok(())
    }

    /// A step that needs a tool which not every machine has.
    fn tool(&mut self, name: &str, args: &[&str]) -> Result<()> {
        if installed(name) {
            return self.step(name, || cargo(args, None));
        }
        self.skip(name, &format!("cargo-{name} is not installed"));
        Ok(())
    }

    fn skip(&mut self, name: &str, why: &str) {
        self.lines.push(format!("  {name:<8}  skipped: {why}"));
    }
}

fn cargo(args: &[&str], variable: Option<(&str, &str)>) -> Result<()> {
    let line = format!("cargo {}", args.join(" "));
    let status = Command::new("cargo").args(args).envs(variable).status();
    let status = status.with_context(|| format!("{line}: cannot be started"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    Ok(())
}

fn installed(tool: &str) -> bool {
    let mut version = Command::new("cargo");
    version.args([tool, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_named_and_ends_it() {
        let mut report = Report::default();
        report.step("one", || Ok(())).unwrap();
        let error = report.step("two", || bail!("cargo two: exit status: 101")).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.starts_with("ci: two failed after") && message.ends_with("exit status: 101"), "{message}");
        assert_eq!(report.lines.len(), 1);
    }

    #[test]
    fn a_tool_that_is_not_there_is_skipped() {
        let mut report = Report::default();
        report.tool("no-such-tool", &["no-such-tool"]).unwrap();
        assert!(report.lines[0].contains("skipped: cargo-no-such-tool is not installed"));
    }

    #[test]
    fn features_are_those_of_the_build() {
        let all = features(&["--locked"]).unwrap();
        let of = |name: &str| all.iter().find(|(package, _)| package.starts_with(name)).unwrap().1;
        assert!(of("serde v").contains("derive"), "{:?}", of("serde v"));
        assert!(all.values().flatten().all(|name| !name.is_empty()));
        assert!(features(&["--features=none"]).is_err());
    }

    #[test]
    fn a_package_with_more_features_for_a_gpu_is_named_unless_it_is_burns_or_ours() {
        let of = |features: &str| {
            let own: BTreeSet<String> = features.split(',').map(str::to_owned).collect();
            ["serde", "burn-core", "ra-core"].map(|package| (package.to_owned(), own.clone())).into()
        };
        assert_eq!(built_twice(&of("std"), &of("rc,std")), ["serde"]);
        assert!(built_twice(&of("rc,std"), &of("std")).is_empty());
        assert!(built_twice(&of("std"), &Features::new()).is_empty());
    }

    #[test]
    fn what_cargo_refuses_is_an_error() {
        assert!(cargo(&["--no-such-flag"], None).unwrap_err().to_string().starts_with("cargo --no-such-flag: exit"));
    }
}
