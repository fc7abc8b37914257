//! The checks that a change must pass; `.ci/run` calls them.
use crate::fetch::fetch;
use anyhow::{Context, Result, bail};
use ra_core::testkit::SKIPPED;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Runs all tests, also those after a failure, and then prints how many passed, failed and were skipped, and why.
///
/// # Errors
/// If a test fails or cargo cannot be started.
pub(crate) fn test() -> Result<()> {
    const LINE: &str = "cargo test --workspace --no-fail-fast";
    let mut cargo = Command::new("cargo");
    cargo.args(LINE.split(' ').skip(1)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = || format!("{LINE}: cannot be started");
    let mut cargo = cargo.spawn().with_context(started)?;
    let (out, err) = (cargo.stdout.take(), cargo.stderr.take());
    let tests = std::thread::scope(|scope| {
        // Skipped tests report on stderr, because the harness captures stdout.
        let skipped = scope.spawn(|| Tests::heard(err.into_iter(), |line| drop(writeln!(std::io::stderr(), "{line}"))));
        let mut tests = Tests::heard(out.into_iter(), |line| say!("{line}"));
        tests.skipped.extend(skipped.join().unwrap_or_default().skipped);
        tests
    });
    let status = cargo.wait().with_context(started)?;
    say!("\n{tests}");
    if !status.success() {
        bail!("{LINE}: {status}");
    }
    Ok(())
}

/// The results of the tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tests {
    /// The number of tests that passed according to the harness, which includes those that skipped themselves.
    passed: usize,
    failed: usize,
    /// The tests that the harness ignored, by name, and why.
    ignored: Vec<(String, String)>,
    /// The tests that skipped themselves, each once, and why.
    skipped: BTreeMap<String, String>,
}

impl Tests {
    /// Collects the results in a stream, and passes it on to `echo` line by line.
    fn heard(stream: impl Iterator<Item = impl Read>, echo: impl Fn(&str)) -> Self {
        let mut tests = Self::default();
        for stream in stream {
            for line in BufReader::new(stream).split(b'\n').map_while(std::io::Result::ok) {
                let line = String::from_utf8_lossy(&line);
                tests.hear(&line);
                echo(&line);
            }
        }
        tests
    }

    fn hear(&mut self, line: &str) {
        if let Some((name, why)) = line.strip_prefix(SKIPPED).and_then(|told| told.split_once(": ")) {
            self.skipped.insert(name.into(), why.into());
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            let mut words = counts.split_whitespace().zip(counts.split_whitespace().skip(1));
            let mut count = |what| words.find(|(_, word)| *word == what).and_then(|(n, _)| n.parse().ok()).unwrap_or(0);
            self.passed += count("passed;");
            self.failed += count("failed;");
        } else if let Some((name, why)) = line.strip_prefix("test ").and_then(|told| told.split_once(" ... ignored")) {
            let why = why.trim_start_matches(", ");
            self.ignored.push((name.into(), if why.is_empty() { "ignored".into() } else { why.into() }));
        }
    }
}

/// One line per skipped test, then one line with the counts.
impl std::fmt::Display for Tests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ignored = self.ignored.iter().map(|(name, why)| (name, why));
        for (name, why) in ignored.chain(&self.skipped) {
            writeln!(f, "skipped {name}: {why}")?;
        }
        let (own, all) = (self.skipped.len(), self.skipped.len() + self.ignored.len());
        write!(f, "{} passed, {} failed, {all} skipped", self.passed.saturating_sub(own), self.failed)
    }
}

/// Golden cases, contracts and a small run on the WGPU back end, on a software rasterizer. They are a separate build,
/// so that run, test and CI share the build without WGPU. Both builds share everything except Burn and its dependents.
const WGPU: [&str; 10] =
    ["run", "--quiet", "--package", "xtask", "--features", "wgpu", "--", "gpu-check", "--backend=wgpu", "--quick"];

