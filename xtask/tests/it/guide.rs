//! Every block of code in the guide works: commands run and recipes are read. Blocks of Rust are doctests of the
//! library.
use crate::workspace;
use ra_core::testkit::skipped;
use ra_rec::Recipe;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A block of code: the words after its fence, the code, and its place.
struct Block {
    words: String,
    code: String,
    at: String,
}

/// Returns the pages of the guide and the README, by path, each with its blocks.
fn pages() -> BTreeMap<PathBuf, Vec<Block>> {
    let folder = workspace().join("docs/guide/src");
    let mut paths = vec![workspace().join("README.md")];
    for folder in [folder.clone(), folder.join("reference")] {
        paths.extend(std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    let pages = paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages.map(|path| (path.clone(), blocks(&path))).collect()
}

fn blocks(path: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(path).unwrap();
    let (mut found, mut open): (Vec<Block>, bool) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(_), true) => open = false,
            (Some(words), false) => {
                let at = format!("{}:{number}", path.display());
                found.push(Block { words: words.trim().into(), code: String::new(), at });
                open = true;
            }
            (None, true) => found.last_mut().unwrap().code.extend([line, "\n"]),
            (None, false) => {}
        }
    }
    assert!(!open, "{}: a block of code is not closed", path.display());
    found
}

/// Runs a page's commands, in order, in a folder that is empty or holds the `data` and `models` of another folder.
fn run(path: &Path, commands: &str, fetched: Option<&Path>) {
    let dir = tempfile::tempdir().unwrap();
    let programs = dir.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("ra-rec");
    std::os::unix::fs::symlink(program, programs.join("ra-rec")).unwrap();
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    for name in ["data", "models"] {
        if let Some(folder) = fetched {
            std::os::unix::fs::symlink(folder.join(name), work.join(name)).unwrap();
        }
    }
    let paths = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    let paths = std::env::join_paths(std::iter::once(programs).chain(paths)).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("set -euo pipefail\n{commands}")]).current_dir(&work);
    let output = bash.env("PATH", paths).env("RA_REC_ROOT", &work).output().unwrap();
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (told(&output.stdout), told(&output.stderr));
    assert!(output.status.success(), "{}: {}\n{commands}\n{out}\n{err}", path.display(), output.status);
}

/// Blocks `sh,network` and `sh,long` are not run here; [`crate::documents`] checks that their commands, options and
/// recipes exist.
#[test]
fn every_quick_command_of_the_guide_runs() {
    let mut ran = 0;
    for (path, blocks) in pages() {
        let commands: Vec<&str> = blocks.iter().filter(|b| b.words == "sh").map(|b| b.code.as_str()).collect();
        if !commands.is_empty() {
            ran += commands.len();
            run(&path, &commands.concat(), None);
        }
    }
    assert!(ran >= 20, "{ran} blocks");
}

/// Uses the downloads of the first run, which CI fetches into the folder that `RA_REC_GUIDE` names.
#[test]
fn the_quick_start_runs() {
    let Some(fetched) = std::env::var_os("RA_REC_GUIDE").map(PathBuf::from) else {
        skipped(
            "the_quick_start_runs",
            "RA_REC_GUIDE names no folder with the data and the language model of the quickstart",
        );
        return;
    };
    let path = workspace().join("docs/guide/src/quick-start.md");
    let commands: String = blocks(&path)
        .into_iter()
        .filter(|block| ["sh", "sh,network"].contains(&block.words.as_str()))
        .map(|block| block.code)
        .collect();
    assert!(commands.contains("ra-rec run quickstart"));
    run(&path, &commands, Some(&fetched));
}

#[test]
fn every_block_says_what_it_is_and_every_recipe_is_one() {
    let dir = tempfile::tempdir().unwrap();
    for block in pages().into_values().flatten() {
        let Block { words, code, at } = block;
        let is_whole = match words.as_str() {
            "toml" => true,
            "toml,part" => false,
            "toml,cargo" => {
                code.parse::<toml::Table>().unwrap_or_else(|e| panic!("{at}: {e}"));
                continue;
            }
            "sh" | "sh,network" | "sh,long" | "rust" | "rust,no_run" | "text" | "json" => continue,
            other => panic!("{at}: a block of {other:?}, of which no test knows what to do"),
        };
        let method = if is_whole || code.contains("[[id]]") { "" } else { "\n[[id]]\nkind = \"sasrec\"\n" };
        let recipe = dir.path().join("page.toml");
        std::fs::write(&recipe, code + method).unwrap();
        Recipe::load(&recipe, &[], dir.path()).unwrap_or_else(|e| panic!("{at}: {e:#}"));
    }
}

/// The chapters that `SUMMARY.md` lists exist, and it lists every page.
#[test]
fn every_page_is_a_chapter() {
    let folder = workspace().join("docs/guide/src");
    let summary = std::fs::read_to_string(folder.join("SUMMARY.md")).unwrap();
    for path in pages().into_keys().filter(|path| path.starts_with(&folder) && !path.ends_with("SUMMARY.md")) {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        assert!(summary.contains(&format!("({name})")), "{name} is not in SUMMARY.md");
    }
}

#[test]
fn the_rust_of_every_page_is_compiled() {
    let doctests = std::fs::read_to_string(workspace().join("xtask/src/lib.rs")).unwrap();
    for (path, blocks) in pages() {
        let name = path.strip_prefix(workspace()).unwrap().display();
        let has_rust = blocks.iter().any(|block| block.words.starts_with("rust"));
        assert_eq!(has_rust, doctests.contains(&format!("include_str!(\"../../{name}\")")), "{name}");
    }
}

#[test]
fn made_pages_are_what_they_are_made_of() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["pages", "--check"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
