//! The command line as a reference page, as `man` pages and as shell completions.
use crate::commands::{everybody, everything};
use anyhow::{Context, Result};
use clap::{Arg, Command};
use clap_complete::Shell;
use ra_core::write_atomic;
use std::fmt::Write;
use std::path::Path;

/// Renders the page: first the commands for users, then those for developing the project.
pub(super) fn page() -> String {
    let mut page = String::from(
        "# Commands\n\n\
         `ra-rec` has the commands of everybody; `cargo xtask` has them too, and those of the project's development.\n\
         `ra-rec completions SHELL` prints what a shell completes, `ra-rec man DIR` writes `man` pages.\n\n\
         Every failure ends with an exit status other than 0 and one line: what is wrong, where, and what to do.\n\
         `RA_REC_ROOT` names the folder that holds data, models, caches and runs. It is the current folder by default.\n\n\
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

fn section(page: &mut String, before: &str, command: &Command) {
    let name = format!("{before} {}", command.get_name());
    if command.get_name() == "help" || command.is_hide_set() {
        return;
    }
    let level = if before.starts_with("cargo") { "###" } else { "##" };
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let sentence = if about.ends_with(['.', ':']) { about } else { about + "." };
    writeln!(page, "\n{level} `{name}`\n\n{sentence}").ok();
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

/// Formats an argument: `--top N`, `PATH`, `--json`.
fn shape(argument: &Arg) -> String {
    let value = argument.get_action().takes_values().then(|| {
        let names = argument.get_value_names().unwrap_or_default();
        names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" ")
    });
    let many = if argument.get_num_args().is_some_and(|n| n.max_values() > 1) { "..." } else { "" };
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

/// Writes a `man` page for the program and each of its commands into `folder`.
///
/// # Errors
/// Returns an error if a page cannot be written.
pub(crate) fn man_pages(folder: &Path) -> Result<usize> {
    let program = everybody().name("ra-rec");
    let mut pages = Vec::new();
    collect(program, "ra-rec", &mut pages);
    std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    for (name, command) in &pages {
        let mut text = Vec::new();
        clap_mangen::Man::new(command.clone()).render(&mut text)?;
        write_atomic(&folder.join(format!("{name}.1")), &text)?;
    }
    Ok(pages.len())
}

fn collect(command: Command, name: &str, pages: &mut Vec<(String, Command)>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let whole = format!("{name}-{}", sub.get_name());
        let shown: &'static str = Box::leak(whole.clone().into_boxed_str());
        collect(sub.clone().name(shown), &whole, pages);
    }
    pages.push((name.to_owned(), command));
}
