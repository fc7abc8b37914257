//! The command line as a reference page, as `man` pages and as shell completions.
use crate::commands::{everybody, everything};
use anyhow::{Context, Result, bail};
use clap::{Arg, Command};
use clap_complete::Shell;
use ra_core::write_atomic;
use std::fmt::Write;
use std::path::Path;

/// Renders the page: first the commands for users, then those for developing the project.
pub(super) fn page() -> String {
    let mut page = String::from(
        "# Commands\n\n\
         `ra-rec` has the commands for users. `cargo xtask` has them too, and those for developing the project.\n\
         `ra-rec completions SHELL` prints completions for a shell, and `ra-rec man DIR` writes `man` pages.\n\n\
         Every failure ends with an exit status other than 0 and one line: what is wrong, where, and what to do.\n\
         `RA_REC_ROOT` names the folder that holds data, models, caches and runs. By default it is the current folder for\n\
         `ra-rec`, and the repository for `cargo xtask`.\n\n\
         This page is generated from the command line itself.\n",
    );
    let own: Vec<String> = everybody().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for command in everybody().get_subcommands() {
        section(&mut page, "ra-rec", command);
    }
    page.push_str("\n## For the development of the project\n");
    let all = everything();
    let development = all.get_subcommands().filter(|command| !own.iter().any(|name| name == command.get_name()));
    for command in development {
        section(&mut page, "cargo xtask", command);
    }
    page
}

/// Breaks a line into lines that an editor shows whole.
fn lines(line: &str) -> String {
    let mut broken = String::new();
    let mut width = 0;
    for word in line.split(' ') {
        let breaks = width > 0 && width + 1 + word.len() > 118;
        if width > 0 {
            broken.push(if breaks { '\n' } else { ' ' });
        }
        width = if breaks || width == 0 { word.len() } else { width + 1 + word.len() };
        broken.push_str(word);
    }
    broken
}

fn section(page: &mut String, before: &str, command: &Command) {
    let name = format!("{before} {}", command.get_name());
    if command.get_name() == "help" || command.is_hide_set() {
        return;
    }
    let level = if before.starts_with("cargo") { "###" } else { "##" };
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let sentence = if about.ends_with(['.', ':']) { about } else { about + "." };
    writeln!(page, "\n{level} `{name}`\n\n{}", sentence.lines().map(lines).collect::<Vec<_>>().join("\n")).ok();
    if command.has_subcommands() {
        command.get_subcommands().for_each(|sub| section(page, &name, sub));
        return;
    }
    let arguments: Vec<&Arg> =
        command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").collect();
    if arguments.is_empty() {
        return;
    }
    page.push_str("\n| argument | default | meaning |\n|---|---|---|\n");
    for argument in arguments {
        let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
        let default = defaults.collect::<Vec<_>>().join(" ");
        let default = if default.is_empty() || default == "false" { String::new() } else { format!("`{default}`") };
        let told =
            argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|").replace('\n', " ");
        let is_needed = argument.is_required_set();
        let needed = if is_needed { "required" } else { &default };
        writeln!(page, "| `{}` | {needed} | {told} |", shape(argument).replace('|', "\\|")).ok();
    }
}

/// Formats an argument: `--top N`, `PATH`, `NAME...`, `--compare BEFORE AFTER`, `--json`.
fn shape(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let value = argument
        .get_action()
        .takes_values()
        .then(|| names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" "));
    let many = if argument.get_num_args().is_some_and(|n| n.max_values() > names.len().max(1)) { "..." } else { "" };
    match (argument.get_long(), value) {
        (Some(long), Some(value)) => format!("--{long} {value}{many}"),
        (Some(long), None) => format!("--{long}"),
        (None, Some(value)) => format!("{value}{many}"),
        (None, None) => argument.get_id().to_string(),
    }
}

/// Returns the completion script for `shell`.
///
/// # Errors
/// Returns an error if the script is not valid UTF-8.
pub(crate) fn completions(shell: Shell) -> Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut everybody(), "ra-rec", &mut script);
    Ok(String::from_utf8(script)?)
}

/// Writes a `man` page for the program and each of its commands into `folder`, and returns how many.
///
/// # Errors
/// Returns an error if a page cannot be written.
pub(crate) fn man_pages(folder: &Path) -> Result<usize> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    man_page(everybody(), folder)
}

fn man_page(command: Command, folder: &Path) -> Result<usize> {
    let mut written = 1;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        written += man_page(sub.clone(), folder)?;
    }
    let page = clap_mangen::Man::new(command).source(concat!("ra-rec ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    let path = folder.join(page.get_filename());
    let is_foreign = |text: Vec<u8>| !String::from_utf8_lossy(&text).contains(".TH ra-rec");
    if std::fs::read(&path).is_ok_and(is_foreign) {
        bail!("{}: is there already and is no page of this program; name another folder", path.display());
    }
    write_atomic(&path, &text)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_manual_page_by_its_whole_name() {
        let folder = tempfile::tempdir().unwrap();
        let written = man_pages(folder.path()).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), written);
        for (file, usage) in [
            ("ra-rec.1", "\\fBra\\-rec\\fR"),
            ("ra-rec-run.1", "\\fBra\\-rec run\\fR"),
            ("ra-rec-data-describe.1", "\\fBra\\-rec data describe\\fR"),
        ] {
            let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
            assert!(text.contains(usage) && text.contains(env!("CARGO_PKG_VERSION")), "{file}: {text}");
        }
        assert!(man_pages(&folder.path().join("ra-rec.1")).is_err(), "a file is no folder");
        assert_eq!(man_pages(folder.path()).unwrap(), written, "its own pages are replaced");
        let other = folder.path().join("ra-rec-run.1");
        std::fs::write(&other, "mine").unwrap();
        let told = man_pages(folder.path()).unwrap_err().to_string();
        assert!(told.contains("is no page of this program"), "{told}");
        assert_eq!(std::fs::read_to_string(other).unwrap(), "mine");
    }

    #[test]
    fn shells_complete_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = completions(shell).unwrap();
            assert!(["ra-rec", "describe", "recommend"].iter().all(|word| script.contains(word)), "{shell}");
        }
    }
}
