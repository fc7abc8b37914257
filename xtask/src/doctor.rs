//! `cargo xtask doctor`: what this machine offers.
use crate::{fetch, machine};
use anyhow::Result;
use ra_core::{Backend, device_name, open_device};
use std::path::Path;
use std::process::Command;

pub(crate) fn doctor(root: &Path) -> Result<()> {
    for backend in Backend::ALL {
        match open_device(backend) {
            Ok(device) => say!("{:<11} {}", backend.name(), device_name(&device)),
            Err(error) => say!("{error}"),
        }
    }
    say!("machine     {}", machine::describe());
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        |key: &str| memory.lines().find_map(|l| l.strip_prefix(key)?.trim().split(' ').next()?.parse::<f64>().ok());
    if let (Some(total), Some(free)) = (kib("MemTotal:"), kib("MemAvailable:")) {
        say!("memory      {:.1} GiB, {:.1} GiB available", total / 1048576.0, free / 1048576.0);
    }
    let disk = first_line("df", &["-Ph", &root.to_string_lossy()], 1);
    let free = disk.as_deref().and_then(|line| line.split_whitespace().nth(3));
    say!("disk        {} free at {}", free.unwrap_or("an unknown amount"), root.display());
    let python = first_line("python3", &["--version"], 0);
    say!("python3     {}", python.as_deref().unwrap_or("missing; install it to fetch data and models"));
    let pip = first_line("python3", &["-m", "pip", "--disable-pip-version-check", "--version"], 0);
    say!("pip         {}", pip.as_deref().unwrap_or("missing; install it to fetch data and models"));
    for entry in fetch::list() {
        match entry.at_hand(root) {
            Some(folder) => say!("{:<18} {}", entry.name, folder.display()),
            None => say!("{:<18} missing: {}", entry.name, entry.advice()),
        }
    }
    Ok(())
}

fn first_line(program: &str, args: &[&str], skip: usize) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|o| o.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().nth(skip).map(str::to_owned)
}
