//! Information about this machine.

mod memory;

pub(crate) use memory::keep_freed;

pub(crate) use ra_core::peak_mib;
use serde::{Deserialize, Serialize};

/// Resets [`peak_mib`], if the system supports it.
pub(crate) fn forget_peak() {
    // If it does not, the peak is that of the whole process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// What decides how fast this machine is, and how busy it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The name of the processor, if the system tells it.
    pub(crate) processor: Option<String>,
    /// The cores that this process may use.
    pub(crate) cores: usize,
    pub(crate) architecture: String,
    /// The instruction sets that kernels use, empty if they use none in particular.
    pub(crate) instructions: String,
    /// The mean number of busy threads over the last 1, 5 and 15 minutes, if the system tells it.
    pub(crate) load: Option<[f64; 3]>,
}

impl Machine {
    /// Returns this machine as it is now.
    pub(crate) fn here() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            processor: processor(&text("/proc/cpuinfo")),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            architecture: std::env::consts::ARCH.into(),
            instructions: ra_core::kernels::instructions(),
            load: load(&text("/proc/loadavg")),
        }
    }

    /// Returns the cores and their instruction sets.
    pub(crate) fn units(&self) -> String {
        let Self { cores, architecture, instructions, .. } = self;
        let units = if instructions.is_empty() { String::new() } else { format!(" ({instructions})") };
        format!("{cores} cores, {architecture}{units}")
    }

    /// Returns the load in words.
    pub(crate) fn load(&self) -> String {
        self.load.map_or_else(|| "unknown".into(), |load| load.map(|mean| format!("{mean:.2}")).join(" "))
    }
}

/// Returns the name of the first processor.
fn processor(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Returns the load of 1, 5 and 15 minutes.
fn load(loadavg: &str) -> Option<[f64; 3]> {
    let means: Vec<f64> = loadavg.split_whitespace().take(3).map_while(|mean| mean.parse().ok()).collect();
    means.try_into().ok()
}

/// Returns the cores, their instruction sets and the load, for the header of a report.
pub(crate) fn describe() -> String {
    let machine = Machine::here();
    format!("{}, load {}", machine.units(), machine.load())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_as_far_as_the_system_tells_it() {
        let told = "processor\t: 0\nmodel name\t: AMD EPYC 7003: 64 cores\nmodel\t: 1\nmodel name\t: other\n";
        assert_eq!(processor(told).as_deref(), Some("AMD EPYC 7003: 64 cores"));
        assert_eq!(processor("processor\t: 0\nBogoMIPS\t: 50\n"), None);
        assert_eq!(load("0.52 1.20 3.40 2/345 6789\n"), Some([0.52, 1.2, 3.4]));
        assert_eq!([load(""), load("0.52 1.20"), load("a b c")], [None; 3]);
        let mut machine = Machine { load: load("1 2 3"), instructions: "AVX2".into(), ..Machine::here() };
        assert_eq!(machine.load(), "1.00 2.00 3.00");
        assert!(machine.units().ends_with(" (AVX2)"));
        (machine.load, machine.instructions) = (None, String::new());
        assert_eq!(machine.load(), "unknown");
        assert!(machine.units().ends_with(std::env::consts::ARCH));
    }
}
