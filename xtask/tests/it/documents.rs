//! What the documents refer to exists.
use crate::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns every text file of the repository except the output of runs, fetches and builds.
pub(crate) fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
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

/// Returns the commands that a text shows, each with its program and the words up to the end of the line or code, or to
/// a shell comment: every `cargo xtask ..`, and every `ra-rec ..` at the start of a line or of code.
fn commands(text: &str) -> Vec<(&'static str, Vec<&str>)> {
    let mut found = Vec::new();
    for line in text.lines() {
        found.extend(line.split("cargo xtask ").skip(1).map(|rest| ("xtask", words(rest))));
        found.extend(line.split("`ra-rec ").skip(1).map(|rest| ("ra-rec", words(rest))));
        found.extend(line.trim_start().strip_prefix("ra-rec ").map(|rest| ("ra-rec", words(rest))));
    }
    found
}

fn words(rest: &str) -> Vec<&str> {
    let code = rest.split(['`', '#', '|', '>', '&']).next().unwrap_or_default();
    code.split_whitespace().map(|word| word.trim_matches(['[', ']', '(', ')', ',', '.', ';', ':'])).collect()
}

/// Returns what `program` prints about a command, if there is such a command.
fn help(program: &str, command: &[&str]) -> Option<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name(program);
    let output = Command::new(program).args(command).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// Returns what is wrong with a command: there is no such command, option or recipe.
fn fault(program: &str, words: &[&str]) -> Option<String> {
    let length = if words[0] == "data" { 2 } else { 1 };
    let Some(help) = help(program, &words[..words.len().min(length)]) else { return Some("no such command".into()) };
    let flags = words.iter().filter(|word| word.starts_with("--")).filter_map(|word| word.split('=').next());
    if let Some(flag) = flags.into_iter().find(|flag| !help.contains(flag)) {
        return Some(format!("no such option: {flag}"));
    }
    let is_name = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    match words {
        ["run", recipe, ..] if is_name(recipe) && !recipe.starts_with('-') => {
            let is_there = workspace().join(format!("xtask/recipes/{recipe}.toml")).exists();
            (!is_there).then(|| format!("no such recipe: {recipe}"))
        }
        _ => None,
    }
}

#[test]
fn every_command_in_the_documents_exists() {
    let recipes = std::fs::read_dir(workspace().join("xtask/recipes")).unwrap().map(|entry| entry.unwrap().path());
    let recipes = recipes.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()));
    let is_history = |path: &Path| path.starts_with(workspace().join("docs/lab"));
    let mut checked = 0;
    for (path, text) in documents().into_iter().filter(|(path, _)| !is_history(path)).chain(recipes) {
        // A command goes on after a line that ends with \.
        for (program, words) in commands(&text.replace("\\\n", " ")) {
            let named = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
            if words.first().is_some_and(named) {
                checked += 1;
                let fault = fault(program, &words);
                assert!(fault.is_none(), "{}: {program} {}: {}", path.display(), words.join(" "), fault.unwrap());
            }
        }
    }
    assert!(checked > 150, "{checked} commands");
    for wrong in [&["tset"][..], &["run", "quickstrat"], &["run", "quickstart", "--sett", "a=1"], &["data", "desribe"]]
    {
        assert!(fault("ra-rec", wrong).is_some(), "{wrong:?}");
    }
    assert!(fault("ra-rec", &["ci"]).is_some() && fault("xtask", &["ci"]).is_none());
}

#[test]
fn the_readme_starts_with_two_commands() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    assert_eq!(first_commands(&readme), ["cargo xtask run quickstart", "cargo xtask test"]);
    assert!(first_commands("`cargo xtask test`\n```\ncargo xtask ci\n```\n").is_empty(), "one was named before");
}

/// Returns the commands of the first block of code, without comments; none if a command is named before it.
fn first_commands(document: &str) -> Vec<&str> {
    let mut parts = document.split("```");
    let (before, block) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if before.contains("cargo ") {
        return Vec::new();
    }
    let commands = block.lines().skip(1).map(|line| line.split('#').next().unwrap_or_default().trim());
    commands.filter(|line| !line.is_empty()).collect()
}

/// Returns every document with its path.
fn documents() -> Vec<(PathBuf, String)> {
    texts(&workspace()).into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "md")).collect()
}

/// Returns the targets of links in a document, and the names in backticks with a folder or an extension of our files.
fn references(document: &str) -> Vec<String> {
    let links = document.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.contains("://")).map(str::to_owned);
    let ours = |word: &&str| {
        let named = [".rs", ".py", ".sh", ".svg", ".png"].iter().any(|end| word.ends_with(end));
        let folder =
            ["docs/", "ra-", "xtask/", ".ci/", ".cargo/", "shared/", "../"].iter().any(|start| word.starts_with(start));
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        plain && (named || (folder && word.contains('/')))
    };
    // Blocks of code are left out; their fences are three backticks.
    let prose = document.split("```").step_by(2).collect::<Vec<_>>().join(" ");
    let code = prose.split('`').skip(1).step_by(2).flat_map(str::split_whitespace).filter(ours).map(str::to_owned);
    links.chain(code.collect::<Vec<_>>()).collect()
}

/// Returns the anchors of a document's headings.
fn anchors(document: &str) -> Vec<String> {
    let heading = |line: &str| {
        let title = line.strip_prefix('#')?.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
    };
    document.lines().filter_map(heading).collect()
}

/// Returns whether what `document`, which is in `folder`, refers to exists: next to it, in the repository, or, for a
/// name without a folder, anywhere in the repository.
fn is_there(reference: &str, document: &str, folder: &Path, files: &[(PathBuf, String)]) -> bool {
    let (path, anchor) = reference.split_once('#').unwrap_or((reference, ""));
    if path.is_empty() {
        return anchors(document).iter().any(|known| known == anchor);
    }
    let feature = path.split_once('/').is_some_and(|(member, feature)| {
        let manifest = std::fs::read_to_string(workspace().join(member).join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.starts_with(&format!("{feature} = [")))
    });
    let found = [folder.join(path), workspace().join(path), workspace().join("ra-core/src").join(path)];
    let Some(found) = found.into_iter().find(|found| found.exists()) else {
        return feature
            || (!path.contains('/') && files.iter().any(|(file, _)| file.file_name().is_some_and(|n| n == path)));
    };
    let inside = found.canonicalize().unwrap().starts_with(workspace().canonicalize().unwrap());
    let headed = || anchors(&std::fs::read_to_string(&found).unwrap()).iter().any(|known| known == anchor);
    inside && (anchor.is_empty() || headed())
}

#[test]
fn what_the_documents_refer_to_is_there() {
    let files = texts(&workspace());
    let mut checked = 0;
    for (path, document) in documents() {
        for reference in references(&document) {
            checked += 1;
            let there = is_there(&reference, &document, path.parent().unwrap(), &files);
            assert!(there, "{}: {reference} is not in this repository", path.display());
        }
    }
    assert!(checked > 350, "{checked} references");
    for absent in ["docs/nowhere.md", "lab/README.md#no-such-heading", "bench_nowhere.py", "../shared/fixtures"] {
        assert!(!is_there(absent, "", &workspace().join("docs"), &files), "{absent}");
    }
}
