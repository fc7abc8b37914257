//! A run folder that somebody else damaged.
use crate::cli::Root;
use ra_core::testkit::damage::{Trial, fuzz_reader};
use std::path::Path;
use std::process::Command;

/// A trial of the command, whose memory cannot be counted because it is another process.
fn trial(cases: usize) -> Trial {
    let unweighed = |read: &mut dyn FnMut()| {
        read();
        0
    };
    Trial::new(cases, |name| std::env::var(name).ok(), unweighed)
}

/// Returns every file of a finished run, by its path within the run folder.
fn files(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for part in ["", "checkpoints", "metrics", "vectors"] {
        for entry in run.join(part).read_dir().unwrap().map(|entry| entry.unwrap().path()) {
            let read_again = !entry.extension().is_some_and(|end| end == "html" || end == "md" || end == "jsonl");
            if entry.is_file() && read_again && !entry.ends_with(".ra-rec.lock") {
                let name = entry.strip_prefix(run).unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read(&entry).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn damaged_run_folders_are_taken_or_refused_in_a_line() {
    let root = Root::new();
    root.ok(&["run", "tiny", "--out", "run"]);
    let files = files(&root.path("run"));
    assert!(files.len() > 8, "{}", files.len());
    let commands: [&[&str]; 3] = [
        &["recommend", "--run", "run", "--user", "u3"],
        &["report", "run"],
        &["run", "tiny", "--out", "run", "--resume"],
    ];
    fuzz_reader(&files, trial(12 * files.len()), |name, bytes| {
        let mut whole = true;
        for args in commands {
            let file = root.path("run").join(name);
            // A command may have removed a folder of the run that was left empty.
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
            command.args(args).current_dir(root.path("")).env("RA_REC_ROOT", root.path(""));
            let output = command.output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            let errors = told.lines().filter(|line| line.starts_with("error: ")).count();
            let fine = output.status.success() || (output.status.code() == Some(1) && errors == 1);
            assert!(fine && !told.contains("panicked"), "{args:?} on a damaged {name}: {told}");
            whole &= output.status.success();
            // What a command repaired or replaced is restored for the next one.
            for (name, content) in &files {
                let file = root.path("run").join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, content).unwrap();
            }
        }
        whole
    });
}
