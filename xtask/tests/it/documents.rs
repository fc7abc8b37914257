//! What the documents promise is there.
use crate::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every text file of the repository; what a run, a fetch or a build makes is left out.
fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let made = ["target", "data", "models", "runs", "cache", "venv"];
    let ours = |name: &str| !made.contains(&name) && (!name.starts_with('.') || [".ci", ".cargo"].contains(&name));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() && ours(&entry.file_name().to_string_lossy()) {
            found.extend(texts(&path));
        } else if kind.is_file()
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            found.push((path, text));
        }
    }
    found
}

/// The words after each `cargo xtask` of a text, up to the end of the line, of the code or of a shell comment.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let ends = |c: char| ['`', '#', '|', '>'].contains(&c);
    let lines = text.lines().flat_map(|line| line.split("cargo xtask ").skip(1));
    lines
        .map(|rest| rest.split(ends).next().unwrap_or_default())
        .map(|rest| {
            rest.split_whitespace().map(|word| word.trim_matches(['[', ']', '(', ')', ',', '.', ';'])).collect()
        })
        .collect()
}

fn help(subcommand: &[&str]) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(subcommand).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_command_in_the_documents_exists() {
    let documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| workspace().join(name));
    let recipes = std::fs::read_dir(workspace().join("xtask/recipes")).unwrap().map(|entry| entry.unwrap().path());
    for path in documents.into_iter().chain(recipes) {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for words in commands(&text) {
            let told = format!("{}: cargo xtask {}", path.display(), words.join(" "));
            let Some(first) = words.first().filter(|w| w.starts_with(|c: char| c.is_ascii_lowercase())) else {
                continue;
            };
            let subcommand = if *first == "data" { &words[..words.len().min(2)] } else { &words[..1] };
            let help = help(subcommand).unwrap_or_else(|| panic!("{told}: no such command"));
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap();
                assert!(help.contains(flag), "{told}: no such option");
            }
            if let ["run", recipe, ..] = words[..]
                && recipe.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            {
                assert!(workspace().join(format!("xtask/recipes/{recipe}.toml")).exists(), "{told}: no such recipe");
            }
        }
    }
}

#[test]
fn the_readme_starts_with_two_commands() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    for command in ["cargo xtask run quickstart", "cargo xtask test"] {
        assert!(readme.contains(command), "README.md lacks `{command}`");
    }
}

#[test]
fn no_file_names_the_host_of_a_package_registry() {
    let hosts = [["py", "pi.org"], ["python", "hosted.org"], ["index.crates", ".io"], ["static.crates", ".io"]];
    let hosts = hosts.map(|parts| parts.concat()).into_iter().chain([["registry.npm", "js.org"].concat()]);
    let texts = texts(&workspace());
    assert!(texts.len() > 60, "the files are where they should be");
    for host in hosts {
        let named: Vec<_> = texts.iter().filter(|(_, text)| text.contains(&host)).map(|(path, _)| path).collect();
        assert!(named.is_empty(), "{host} is in {named:?}: packages come by name, from whichever index is set up");
    }
}
