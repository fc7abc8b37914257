//! Information about this machine.

pub(crate) use ra_core::peak_mib;

/// Resets [`peak_mib`], if the system supports it.
pub(crate) fn forget_peak() {
    // If it does not, the peak is that of the whole process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Returns the cores, their instruction sets and the load, for the header of a report.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let load = if load.is_empty() { "unknown" } else { &load };
    let units = match ra_core::kernels::instructions() {
        none if none.is_empty() => none,
        units => format!(" ({units})"),
    };
    format!("{cores} cores, {}{units}, load {load}", std::env::consts::ARCH)
}

/// Returns the commit of the project's working tree, or `unknown` if `root` is not a checkout of it.
pub(crate) fn commit(root: &std::path::Path) -> String {
    if !root.join("xtask/Cargo.toml").exists() {
        return "unknown".into();
    }
    let git = |args: &[&str]| {
        std::process::Command::new("git").arg("-C").arg(root).args(args).output().ok().filter(|o| o.status.success())
    };
    let text = |o: std::process::Output| String::from_utf8_lossy(&o.stdout).trim().to_string();
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]).map(text) else { return "unknown".into() };
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).map(text).is_some_and(|s| !s.is_empty());
    if dirty { format!("{head}-modified") } else { head }
}
