//! Memory: the peak of this process, what is still available, and a check before a stage that would not fit.
use crate::{Error, Result};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// The peak memory of this process so far, in MiB, if the system reports it (Linux).
pub fn peak_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

/// The memory that this process may still use, in MiB, if the system reports it: the least of the machine's free memory
/// and the limits of its control group and those around it (cgroup v1 and v2; containers). File cache counts as free,
/// because the system reclaims it.
pub fn available_mib() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory();
    let machine = system.available_memory();
    let own = sysinfo::get_current_pid().ok();
    if let Some(own) = own {
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, ProcessRefreshKind::nothing());
    }
    let group = own.and_then(|own| system.process(own)?.cgroup_limits());
    let available = group.map_or(machine, |group| machine.min(group.total_memory.saturating_sub(group.rss)));
    (machine > 0).then_some(available >> 20)
}

/// Returns an error if a stage that needs at least `bytes` of host memory has no room for them. What it needs beyond
/// that is not counted.
///
/// # Errors
/// [`Error::Memory`] with both figures and `remedy`.
pub fn ensure_host_memory(stage: &str, bytes: u64, remedy: &'static str) -> Result<()> {
    room(stage, bytes >> 20, available_mib().unwrap_or(u64::MAX), remedy)
}

/// Checks the same for `numbers` of four bytes on `device`. Devices other than the CPU have their own memory, which is
/// not checked.
///
/// # Errors
/// Those of [`ensure_host_memory`].
#[cfg(feature = "tensor")]
pub fn ensure_memory(stage: &str, numbers: u64, device: &burn::tensor::Device, remedy: &'static str) -> Result<()> {
    if crate::in_host_memory(device) { ensure_host_memory(stage, numbers.saturating_mul(4), remedy) } else { Ok(()) }
}

fn room(stage: &str, needed: u64, available: u64, remedy: &'static str) -> Result<()> {
    if needed > available {
        return Err(Error::Memory { stage: stage.into(), needed, available, remedy });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_before_it_is_tried() {
        assert!(room("train", 100, 100, "").is_ok());
        let told = room("train", 101, 100, "lower dim").unwrap_err().to_string();
        assert!(["train", "101 MiB", "100 MiB", "lower dim"].iter().all(|word| told.contains(word)), "{told}");
        // A process of this size runs here; one of a billion GiB does not.
        assert!(ensure_host_memory("small", 1 << 10, "").is_ok());
        if available_mib().is_some() {
            assert!(ensure_host_memory("large", u64::MAX, "").is_err());
        }
    }

    #[cfg(feature = "tensor")]
    #[test]
    fn a_tracked_device_of_the_processor_is_in_host_memory() {
        let device = burn::tensor::Device::flex();
        assert!(ensure_memory("small", 1 << 10, &device.clone().autodiff(), "").is_ok());
        if available_mib().is_some() {
            assert!(ensure_memory("large", u64::MAX, &device, "").is_err());
        }
    }
}
