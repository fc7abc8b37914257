//! `cargo xtask doctor`: what this machine offers.
use crate::{fetch, machine};
use anyhow::Result;
use ra_core::Backend;
use std::path::Path;
use std::process::Command;

pub(crate) fn doctor(root: &Path) -> Result<()> {
    let backends: Vec<&str> = Backend::built().iter().map(|b| b.name()).collect();
    println!("back ends   {} (others: build with --features wgpu or cuda)", backends.join(", "));
    println!("machine     {}", machine::describe());
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    for line in memory.lines().filter(|l| l.starts_with("MemTotal") || l.starts_with("MemAvailable")) {
        println!("memory      {}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    println!("disk        {}", first_line("df", &["-Ph", &root.to_string_lossy()], 1));
    println!("pip         {}", first_line("python3", &["-m", "pip", "--version"], 0));
    for entry in fetch::list() {
        match entry.at_hand(root) {
            Some(folder) => println!("{:<18} {}", entry.name, folder.display()),
            None => println!("{:<18} missing: {}", entry.name, entry.advice()),
        }
    }
    Ok(())
}

fn first_line(program: &str, args: &[&str], skip: usize) -> String {
    let output = Command::new(program).args(args).output().ok().filter(|o| o.status.success());
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().nth(skip).map_or_else(|| format!("{program} is missing; install it"), str::to_owned)
}