/// The minutes after which the build for WGPU is not begun any more: it takes as long as a third to a half of
/// everything before it.
const WGPU_WITHIN: u64 = 55;

/// Data frames. With the features of the whole workspace it would build Burn again, since polars asks for more of
/// num-complex.
const POLARS: [&str; 5] = ["test", "--quiet", "--package=ra-data", "--features=polars", "--test=frames"];

/// Packaging of every crate as for publication: all its files must be there, and its dependencies must have versions.
const PACKAGE: [&str; 6] = ["package", "--quiet", "--workspace", "--exclude=xtask", "--no-verify", "--allow-dirty"];

/// A workspace of another team that uses the crates by path, with its own profile.
const OUTSIDE: &str = "xtask/tests/outside";

/// Checks formatting, lints, tests, the guide and its quick start, documentation, packages, an outside workspace, the
/// WGPU back end and dependencies. Stops at the first failure.
///
/// # Errors
/// Names the step that failed.
pub(crate) fn ci() -> Result<()> {
    let mut report = Report::default();
    report.step("fmt", || cargo(&["fmt", "--all", "--check"], None))?;
    report.step("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], None))?;
    report.step("test", test)?;
    guide(&mut report)?;
    report.step("doc", || cargo(&["doc", "--workspace", "--no-deps"], Some(("RUSTDOCFLAGS", "-D warnings"))))?;
    report.step("features", features_apart)?;
    report.step("polars", || cargo(&POLARS, None))?;
    report.step("package", || cargo(&PACKAGE, None))?;
    report.step("outside", outside)?;
    let minutes = passed().as_secs() / 60;
    if has_vulkan() {
        report.step("once", same_features)?;
        if minutes < WGPU_WITHIN {
            report.step("wgpu", || cargo(&WGPU, None))?;
        } else {
            let line = WGPU.join(" ");
            report.skip("wgpu", &format!("{minutes} minutes have passed, and CI is to end within 90: cargo {line}"));
        }
    } else {
        report.skip("wgpu", "no Vulkan driver; Mesa's is enough: apt-get install mesa-vulkan-drivers libvulkan1");
    }
    report.tool("deny", &["deny", "--workspace", "check", "licenses", "bans", "sources"])?;
    report.tool("machete", &["machete"])?;
    match last_tag()? {
        Some(tag) => report
            .tool("semver-checks", &["semver-checks", "--workspace", "--exclude=xtask", "--baseline-rev", &tag])?,
        None => report.skip("semver-checks", "there is no version tag to compare with yet"),
    }
    say!("{}\nci: {}", report.lines.join("\n"), report.ending());
    Ok(())
}

/// Builds the guide as a book and runs its quick start, if the tools and downloads are available.
fn guide(report: &mut Report) -> Result<()> {
    let target = target()?;
    match Command::new("mdbook").arg("--version").output() {
        Ok(_) => report.step("book", || {
            let mut build = Command::new("mdbook");
            build.args(["build", "--dest-dir"]).arg(target.join("guide")).current_dir(root().join("docs/guide"));
            let status = build.status().context("mdbook: cannot be started")?;
            if status.success() { Ok(()) } else { bail!("mdbook build docs/guide: {status}") }
        })?,
        Err(_) => report.skip("book", "mdbook is not installed: cargo install mdbook"),
    }
    // Kept next to the build, so that they are downloaded only once.
    let fetched = target.join("fetched");
    match ["ml-100k", "minilm"].iter().try_for_each(|name| fetch(name, &fetched).map(drop)) {
        Ok(()) => report.step("start", || quick_start(&fetched)),
        Err(error) => {
            report.skip("start", &format!("what the quick start reads cannot be downloaded: {error:#}"));
            Ok(())
        }
    }
}

/// Runs the commands of the guide's quick start with the data and the model in `fetched`.
fn quick_start(fetched: &Path) -> Result<()> {
    const LINE: &str = "test --workspace --test=it guide::the_quick_start_runs -- --nocapture";
    let mut cargo = Command::new("cargo");
    cargo.args(LINE.split(' ')).env("RA_REC_GUIDE", fetched).stdout(Stdio::piped());
    let mut cargo = cargo.spawn().with_context(|| format!("cargo {LINE}: cannot be started"))?;
    let tests = Tests::heard(cargo.stdout.take().into_iter(), |line| say!("{line}"));
    let status = cargo.wait()?;
    if !status.success() || tests.passed == 0 {
        bail!("cargo {LINE}: {status}, {tests}");
    }
    Ok(())
}

/// Returns the time since `.ci/run` began, which passes on its first second; without it no time has passed.
fn passed() -> Duration {
    let began = std::env::var("RA_REC_CI_BEGAN").ok().and_then(|second| second.parse().ok());
    let began = began.map(|second| UNIX_EPOCH + Duration::from_secs(second));
    began.and_then(|began| began.elapsed().ok()).unwrap_or_default()
}

/// Returns the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the folder that cargo builds in, as an absolute path.
pub(super) fn target() -> Result<PathBuf> {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    std::path::absolute(&folder).with_context(|| folder.display().to_string())
}

/// Builds crates alone: data and rankings without a tensor library, and models without the CPU's matrix unit.
fn features_apart() -> Result<()> {
    let without: [&[&str]; 4] = [
        &["-p", "ra-core"],
        &["-p", "ra-eval"],
        &["-p", "ra-eval", "--features=report"],
        &["-p", "ra-idmodels", "-p", "ra-llm", "-p", "ra-align"],
    ];
    for packages in without {
        cargo(&[&["check", "--quiet", "--no-default-features"], packages].concat(), None)?;
    }
    for (package, args) in [("ra-data", &[][..]), ("ra-eval", &["--no-default-features"])] {
        let tree = tree(&[&["--package", package, "--edges=normal", "--prefix=none"], args].concat())?;
        if let Some(heavy) = tree.lines().find(|line| line.starts_with("burn") || line.starts_with("cubecl")) {
            bail!("{package} builds a tensor library: {heavy}");
        }
    }
    Ok(())
}

/// Returns the output of `cargo tree`.
fn tree(args: &[&str]) -> Result<String> {
    let output = Command::new("cargo").arg("tree").args(args).stderr(Stdio::inherit()).output();
    let output = output.context("cargo tree: cannot be started")?;
    if !output.status.success() {
        bail!("cargo tree: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the last version tag, such as `v0.1.0`.
fn last_tag() -> Result<Option<String>> {
    let output =
        Command::new("git").args(["describe", "--tags", "--abbrev=0", "--match=v*"]).stderr(Stdio::null()).output();
    let output = output.context("git describe: cannot be started")?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

/// Tests a workspace that depends on the crates by path, with the locked versions of this workspace.
fn outside() -> Result<()> {
    let folder = root().join(OUTSIDE);
    let lock = folder.join("Cargo.lock");
    std::fs::copy(root().join("Cargo.lock"), &lock)
        .with_context(|| format!("{}: cannot be written", lock.display()))?;
    let (manifest, target) = (folder.join("Cargo.toml"), target()?.join("outside"));
    let of = |path: &Path| path.to_string_lossy().into_owned();
    cargo(&["test", "--quiet", "--manifest-path", &of(&manifest), "--target-dir", &of(&target)], None)
}

/// Checks that packages other than Burn's have the same features with and without a GPU. A package that differs is
/// built twice, as are its dependents.
fn same_features() -> Result<()> {
    let twice = built_twice(&features(&[])?, &features(&["--features=wgpu"])?);
    if twice.is_empty() {
        return Ok(());
    }
    bail!("built twice, because wgpu needs more features of them: {}; add these in xtask/Cargo.toml", twice.join(", "))
}

/// Returns packages with features in `gpu` that are not in `plain`, except ours and Burn's, which differ by design.
fn built_twice(plain: &Features, gpu: &Features) -> Vec<String> {
    let apart = |package: &str| ["burn", "cubecl", "ra-", "xtask"].iter().any(|ours| package.starts_with(ours));
    let twice = |(package, own): &(&String, &BTreeSet<String>)| {
        !apart(package) && gpu.get(*package).is_some_and(|all| !all.is_subset(own))
    };
    plain.iter().filter(twice).map(|(package, _)| package.clone()).collect()
}

/// Packages with their features.
type Features = BTreeMap<String, BTreeSet<String>>;

/// Returns the packages of xtask.
fn features(more: &[&str]) -> Result<Features> {
    let args = ["--package=xtask", "--edges=normal,build", "--prefix=none", "--format={p}|{f}|"];
    let mut all = Features::new();
    for line in tree(&[&args, more].concat())?.lines() {
        let mut parts = line.split('|');
        let (package, features) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        // A package may appear both with and without features, for example as a macro's dependency on the host.
        let features = features.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        all.entry(package.to_owned()).or_default().extend(features);
    }
    Ok(all)
}

/// Returns whether a Vulkan driver is registered.
fn has_vulkan() -> bool {
    let announced = |folder| Path::new(folder).read_dir().is_ok_and(|mut files| files.next().is_some());
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"].into_iter().any(announced)
}

/// The report, one line per step.
#[derive(Debug, Default)]
struct Report {
    lines: Vec<String>,
    skipped: Vec<String>,
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
        say!("ci: {name}: {seconds:.1} s");
        self.lines.push(format!("  {name:<8} {seconds:>8.1} s"));
        Ok(())
    }

    /// Runs a step that needs a tool that may not be installed.
    fn tool(&mut self, name: &str, args: &[&str]) -> Result<()> {
        if installed(name) {
            return self.step(name, || cargo(args, None));
        }
        self.skip(name, &format!("cargo-{name} is not installed"));
        Ok(())
    }

    fn skip(&mut self, name: &str, why: &str) {
        self.lines.push(format!("  {name:<8}  skipped: {why}"));
        self.skipped.push(name.into());
    }

    /// The last line after success, which names what was not checked.
    fn ending(&self) -> String {
        match self.skipped.len() {
            0 => "all checks passed".into(),
            some => format!("all checks that were run passed; {some} skipped: {}", self.skipped.join(", ")),
        }
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
        assert_eq!((report.lines.len(), &*report.ending()), (1, "all checks passed"));
    }

    #[test]
    fn tests_that_skip_themselves_or_are_left_out_are_counted_and_named() {
        let out = "running 4 tests\ntest one ... ok\ntest two ... ok\ntest slow ... ignored, minutes\ntest bad ... FAILED\n\
                   test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
                   test src/lib.rs - (line 9) ... ignored\n\
                   test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        let mut tests = Tests::heard([out.as_bytes()].into_iter(), |_| ());
        let told = std::cell::RefCell::new(Vec::new());
        let err = "   Compiling xtask\nskipped: two: no browser: none at all\nskipped: two: no browser: none at all\n";
        let skipped = Tests::heard([err.as_bytes()].into_iter(), |line| told.borrow_mut().push(line.to_owned()));
        tests.skipped.extend(skipped.skipped);
        let lines = "skipped slow: minutes\nskipped src/lib.rs - (line 9): ignored\nskipped two: no browser: none at all\n\
                     4 passed, 1 failed, 3 skipped";
        assert_eq!(tests.to_string(), lines);
        assert_eq!(told.into_inner().len(), 3, "all is handed on");
    }

    #[test]
    fn a_tool_that_is_not_there_is_skipped() {
        let mut report = Report::default();
        report.tool("no-such-tool", &["no-such-tool"]).unwrap();
        assert!(report.lines[0].contains("skipped: cargo-no-such-tool is not installed"));
        assert_eq!(report.ending(), "all checks that were run passed; 1 skipped: no-such-tool");
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
