//! `doctor`: shows what this machine offers.
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
    if let Some(mib) = ra_core::available_mib() {
        say!("memory      {:.1} GiB available to a run", mib as f64 / 1024.0);
    }
    let disk = first_line("df", &["-Ph", &root.to_string_lossy()], 1);
    let free = disk.as_deref().and_then(|line| line.split_whitespace().nth(3));
    say!("disk        {} free at {}", free.unwrap_or("an unknown amount"), root.display());
    let python = first_line("python3", &["--version"], 0);
    say!("python3     {}", python.as_deref().unwrap_or("missing; install it to fetch data and models"));
    let pip = first_line("python3", &["-m", "pip", "--disable-pip-version-check", "--version"], 0);
    say!("pip         {}", pip.as_deref().unwrap_or("missing; install it to fetch data and models"));
    for entry in fetch::list() {
        match entry.available(root) {
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
